//! What `list`, `status`, `doctor`, `cleanup` and `config show` print with `--json`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ClaimState, Owner};
use crate::{CheckStatus, LeaseState};

/// What `crabbox list --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct LeaseRows(pub Vec<LeaseRow>);

/// A lease, from its claim or, with `--refresh`, from its provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeaseRow {
    /// The lease's identifier; absent for a resource that its provider holds and cannot name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The lease's slug.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
    /// The remote name.
    pub name: String,
    /// The provider.
    pub provider: String,
    /// The provider's own identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#ref: Option<String>,
    /// How far the lease is; absent where there is no claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimState>,
    /// How the lease stands, where the provider was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<LeaseState>,
    /// Who ends the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Its crew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crew: Option<String>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The repository that uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_root: Option<String>,
    /// Runs that are alive on it.
    pub running: usize,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When it was last used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
    /// When its time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What is wrong with the claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What ends the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_command: Option<String>,
}

/// What `crabbox status --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusRow {
    /// The lease, as in the list.
    #[serde(flatten)]
    pub lease: LeaseRow,
    /// Whether something can be run on it now.
    pub ready: bool,
    /// Why not, or what else the provider says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What `crabbox status --crew --json` prints: the members by slug and then by lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct StatusRows(pub Vec<StatusRow>);

/// What `crabbox doctor --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DoctorReport {
    /// Whether no check failed.
    pub ok: bool,
    /// The checks, the host's own first.
    pub checks: Vec<DoctorRow>,
}

/// A check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DoctorRow {
    /// What was checked.
    pub check: String,
    /// How it went.
    pub status: CheckStatus,
    /// The provider that was checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What was found.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Facts for programs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, Value>,
}

/// What `crabbox config show --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigReport {
    /// The files that were looked for, in the order of precedence.
    pub files: Vec<ConfigFile>,
    /// Every value, with where it comes from.
    pub values: Vec<ConfigValue>,
    /// What was ignored, and why.
    pub warnings: Vec<String>,
}

/// A configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigFile {
    /// Its path.
    pub path: String,
    /// Whose it is: `repository`, `user` or `CRABBOX_CONFIG`.
    pub role: String,
    /// Whether it is there.
    pub found: bool,
}

/// A resolved value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigValue {
    /// The key, such as `provider` or `local.root`.
    pub key: String,
    /// The value; of a secret only `configured` or `missing`.
    pub value: Value,
    /// Where it comes from, such as `flag --provider` or the path of a file.
    pub source: String,
}

/// What `crabbox cleanup --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CleanupReport {
    /// How many claims were looked at.
    pub checked: usize,
    /// What was done, or with `--dry-run` would be done, claim by claim.
    pub rows: Vec<CleanupRow>,
}

/// What cleanup did about one claim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CleanupRow {
    /// The lease, or the run for what a run without a lease left.
    pub id: String,
    /// The provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What was done.
    pub action: CleanupAction,
    /// Why, in one line.
    pub message: String,
    /// When to look again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again_at: Option<Timestamp>,
}

/// What cleanup did about a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CleanupAction {
    /// The lease was released.
    Released,
    /// With `--dry-run`: it would be released.
    WouldRelease,
    /// There was nothing to release; the record was removed.
    Forgotten,
    /// It is in use, or its time is not over.
    Kept,
    /// It is not over yet; look again later.
    Pending,
    /// It failed.
    Failed,
}
