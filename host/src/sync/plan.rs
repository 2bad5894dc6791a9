//! What a sync would bring over, without a lease.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::thread;

use crabbox_protocol::records::{ProtectedFile, SyncFile, SyncPlan, SyncSize};

use super::filter::Verdict;
use super::git::Changes;
use super::guard::directories;
use super::{Filter, Guard, Tree};
use crate::error::{Error, Result};
use crate::output::warn;

/// How deep the directories are that a plan names.
const DEPTH: usize = 2;

/// Reads the tree, and says what a run would bring over. Names the `top` largest files and directories.
pub(crate) fn plan(root: &Path, filter: &Filter, guard: &Guard, top: usize) -> Result<(Tree, SyncPlan)> {
    let (tree, changes) = thread::scope(|scope| {
        let changes = scope.spawn(|| Changes::of(root));
        let tree = Tree::read(root, filter);
        let changes = changes.join().unwrap_or_else(|_| Err(Error::failure("git's answer cannot be read")));
        Ok::<_, Error>((tree?, changes?))
    })?;
    let plan = describe(&tree, &changes, filter, guard, top);
    Ok((tree, plan))
}

fn describe(tree: &Tree, changes: &Changes, filter: &Filter, guard: &Guard, top: usize) -> SyncPlan {
    let changed: HashSet<&OsStr> = changes.changed.iter().map(|path| path.as_os_str()).collect();
    let delta = tree.files.iter().filter(|entry| changed.contains(entry.path.as_os_str()));
    let delta = delta.fold(SyncSize::default(), |sum, entry| SyncSize {
        files: sum.files + 1,
        bytes: sum.bytes + entry.size,
    });
    let there: HashSet<&OsStr> = tree.files.iter().map(|entry| entry.path.as_os_str()).collect();
    let wanted = |path: &Path, regular| filter.verdict(path, regular) != Verdict::Out;
    let remove = changes.gone.iter().filter(|(path, _)| !there.contains(path.as_os_str()));
    let remove = remove.filter(|(path, regular)| wanted(path, *regular)).map(|(path, _)| text(path));

    let mut files: Vec<_> = tree.files.iter().collect();
    files.sort_by_key(|entry| Reverse(entry.size));
    let file = |path: &PathBuf, bytes| SyncFile { path: text(path), bytes };
    let mut top_dirs = directories(tree, DEPTH);
    top_dirs.sort_by_key(|dir| Reverse(dir.bytes));
    top_dirs.truncate(top);
    SyncPlan {
        root: text(&tree.root),
        candidate: SyncSize { files: tree.files.len() as u64, bytes: tree.size() },
        dirty_delta: delta,
        remove: remove.collect(),
        protected_tracked: tree
            .protected
            .iter()
            .map(|(path, pattern)| ProtectedFile { path: text(path), pattern: (*pattern).to_owned() })
            .collect(),
        left_out: tree.left_out.iter().map(|path| text(path)).collect(),
        guardrail: guard.verdict(tree),
        top_files: files.into_iter().take(top).map(|entry| file(&entry.path, entry.size)).collect(),
        top_dirs,
        lease: None,
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Names the files that are brought over only because git tracks them, in the words of openclaw/crabbox.
pub(crate) fn warn_of_protected(tree: &Tree) {
    if let Some(text) = protected(tree) {
        warn(text);
    }
}

fn protected(tree: &Tree) -> Option<String> {
    let names: Vec<_> = tree
        .protected
        .iter()
        .map(|(path, pattern)| format!("{} ({pattern})", super::tree::shown(path)))
        .collect();
    let count = names.len();
    (count > 0).then(|| {
        format!("protected {count} tracked files from built-in artifact excludes: {}", a_few(&names))
    })
}

/// The first few of some names, and how many more there are.
pub(crate) fn a_few(names: &[String]) -> String {
    const SHOWN: usize = 5;
    match names.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{} (+{more} more)", names[..SHOWN].join(", ")),
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::super::git::git;
    use super::*;

    #[test]
    fn what_changed_and_what_is_gone_is_told_after_the_patterns() {
        let directory = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let run = |arguments: &[&str]| assert!(git(directory.path(), arguments).unwrap().status.success());
        for path in ["same", "changed", "gone", "docs/gone", "dist/gone", "dist/same", "out", "link/x"] {
            write(path, path);
        }
        run(&["init", "-q"]);
        run(&["add", "-A"]);
        run(&["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]);
        write("changed", "more than it was");
        write("new", "12");
        write("docs/new", "12");
        run(&["rm", "-q", "--cached", "out"]);
        for path in ["gone", "docs/gone", "dist/gone"] {
            std::fs::remove_file(directory.path().join(path)).unwrap();
        }
        std::fs::remove_dir_all(directory.path().join("link")).unwrap();
        std::os::unix::fs::symlink("docs", directory.path().join("link")).unwrap();

        let filter = Filter::of(directory.path(), &["docs".to_owned()], &[]).unwrap();
        let guard = Guard::default();
        let (tree, plan) = plan(directory.path(), &filter, &guard, 2).unwrap();
        assert_eq!((plan.candidate.files, tree.files.len()), (6, 6));
        // `changed`, `link`, `new`, and `out`, which git does not know any more.
        assert_eq!(plan.dirty_delta, SyncSize { files: 4, bytes: 16 + 4 + 2 + 3 });
        assert_eq!(plan.remove, ["dist/gone", "gone", "link/x"]);
        assert_eq!(plan.protected_tracked.len(), 1);
        assert_eq!(
            plan.top_files.iter().map(|file| &*file.path).collect::<Vec<_>>(),
            ["changed", "dist/same"]
        );
        assert_eq!(plan.top_dirs.iter().map(|dir| &*dir.path).collect::<Vec<_>>(), [".", "dist"]);
    }

    #[test]
    fn a_plan_needs_no_commit() {
        let directory = tempfile::tempdir().unwrap();
        assert!(git(directory.path(), &["init", "-q"]).unwrap().status.success());
        std::fs::write(directory.path().join("a"), "1").unwrap();
        let guard = Guard::default();
        let (_, plan) = plan(directory.path(), &Filter::default(), &guard, 5).unwrap();
        assert_eq!((plan.candidate, plan.remove.len()), (plan.dirty_delta, 0));
    }

    #[test]
    fn protected_files_are_one_line() {
        let files = |count: usize| (0..count).map(|n| (format!("dist/{n}").into(), "dist")).collect();
        let tree = |count| Tree { protected: files(count), ..Tree::default() };
        assert_eq!(protected(&tree(0)), None);
        assert_eq!(
            protected(&tree(7)).unwrap(),
            "protected 7 tracked files from built-in artifact excludes: dist/0 (dist), dist/1 (dist), \
             dist/2 (dist), dist/3 (dist), dist/4 (dist) (+2 more)"
        );
        assert!(protected(&tree(5)).unwrap().ends_with("dist/4 (dist)"));
    }
}
