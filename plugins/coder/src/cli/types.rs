//! What the CLI writes as JSON, as far as anybody here reads it.
//!
//! It is never shown or logged whole: environment variables and scripts of agents may hold secrets.

use jiff::Timestamp;
use serde::Deserialize;

/// Who is logged in, and where.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Login {
    pub(crate) username: String,
    #[serde(default)]
    pub(crate) url: String,
}

/// Which CLI it is.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Version {
    pub(crate) version: String,
}

/// A workspace.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Workspace {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) owner_name: String,
    #[serde(default)]
    pub(crate) template_name: String,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) dormant_at: Option<Timestamp>,
    pub(crate) latest_build: Build,
}

/// The last thing that was done to a workspace, which may be under way.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Build {
    #[serde(default)]
    pub(crate) transition: String,
    #[serde(default)]
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) job: Job,
    #[serde(default)]
    resources: Option<Vec<Resource>>,
}

/// The job of a build.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Job {
    pub(crate) error: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Resource {
    #[serde(default)]
    agents: Option<Vec<Agent>>,
}

/// What a connection leads to.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Agent {
    pub(crate) name: String,
    /// The agent that it is a part of, as a container in a workspace is.
    pub(crate) parent_id: Option<String>,
    #[serde(default)]
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) lifecycle_state: String,
    #[serde(default)]
    pub(crate) operating_system: String,
    #[serde(default)]
    scripts: Option<Vec<Script>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Script {
    #[serde(default)]
    start_blocks_login: bool,
    #[serde(default)]
    run_on_start: bool,
}

impl Workspace {
    /// All of its agents.
    pub(crate) fn agents(&self) -> Vec<&Agent> {
        let resources = self.latest_build.resources.iter().flatten();
        resources.flat_map(|resource| resource.agents.iter().flatten()).collect()
    }
}

impl Agent {
    /// Whether a login waits for one of its startup scripts.
    pub(crate) fn blocks_login(&self) -> bool {
        self.scripts.iter().flatten().any(|script| script.start_blocks_login && script.run_on_start)
    }
}
