//! What is on the server before anybody creates a workspace: users, templates, and how things go there.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Faults;

/// A deployment and the CLI that talks to it. Change it with [`Coder::deployment`](super::Coder::deployment).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Deployment {
    /// Where it is. Nothing else answers.
    pub url: String,
    /// The session token of `user`. No other is valid.
    pub token: String,
    /// Who is logged in with it.
    pub user: String,
    /// Everybody else who has an account.
    pub others: Vec<String>,
    /// The version of the CLI. Flags that came later are unknown to it.
    pub version: (u32, u32, u32),
    /// The version of the server, if it is another; then every command warns.
    pub server_version: Option<(u32, u32, u32)>,
    /// The templates of all organizations.
    pub templates: Vec<Template>,
    /// What goes wrong.
    pub faults: Faults,
}

/// A template: what it asks for, and what its workspaces are like.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// The organization that it belongs to.
    pub organization: String,
    /// What a workspace's creator is asked for.
    pub parameters: Vec<Parameter>,
    /// Named values for the parameters.
    pub presets: Vec<Preset>,
    /// The agents of a running workspace.
    pub agents: Vec<AgentTemplate>,
    /// Whether a workspace's creator first has to log in elsewhere, which the CLI waits for.
    pub external_auth: bool,
    /// How long `create` plans before it asks the server for the workspace.
    pub plan: Duration,
    /// How long a build waits before somebody takes it up.
    pub queue: Duration,
    /// How long a start takes.
    pub start: Duration,
    /// How long a stop takes.
    pub stop: Duration,
    /// How long a delete takes.
    pub delete: Duration,
}

/// A parameter of a template.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// What it is when nobody says. Without it, somebody must.
    pub default: Option<String>,
    /// The values that it can have. None: any, and it is asked for as text, not as a choice.
    pub options: Vec<String>,
    /// Whether it counts for a single build only.
    pub ephemeral: bool,
}

/// A preset of a template.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Preset {
    /// Its name.
    pub name: String,
    /// Whether it is applied when none is named.
    pub default: bool,
    /// The values, by parameter.
    pub parameters: BTreeMap<String, String>,
}

/// An agent as a template has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgentTemplate {
    /// Its name.
    pub name: String,
    /// The name of the agent that it is part of, as the one of a dev container is.
    pub parent: Option<String>,
    /// The operating system that it reports.
    pub os: String,
    /// Where its sessions start, below the home; the home itself, if empty.
    pub directory: String,
    /// How long it takes to connect once the workspace runs. `None`: it never does.
    pub connect: Option<Duration>,
    /// How long its startup scripts run. `None`: they never end.
    pub startup: Option<Duration>,
    /// How they end.
    pub outcome: Outcome,
    /// Whether one of them says that logins wait for it.
    pub blocks_login: bool,
    /// Variables of its sessions, which the list of workspaces tells, too.
    pub environment: BTreeMap<String, String>,
}

/// How startup scripts end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Well.
    Ready,
    /// With an error.
    Error,
    /// Too late.
    Timeout,
}

impl Default for Deployment {
    fn default() -> Self {
        Self {
            url: "https://coder.test".to_owned(),
            token: "rV6tBiVx8u-abcdefghijklmnopqrstuv".to_owned(),
            user: "alice".to_owned(),
            others: vec!["bob".to_owned()],
            version: (2, 33, 1),
            server_version: None,
            templates: vec![Template::default()],
            faults: Faults::default(),
        }
    }
}

/// A template named `docker` that asks for nothing, with one agent.
impl Default for Template {
    fn default() -> Self {
        let short = Duration::from_millis(50);
        Self {
            name: "docker".to_owned(),
            organization: "coder".to_owned(),
            parameters: Vec::new(),
            presets: Vec::new(),
            agents: vec![AgentTemplate::default()],
            external_auth: false,
            plan: Duration::ZERO,
            queue: Duration::ZERO,
            start: short,
            stop: short,
            delete: short,
        }
    }
}

/// An agent named `main` that is soon ready.
impl Default for AgentTemplate {
    fn default() -> Self {
        Self {
            name: "main".to_owned(),
            parent: None,
            os: "linux".to_owned(),
            directory: String::new(),
            connect: Some(Duration::from_millis(50)),
            startup: Some(Duration::from_millis(50)),
            outcome: Outcome::Ready,
            blocks_login: false,
            environment: BTreeMap::new(),
        }
    }
}

impl AgentTemplate {
    /// The same agent under another name.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
}

impl Parameter {
    /// A parameter that is text.
    pub fn text(name: &str, default: Option<&str>) -> Self {
        Self { name: name.to_owned(), default: default.map(str::to_owned), ..Self::default() }
    }
}

impl Deployment {
    /// The version as it is told, `v2.33.1+1a2b3c4`.
    pub(super) fn version_text(version: (u32, u32, u32)) -> String {
        format!("v{}.{}.{}+1a2b3c4", version.0, version.1, version.2)
    }

    /// Whether the CLI is at least of this version 2.
    pub(super) fn since(&self, minor: u32) -> bool {
        self.version >= (2, minor, 0)
    }
}
