//! Where a copy goes on this machine: staged beside its place, on its file system, and then renamed.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use crabbox_protocol::RunId;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};

use super::unpack::Unpacked;
use super::words::Spot;
use super::{copy_error, shown};
use crate::error::{Error, Result};

/// What the user's destination means.
#[derive(Debug, PartialEq)]
pub(crate) struct Landing {
    /// The directory that the copies go into.
    directory: PathBuf,
    /// What the only one is called there, if not by its own name.
    name: Option<OsString>,
}

impl Landing {
    /// A directory that is there, or a new name in one that is.
    pub(crate) fn of(to: &Path, several: bool) -> Result<Self> {
        let missing = |path: &Path| Err(copy_error(format!("no such directory here: {}", shown(path))));
        let found = fs::metadata(to);
        if found.as_ref().is_ok_and(fs::Metadata::is_dir) {
            return Ok(Self { directory: to.to_owned(), name: None });
        }
        let spot = Spot::of(to.as_os_str());
        let name = match spot.name {
            Some(name) if !several && !spot.directory => name,
            _ => return missing(to),
        };
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !parent.is_dir() {
            return missing(parent);
        }
        match found {
            Ok(found) if !found.is_file() => {
                Err(copy_error(format!("neither a file nor a directory: {}", shown(to)))
                    .hint("`-` is standard output"))
            }
            _ => Ok(Self { directory: parent.to_owned(), name: Some(name) }),
        }
    }

    /// Where a run stages what comes.
    pub(crate) fn stage(&self, run: &RunId) -> PathBuf {
        self.directory.join(format!(".crabbox-cp-{run}"))
    }

    /// Where something goes that is called `name`; what is in a directory has none.
    fn place(&self, name: Option<&OsStr>) -> PathBuf {
        match self.name.as_deref().or(name) {
            Some(name) => self.directory.join(name),
            None => self.directory.clone(),
        }
    }
}

/// A directory beside the destination, for what is not whole yet. Dropped, it is gone with all that is in it.
#[derive(Debug)]
pub(crate) struct Stage {
    landing: Landing,
    path: PathBuf,
    handle: OwnedFd,
}

impl Stage {
    /// Makes it.
    pub(crate) fn make(landing: Landing, run: &RunId) -> Result<Self> {
        let path = landing.stage(run);
        let failed = |error: io::Error| {
            copy_error(format!("cannot write to `{}`", shown(&landing.directory))).cause(error)
        };
        DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = open(&path, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        Ok(Self { landing, path, handle })
    }

    /// The directory itself.
    pub(super) fn handle(&self) -> &OwnedFd {
        &self.handle
    }

    /// Whether everything could come into its place. `parts` are the parts of the stage, with what they are called.
    ///
    /// # Errors
    ///
    /// Names what stands where something else has to be. Nothing has been changed.
    pub(crate) fn check(&self, parts: &[(OsString, Option<OsString>, Unpacked)]) -> Result<()> {
        parts.iter().try_for_each(|(part, name, _)| {
            let (staged, place) = (self.path.join(part), self.landing.place(name.as_deref()));
            // What the user named may be a link to a directory; below it there may be none.
            if place == self.landing.directory { all_fit(&staged, &place) } else { fits(&staged, &place) }
        })
    }

    /// Brings everything into its place. What stands there and did not come stays.
    pub(crate) fn commit(self, parts: &[(OsString, Option<OsString>, Unpacked)]) -> Result<()> {
        for (part, name, unpacked) in parts {
            let place = self.landing.place(name.as_deref());
            let mut merged = BTreeSet::new();
            bring(&self.path.join(part), &place, Path::new(""), &mut merged).map_err(|(path, error)| {
                copy_error(format!("cannot place `{}`; some of what came may be there", shown(path)))
                    .cause(error)
            })?;
            // A directory gets its mode last: nothing can be moved into or out of one that nobody may write to.
            for directory in unpacked.directories.iter().rev() {
                if merged.contains(&directory.path) {
                    continue;
                }
                let path = match directory.path.as_os_str().as_bytes() {
                    b"" => place.clone(),
                    _ => place.join(&directory.path),
                };
                let at = u64::try_from(directory.mtime).ok().map(Duration::from_secs);
                if let (Some(at), Ok(file)) =
                    (at.and_then(|at| UNIX_EPOCH.checked_add(at)), fs::File::open(&path))
                {
                    // A file system may not take a time as old or as new.
                    let _ = file.set_modified(at);
                }
                fs::set_permissions(&path, Permissions::from_mode(directory.mode)).map_err(|error| {
                    copy_error(format!("cannot set the mode of `{}`", shown(&path))).cause(error)
                })?;
            }
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Whether what is staged can take its place: no file takes that of a directory, no directory that of anything else,
/// and nothing goes through a link.
fn fits(staged: &Path, place: &Path) -> Result<()> {
    let Ok(there) = fs::symlink_metadata(place) else { return Ok(()) };
    let unreadable = |error: io::Error| copy_error(format!("cannot read `{}`", shown(staged))).cause(error);
    let is_directory = fs::symlink_metadata(staged).map_err(unreadable)?.is_dir();
    let refused = |what: &str| -> Result<(), Error> {
        Err(copy_error(format!("here, this is not {what} as the lease's is: {}", shown(place))))
    };
    if !is_directory {
        // A link is replaced, unless it leads to a device, as `/dev/stdout` may.
        let special = |end: fs::Metadata| !end.is_file() && !end.is_dir();
        return match there.is_dir() || fs::metadata(place).is_ok_and(special) {
            true => refused("a file"),
            false => Ok(()),
        };
    }
    if !there.is_dir() {
        return refused("a directory");
    }
    all_fit(staged, place)
}

/// The same of all that is in a directory.
fn all_fit(staged: &Path, place: &Path) -> Result<()> {
    let unreadable = |error: io::Error| copy_error(format!("cannot read `{}`", shown(staged))).cause(error);
    for entry in fs::read_dir(staged).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        fits(&entry.path(), &place.join(entry.file_name()))?;
    }
    Ok(())
}

/// Moves what is staged into its place. Notes in `merged` the directories that were there.
fn bring(
    staged: &Path,
    place: &Path,
    path: &Path,
    merged: &mut BTreeSet<PathBuf>,
) -> Result<(), (PathBuf, io::Error)> {
    let is_directory = fs::symlink_metadata(staged).is_ok_and(|staged| staged.is_dir());
    if !(is_directory && place.is_dir()) {
        return fs::rename(staged, place).map_err(|error| (place.to_owned(), error));
    }
    merged.insert(path.to_owned());
    let failed = |error| (place.to_owned(), error);
    for entry in fs::read_dir(staged).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        bring(&staged.join(&name), &place.join(&name), &path.join(&name), merged)?;
    }
    Ok(())
}
