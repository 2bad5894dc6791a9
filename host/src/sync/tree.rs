//! The tree to bring over: what git tracks, and what it does not know and does not ignore.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde::{Deserialize, Serialize};

use super::Filter;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// The files of a repository that make its working tree, as they are now.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The repository's root.
    pub(crate) root: PathBuf,
    /// The files, sorted by the bytes of their paths.
    pub(crate) files: Vec<Entry>,
    /// What git names and cannot be brought over: other repositories in this one, and special files.
    pub(crate) left_out: Vec<PathBuf>,
}

/// What is at a path.
enum Found {
    Entry(Entry),
    Other(PathBuf),
    Nothing,
}

/// Which directories are directories and not links, each looked at once.
struct Parents<'a> {
    root: &'a Path,
    real: HashMap<PathBuf, bool>,
}

impl Parents<'_> {
    fn are_real(&mut self, path: &Path) -> bool {
        let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return true };
        if let Some(real) = self.real.get(parent) {
            return *real;
        }
        let link = fs::symlink_metadata(self.root.join(parent)).is_ok_and(|metadata| metadata.is_symlink());
        let real = !link && self.are_real(parent);
        self.real.insert(parent.to_owned(), real);
        real
    }
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
    pub(crate) fn read(root: &Path, filter: &Filter) -> Result<Self> {
        let output = git(root, &["ls-files", "--cached", "--others", "--exclude-standard", "-z"])?;
        if !output.status.success() {
            return Err(sync_error("git cannot list the files of the working tree")
                .cause(String::from_utf8_lossy(&output.stderr).trim()));
        }
        let names = output.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        let mut paths: Vec<PathBuf> = names.map(|name| OsString::from_vec(name.to_vec()).into()).collect();
        paths.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
        paths.dedup();
        let (mut files, mut left_out) = (Vec::with_capacity(paths.len()), Vec::new());
        let mut parents = Parents { root, real: HashMap::new() };
        for path in paths {
            // What git tracks below a directory that is a link now is deleted; the link is there instead.
            if !filter.keeps(&path) || !parents.are_real(&path) {
                continue;
            }
            match Entry::read(root, path)? {
                Found::Entry(entry) => files.push(entry),
                Found::Other(path) => left_out.push(path),
                Found::Nothing => {}
            }
        }
        Ok(Self { root: root.to_owned(), files, left_out })
    }

    /// How many bytes the files have.
    pub(crate) fn size(&self) -> u64 {
        self.files.iter().map(|entry| entry.size).sum()
    }
}

impl Entry {
    /// Looks at one path.
    fn read(root: &Path, path: PathBuf) -> Result<Found> {
        let metadata = match fs::symlink_metadata(root.join(&path)) {
            Ok(metadata) => metadata,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Found::Nothing);
            }
            Err(error) => return Err(sync_error(format!("cannot look at `{}`", path.display())).cause(error)),
        };
        let kind = match metadata.file_type() {
            kind if kind.is_file() => Kind::File { mode: metadata.mode() & 0o777 },
            kind if kind.is_symlink() => Kind::Link,
            _ => return Ok(Found::Other(path)),
        };
        Ok(Found::Entry(Self { path, kind, size: metadata.len(), stamp: Stamp::of(&metadata) }))
    }
}

/// The root of the repository that `directory` is in.
///
/// # Errors
///
/// Says what to do when there is none.
pub(crate) fn find_root(directory: &Path) -> Result<PathBuf> {
    let output = git(directory, &["rev-parse", "--show-toplevel"])?;
    if output.status.success() {
        let path = output.stdout.strip_suffix(b"\n").unwrap_or(&output.stdout);
        return Ok(OsString::from_vec(path.to_vec()).into());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let error = if why.contains("not a git repository") {
        sync_error(format!("`{}` is not in a git repository", directory.display()))
    } else {
        sync_error(format!("git cannot tell the repository of `{}`", directory.display())).cause(why)
    };
    Err(error.hint("run `git init` to sync this directory, or use `--no-sync` to run without your files"))
}

/// Runs git without what this process's environment says about other repositories.
fn git(directory: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os() {
        if name.as_bytes().starts_with(b"GIT_") {
            command.env_remove(name);
        }
    }
    // Ctrl-C is for crabbox to hear.
    let output = command
        .env("LC_ALL", "C")
        .process_group(0)
        .stdin(Stdio::null())
        .arg("-C")
        .arg(directory)
        .args(arguments)
        .output();
    output.map_err(|error| {
        Error::new(Exit::Auth, "cannot start git").cause(error).hint("install git, or use `--no-sync`")
    })
}

/// An error of the sync.
pub(super) fn sync_error(message: impl Into<String>) -> Error {
    Error::new(Exit::Sync, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(files: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        assert!(git(directory.path(), &["init", "-q"]).unwrap().status.success());
        for file in files {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        directory
    }

    #[test]
    fn tracked_and_new_files_are_in_and_ignored_and_deleted_ones_are_not() {
        let directory = repository(&["a", "b/c d", "new\nline", "target/x", ".gitignore", "gone"]);
        fs::write(directory.path().join(".gitignore"), "target\n").unwrap();
        assert!(git(directory.path(), &["add", "-A"]).unwrap().status.success());
        fs::remove_file(directory.path().join("gone")).unwrap();
        fs::write(directory.path().join("untracked"), "1").unwrap();
        std::os::unix::fs::symlink("/nowhere", directory.path().join("link")).unwrap();
        let tree = Tree::read(directory.path(), &Filter::default()).unwrap();
        let names: Vec<_> = tree.files.iter().map(|entry| entry.path.to_str().unwrap()).collect();
        assert_eq!(names, [".gitignore", "a", "b/c d", "link", "new\nline", "untracked"]);
        assert_eq!(tree.files[3].kind, Kind::Link);
    }

    #[test]
    fn nothing_is_read_through_a_link_that_took_a_directorys_place() {
        let directory = repository(&["d/f", "e"]);
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("f"), "theirs").unwrap();
        assert!(git(directory.path(), &["add", "-A"]).unwrap().status.success());
        fs::remove_dir_all(directory.path().join("d")).unwrap();
        std::os::unix::fs::symlink(outside.path(), directory.path().join("d")).unwrap();
        let tree = Tree::read(directory.path(), &Filter::default()).unwrap();
        let names: Vec<_> =
            tree.files.iter().map(|entry| (entry.path.to_str().unwrap(), entry.kind)).collect();
        assert_eq!(names, [("d", Kind::Link), ("e", Kind::File { mode: 0o644 })]);
    }

    #[test]
    fn a_repository_in_the_repository_is_named_and_not_brought_over() {
        let directory = repository(&["a", "inner/b"]);
        assert!(git(&directory.path().join("inner"), &["init", "-q"]).unwrap().status.success());
        assert!(git(&directory.path().join("inner"), &["add", "-A"]).unwrap().status.success());
        let tree = Tree::read(directory.path(), &Filter::default()).unwrap();
        assert_eq!(tree.files.len(), 1);
        assert_eq!(tree.left_out, [PathBuf::from("inner/")]);
    }

    #[test]
    fn the_root_is_found_from_below_and_its_absence_is_explained() {
        let directory = repository(&["a/b/c"]);
        let root = find_root(&directory.path().join("a/b")).unwrap();
        assert_eq!(root, directory.path().canonicalize().unwrap());
        let error = find_root(tempfile::tempdir().unwrap().path()).unwrap_err();
        assert_eq!(error.exit, Exit::Sync);
        assert!(error.hints[0].contains("--no-sync"), "{error:?}");
    }
}
