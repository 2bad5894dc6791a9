//! Deleting a directory that a command has had to itself: read-only directories, links, late writers.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, chmodat, openat, statat};

/// How often it is tried while somebody still writes.
const TRIES: u32 = 5;

/// Deletes `directory` with all that is in it, its entry `last` at the very end, so that what is left of
/// an interrupted deletion can still be recognised. Links are removed, never followed. One that is gone
/// is no error.
pub(crate) fn remove(directory: &Path, last: &str) -> io::Result<()> {
    let mut tries = 0;
    loop {
        match pass(directory, last) {
            Err(error) if error.kind() == ErrorKind::NotFound && !directory.exists() => return Ok(()),
            Err(error) if tries == TRIES => return Err(error),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                unlock(CWD, directory.as_os_str())?;
            }
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound) => {
                std::thread::sleep(Duration::from_millis(20));
            }
            done => return done,
        }
        tries += 1;
    }
}

fn pass(directory: &Path, last: &str) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name() != last {
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
    }
    match fs::remove_file(directory.join(last)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => fs::remove_dir(directory),
    }
}

/// Gives the owner all rights on a directory and on every directory in it.
///
/// The mode is changed by name in a directory that is held open. Nothing can put a link there meanwhile:
/// the lease's processes are dead by now.
fn unlock(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Ok(());
    }
    chmodat(parent, name, Mode::from_raw_mode(stat.st_mode) | Mode::RWXU, AtFlags::empty())?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(parent, name, flags, Mode::empty())?;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = std::os::unix::ffi::OsStrExt::from_bytes(entry.file_name().to_bytes());
        if name != OsStr::new(".") && name != OsStr::new("..") {
            unlock(directory.as_fd(), name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn read_only_directories_go_and_links_are_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let (lease, other) = (home.path().join("lease"), home.path().join("other"));
        fs::create_dir_all(lease.join("a/b/c")).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("kept"), "").unwrap();
        fs::write(lease.join("marker"), "").unwrap();
        fs::write(lease.join("a/b/c/file"), "").unwrap();
        symlink(&other, lease.join("link")).unwrap();
        symlink(&other, lease.join("a/link")).unwrap();
        for (path, mode) in [("a/b/c", 0o500), ("a/b", 0o000), ("a", 0o500)] {
            fs::set_permissions(lease.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(&other, fs::Permissions::from_mode(0o550)).unwrap();
        remove(&lease, "marker").unwrap();
        assert!(!lease.exists());
        assert!(other.join("kept").exists());
        assert_eq!(fs::metadata(&other).unwrap().permissions().mode() & 0o777, 0o550);
        remove(&lease, "marker").unwrap();
    }
}
