//! What `sync-plan` prints with `--json`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What `crabbox sync-plan --json` prints: what a run would bring over. A name that is not UTF-8 is shown with
/// U+FFFD in place of what is not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncPlan {
    /// The root of the repository.
    pub root: String,
    /// The whole working tree, as far as it is brought over.
    pub candidate: SyncSize,
    /// The part of it that differs from the last commit, files that git does not know included.
    pub dirty_delta: SyncSize,
    /// Files that the last commit or the index has and that are gone here: a lease that has them loses them.
    pub remove: Vec<String>,
    /// Files that are brought over only because git tracks them.
    pub protected_tracked: Vec<ProtectedFile>,
    /// What git names and cannot be brought over: other repositories in this one, and special files.
    pub left_out: Vec<String>,
    /// Whether the tree is small enough.
    pub guardrail: SyncGuardrail,
    /// The largest files, the largest first.
    pub top_files: Vec<SyncFile>,
    /// The largest directories, two levels deep, the largest first. `.` stands for files at the root.
    pub top_dirs: Vec<SyncDirectory>,
    /// What it means for one lease; only where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseSyncPlan>,
}

/// How much there is of something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SyncSize {
    /// The number of files, links included.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A file that a built-in pattern would leave out if git did not track it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProtectedFile {
    /// Its path.
    pub path: String,
    /// The pattern.
    pub pattern: String,
}

/// What the limits say about a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncGuardrail {
    /// What a run would do.
    pub status: GuardrailStatus,
    /// The limits that are reached.
    pub reasons: Vec<GuardrailReason>,
    /// All limits.
    pub limits: SyncLimits,
    /// Whether the limits that fail are lifted.
    pub allow_large: bool,
}

/// What a run does about the size of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GuardrailStatus {
    /// Nothing.
    Ok,
    /// It warns, and goes on.
    Warn,
    /// It fails before anything is created.
    Fail,
}

/// A limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GuardrailReason {
    /// What comes of it: `warn` or `fail`.
    pub status: GuardrailStatus,
    /// What is counted.
    pub metric: GuardrailMetric,
    /// What there is.
    pub actual: u64,
    /// The limit.
    pub limit: u64,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GuardrailMetric {
    /// Files.
    Files,
    /// Bytes.
    Bytes,
}

/// How large a tree may be. Zero is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncLimits {
    /// From how many files on a run warns.
    pub warn_files: u64,
    /// From how many bytes on a run warns.
    pub warn_bytes: u64,
    /// From how many files on a run fails.
    pub fail_files: u64,
    /// From how many bytes on a run fails.
    pub fail_bytes: u64,
}

/// A file and its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SyncFile {
    /// Its path.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
}

/// A directory and the size of what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SyncDirectory {
    /// Its path.
    pub path: String,
    /// The number of files in it, at any depth.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a sync of one lease would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeaseSyncPlan {
    /// The lease.
    pub lease_id: String,
    /// The hash of the tree that the lease holds; absent where it holds none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// What would be sent.
    pub send: SyncSize,
    /// The paths that would be removed there.
    pub remove: Vec<String>,
    /// The paths that something on the lease changed, and that would be made the tree's again.
    pub dirty: Vec<String>,
}
