//! What an emulator is like from its start.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::tls::Tls;

/// What the emulator is like. The default is what `nomad agent -dev` is.
#[derive(Clone, Debug)]
pub struct Options {
    /// The port, or 0 for any.
    pub port: u16,
    /// A unix socket to listen on, besides the port.
    pub socket: Option<PathBuf>,
    /// The agent's own region.
    pub region: String,
    /// The other regions that exist.
    pub regions: Vec<String>,
    /// The namespaces that exist, besides `default`.
    pub namespaces: Vec<String>,
    /// The node's datacenter.
    pub datacenter: String,
    /// The node's pool.
    pub node_pool: String,
    /// The node pools that exist, besides `default` and `all`.
    pub node_pools: Vec<String>,
    /// The drivers that the node has.
    pub drivers: Vec<String>,
    /// The node's CPU, in MHz.
    pub cpu: u64,
    /// The node's memory, in MB.
    pub memory: u64,
    /// The node's address as the API tells it; the emulator's own if it is not given.
    pub node_address: Option<String>,
    /// TLS, if that is what it speaks on the port.
    pub tls: Option<Tls>,
    /// The tokens, if access is controlled.
    pub acl: Option<Acl>,
    /// Whether the agent has cgroups v2, so that what was exec'd dies with its raw_exec task, too.
    pub cgroups: bool,
    /// Whether a docker exec's output is cut where the process has ended, as hashicorp/nomad#27146 has it.
    pub truncated_tail: bool,
    /// Whether there is an agent's client on the server that answers (`disable_remote_exec` when not).
    pub remote_exec: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            socket: None,
            region: "global".to_owned(),
            regions: Vec::new(),
            namespaces: Vec::new(),
            datacenter: "dc1".to_owned(),
            node_pool: "default".to_owned(),
            node_pools: Vec::new(),
            drivers: vec!["raw_exec".to_owned(), "docker".to_owned()],
            cpu: 8000,
            memory: 16384,
            node_address: None,
            tls: None,
            acl: None,
            cgroups: false,
            truncated_tail: true,
            remote_exec: true,
        }
    }
}

/// Who may do what.
#[derive(Clone, Debug, Default)]
pub struct Acl {
    /// The tokens, by their secret.
    pub tokens: BTreeMap<String, Grants>,
    /// What may be done without a token.
    pub anonymous: Grants,
}

impl Acl {
    /// No tokens.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a token.
    #[must_use]
    pub fn token(mut self, secret: &str, grants: Grants) -> Self {
        self.tokens.insert(secret.to_owned(), grants);
        self
    }
}

/// What a token is good for.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Everything is allowed.
    pub management: bool,
    /// The capabilities on each namespace.
    pub namespaces: BTreeMap<String, BTreeSet<String>>,
    /// `agent:read`.
    pub agent_read: bool,
    /// `node:read`.
    pub node_read: bool,
}

/// What `policy = "write"` stands for on a namespace, as far as the emulator knows of it.
pub const WRITE: &[&str] =
    &["list-jobs", "parse-job", "read-job", "submit-job", "alloc-exec", "alloc-lifecycle"];

impl Grants {
    /// A management token.
    pub fn management() -> Self {
        Self { management: true, ..Self::default() }
    }

    /// A token with these capabilities on the namespace `default`.
    pub fn on_default(capabilities: &[&str]) -> Self {
        Self::default().namespace("default", capabilities)
    }

    /// Adds capabilities on a namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: &str, capabilities: &[&str]) -> Self {
        let all = self.namespaces.entry(namespace.to_owned()).or_default();
        all.extend(capabilities.iter().map(|&capability| capability.to_owned()));
        self
    }

    /// Adds `agent:read`.
    #[must_use]
    pub fn agent_read(mut self) -> Self {
        self.agent_read = true;
        self
    }

    /// Adds `node:read`.
    #[must_use]
    pub fn node_read(mut self) -> Self {
        self.node_read = true;
        self
    }

    pub(super) fn may(&self, namespace: &str, capability: &str) -> bool {
        self.management || self.namespaces.get(namespace).is_some_and(|all| all.contains(capability))
    }

    pub(super) fn may_anywhere(&self, capability: &str) -> bool {
        self.management || self.namespaces.values().any(|all| all.contains(capability))
    }

    pub(super) fn may_any(&self, namespace: &str) -> bool {
        self.management || self.namespaces.get(namespace).is_some_and(|all| !all.is_empty())
    }
}
