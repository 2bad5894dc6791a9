//! `configure` and `doctor`: is the configuration right, and does it work?

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{ErrorKind, Lease};

/// Hands over the resolved configuration. Comes once, right after `initialize`. No network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigureParams {
    /// The values by key, valid under the manifest's schema, defaults filled in. Durations are integer
    /// milliseconds and paths are absolute. No secrets.
    pub config: Map<String, Value>,
    /// For each secret that is set, the environment variable that holds it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretSource>,
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SecretSource {
    /// The name of the environment variable.
    pub env: String,
}

/// What the plugin makes of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigureResult {
    /// Where leases are made and as whom: endpoint, namespace, account, nothing secret. A lease is
    /// looked for only under the scope that it was made in.
    pub scope: String,
    /// A keyed fingerprint of the credential, never the credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Everything that is wrong, at once. Not empty: the host stops, except for `doctor`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// Features of the manifest that do not work under this configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withdrawn: Vec<String>,
    /// Deadlines that have to be longer than the host's.
    #[serde(default, skip_serializing_if = "Deadlines::is_empty")]
    pub deadlines: Deadlines,
    /// How a lease ends under this configuration. Absent: `delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseAction>,
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The key that it is about; empty for the whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// `configInvalid` when absent; `auth` for a missing credential, `prerequisite` for a missing program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ErrorKind>,
}

/// How a lease ends. Ordered: `stop` is milder than `delete`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseAction {
    /// Costs no computing any more; can be started again.
    Stop,
    /// Gone for good.
    Delete,
}

impl ReleaseAction {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Delete => "delete",
        }
    }
}

/// How long the host waits for an answer, in milliseconds, by method. `run` has no deadline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deadlines {
    /// Of `doctor`; the host's own is 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doctor_ms: Option<u64>,
    /// Of `acquire`; the host's own is 15 min.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acquire_ms: Option<u64>,
    /// Of `resolve`; the host's own is 60 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolve_ms: Option<u64>,
    /// Of `put`, on top of the time for the bytes; the host's own is 60 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub put_ms: Option<u64>,
    /// Of `kill`; the host's own is 60 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_ms: Option<u64>,
    /// Of `release`; the host's own is 5 min.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_ms: Option<u64>,
    /// Of `touch`; the host's own is 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touch_ms: Option<u64>,
    /// Of `list`; the host's own is 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list_ms: Option<u64>,
    /// Of `bridge` and `unbridge`; the host's own is 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge_ms: Option<u64>,
}

impl Deadlines {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Asks for checks of everything that can be checked without changing anything.
///
/// Comes also when `configure` reported problems; they are rows then.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DoctorParams {
    /// A lease to check as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
}

/// The checks that were made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DoctorResult {
    /// In the order in which a person would read them.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// What was checked: a word, such as `auth`.
    pub name: String,
    /// How it went.
    pub status: CheckStatus,
    /// What was found, in one line.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Facts for programs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, Value>,
}

/// How a check went. Only `fail` makes `crabbox doctor` fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// As it should be.
    Ok,
    /// It works, and deserves a look.
    Warn,
    /// It does not work.
    Fail,
    /// Not checked; the message says why.
    Skip,
    /// A status that this version does not know. The host treats it as `warn`.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}
