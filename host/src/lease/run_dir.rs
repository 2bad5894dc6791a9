//! The private directory of a run: its lock, its input, its pipes. Gone when the run is over.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crabbox_protocol::{FileRef, RunId};
use sha2::{Digest, Sha256};

use super::lock::LockFile;
use crate::error::{Error, Result};
use crate::fault::{Fault, pass};
use crate::paths::{Paths, private_dir};

/// Names the directory of the run's own that is elsewhere.
const ELSEWHERE: &str = "elsewhere";

/// `runs/RUNID/` in the state directory, 0700. Its `lock` is held for as long as the run may be alive.
#[derive(Debug)]
pub(crate) struct RunDir {
    id: RunId,
    path: PathBuf,
    lock: Option<LockFile>,
}

impl RunDir {
    /// Makes the directory and takes the lock.
    pub(crate) fn create(paths: &Paths, id: RunId) -> Result<Self> {
        let path = paths.runs().join(id.as_str());
        private_dir(&path)?;
        let lock = LockFile::try_lock(&path.join("lock"), true);
        let lock = lock.and_then(|lock| lock.ok_or_else(|| io::ErrorKind::WouldBlock.into()));
        let lock = lock.map_err(|error| Error::failure(format!("cannot lock the run {id}")).cause(error))?;
        pass(Fault::RunMade);
        Ok(Self { id, path, lock: Some(lock) })
    }

    /// Takes over the directory of a run whose host is dead; `None` while it is alive.
    pub(crate) fn take_over(paths: &Paths, id: RunId) -> Result<Option<Self>> {
        let path = paths.runs().join(id.as_str());
        if !path.exists() {
            return Self::create(paths, id).map(Some);
        }
        let lock = LockFile::try_lock(&path.join("lock"), true)
            .map_err(|error| Error::failure(format!("cannot lock the run {id}")).cause(error))?;
        Ok(lock.map(|lock| Self { id, path, lock: Some(lock) }))
    }

    /// Whether a run's host, or its guard, is alive. One whose lock cannot be looked at counts as alive.
    pub(crate) fn is_alive(paths: &Paths, id: &RunId) -> bool {
        let lock = paths.runs().join(id.as_str()).join("lock");
        lock.exists() && !matches!(LockFile::try_lock(&lock, true), Ok(Some(_)))
    }

    /// The run.
    pub(crate) fn id(&self) -> &RunId {
        &self.id
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A copy of the lock's descriptor, for a guard.
    pub(crate) fn for_guard(&self) -> Result<Option<File>> {
        let file = self.lock.as_ref().map(LockFile::share_with_guard).transpose();
        file.map_err(|error| Error::failure("cannot hand the lock of the run over").cause(error))
    }

    /// Notes that a directory elsewhere, whose name ends with the run's id, belongs to the run. It goes with the run:
    /// also when it was made and the host died, as soon as somebody takes over.
    pub(crate) fn owns(&self, directory: &Path) -> Result<()> {
        let noted = std::path::absolute(directory)
            .and_then(|path| fs::write(self.path.join(ELSEWHERE), path.as_os_str().as_bytes()));
        noted.map_err(|error| {
            Error::failure(format!("cannot write to `{}`", self.path.display())).cause(error)
        })
    }

    /// Removes the directory that is elsewhere.
    fn remove_elsewhere(&self) {
        let Ok(noted) = fs::read(self.path.join(ELSEWHERE)) else { return };
        let directory = PathBuf::from(OsString::from_vec(noted));
        let name = directory.file_name().map(OsStr::as_bytes).unwrap_or_default();
        if name.ends_with(self.id.as_str().as_bytes()) {
            let _ = remove(&directory);
        }
    }

    /// Removes a file that nobody needs any more.
    pub(crate) fn discard(&self, file: &FileRef) {
        let _ = fs::remove_file(&file.path);
    }

    /// Writes a file for a plugin to read, and says what it is.
    pub(crate) fn file(
        &self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<FileRef> {
        file_at(&self.path.join(name), write).map_err(|error| {
            Error::failure(format!("cannot write `{}`", self.path.join(name).display())).cause(error)
        })
    }
}

/// Writes a file for a plugin to read, for this user only, and says what it is.
pub(crate) fn file_at(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<FileRef> {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let file = io::BufWriter::with_capacity(256 * 1024, file);
    let mut sink = Hashed { file, hash: Sha256::new(), size: 0 };
    write(&mut sink)?;
    sink.flush()?;
    let sha256 = sink.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    pass(Fault::InputWritten);
    Ok(FileRef { path: path.to_string_lossy().into_owned(), size: sink.size, sha256 })
}

impl Drop for RunDir {
    fn drop(&mut self) {
        self.remove_elsewhere();
        // The lock goes last: until then nobody takes the rest for an abandoned run's.
        if let Ok(entries) = fs::read_dir(&self.path) {
            for entry in entries.flatten().filter(|entry| entry.file_name() != "lock") {
                let path = entry.path();
                let _ = if path.is_dir() { remove(&path) } else { fs::remove_file(path) };
            }
        }
        pass(Fault::RunEmptied);
        if let Some(lock) = self.lock.take() {
            lock.remove();
        }
        let _ = fs::remove_dir(&self.path);
    }
}

/// Removes a directory with everything in it, also where a command has made directories read-only: a one-shot
/// run has had its tree here. Links are removed and not followed.
fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            unlock(directory)?;
            fs::remove_dir_all(directory)
        }
        done => done,
    }
}

