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

/// What `crabbox crew connect --json` prints once every forward stands. It is kept beside the files that it names for
/// as long as they do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CrewConnection {
    /// The crew.
    pub crew: String,
    /// The process that holds the forwards. They end with it.
    pub pid: u32,
    /// The file with a line per forward, written as in `/etc/hosts`.
    pub hosts_path: String,
    /// The file with the variables of `exports`, a line each.
    pub env_path: String,
    /// Where the ports are on this machine, each as `NAME=127.0.0.1:PORT`. The names have only letters, digits and `_`.
    pub exports: Vec<String>,
    /// The forwards, by member and then by port.
    pub forwards: Vec<CrewForward>,
}

/// A port of a member that is reached on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CrewForward {
    /// The lease's slug.
    pub slug: String,
    /// What the member is called in the files: its slug, with more behind it where two members have the same.
    pub name: String,
    /// What the member is in its crew, as the user said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The lease's identifier.
    pub lease_id: LeaseId,
    /// The lease's provider.
    pub provider: String,
    /// The port on the lease, at its own 127.0.0.1.
    pub remote_port: u16,
    /// The port on this machine, at 127.0.0.1.
    pub local_port: u16,
}
