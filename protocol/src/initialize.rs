//! `initialize`: who the plugin is and what it can do.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Method, bridge::Transport};

/// Asks who the plugin is. The first request of every session.
///
/// The answer is pure: no network, no files, the same under any working directory and home,
/// and with nothing but `PATH` in the environment, because the host caches it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InitializeParams {
    /// The protocol versions that the host speaks, newest first. The plugin picks one.
    pub versions: Vec<u32>,
    /// The host.
    pub host: Peer,
}

/// A program and its version, for messages to people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Peer {
    /// The program's name.
    pub name: String,
    /// The program's own version. Nothing depends on it.
    pub version: String,
}

/// What a plugin says about itself: the answer to `initialize`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The protocol version that the plugin picked from the host's list. A plugin that speaks none
    /// of them answers with the one it would have liked: the host then says which side to update.
    pub protocol: u32,
    /// The provider's name: `[a-z][a-z0-9-]{0,31}`, that of the executable after `crabbox-provider-`.
    #[schemars(extend("pattern" = "^[a-z][a-z0-9-]{0,31}$"))]
    pub name: String,
    /// The plugin's own version, for people.
    pub version: String,
    /// Whether leases live on between runs.
    pub lifecycle: Lifecycle,
    /// What the provider is, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The operating systems of its leases, such as `linux`. The first is the default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// The methods that the plugin answers besides `initialize`.
    /// Absent: `acquire`, `run` and `release`; for a one-shot provider `run`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// What the plugin can do beyond the methods: `cancel`, `outputPaths`, `concurrent`, `lifeline`,
    /// `nearby`, `tailscale`. Unknown names are ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// What the plugin cannot do without. A host that does not know a name in it refuses the plugin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// The JSON Schema of the provider's configuration, an object. Flags, variables and the YAML block
    /// are made from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
    /// The environment variables that the plugin wants to see: names, or prefixes that end in `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Numbers that the host has to respect.
    #[serde(default, skip_serializing_if = "Limits::is_default")]
    pub limits: Limits,
    /// How other leases may reach one of this provider's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transports: Vec<Transport>,
}

/// Whether a lease lives on between runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Lifecycle {
    /// `acquire` makes a lease, `release` ends it, any number of runs between.
    Leased,
    /// A run is all there is: it brings its workspace and leaves nothing.
    OneShot,
}

impl Lifecycle {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Leased => "leased",
            Self::OneShot => "one-shot",
        }
    }
}

/// Numbers that the host has to respect.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// How long after a failed `acquire` the backend may still show a new lease, in milliseconds.
    /// Default 60,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_settle_ms: Option<u64>,
    /// How long past its end `cleanup` leaves a kept lease alone, in milliseconds. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleanup_grace_ms: Option<u64>,
    /// The largest `stdin` of a `run`, in bytes. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin_max: Option<u64>,
    /// The largest workspace bundle, in bytes. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle_max: Option<u64>,
}

impl Limits {
    /// The default of [`Limits::create_settle_ms`].
    pub const CREATE_SETTLE_MS: u64 = 60_000;

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Names that a plugin may list in `features`.
pub mod feature {
    /// A running `run` obeys the `cancel` notification.
    pub const CANCEL: &str = "cancel";
    /// `run` writes output to the paths that it is given instead of notifying.
    pub const OUTPUT_PATHS: &str = "outputPaths";
    /// Several requests may be under way at once.
    pub const CONCURRENT: &str = "concurrent";
    /// `run` keeps stdin open after the file and writes a sign of life to it.
    pub const LIFELINE: &str = "lifeline";
    /// What is sent to a lease arrives faster than a compressor works, as on this machine: the host sends it
    /// as it is. Otherwise it compresses what is large.
    pub const NEARBY: &str = "nearby";
    /// `acquire` can join the lease to a tailnet.
    pub const TAILSCALE: &str = "tailscale";

    /// Every name that version 1 knows.
    pub const ALL: &[&str] = &[CANCEL, OUTPUT_PATHS, CONCURRENT, LIFELINE, NEARBY, TAILSCALE];
}

impl Manifest {
    /// Whether the plugin answers `method`.
    pub fn has(&self, method: Method) -> bool {
        if method == Method::Initialize {
            return true;
        }
        if !self.methods.is_empty() {
            return self.methods.iter().any(|m| m == method.name());
        }
        match self.lifecycle {
            Lifecycle::Leased => matches!(method, Method::Acquire | Method::Run | Method::Release),
            Lifecycle::OneShot => method == Method::Run,
        }
    }

    /// Whether the plugin declares a feature of [`feature`].
    pub fn feature(&self, name: &str) -> bool {
        self.features.iter().any(|f| f == name)
    }

    /// What the host calls the shape of this provider: `delegated-run` when it executes commands
    /// itself, `ssh-lease` when it hands over a way to do so.
    pub fn kind(&self) -> &'static str {
        if self.has(Method::Run) { "delegated-run" } else { "ssh-lease" }
    }

    /// The configuration's properties by key, empty where the schema has none.
    pub fn config_properties(&self) -> BTreeMap<&str, &Value> {
        let properties = self.config.as_ref().and_then(|schema| schema.get("properties"));
        let properties = properties.and_then(Value::as_object);
        properties.into_iter().flatten().map(|(key, value)| (key.as_str(), value)).collect()
    }
}
