//! The tree to bring over: what git tracks, and what it does not know and does not ignore.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, statat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::Filter;
use super::filter::{Above, Verdict};
use super::git::{Listing, Named};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::output::foreign;

/// The files of a repository that make its working tree, as they are now.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// The repository's root.
    pub(crate) root: PathBuf,
    /// The files, sorted by the bytes of their paths.
    pub(crate) files: Vec<Entry>,
    /// What git names and cannot be brought over: other repositories in this one, and special files.
    pub(crate) left_out: Vec<PathBuf>,
    /// The files that are brought over only because git tracks them, each with the built-in pattern that
    /// would leave it out.
    pub(crate) protected: Vec<(PathBuf, &'static str)>,
}

/// One file of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its path from the root.
    pub(crate) path: PathBuf,
    /// What it is.
    pub(crate) kind: Kind,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// What changes when its content does.
    pub(crate) stamp: Stamp,
}

/// What the system says of a file besides its size: whoever changes the content changes one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// When its content was changed last, in nanoseconds since 1970; programs may set it.
    pub(crate) mtime: i128,
    /// When anything of it was changed last, in nanoseconds since 1970; nobody can set it.
    pub(crate) ctime: i128,
    /// Its number in its file system.
    pub(crate) inode: u64,
}

impl Stamp {
    /// The stamp of a file as it is, from what the system says about its name.
    fn of_stat(stat: &Stat) -> Self {
        let ns = |seconds: i128, ns: i128| seconds * 1_000_000_000 + ns;
        Self {
            mtime: ns(stat.st_mtime.into(), stat.st_mtime_nsec.into()),
            ctime: ns(stat.st_ctime.into(), stat.st_ctime_nsec.into()),
            inode: stat.st_ino,
        }
    }

    /// The stamp of a file as it is.
    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
        Self {
            mtime: ns(metadata.mtime(), metadata.mtime_nsec()),
            ctime: ns(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// A regular file, with its permissions: the lowest nine bits of its mode.
    File { mode: u32 },
    /// A symbolic link, which is brought over as one.
    Link,
}

impl Tree {
    /// Reads the tree of the repository at `root`, as far as the user wants it brought over.
    ///
    /// # Errors
    ///
    /// Names what belongs to the tree and cannot be seen: what a sparse checkout hides, what may not be read.
    pub(crate) fn read(root: &Path, filter: &Filter) -> Result<Self> {
        let listing = Listing::of(root)?;
        check_unread(&listing, filter)?;
        let named = listing.paths()?;
        let opened = rustix::fs::open(root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let opened =
            &opened.map_err(|error| sync_error(format!("cannot open `{}`", shown(root))).cause(error))?;
        let share = named.len().div_ceil(workers()).max(SHARE);
        let parts: Vec<Result<Part>> = thread::scope(|scope| {
            let read = |share| scope.spawn(move || Part::read(opened, filter, share));
            let threads: Vec<_> = named.chunks(share).map(read).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(panicked()))).collect()
        });
        let mut tree = Self { root: root.to_owned(), ..Self::default() };
        let mut hidden = Vec::new();
        for part in parts {
            let part = part?;
            tree.files.extend(part.files);
            tree.left_out.extend(part.left_out);
            tree.protected.extend(part.protected);
            hidden.extend(part.hidden);
        }
        check_hidden(&hidden)?;
        Ok(tree)
    }

    /// How many bytes the files have.
    pub(crate) fn size(&self) -> u64 {
        self.files.iter().map(|entry| entry.size).sum()
    }
}

/// As many paths as are worth a thread.
const SHARE: usize = 2_000;

/// How many threads look at files.
fn workers() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(4)
}

