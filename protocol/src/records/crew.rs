//! What the commands about crews print with `--json`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BridgeTarget, LeaseId, Transport};

/// What `crabbox crew peers --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CrewPeers {
    /// The members, by slug and then by lease.
    pub members: Vec<CrewPeer>,
}

/// A member of a crew, and how it is reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CrewPeer {
    /// The lease's slug.
    pub slug: String,
    /// The lease's identifier.
    pub lease_id: LeaseId,
    /// The lease's provider.
    pub provider: String,
    /// The crew.
    pub crew: String,
    /// What the member is in its crew, as the user said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// How the member is reached: the first of `transports` that works.
    pub transport: PeerTransport,
    /// What its provider declares, the best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transports: Vec<Transport>,
    /// Where: an address, a URL, or `ssh://user@host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The lease's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Why it is not reached, or what else there is to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The ports that were promised with `--expose`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<u16>,
    /// Published ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<BridgeTarget>,
    /// What the provider said when it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge_state: Option<PeerBridge>,
}

/// How a member is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PeerTransport {
    /// By an address in a tailnet.
    Tailnet,
    /// By a URL.
    Url,
    /// By SSH.
    Ssh,
    /// Not yet.
    Pending,
    /// Not at all.
    None,
}

impl PeerTransport {
    /// The name in the record.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tailnet => "tailnet",
            Self::Url => "url",
            Self::Ssh => "ssh",
            Self::Pending => "pending",
            Self::None => "none",
        }
    }
}

/// What a provider said of a way to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PeerBridge {
    /// The way is open.
    Ready,
    /// It will be.
    Pending,
    /// There is none.
    Unsupported,
    /// The provider could not be asked, or failed.
    Error,
}
