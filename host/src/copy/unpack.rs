//! What came from the lease, written beside its destination: only there, whatever the archive says.
//!
//! Nothing is written through a link: every directory on the way to a member is opened without following any, and
//! every file is made anew. So nothing in the archive can be used by what comes later in it, and names that are one on
//! this file system (`A` and `a`) collide instead of leading anywhere.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawMode, Timespec, Timestamps, fchmod, futimens, linkat, mkdirat,
    openat, statat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::archive::{Archive, Kind, Member};
use super::place::Stage;
use super::{copy_error, shown};
use crate::error::{Error, Result};

/// The deepest that a directory may be.
const DEEPEST: usize = 512;

/// What was written beside its destination.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    /// How many files and links there are.
    pub(crate) files: u64,
    /// How many bytes the files have.
    pub(crate) bytes: u64,
    /// The directories in it, from the outside to the inside; the empty path is what is copied.
    pub(super) directories: Vec<Directory>,
}

/// What a directory gets when everything in it is there.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    pub(super) mode: u32,
    pub(super) mtime: i64,
}

/// Writes what is in the archive to the stage, as its part `part`: what is called `name` in the archive, or, without
/// a name, what is in a directory. `read` hears how many bytes have come.
///
/// # Errors
///
/// Says what was refused or could not be written, or that the archive is not whole.
pub(crate) fn unpack(
    from: impl Read,
    stage: &Stage,
    part: &OsStr,
    name: Option<&OsStr>,
    read: &mut dyn FnMut(u64),
) -> Result<Unpacked> {
    let mut archive = Archive::new(from);
    let mut writer = Writer { stage, part, name, root: false, at: None, unpacked: Unpacked::default() };
    if name.is_none() {
        writer.make_root()?;
    }
    while let Some(member) = archive.next().map_err(damaged)? {
        writer.write(&member, &mut archive, read)?;
        read(archive.read);
    }
    if !writer.root {
        return Err(copy_error("the lease sent nothing"));
    }
    Ok(writer.unpacked)
}

struct Writer<'a> {
    stage: &'a Stage,
    part: &'a OsStr,
    name: Option<&'a OsStr>,
    /// Whether what is copied is there itself.
    root: bool,
    /// The directory that was written to last.
    at: Option<(PathBuf, OwnedFd)>,
    unpacked: Unpacked,
}

impl Writer<'_> {
    /// Where something goes that the archive calls so, below what is copied. The empty path is that itself.
    fn place(&self, name: &[u8]) -> Result<PathBuf> {
        let path = Path::new(OsStr::from_bytes(name));
        let mut parts = path.components().filter(|part| *part != Component::CurDir);
        if let Some(whole) = self.name
            && parts.next() != Some(Component::Normal(whole))
        {
            return Err(refused(path, "it is not what was asked for"));
        }
        let mut place = PathBuf::new();
        for (depth, part) in parts.enumerate() {
            match part {
                Component::Normal(part) if depth < DEEPEST => place.push(part),
                Component::Normal(_) => return Err(refused(path, "it is too deep")),
                _ => return Err(refused(path, "it leads out of what is copied")),
            }
        }
        Ok(place)
    }

    fn write(
        &mut self,
        member: &Member,
        archive: &mut Archive<impl Read>,
        read: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let place = self.place(&member.name)?;
        let path = Path::new(OsStr::from_bytes(&member.name));
        let (mode, mtime) = (member.mode & 0o777, member.mtime);
        let failed = |error| failed(path, error);
        match &member.kind {
            Kind::Directory => {
                if !place.as_os_str().is_empty() {
                    let (directory, name) = self.parent(&place, path)?;
                    mkdirat(directory, &name, OWNER).map_err(failed)?;
                } else if !self.root {
                    self.make_root()?;
                } else if self.name.is_some() || !self.unpacked.directories.is_empty() {
                    return Err(failed(Errno::EXIST));
                }
                self.unpacked.directories.push(Directory { path: place, mode, mtime });
                return Ok(());
            }
            Kind::File(size) => {
                let flags =
                    OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let (directory, name) = self.parent(&place, path)?;
                let file = openat(directory, &name, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
                let mut file = File::from(file);
                fill(&mut file, path, *size, archive, read)?;
                fchmod(&file, Mode::from_bits_truncate(mode as RawMode)).map_err(failed)?;
                // A file system may not take a time as old or as new.
                let _ = futimens(&file, &times(mtime));
                self.unpacked.bytes += size;
            }
            Kind::Link(target) => {
                check_link(&place, path, target)?;
                let (directory, name) = self.parent(&place, path)?;
                symlinkat(OsStr::from_bytes(target), directory, &name).map_err(failed)?;
                let _ = utimensat(directory, &name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW);
            }
            Kind::Same(target) => {
                let (from, old) = self.earlier(path, target)?;
                let (directory, name) = self.parent(&place, path)?;
                linkat(from, old, directory, &name, AtFlags::empty()).map_err(failed)?;
            }
            Kind::Other(what) => return Err(refused(path, &format!("it is {what}"))),
        }
        self.root |= place.as_os_str().is_empty();
        self.unpacked.files += 1;
        Ok(())
    }

    /// Makes the directory that is copied.
    fn make_root(&mut self) -> Result<()> {
        mkdirat(self.stage.handle(), self.part, OWNER).map_err(|error| failed(Path::new("."), error))?;
        self.root = true;
        Ok(())
    }

    /// The directory that a place is in, and its name there. `path` is what the archive calls it.
    fn parent(&mut self, place: &Path, path: &Path) -> Result<(&OwnedFd, OsString)> {
        let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else {
            return Ok((self.stage.handle(), self.part.to_owned()));
        };
        if self.at.as_ref().is_none_or(|(at, _)| at != parent) {
            self.at = Some((parent.to_owned(), self.open(parent, path)?));
        }
        let directory = self.at.as_ref().map_or(self.stage.handle(), |(_, directory)| directory);
        Ok((directory, name.to_owned()))
    }

    /// Opens a directory that came before, following no link. `path` is the member that needs it.
    fn open(&self, directory: &Path, path: &Path) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let failed = |error| match error {
            Errno::NOENT => refused(path, "its directory did not come before it"),
            Errno::NOTDIR | Errno::LOOP => refused(path, "what it is in is no directory"),
            error => failed(path, error),
        };
        let mut at = openat(self.stage.handle(), self.part, flags, Mode::empty()).map_err(failed)?;
        for part in directory {
            at = openat(&at, part, flags, Mode::empty()).map_err(failed)?;
        }
        Ok(at)
    }

    /// The file that came before and that a member is another name of.
    fn earlier(&self, path: &Path, target: &[u8]) -> Result<(OwnedFd, OsString)> {
        let place = self.place(target)?;
        let missing = || refused(path, "it is another name of a file that did not come before it");
        let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else { return Err(missing()) };
        let directory = self.open(parent, path)?;
        let found = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW);
        match found.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::RegularFile) => Ok((directory, name.to_owned())),
            _ => Err(missing()),
        }
    }
}