/// Gives the owner all rights on a directory and on every directory in it. Whoever might put a link into their
/// place is dead by now.
fn unlock(directory: &Path) -> io::Result<()> {
    let mut permissions = fs::symlink_metadata(directory)?.permissions();
    permissions.set_mode(permissions.mode() | 0o700);
    fs::set_permissions(directory, permissions)?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            unlock(&entry.path())?;
        }
    }
    Ok(())
}

/// Writes, hashes and counts.
struct Hashed<W> {
    file: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The runs whose directory is there and whose host is dead.
pub(crate) fn abandoned_runs(paths: &Paths) -> Vec<RunId> {
    let entries = fs::read_dir(paths.runs()).into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| !RunDir::is_alive(paths, id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_a_command_made_read_only_is_removed_and_links_are_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let (scratch, other) = (home.path().join("scratch"), home.path().join("other"));
        fs::create_dir_all(scratch.join("a/b")).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("kept"), "").unwrap();
        fs::write(scratch.join("a/b/file"), "").unwrap();
        symlink(&other, scratch.join("a/b/link")).unwrap();
        for (path, mode) in [("a/b", 0o500), ("a", 0o000)] {
            fs::set_permissions(scratch.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(&other, fs::Permissions::from_mode(0o550)).unwrap();
        remove(&scratch).unwrap();
        assert!(!scratch.exists() && other.join("kept").exists());
        assert_eq!(fs::metadata(&other).unwrap().permissions().mode() & 0o777, 0o550);
    }

    #[test]
    fn what_a_run_owns_elsewhere_goes_with_it_and_nothing_else_does() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let paths = Paths { state: at("state"), cache: at("cache"), config: at("config") };
        let owned = |name: &str| {
            let id: RunId = "run_000000000001".parse().unwrap();
            let run = RunDir::create(&paths, id).unwrap();
            let directory = at(&name.replace("ID", run.id().as_str()));
            fs::create_dir_all(directory.join("part")).unwrap();
            run.owns(&directory).unwrap();
            (run, directory)
        };
        let (run, directory) = owned("stage-ID");
        drop(run);
        assert!(!directory.exists());
        // Its host dies, and somebody takes over.
        let (mut run, directory) = owned("stage-ID");
        let id = run.id().clone();
        run.lock = None;
        std::mem::forget(run);
        assert!(directory.exists());
        drop(RunDir::take_over(&paths, id).unwrap().unwrap());
        assert!(!directory.exists());
        // What another name is noted for is not ours to remove.
        let (run, directory) = owned("of-others");
        drop(run);
        assert!(directory.exists());
    }
}
