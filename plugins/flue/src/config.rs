//! The configuration as the host gives it. Its schema is where flags, variables and help come from.
//!
//! What chooses an executable, a project or a file of this machine is the user's own (`userOnly`); a
//! repository may choose among the workflows of that project.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// Runs through a local Flue project.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Config {
    /// The Flue CLI: a name on PATH, or a path, which is relative to `root`. Default: the project's own
    /// `node_modules/.bin/flue`, else `flue` on PATH.
    #[schemars(extend("x-crabbox" = {"userOnly": true}))]
    pub(crate) cli: Option<String>,
    /// The Flue project.
    #[schemars(extend("x-crabbox" = {"userOnly": true, "path": true}))]
    pub(crate) root: Option<PathBuf>,
    /// The workflow that runs commands, with Flue 0.11 and 1.x.
    #[serde(default = "workflow")]
    pub(crate) workflow: String,
    /// The module of the agent that runs commands, relative to `root`, with Flue 2.
    #[serde(default = "agent")]
    pub(crate) agent: String,
    /// Where the workflow runs. There is only `node`.
    #[serde(default = "target")]
    pub(crate) target: String,
    /// A `flue.config.*` other than the project's, with Flue 0.11 and 1.x.
    #[schemars(extend("x-crabbox" = {"userOnly": true, "path": true}))]
    pub(crate) config: Option<PathBuf>,
    /// A file to load in place of the project's `.env`. Commands get nothing of either.
    #[schemars(extend("x-crabbox" = {"userOnly": true, "path": true}))]
    pub(crate) env: Option<PathBuf>,
    /// Where Flue 0.11 builds. Default: a directory of the run's.
    #[schemars(extend("x-crabbox" = {"userOnly": true, "path": true}))]
    pub(crate) output: Option<PathBuf>,
    /// The directory of the tree that commands start in. Default: its top.
    pub(crate) workdir: Option<String>,
    /// How long a run may take, Flue's own start included; 0 for no limit.
    #[serde(default)]
    #[schemars(extend("x-crabbox" = {"duration": true,
        "env": [{"name": "CRABBOX_FLUE_TIMEOUT_SECS", "unit": "s"}]}))]
    pub(crate) timeout: u64,
}

fn workflow() -> String {
    "crabbox".to_owned()
}

fn agent() -> String {
    "src/agents/crabbox.ts".to_owned()
}

fn target() -> String {
    "node".to_owned()
}
