//! `acquire`, `resolve`, `release`, `touch`, `list`: the life of a lease.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{LeaseId, ReleaseAction, bridge::Endpoint};

/// A lease as the host knows it. Every request about a lease carries it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lease {
    /// The lease's identifier. The remote name or tag is a pure function of id, slug and config.
    pub id: LeaseId,
    /// A friendly name, unique among this user's leases.
    pub slug: String,
    /// A name for the remote resource: `crabbox-SLUG-` and 8 hexadecimal digits of the id's hash.
    pub name: String,
    /// Labels that the user gave.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The crew that the lease belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crew: Option<String>,
    /// What the plugin called the lease: its own identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#ref: Option<String>,
    /// What the plugin last gave as a hint. It may be older, or absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Value>,
    /// The directory on the lease under which everything of ours lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
}

/// What a plugin says about a lease. What is absent stays as it was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeaseReport {
    /// The lease's identifier again; one that differs is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The provider's own identifier of the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#ref: Option<String>,
    /// A hint that the plugin gets back in later requests. Opaque, no secrets. Every request must also
    /// work with an older one or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Value>,
    /// The absolute directory on the lease that is ours. Absent: the directory in which `run` starts
    /// commands, the same for every run and this lease's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Labels to show.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How the host reaches the lease by SSH, for a provider without `run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<Ssh>,
    /// How others reach the lease.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    /// When the provider ends the lease by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Something to tell the user, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How to reach a lease by SSH.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ssh {
    /// The user to log in as: `[A-Za-z0-9._:@%+-]+`, without a leading `-`.
    pub user: String,
    /// The host's name or address, or a name of the user's own ssh configuration. As `user`.
    pub host: String,
    /// The port. Absent: what ssh's configuration says, else 22.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// A command whose standard input and output carry the connection, word for word.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proxy_command: Vec<String>,
    /// A private key's absolute path on the host's machine. Absent: the keys that ssh would offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_file: Option<String>,
    /// A name under which the host keeps this machine's host key: the first that it shows is believed. Absent: the
    /// user's known hosts decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_key_id: Option<String>,
    /// How long one connection attempt may take, in milliseconds; 0 is for as long as there is hope. Default 10 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_timeout_ms: Option<u64>,
    /// A line for `sh` that succeeds once the machine is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_command: Option<String>,
    /// The absolute directory on the machine that is the lease's. The host makes it.
    pub work_root: String,
}

/// Makes a lease. Asked again with the same id, it answers with the same lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcquireParams {
    /// The lease to make.
    pub lease: Lease,
    /// The operating system wanted, one of the manifest's targets. Absent: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Whether the user means to keep the lease after the run.
    pub keep: bool,
    /// How long the lease may live, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// How long the lease may stand unused, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_ms: Option<u64>,
    /// When the lease's time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Ports on the lease that others will want to reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<u16>,
    /// Joins the lease to a tailnet. Only for the feature `tailscale`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tailscale: Option<Tailscale>,
}

/// How a lease joins a tailnet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tailscale {
    /// The tags to advertise.
    pub tags: Vec<String>,
    /// The environment variable that holds the auth key.
    pub auth_key_env: String,
    /// The name on the tailnet.
    pub hostname: String,
    /// The control plane to log in to, an `http` or `https` URL. Absent: Tailscale's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_url: Option<String>,
}

/// The lease that was made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AcquireResult {
    /// What there is to say about it; `{}` will do.
    #[serde(default)]
    pub lease: LeaseReport,
}

/// Finds a lease again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResolveParams {
    /// The lease. When it is adopted rather than made by the host, only its `ref` means something to the provider.
    pub lease: Lease,
    /// What the host is about to do.
    pub intent: Intent,
}

/// What the host is about to do with a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Intent {
    /// Look only: nothing is woken, started or changed.
    Observe,
    /// Run something: a stopped lease may be started.
    Use,
    /// Release it.
    Release,
}

/// How a lease stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResolveResult {
    /// How the lease stands.
    pub state: LeaseState,
    /// What there is to say about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseReport>,
    /// Why, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// With `ambiguous`: the identifiers that match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
}

/// How a lease stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LeaseState {
    /// It can run something now.
    Ready,
    /// It will be ready without being asked again.
    Starting,
    /// It exists and does not run.
    Stopped,
    /// It exists and will not become ready.
    Failed,
    /// It certainly does not exist under this scope. Never said on a timeout, a refusal or an unclear answer.
    Missing,
    /// Several match.
    Ambiguous,
    /// It cannot be told.
    #[serde(other)]
    Unknown,
}

impl LeaseState {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Missing => "missing",
            Self::Ambiguous => "ambiguous",
            Self::Unknown => "unknown",
        }
    }
}

/// Ends a lease. Looks first whether it is ours, and can be repeated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseParams {
    /// The lease.
    pub lease: Lease,
    /// How it ends.
    pub action: ReleaseAction,
    /// Why it ends.
    pub reason: ReleaseReason,
}

/// Why a lease ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseReason {
    /// The run that made it is over.
    End,
    /// The user asked.
    User,
    /// `acquire` failed and may have left something.
    Rollback,
    /// `cleanup` found it left over.
    Cleanup,
    /// A reason that this version does not know.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// What became of the lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseResult {
    /// What became of it.
    pub outcome: ReleaseOutcome,
    /// With `pending`: when to ask again, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Something to tell the user, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What became of a lease that was to be released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseOutcome {
    /// Confirmed: it is stopped or gone.
    Released,
    /// It was not there.
    Absent,
    /// Under way and not confirmed. The host keeps its record and asks again.
    #[serde(other)]
    Pending,
}

/// Keeps a lease alive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TouchParams {
    /// The lease.
    pub lease: Lease,
    /// How long it may stand unused from now on, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_ms: Option<u64>,
    /// When its time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// The lease was kept alive.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TouchResult {
    /// When the provider ends the lease by itself now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Asks for all that the provider holds and that crabbox made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListParams {}

/// What the provider holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListResult {
    /// Ours only.
    pub leases: Vec<Listed>,
    /// Whether these are all. A partial list proves nothing about what is not in it.
    pub complete: bool,
}

/// One lease that the provider holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// The lease's identifier, where it can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its slug, where it can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
    /// Its remote name.
    pub name: String,
    /// The provider's own identifier.
    pub r#ref: String,
    /// How it stands.
    pub state: LeaseState,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When the provider ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}
