//! The configuration as the host gives it. Its schema is where flags, variables and help come from.
//!
//! Every key is the user's own (`userOnly`): a repository must not choose where a working tree goes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// Leases on a machine that you can reach by SSH.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Config {
    /// The machine: a name in `hosts`, or what you would write after `ssh`: a `Host` of your `~/.ssh/config`, or
    /// `[USER@]HOSTNAME`.
    #[schemars(extend("x-crabbox" = {"userOnly": true}))]
    pub(crate) host: Option<String>,
    /// Machines by name, for those that are not in your `~/.ssh/config`.
    #[serde(default)]
    #[schemars(extend("x-crabbox" = {"userOnly": true}))]
    pub(crate) hosts: BTreeMap<String, Host>,
    /// The directory on the machine that holds the leases: absolute, or `~/` and a path.
    #[serde(default = "work_root")]
    #[schemars(extend("x-crabbox" = {"userOnly": true}))]
    pub(crate) work_root: String,
    /// How long one attempt to connect may take.
    #[serde(default = "connect_timeout")]
    #[schemars(range(min = 1000), extend("x-crabbox" = {"userOnly": true, "duration": true}))]
    pub(crate) connect_timeout: u64,
}

/// A machine. What is not said, your `~/.ssh/config` says for its `host`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Host {
    /// The host's name or address. Default: the entry's name.
    pub(crate) host: Option<String>,
    /// The user to log in as.
    pub(crate) user: Option<String>,
    /// The port.
    pub(crate) port: Option<u16>,
    /// The private key's file: absolute, or `~/` and a path.
    pub(crate) identity_file: Option<String>,
    /// The machines to go through, with commas: `[USER@]HOST[:PORT]`.
    pub(crate) jump: Option<String>,
    /// The directory that holds the leases, in place of `workRoot`.
    pub(crate) work_root: Option<String>,
}

fn work_root() -> String {
    "~/.crabbox/leases".to_owned()
}

fn connect_timeout() -> u64 {
    15_000
}
