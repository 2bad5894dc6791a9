//! The timing record: where the time of a run went.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{LeaseId, RunId};

/// The line that `--timing-json` prints on standard error after a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timing {
    /// The provider.
    pub provider: String,
    /// The lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_id: Option<LeaseId>,
    /// The lease's slug.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
    /// The run.
    pub run_id: RunId,
    /// The run's label, where the user gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The repository that was synced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_path: Option<String>,
    /// Getting the lease, in milliseconds; absent when it was there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
    /// Bringing the tree over, in milliseconds.
    pub sync_ms: u64,
    /// Where the time of the sync went.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sync_phases: Vec<Phase>,
    /// Whether there was no sync.
    pub sync_skipped: bool,
    /// The command, in milliseconds.
    pub command_ms: u64,
    /// Releasing the lease, in milliseconds; absent when it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_ms: Option<u64>,
    /// Everything, in milliseconds.
    pub total_ms: u64,
    /// What crabbox exits with.
    pub exit_code: i32,
    /// How the run ended.
    pub run_status: RunStatus,
    /// Why it did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_kind: Option<RunErrorKind>,
    /// Whether the lease was released.
    pub lease_released: bool,
    /// Why releasing it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_error: Option<String>,
    /// What releases a lease that still stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_command: Option<String>,
}

/// A part of a sync.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Phase {
    /// The part's name.
    pub name: String,
    /// How long it took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// Whether it was left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skipped: bool,
    /// Why it was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunStatus {
    /// The command exited 0.
    Succeeded,
    /// The command, or something before it, failed.
    Failed,
    /// `--timeout` was over.
    TimedOut,
    /// The user ended it.
    Canceled,
}

/// Why a run did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunErrorKind {
    /// The command exited with another code than 0.
    CommandExit,
    /// `--timeout` was over.
    Timeout,
    /// The user ended it.
    Canceled,
    /// The provider failed, or the sync did.
    ProviderError,
}
