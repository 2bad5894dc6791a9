//! What goes to the lease: an archive of files and directories that are here.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tar::{Builder, EntryType};

use super::words::Spot;
use super::{copy_error, shown};
use crate::error::{Error, Result};
use crate::sync::{Exact, append_link, plain_header, unwritable};

/// One thing that is copied.
#[derive(Debug)]
pub(crate) struct Source {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What it is called in a directory that it is copied into; absent for what is in a directory.
    pub(crate) name: Option<OsString>,
}

impl Source {
    /// What the user named.
    pub(crate) fn of(path: PathBuf) -> Self {
        let name = Spot::of(path.as_os_str()).name;
        Self { path, name }
    }
}

/// Everything that goes over, and how large it was when it was looked at.
#[derive(Debug, Default)]
pub(crate) struct Pack {
    members: Vec<Member>,
    /// Directories that get their mode when all is in its place, those inside of them before.
    pub(crate) late: Vec<Late>,
    /// How many files and links there are.
    pub(crate) files: usize,
    /// How many bytes the files have.
    pub(crate) bytes: u64,
}

/// A directory that its owner may not write to.
#[derive(Debug)]
pub(crate) struct Late {
    /// Which of the sources it is in.
    pub(crate) source: usize,
    /// Where it is in it; `.` is itself.
    pub(crate) path: PathBuf,
    /// Its permissions.
    pub(crate) mode: u32,
}

#[derive(Debug)]
struct Member {
    path: PathBuf,
    name: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Directory { mode: u32 },
    File { mode: u32, size: u64 },
    Link,
}

/// The permissions that are copied.
const MODE: u32 = 0o777;

/// What the owner of a directory must be allowed to do for it to be filled.
const OWNER: u32 = 0o700;

impl Pack {
    /// Looks at all that is to be copied. Links are copied, and not what they lead to.
    pub(crate) fn look(sources: &[Source]) -> Result<Self> {
        let mut pack = Self::default();
        for (n, source) in sources.iter().enumerate() {
            let metadata = fs::symlink_metadata(&source.path).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => copy_error(format!("no such file here: {}", shown(&source.path))),
                _ => unreadable(&source.path, error),
            })?;
            pack.add(source.path.clone(), PathBuf::from(n.to_string()), &metadata)?;
        }
        pack.late.reverse();
        Ok(pack)
    }

    /// How large the archive is at the most, in bytes.
    pub(crate) fn size(&self) -> u64 {
        // A header and padding, and the same again for a name and for a target that are long, with a block of theirs.
        let member = |member: &Member| {
            8 * 512 + 2 * (member.name.as_os_str().len() + member.path.as_os_str().len()) as u64
        };
        self.bytes + 4 * 512 + self.members.iter().map(member).sum::<u64>()
    }

    /// A file that goes over by itself.
    pub(crate) fn of_file(path: PathBuf, size: u64, mode: u32) -> Self {
        let member = Member { path, name: PathBuf::from("0"), kind: Kind::File { mode, size } };
        Self { members: vec![member], late: Vec::new(), files: 1, bytes: size }
    }

    fn add(&mut self, path: PathBuf, name: PathBuf, metadata: &Metadata) -> Result<()> {
        let mut waiting = vec![(path, name, metadata.clone())];
        while let Some((path, name, metadata)) = waiting.pop() {
            let (kind, mode) = (metadata.file_type(), metadata.mode() & MODE);
            let kind = if kind.is_dir() {
                let mut names = fs::read_dir(&path)
                    .and_then(|entries| {
                        entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()
                    })
                    .map_err(|error| unreadable(&path, error))?;
                // They are taken from the end.
                names.sort_by(|one, other| other.cmp(one));
                for inside in names {
                    let path = path.join(&inside);
                    let metadata = fs::symlink_metadata(&path).map_err(|error| unreadable(&path, error))?;
                    waiting.push((path, name.join(&inside), metadata));
                }
                if mode & OWNER != OWNER {
                    self.late(&name, mode);
                }
                Kind::Directory { mode: mode | OWNER }
            } else if kind.is_symlink() {
                self.files += 1;
                Kind::Link
            } else if kind.is_file() {
                self.files += 1;
                self.bytes += metadata.len();
                Kind::File { mode, size: metadata.len() }
            } else {
                return Err(copy_error(format!(
                    "neither a file nor a directory nor a link: {}",
                    shown(&path)
                )));
            };
            self.members.push(Member { path, name, kind });
        }
        Ok(())
    }

    fn late(&mut self, name: &Path, mode: u32) {
        let mut parts = name.components();
        let source = parts.next().and_then(|first| first.as_os_str().to_str()?.parse().ok());
        let rest = parts.as_path();
        let path = if rest.as_os_str().is_empty() { PathBuf::from(".") } else { rest.to_owned() };
        self.late.push(Late { source: source.unwrap_or_default(), path, mode });
    }

    /// Writes the archive. Its last member, `complete`, proves that nothing is missing. `wrote` hears how many bytes
    /// of the files are done.
    pub(crate) fn write(&self, out: &mut dyn Write, wrote: &mut dyn FnMut(u64)) -> Result<()> {
        let mut archive = Builder::new(out);
        let mut done = 0;
        for member in &self.members {
            done += append(&mut archive, member)?;
            wrote(done);
        }
        let mut header = plain_header(EntryType::Regular, 0o600, 0);
        archive.append_data(&mut header, "complete", io::empty()).map_err(unwritable)?;
        archive.into_inner().and_then(|out| out.flush()).map_err(unwritable)
    }
}

/// Adds a member; how many bytes it has.
fn append(archive: &mut Builder<&mut dyn Write>, member: &Member) -> Result<u64> {
    let Member { path, name, kind } = member;
    match *kind {
        Kind::Directory { mode } => {
            let mut header = plain_header(EntryType::Directory, mode, 0);
            archive.append_data(&mut header, name, io::empty()).map_err(unwritable)?;
            Ok(0)
        }
        Kind::Link => {
            let target = fs::read_link(path).map_err(|error| unreadable(path, error))?;
            let header = plain_header(EntryType::Symlink, 0o777, 0);
            append_link(archive, header, name, target.as_os_str().as_bytes()).map_err(unwritable)?;
            Ok(0)
        }
        Kind::File { mode, size } => {
            let file = open(path).map_err(|error| unreadable(path, error))?;
            let mut header = plain_header(EntryType::Regular, mode, size);
            let mut content = Exact::new(&file, size);
            let written = archive.append_data(&mut header, name, &mut content);
            match (written, content.failure) {
                (_, Some(failure)) => Err(unreadable(path, failure)),
                (Err(error), None) => Err(unwritable(error)),
                (Ok(()), None) => Ok(size),
            }
        }
    }
}

/// Opens a file that was one when it was looked at. Anything else that is there now is not waited for.
fn open(path: &Path) -> io::Result<File> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or(0);
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a file any more")) }
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    copy_error(format!("cannot read {}", shown(path))).cause(error)
}
