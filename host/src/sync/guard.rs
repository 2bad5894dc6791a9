//! The guardrail: a tree that is larger than anybody wants to send is found out before anything is created.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

use crabbox_protocol::records::{
    GuardrailMetric, GuardrailReason, GuardrailStatus, SyncDirectory, SyncGuardrail, SyncLimits,
};

use super::tree::{Tree, sync_error};
use crate::config::Settings;
use crate::error::Result;
use crate::output::{foreign, human, warn};

/// How many directories a message names.
const SHOWN: usize = 5;

/// How large a tree may be. By default there is no limit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guard {
    limits: SyncLimits,
    allow_large: bool,
}

impl Guard {
    /// The limits that are set. `force` lifts those that fail.
    pub(crate) fn of(settings: &Settings, force: bool) -> Self {
        let limits = SyncLimits {
            warn_files: settings.sync_warn_files.value,
            warn_bytes: settings.sync_warn_bytes.value,
            fail_files: settings.sync_fail_files.value,
            fail_bytes: settings.sync_fail_bytes.value,
        };
        Self { limits, allow_large: force || settings.sync_allow_large.value }
    }

    /// Warns of a large tree, and refuses one that is too large.
    pub(crate) fn check(&self, tree: &Tree) -> Result<()> {
        let verdict = self.verdict(tree);
        let Some(reason) = verdict.reasons.first() else { return Ok(()) };
        let (actual, limit) = match reason.metric {
            GuardrailMetric::Files => (format!("{} files", reason.actual), reason.limit.to_string()),
            GuardrailMetric::Bytes => (human(reason.actual), human(reason.limit)),
        };
        let dirs = format!("sync top dirs: {}", top_dirs(tree));
        if reason.status == GuardrailStatus::Fail {
            let hint = "leave out what a build makes by .gitignore, .crabboxignore or `sync.exclude`, or use \
                        `--force-sync-large` (CRABBOX_SYNC_ALLOW_LARGE=1) when all of it is needed";
            return Err(sync_error(format!(
                "the working tree is too large to sync: {actual}, and the limit is {limit}"
            ))
            .hint(dirs)
            .hint(hint));
        }
        warn(format!(
            "the working tree is large: {actual}, warned of from {limit} on; {dirs}; .crabboxignore and \
             `sync.exclude` leave paths out"
        ));
        Ok(())
    }

    /// What the limits say about a tree: what fails first, then what warns.
    pub(super) fn verdict(&self, tree: &Tree) -> SyncGuardrail {
        let (files, bytes, limits) = (tree.files.len() as u64, tree.size(), self.limits);
        let all = [
            (GuardrailStatus::Fail, GuardrailMetric::Files, files, limits.fail_files),
            (GuardrailStatus::Fail, GuardrailMetric::Bytes, bytes, limits.fail_bytes),
            (GuardrailStatus::Warn, GuardrailMetric::Files, files, limits.warn_files),
            (GuardrailStatus::Warn, GuardrailMetric::Bytes, bytes, limits.warn_bytes),
        ];
        let reached = |status, actual, limit| {
            limit > 0 && actual >= limit && !(self.allow_large && status == GuardrailStatus::Fail)
        };
        let reasons = all.into_iter().filter(|(status, _, actual, limit)| reached(*status, *actual, *limit));
        let reasons: Vec<_> = reasons
            .map(|(status, metric, actual, limit)| GuardrailReason { status, metric, actual, limit })
            .collect();
        let status = reasons.first().map_or(GuardrailStatus::Ok, |reason| reason.status);
        SyncGuardrail { status, reasons, limits, allow_large: self.allow_large }
    }
}

/// The directories at the root with the most files in them, with how many and how large they are.
fn top_dirs(tree: &Tree) -> String {
    let mut dirs = directories(tree, 1);
    dirs.sort_by(|a, b| b.files.cmp(&a.files).then_with(|| a.path.cmp(&b.path)));
    let dirs = dirs.iter().take(SHOWN);
    let dirs: Vec<_> =
        dirs.map(|dir| format!("{}:{} ({})", foreign(&dir.path), dir.files, human(dir.bytes))).collect();
    dirs.join(", ")
}

