//! What `crabbox plugins` prints with `--json`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Lifecycle, Manifest};

/// What `crabbox plugins list --json` prints: by name, what is shadowed after what shadows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct PluginRows(pub Vec<PluginRow>);

/// One executable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PluginRow {
    /// The provider's name, from the executable's.
    pub name: String,
    /// Whether it can be used.
    pub state: PluginState,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The plugin's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The protocol version that it speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u32>,
    /// `delegated-run` or `ssh-lease`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Whether leases live on between runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// What the provider is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The operating systems of its leases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// Its features, and the optional methods that it answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// Whether it is the executable that the user pinned; absent where nothing is pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<PinState>,
    /// The executable.
    pub path: String,
    /// Where it was found: `config`, `CRABBOX_PLUGIN_PATH`, `beside crabbox` or `PATH`.
    pub source: String,
}

/// Whether a plugin is the executable that the user pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PinState {
    /// It is.
    Pinned,
    /// It is another one, or another at the same path, and is not started.
    Broken,
}

impl PinState {
    /// The state's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::Broken => "broken",
        }
    }
}

/// Whether a plugin can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PluginState {
    /// It can.
    Ok,
    /// Another of the same name comes first.
    Shadowed,
    /// It speaks no protocol version that this host speaks, or requires what this host does not know.
    Incompatible,
    /// It cannot be started, or does not answer as a plugin does.
    Invalid,
}

impl PluginState {
    /// The state's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Shadowed => "shadowed",
            Self::Incompatible => "incompatible",
            Self::Invalid => "invalid",
        }
    }
}

/// What `crabbox plugins describe NAME --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PluginDescription {
    /// The plugin, as in the list.
    pub plugin: PluginRow,
    /// What it says about itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Manifest>,
    /// Its configuration, key by key.
    pub settings: Vec<Setting>,
}

/// One key of a provider's configuration, and every place where it can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Setting {
    /// The key.
    pub key: String,
    /// What a value looks like, such as `string`, `integer`, `duration` or `one of a, b`.
    pub r#type: String,
    /// What it means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The value when nothing is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The flag; absent for a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<String>,
    /// The environment variables, the first that is set wins.
    pub env: Vec<String>,
    /// The place in a configuration file; absent for a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yaml: Option<String>,
    /// Whether it is a secret: to be set in the environment only, never shown.
    pub secret: bool,
    /// Whether a repository's file may not set it.
    pub user_only: bool,
    /// Whether it has to be set.
    pub required: bool,
}