/// A part of the tree, read by one thread.
#[derive(Debug, Default)]
struct Part {
    files: Vec<Entry>,
    left_out: Vec<PathBuf>,
    protected: Vec<(PathBuf, &'static str)>,
    /// What belongs to the tree, and is kept out of the working tree.
    hidden: Vec<PathBuf>,
}

impl Part {
    fn read(root: &OwnedFd, filter: &Filter, named: &[Named<'_>]) -> Result<Self> {
        let mut part = Self::default();
        let mut directories = Directories { root, filter, known: HashMap::new(), last: None };
        for named in named {
            part.add(&mut directories, named)?;
        }
        Ok(part)
    }

    fn add<'a>(&mut self, directories: &mut Directories<'a>, named: &Named<'a>) -> Result<()> {
        let path = named.path;
        let directory = directories.of(path.as_os_str().as_bytes());
        let regular = named.tracked.is_some_and(|tracked| tracked.regular);
        let verdict = directories.filter.decide(directory.above, path, regular);
        if verdict == Verdict::Out {
            return Ok(());
        }
        if named.tracked.is_some_and(|tracked| tracked.mixed) {
            return Err(sync_error(format!("`{}` is a file on one side of a merge", shown(path)))
                .cause("it is a repository of its own on the other")
                .hint("resolve the conflict, or leave the path out by `sync.exclude` or `.crabboxignore`"));
        }
        // What git tracks below a directory that is a link now is deleted; the link is there instead.
        let found = if directory.is_real { look(directories.root, path)? } else { Found::Nothing };
        match (found, named.tracked) {
            (Found::Entry(entry), _) => {
                if let Verdict::Protected(pattern) = verdict {
                    self.protected.push((path.to_owned(), pattern));
                }
                self.files.push(entry);
            }
            // A directory in the place of a file: git lists what is in it.
            (Found::Directory, Some(tracked)) if !tracked.repository => {}
            (Found::Directory | Found::Other, _) => self.left_out.push(path.to_owned()),
            (Found::Nothing, Some(tracked)) if tracked.hidden && !tracked.repository => {
                self.hidden.push(path.to_owned());
            }
            (Found::Nothing, _) => {}
        }
        Ok(())
    }
}

/// The directories of the tree, each looked at once.
struct Directories<'a> {
    root: &'a OwnedFd,
    filter: &'a Filter,
    known: HashMap<&'a [u8], Directory>,
    /// The one that was asked for last, which is nearly always asked for next.
    last: Option<(&'a [u8], Directory)>,
}

#[derive(Clone, Copy)]
struct Directory {
    /// What the patterns make of it.
    above: Above,
    /// Whether it is one, and no link in its path.
    is_real: bool,
}

impl<'a> Directories<'a> {
    /// The directory that a path is in.
    fn of(&mut self, path: &'a [u8]) -> Directory {
        let Some(slash) = path.iter().rposition(|byte| *byte == b'/') else {
            return Directory { above: Above::default(), is_real: true };
        };
        let parent = &path[..slash];
        if let Some((_, directory)) = self.last.filter(|(last, _)| *last == parent) {
            return directory;
        }
        let directory = match self.known.get(parent) {
            Some(known) => *known,
            None => self.look(parent),
        };
        self.last = Some((parent, directory));
        directory
    }

    fn look(&mut self, path: &'a [u8]) -> Directory {
        let Directory { above, is_real } = self.of(path);
        let path_of = Path::new(OsStr::from_bytes(path));
        let is_link = || {
            let stat = statat(self.root, path_of, AtFlags::SYMLINK_NOFOLLOW);
            stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
        };
        let directory =
            Directory { above: self.filter.below(above, path_of), is_real: is_real && !is_link() };
        self.known.insert(path, directory);
        directory
    }
}

/// What is at a path.
enum Found {
    Entry(Entry),
    Directory,
    Other,
    Nothing,
}

/// Looks at one path.
fn look(root: &OwnedFd, path: &Path) -> Result<Found> {
    let stat = match statat(root, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Found::Nothing),
        Err(error) => {
            return Err(sync_error(format!("cannot look at `{}`", shown(path))).cause(error).hint(READABLE));
        }
    };
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File { mode: (stat.st_mode & 0o777) as _ },
        FileType::Symlink => Kind::Link,
        FileType::Directory => return Ok(Found::Directory),
        _ => return Ok(Found::Other),
    };
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    Ok(Found::Entry(Entry { path: path.to_owned(), kind, size, stamp: Stamp::of_stat(&stat) }))
}

const READABLE: &str = "make it readable, or have git ignore it";

/// Refuses a tree of which a directory could not be read: its files would be taken for deleted.
fn check_unread(listing: &Listing, filter: &Filter) -> Result<()> {
    let wanted = |path: &Path| filter.verdict(path, false) != Verdict::Out;
    match listing.unread.iter().find(|(path, _)| wanted(path)) {
        Some((path, why)) => Err(sync_error(format!("git cannot read the directory `{}`", shown(path)))
            .cause(why)
            .hint(READABLE)),
        None => Ok(()),
    }
}

/// Refuses a tree of which a sparse checkout hides a part: it would be taken for deleted.
fn check_hidden(hidden: &[PathBuf]) -> Result<()> {
    let [first, more @ ..] = hidden else { return Ok(()) };
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    Err(sync_error(format!("`{}`{more} would be missing on the lease", shown(first)))
        .cause("git tracks it, and a sparse checkout (or `skip-worktree`) hides it here")
        .hint(
            "`git sparse-checkout disable` brings it back; `sync.exclude` or `.crabboxignore` leaves it out",
        ))
}

/// A path as it can be printed.
pub(super) fn shown(path: &Path) -> String {
    foreign(&path.to_string_lossy())
}

fn panicked() -> Error {
    Error::failure("a thread that reads the tree has panicked")
}

/// An error of the sync.
pub(super) fn sync_error(message: impl Into<String>) -> Error {
    Error::new(Exit::Sync, message)
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
