//! The claim: the host's durable record of a lease.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Endpoint, Lease, ReleaseAction, RunId, SecretSource, Ssh, Tailscale};

/// The host's durable record of a lease: `claims/LEASEID.json` in the state directory. Holds no secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// The version of this record: 1.
    pub version: u32,
    /// The lease as requests carry it. Its `id` is the file's name.
    pub lease: Lease,
    /// Which of the lease's labels the provider gave. It may change these; the others are the user's.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub provider_labels: BTreeSet<String>,
    /// Changes at every write; a writer that read another one has to read again.
    pub revision: String,
    /// How far the lease is.
    pub state: ClaimState,
    /// Who ends the lease.
    pub owner: Owner,
    /// The provider.
    pub provider: String,
    /// The plugin that made the lease.
    pub plugin: ClaimPlugin,
    /// Where the lease is and as whom, as the plugin said.
    pub scope: String,
    /// The fingerprint of the credential, as the plugin gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// The configuration that the lease was made with. Later requests about the lease use it.
    pub config: Map<String, Value>,
    /// The environment variables that held the secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretSource>,
    /// How the lease ends, unless the user says otherwise.
    pub release: ReleaseAction,
    /// The repository that uses the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_root: Option<String>,
    /// The operating system of the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// How the host reaches the lease by SSH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<Ssh>,
    /// The ports that others will want to reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<u16>,
    /// How others reach the lease.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    /// How the lease joined a tailnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tailscale: Option<Tailscale>,
    /// When the claim was made.
    pub created_at: Timestamp,
    /// When the lease was last used.
    pub last_used_at: Timestamp,
    /// How long the lease may stand unused, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_ms: Option<u64>,
    /// How long the lease may live, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// When the provider ends the lease by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// How long a lease may take to show after a failed `acquire`, in milliseconds.
    pub create_settle_ms: u64,
    /// How long past its end `cleanup` leaves the lease alone, in milliseconds.
    #[serde(default)]
    pub cleanup_grace_ms: u64,
    /// Of a claim that is still `acquiring`: when the lease was first found missing after `acquire` was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_since: Option<Timestamp>,
    /// When the lease was stopped rather than deleted. It can be used again, and is started for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<Timestamp>,
    /// The runs that were started on the lease and are not known to have ended. Each has a lock of the same name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub runs: BTreeMap<RunId, ClaimRun>,
}

/// How far a lease is. Each state is on disk before the request that it announces is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClaimState {
    /// `acquire` may have been sent.
    Acquiring,
    /// `acquire` succeeded.
    Leased,
    /// `release` may have been sent.
    Releasing,
}

impl ClaimState {
    /// The state's name in the record.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acquiring => "acquiring",
            Self::Leased => "leased",
            Self::Releasing => "releasing",
        }
    }
}

/// Who ends a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// The run that made it; after that run's death, `cleanup`.
    Run,
    /// The user, by `stop`; after its time, `cleanup`.
    User,
}

/// The plugin that made a lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClaimPlugin {
    /// Its version.
    pub version: String,
    /// Its executable.
    pub path: String,
    /// The SHA-256 of the executable, in lowercase hexadecimal.
    pub sha256: String,
}

/// A run on a lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimRun {
    /// When it began.
    pub started_at: Timestamp,
    /// Whether it is a sync: one that was begun has to be finished before anything else runs on the lease.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sync: bool,
}