/// Every directory of at most this depth that has files, and what is in it. What lies less deep counts for the
/// directory that it is in; `.` is the root.
pub(super) fn directories(tree: &Tree, depth: usize) -> Vec<SyncDirectory> {
    let mut sizes: BTreeMap<&[u8], (u64, u64)> = BTreeMap::new();
    for entry in &tree.files {
        let path = entry.path.as_os_str().as_bytes();
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(n, _)| n);
        let directory = slashes.take(depth).last().map_or(&b"."[..], |end| &path[..end]);
        let size = sizes.entry(directory).or_default();
        size.0 += 1;
        size.1 += entry.size;
    }
    let directory = |(path, (files, bytes)): (&[u8], _)| SyncDirectory {
        path: String::from_utf8_lossy(path).into_owned(),
        files,
        bytes,
    };
    sizes.into_iter().map(directory).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Entry, Kind, Stamp};
    use super::*;
    use crate::exit::Exit;

    fn tree(files: &[(&str, u64)]) -> Tree {
        let stamp = Stamp { mtime: 0, ctime: 0, inode: 0 };
        let entry = |(path, size): &(&str, u64)| Entry {
            path: path.into(),
            kind: Kind::File { mode: 0o644 },
            size: *size,
            stamp,
        };
        Tree { files: files.iter().map(entry).collect(), ..Tree::default() }
    }

    fn guard(warn: [u64; 2], fail: [u64; 2], allow_large: bool) -> Guard {
        let ([warn_files, warn_bytes], [fail_files, fail_bytes]) = (warn, fail);
        Guard { limits: SyncLimits { warn_files, warn_bytes, fail_files, fail_bytes }, allow_large }
    }

    #[test]
    fn a_limit_counts_from_where_it_is_reached_and_zero_is_none() {
        let tree = tree(&[("a", 10), ("b", 10)]);
        for (warn, fail, allow, status, reasons) in [
            ([3, 21], [3, 21], false, GuardrailStatus::Ok, 0),
            ([0, 0], [0, 0], false, GuardrailStatus::Ok, 0),
            ([2, 21], [3, 21], false, GuardrailStatus::Warn, 1),
            ([2, 20], [3, 20], false, GuardrailStatus::Fail, 3),
            ([2, 0], [2, 20], true, GuardrailStatus::Warn, 1),
        ] {
            let verdict = guard(warn, fail, allow).verdict(&tree);
            assert_eq!((verdict.status, verdict.reasons.len()), (status, reasons), "{warn:?} {fail:?}");
        }
    }

    #[test]
    fn too_large_a_tree_is_refused_with_what_makes_it_large() {
        let tree = tree(&[("README", 1), ("a/x", 1_000), ("a/y/z", 1_000), ("b/x", 24)]);
        let error = guard([0, 0], [4, 0], false).check(&tree).unwrap_err();
        assert_eq!(error.exit, Exit::Sync);
        assert!(error.message.ends_with("4 files, and the limit is 4"), "{error}");
        assert_eq!(error.hints[0], "sync top dirs: a:2 (2.0 KiB), .:1 (1 B), b:1 (24 B)");
        assert!(error.hints[1].contains("--force-sync-large"), "{error:?}");
        let error = guard([0, 0], [0, 2_000], false).check(&tree).unwrap_err();
        assert!(error.message.ends_with("2.0 KiB, and the limit is 2.0 KiB"), "{error}");
        guard([1, 1], [4, 2_000], true).check(&tree).unwrap();
    }

    #[test]
    fn directories_are_as_deep_as_asked() {
        let tree = tree(&[("r", 1), ("a/x", 1), ("a/b/x", 2), ("a/b/c/x", 3)]);
        let paths = |depth| directories(&tree, depth).into_iter().map(|dir| (dir.path, dir.files, dir.bytes));
        assert_eq!(paths(1).collect::<Vec<_>>(), [(".".into(), 1, 1), ("a".into(), 3, 6)]);
        let deep = [(".".into(), 1, 1), ("a".into(), 1, 1), ("a/b".into(), 2, 5)];
        assert_eq!(paths(2).collect::<Vec<_>>(), deep);
    }
}
