//! `bridge` and `unbridge`: how others reach a port of a lease.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Lease;

/// How one lease, or its user, reaches another lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// An address in a tailnet.
    Tailnet,
    /// A URL.
    Url,
    /// A forward over SSH.
    Ssh,
    /// Not at all.
    None,
    /// A transport that this version does not know.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// Where a lease can be reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// How.
    pub transport: Transport,
    /// Where: an address, a URL, or `ssh://host:port`.
    pub endpoint: String,
    /// The port on the lease that it leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// What `unbridge` takes to close it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What the user should know about it, such as who can use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Asks how others reach a lease, and with `publish` makes it so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BridgeParams {
    /// The lease.
    pub lease: Lease,
    /// The port on the lease. Absent: the lease as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Whether to open the way. With `false` nothing is changed.
    pub publish: bool,
    /// How long the way stays open, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
}

/// How others reach the lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BridgeResult {
    /// Whether the way is open.
    pub state: BridgeState,
    /// How.
    pub transport: Transport,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The published ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<BridgeTarget>,
    /// Why, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Whether a way to a lease is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BridgeState {
    /// It is.
    Ready,
    /// It will be.
    Pending,
    /// It cannot be.
    #[serde(other)]
    Unsupported,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BridgeTarget {
    /// The port on the lease.
    pub port: u16,
    /// Where it is published.
    pub url: String,
    /// What `unbridge` takes to close it.
    pub id: String,
    /// Until when it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Takes back what `bridge` published. Can be repeated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UnbridgeParams {
    /// The lease.
    pub lease: Lease,
    /// The port. Absent: every port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The publication to take back. Absent: every one of the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// What became of the publication.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UnbridgeResult {
    /// What became of it.
    pub outcome: UnbridgeOutcome,
}

/// What became of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnbridgeOutcome {
    /// It is closed.
    Released,
    /// It was not there.
    Absent,
}
