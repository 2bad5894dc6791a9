//! What git says about a repository: where it is, which files make its tree, what changed in it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::tree::{shown, sync_error};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::output::foreign;

/// The mode that git has for another repository in a repository.
const GITLINK: &[u8] = b"160000";

/// The modes that git has for regular files.
const REGULAR: [&[u8]; 2] = [b"100644", b"100755"];

/// A path that git tracks, or neither knows nor ignores.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named<'a> {
    /// The path from the root.
    pub(super) path: &'a Path,
    /// What git tracks there; absent where it tracks nothing.
    pub(super) tracked: Option<Tracked>,
}

/// What git tracks at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tracked {
    /// A regular file, in any of the versions of a merge.
    pub(super) regular: bool,
    /// Another repository.
    pub(super) repository: bool,
    /// A file in one version of a merge, and another repository in another.
    pub(super) mixed: bool,
    /// Kept out of the working tree on purpose, as far as git knows.
    pub(super) hidden: bool,
}

impl Tracked {
    fn join(self, other: Self) -> Self {
        Self {
            regular: self.regular || other.regular,
            repository: self.repository || other.repository,
            mixed: self.mixed || other.mixed || self.repository != other.repository,
            hidden: self.hidden || other.hidden,
        }
    }
}

/// What git lists, and the directories that it could not read, with the reasons.
#[derive(Debug)]
pub(super) struct Listing {
    records: Vec<u8>,
    /// The directories that git could not read, with why.
    pub(super) unread: Vec<(PathBuf, String)>,
}

impl Listing {
    /// Asks git, in one process: what is tracked must not become untracked between two.
    pub(super) fn of(root: &Path) -> Result<Self> {
        let list = ["ls-files", "-t", "--stage", "--cached", "--others", "--exclude-standard", "-z"];
        let output = git(root, &list)?;
        if !output.status.success() {
            return Err(failed("git cannot list the files of the working tree", &output));
        }
        Ok(Self { records: output.stdout, unread: unread(&output.stderr) })
    }

    /// The paths, sorted by their bytes, each once.
    pub(super) fn paths(&self) -> Result<Vec<Named<'_>>> {
        let records = self.records.split(|byte| *byte == 0).filter(|record| !record.is_empty());
        let strange =
            |record| sync_error(format!("git lists `{}`, which has no meaning", shown(path(record))));
        let named = records.map(|record| Named::parse(record).ok_or_else(|| strange(record)));
        let mut named = named.collect::<Result<Vec<_>>>()?;
        named.sort_by(|a, b| a.path.as_os_str().cmp(b.path.as_os_str()));
        named.dedup_by(|again, first| {
            let same = again.path.as_os_str() == first.path.as_os_str();
            if same {
                first.tracked = match (first.tracked, again.tracked) {
                    (Some(a), Some(b)) => Some(a.join(b)),
                    (a, b) => a.or(b),
                };
            }
            same
        });
        Ok(named)
    }
}

impl<'a> Named<'a> {
    /// Reads `? PATH` or `TAG MODE OBJECT STAGE<tab>PATH`.
    fn parse(record: &'a [u8]) -> Option<Self> {
        let [tag, b' ', rest @ ..] = record else { return None };
        if *tag == b'?' {
            // A repository that git does not track ends with a slash.
            return Some(Self { path: path(rest.strip_suffix(b"/").unwrap_or(rest)), tracked: None });
        }
        let tab = rest.iter().position(|byte| *byte == b'\t')?;
        let mode = rest[..tab].split(|byte| *byte == b' ').next()?;
        let tracked = Tracked {
            regular: REGULAR.contains(&mode),
            repository: mode == GITLINK,
            mixed: false,
            hidden: *tag == b'S',
        };
        Some(Self { path: path(&rest[tab + 1..]), tracked: Some(tracked) })
    }
}

/// What differs from the last commit.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Paths that changed, or that git does not know.
    pub(super) changed: Vec<PathBuf>,
    /// Files that are gone, and whether they were regular ones.
    pub(super) gone: Vec<(PathBuf, bool)>,
}

