//! The configuration as the host gives it. Its schema is where flags, variables and help come from.

use schemars::JsonSchema;
use serde::Deserialize;

/// Leases on Freestyle.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Config {
    /// The API key.
    #[serde(default)]
    #[schemars(extend("x-crabbox" = {"secret": true, "env": ["CRABBOX_FREESTYLE_API_KEY", "FREESTYLE_API_KEY"]}))]
    #[expect(dead_code, reason = "the kit hands it over; it is never on the wire")]
    pub(crate) api_key: Option<String>,
    /// Where the API is: `https://HOST`, or `http://` on this machine.
    #[serde(default = "api_url")]
    #[schemars(extend("x-crabbox" = {"userOnly": true, "env": ["CRABBOX_FREESTYLE_API_URL", "FREESTYLE_API_URL"]}))]
    pub(crate) api_url: String,
    /// Which version of the API is spoken. Each has machines of its own.
    #[serde(default)]
    pub(crate) api_version: Version,
    /// The workspace's directory, below `/workspace`.
    #[serde(default = "workdir")]
    pub(crate) workdir: String,
    /// How many CPUs the machine has at least.
    #[schemars(range(min = 1))]
    pub(crate) vcpus: Option<u32>,
    /// How much memory the machine has at least, in GiB.
    #[schemars(range(min = 1))]
    pub(crate) memory_gb: Option<u32>,
    /// The snapshot to begin with, in place of one of Freestyle's own.
    pub(crate) snapshot: Option<String>,
    /// The user on the machine that commands run as.
    #[serde(default = "linux_user")]
    pub(crate) linux_user: String,
}

/// A version of the API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Version {
    /// The current one.
    #[default]
    V5,
    /// The one before.
    V1,
}

fn api_url() -> String {
    "https://api.freestyle.sh".to_owned()
}

fn workdir() -> String {
    "crabbox".to_owned()
}

fn linux_user() -> String {
    "root".to_owned()
}
