//! The configuration as the host gives it. Its schema is where flags, variables and help come from.
//!
//! What is run here, where files are, which workspaces are ours and what is deleted is the user's own (`userOnly`).
//! What kind of workspace a project needs, its repository may say.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// Leases on a Coder deployment.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Config {
    /// The coder CLI: a name on PATH, or an absolute path.
    #[serde(default = "cli")]
    #[schemars(extend("x-crabbox" = {"userOnly": true}))]
    pub(crate) cli: String,
    /// The session token of a CLI that is not logged in, which reads CODER_SESSION_TOKEN itself.
    #[serde(default)]
    #[schemars(extend("x-crabbox" = {"secret": true, "env": ["CODER_SESSION_TOKEN"]}))]
    #[expect(
        dead_code,
        reason = "the CLI reads it; that it is a secret keeps it from commands on the lease"
    )]
    pub(crate) session_token: Option<String>,
    /// The template that workspaces are made from. Nothing can be made without.
    pub(crate) template: Option<String>,
    /// The template's preset, or `none`. A preset's values override `parameters`.
    pub(crate) preset: Option<String>,
    /// Values of the template's parameters. No secrets: they are on the CLI's command line.
    #[serde(default)]
    pub(crate) parameters: BTreeMap<String, String>,
    /// A YAML file with values of the template's parameters.
    #[schemars(extend("x-crabbox" = {"userOnly": true, "path": true}))]
    pub(crate) rich_parameter_file: Option<PathBuf>,
    /// Takes the template's defaults for all other parameters. Needs a CLI of 2026.
    #[serde(default)]
    pub(crate) use_parameter_defaults: bool,
    /// What the names of workspaces begin with.
    #[serde(default = "workspace_prefix")]
    #[schemars(extend("x-crabbox" = {"userOnly": true}))]
    pub(crate) workspace_prefix: String,
    /// The absolute directory in the workspace that is ours.
    #[serde(default = "work_root")]
    #[schemars(extend("x-crabbox" = {"userOnly": true}))]
    pub(crate) work_root: String,
    /// The agent to connect to, in a workspace with several.
    pub(crate) agent: Option<String>,
    /// Whether the workspace's startup scripts have to be through: `yes`, `no`, or `auto` for those that the template
    /// says block a login.
    #[serde(default)]
    pub(crate) wait: Wait,
    /// Deletes the workspace in the end, with all that is in it. Default: it is stopped.
    #[serde(default)]
    #[schemars(extend("x-crabbox" = {"userOnly": true, "release": true}))]
    pub(crate) delete_on_release: bool,
    /// How long a build (create, start, stop, delete) may take.
    #[serde(default = "twenty_minutes")]
    #[schemars(range(min = 1), extend("x-crabbox" = {"userOnly": true, "duration": true}))]
    pub(crate) build_timeout: u64,
    /// How long the agent of a workspace that was built may take to be ready.
    #[serde(default = "ten_minutes")]
    #[schemars(range(min = 1), extend("x-crabbox" = {"userOnly": true, "duration": true}))]
    pub(crate) ready_timeout: u64,
}

/// Which startup scripts are waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Wait {
    /// All.
    #[default]
    Yes,
    /// None.
    No,
    /// Those that the template says block a login.
    Auto,
}

impl Wait {
    /// As the CLI has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Auto => "auto",
        }
    }
}

fn cli() -> String {
    "coder".to_owned()
}

fn workspace_prefix() -> String {
    "crabbox-".to_owned()
}

fn work_root() -> String {
    "/home/coder/crabbox".to_owned()
}

fn twenty_minutes() -> u64 {
    1_200_000
}

fn ten_minutes() -> u64 {
    600_000
}