impl Changes {
    /// Asks git.
    pub(crate) fn of(root: &Path) -> Result<Self> {
        let status = ["--no-optional-locks", "status", "--porcelain=v2", "-z", "--untracked-files=all"];
        let output = git(root, &[&status[..], &["--no-renames", "--ignore-submodules=all"]].concat())?;
        if !output.status.success() {
            return Err(failed("git cannot tell what changed in the working tree", &output));
        }
        let mut changes = Self::default();
        for record in output.stdout.split(|byte| *byte == 0) {
            changes.add(record);
        }
        Ok(changes)
    }

    /// Adds a record of `git status --porcelain=v2`. What stands before a path has a fixed number of words.
    fn add(&mut self, record: &[u8]) {
        let field = |n: usize| record.split(|byte| *byte == b' ').nth(n).unwrap_or_default();
        let rest = |n: usize| record.splitn(n + 1, |byte| *byte == b' ').nth(n).map(path).map(Path::to_owned);
        // The modes of the commit, of the index (three of them in a merge), and of the working tree.
        let (path, before, now) = match record.first() {
            Some(b'1') => (rest(8), 3..5, field(5)),
            Some(b'u') => (rest(10), 3..6, field(6)),
            Some(b'?') => (rest(1), 0..0, &b"100644"[..]),
            _ => return,
        };
        let Some(path) = path else { return };
        if now != b"000000" {
            self.changed.push(path);
        } else if !before.clone().any(|n| field(n) == GITLINK) {
            self.gone.push((path, before.clone().any(|n| REGULAR.contains(&field(n)))));
        }
    }
}

/// The root of the repository that `directory` is in.
///
/// # Errors
///
/// Says what to do when there is none, and when it is one of Jujutsu's that git cannot read.
pub(crate) fn find_root(directory: &Path) -> Result<PathBuf> {
    let output = git(directory, &["rev-parse", "--show-toplevel"])?;
    let top = output.stdout.strip_suffix(b"\n").unwrap_or(&output.stdout);
    let top = output.status.success().then(|| path(top).to_owned());
    if let Some(root) = jujutsu(directory, top.as_deref()) {
        return Err(sync_error(format!("`{}` is a Jujutsu workspace without git beside it", shown(&root)))
            .cause("what is brought over is what git lists, and git cannot see which revision this is")
            .hint(
                "let git share it (`jj git colocation enable`), or use `--no-sync` to run without your files",
            ));
    }
    if let Some(top) = top {
        return Ok(top);
    }
    if String::from_utf8_lossy(&output.stderr).contains("not a git repository") {
        return Err(sync_error(format!("`{}` is not in a git repository", shown(directory)))
            .hint("run `git init` to sync this directory, or use `--no-sync` to run without your files"));
    }
    Err(failed(&format!("git cannot tell the repository of `{}`", shown(directory)), &output)
        .hint("use `--no-sync` to run without your files"))
}

/// The workspace of Jujutsu that a directory is in, when it is nearer than what git found.
fn jujutsu(directory: &Path, top: Option<&Path>) -> Option<PathBuf> {
    let there = |path: PathBuf| fs::symlink_metadata(path).is_ok();
    let directory = directory.canonicalize().ok()?;
    let mut nearer = directory.ancestors().take_while(|above| match top {
        Some(top) => *above != top,
        None => !there(above.join(".git")),
    });
    nearer.find(|above| there(above.join(".jj"))).map(Path::to_owned)
}