/// A directory that is being filled is its owner's alone.
const OWNER: Mode = Mode::RWXU;

/// Writes what a file contains.
fn fill(
    file: &mut File,
    path: &Path,
    size: u64,
    archive: &mut Archive<impl Read>,
    read: &mut dyn FnMut(u64),
) -> Result<()> {
    let mut buffer = vec![0; usize::try_from(size).unwrap_or(usize::MAX).clamp(1, 256 * 1024)];
    let mut left = size;
    while left > 0 {
        let count = match archive.content().read(&mut buffer) {
            Ok(0) => return Err(damaged(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(damaged(error)),
        };
        file.write_all(&buffer[..count]).map_err(|error| unwritable(path, error))?;
        left -= count as u64;
        read(archive.read);
    }
    Ok(())
}

/// A link may lead to what is copied with it and nowhere else: up by `..` first, as far as that goes, and then down.
/// Upwards is sure, because a link is in a directory and not behind another link. A `..` after a name is not: the
/// name may be a link.
fn check_link(place: &Path, path: &Path, target: &[u8]) -> Result<()> {
    let target = Path::new(OsStr::from_bytes(target));
    let mut above = place.components().count().saturating_sub(1);
    let mut down = false;
    let leads = |where_to: &str| {
        let error = refused(path, &format!("it is a link to `{}`, which {where_to}", shown(target)));
        Err(error.hint("name what it leads to, or the directory that has both"))
    };
    // What is copied may be a link itself: then nothing is copied with it.
    if place.as_os_str().is_empty() {
        return leads("is not copied with it");
    }
    for part in target.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(_) => down = true,
            Component::ParentDir if above > 0 && !down => above -= 1,
            Component::ParentDir if down => return leads("may lead out of what is copied"),
            _ => return leads("leads out of what is copied"),
        }
    }
    Ok(())
}

fn times(seconds: i64) -> Timestamps {
    let at = Timespec { tv_sec: seconds, tv_nsec: 0 };
    Timestamps { last_access: at, last_modification: at }
}

/// The lease sent what is not written here.
fn refused(path: &Path, why: &str) -> Error {
    copy_error(format!("refused what the lease sent as `{}`: {why}", shown(path)))
}

/// A member could not be made.
fn failed(path: &Path, error: Errno) -> Error {
    match error {
        Errno::EXIST => refused(path, "it came before, or a name that is the same on this file system"),
        error => unwritable(path, error.into()),
    }
}

fn unwritable(path: &Path, error: io::Error) -> Error {
    copy_error(format!("cannot write `{}`", shown(path))).cause(error)
}

/// The archive is not one, or not all of one.
fn damaged(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => copy_error("what the lease sent is cut short"),
        io::ErrorKind::InvalidData => copy_error("what the lease sent is not understood").cause(error),
        _ => copy_error("cannot read what the lease sent").cause(error),
    }
}