/// Runs git without what this process's environment says about other repositories.
pub(super) fn git(directory: &Path, arguments: &[&str]) -> Result<Output> {
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

fn failed(what: &str, output: &Output) -> Error {
    let said = String::from_utf8_lossy(&output.stderr);
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.fold(sync_error(what), |error, line| error.cause(foreign(line)))
}

/// The directories that git warns of. It lists the rest as if they were empty.
fn unread(stderr: &[u8]) -> Vec<(PathBuf, String)> {
    let lines = stderr.split(|byte| *byte == b'\n');
    let warning = |line: &[u8]| {
        let rest = line.strip_prefix(b"warning: could not open directory '")?;
        let end = rest.windows(3).rposition(|end| end == b"': ")?;
        let directory = rest[..end].strip_suffix(b"/").unwrap_or(&rest[..end]);
        Some((path(directory).to_owned(), String::from_utf8_lossy(&rest[end + 3..]).into_owned()))
    };
    lines.filter_map(warning).collect()
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(records: &[u8]) -> Result<Vec<(String, Option<Tracked>)>> {
        let listing = Listing { records: records.to_vec(), unread: Vec::new() };
        let paths = listing.paths()?;
        Ok(paths.iter().map(|named| (shown(named.path), named.tracked)).collect())
    }

    const FILE: Tracked = Tracked { regular: true, repository: false, mixed: false, hidden: false };

    #[test]
    fn what_git_lists_is_sorted_and_each_path_is_there_once() {
        let records = b"? z/\0? a b\0H 100755 e69d 0\ta/x\0M 100644 e69d 1\tm\0M 120000 e69d 2\tm\0\
                        S 100644 e69d 0\ts\0H 160000 e69d 0\tsub\0";
        let named = list(records).unwrap();
        assert_eq!(
            named,
            [
                ("a b".into(), None),
                ("a/x".into(), Some(FILE)),
                ("m".into(), Some(FILE)),
                ("s".into(), Some(Tracked { hidden: true, ..FILE })),
                ("sub".into(), Some(Tracked { regular: false, repository: true, ..FILE })),
                ("z".into(), None),
            ]
        );
        assert!(list(b"H 100644 e69d 0 no tab\0").is_err());
    }

    #[test]
    fn a_merge_of_a_file_and_a_repository_is_seen() {
        let named = list(b"M 100644 e69d 2\tx\0M 160000 e69d 3\tx\0").unwrap();
        assert!(named[0].1.unwrap().mixed && named.len() == 1);
    }

    #[test]
    fn what_changed_and_what_is_gone() {
        let records: [&[u8]; 8] = [
            b"1 .M N... 100644 100644 100644 e69d e69d with blank",
            b"1 A. N... 000000 100644 100644 0000 e69d added",
            b"1 .D N... 100644 100644 000000 e69d e69d gone",
            b"1 D. N... 120000 000000 000000 e69d 0000 link",
            b"1 D. S... 160000 000000 000000 e69d 0000 sub",
            b"u UU N... 100644 100644 100644 100644 e69d e69d e69d merged",
            b"u DD N... 100644 000000 000000 000000 e69d 0000 0000 both gone",
            b"? new file",
        ];
        let mut changes = Changes::default();
        records.iter().for_each(|record| changes.add(record));
        assert_eq!(changes.changed, ["with blank", "added", "merged", "new file"].map(PathBuf::from));
        let gone = [("gone", true), ("link", false), ("both gone", true)];
        assert_eq!(changes.gone, gone.map(|(path, regular)| (PathBuf::from(path), regular)));
    }

    #[test]
    fn a_directory_that_git_cannot_read_is_named() {
        let stderr = b"warning: could not open directory 'it's/': Permission denied\nwarning: other\n";
        assert_eq!(unread(stderr), [("it's".into(), "Permission denied".to_owned())]);
    }

    #[test]
    fn the_root_is_found_from_below_and_its_absence_is_explained() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("a/b")).unwrap();
        let below = directory.path().join("a/b");
        let error = find_root(&below).unwrap_err();
        assert_eq!(error.exit, Exit::Sync);
        assert!(error.hints[0].contains("git init") && error.hints[0].contains("--no-sync"), "{error:?}");
        assert!(git(directory.path(), &["init", "-q"]).unwrap().status.success());
        assert_eq!(find_root(&below).unwrap(), directory.path().canonicalize().unwrap());
    }

    #[test]
    fn a_workspace_of_jujutsu_is_refused_where_git_is_not_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("inner");
        fs::create_dir_all(inner.join(".jj")).unwrap();
        fs::create_dir_all(inner.join("src")).unwrap();
        let refused = || {
            let error = find_root(&inner.join("src")).unwrap_err();
            assert_eq!(error.exit, Exit::Sync);
            assert!(error.message.contains("inner` is a Jujutsu workspace"), "{error}");
        };
        refused();
        assert!(git(directory.path(), &["init", "-q"]).unwrap().status.success());
        refused();
        assert!(git(&inner, &["init", "-q"]).unwrap().status.success());
        assert_eq!(find_root(&inner.join("src")).unwrap(), inner.canonicalize().unwrap());
    }
}
