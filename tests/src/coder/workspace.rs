//! Workspaces, their builds and agents. What each is at a moment follows from the times that are written down.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::deployment::{AgentTemplate, Outcome, Template};

/// A workspace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Workspace {
    /// A UUID, which another workspace of the same name does not have.
    pub id: String,
    /// Its name. No two of an owner have the same, whatever the case.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// The template's name.
    pub template: String,
    /// The organization.
    pub organization: String,
    /// When it was created.
    pub created: Timestamp,
    /// From when on it can be seen.
    pub visible: Timestamp,
    /// When it was last used.
    pub last_used: Timestamp,
    /// Since when it is dormant.
    pub dormant: Option<Timestamp>,
    /// How long it may run, in milliseconds.
    pub ttl_ms: Option<u64>,
    /// `never` or `always`.
    pub automatic_updates: String,
    /// The values of its parameters.
    pub parameters: BTreeMap<String, String>,
    /// The name of the preset that it was created with.
    pub preset: Option<String>,
    /// Its builds, the latest last. There is always one.
    pub builds: Vec<Build>,
}

/// What a build is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transition {
    /// To have it run.
    Start,
    /// To stop it.
    Stop,
    /// To take it away.
    Delete,
}

/// A build of a workspace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Build {
    /// A UUID.
    pub id: String,
    /// What it is for.
    pub transition: Transition,
    /// Who asked for it.
    pub initiator: String,
    /// Why: `initiator`, `cli`, `ssh_connection`, `autostop`, ...
    pub reason: String,
    /// When it was asked for.
    pub created: Timestamp,
    /// When it is taken up.
    pub started: Timestamp,
    /// When it ends.
    pub ended: Timestamp,
    /// With it, the build fails.
    pub error: Option<String>,
    /// The agents that there are once it has succeeded.
    pub agents: Vec<Agent>,
    /// Whether what was running has been ended.
    pub done: bool,
}

/// An agent of a build.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Agent {
    /// A UUID.
    pub id: String,
    /// What the template says.
    pub template: AgentTemplate,
    /// In place of what would follow from the times: `disconnected`, `timeout`, ...
    pub status: Option<String>,
    /// In place of what would follow from the times: `shutting_down`, `off`, ...
    pub lifecycle: Option<String>,
}

impl Transition {
    /// As Coder writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Delete => "delete",
        }
    }
}

impl Workspace {
    /// The latest build.
    ///
    /// # Panics
    ///
    /// When a test has taken all of them away.
    pub fn latest(&self) -> &Build {
        self.builds.last().expect("a workspace has a build")
    }

    /// The latest build, to change it.
    ///
    /// # Panics
    ///
    /// When a test has taken all of them away.
    pub fn latest_mut(&mut self) -> &mut Build {
        self.builds.last_mut().expect("a workspace has a build")
    }

    /// The status at this moment: `pending`, `starting`, `running`, `stopping`, `stopped`, `deleting`, `deleted`
    /// or `failed`.
    pub fn status(&self) -> &'static str {
        self.latest().status(Timestamp::now())
    }

    /// The values of `owner/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }
}

impl Build {
    /// A build that begins now.
    pub(super) fn new(
        transition: Transition,
        template: &Template,
        by: &str,
        reason: &str,
        error: Option<String>,
    ) -> Self {
        let created = Timestamp::now();
        let takes = match transition {
            Transition::Start => template.start,
            Transition::Stop => template.stop,
            Transition::Delete => template.delete,
        };
        let agents = if transition == Transition::Start { &template.agents[..] } else { &[] };
        let agent =
            |it: &AgentTemplate| Agent { id: uuid(), template: it.clone(), status: None, lifecycle: None };
        let started = later(created, template.queue);
        Self {
            id: uuid(),
            transition,
            initiator: by.to_owned(),
            reason: reason.to_owned(),
            created,
            started,
            ended: later(started, takes),
            error,
            agents: agents.iter().map(agent).collect(),
            done: false,
        }
    }

    /// The status of the provisioner's job.
    pub(super) fn job(&self, now: Timestamp) -> &'static str {
        match self.error {
            _ if now < self.started => "pending",
            _ if now < self.ended => "running",
            None => "succeeded",
            Some(_) => "failed",
        }
    }

    /// The status of the workspace as of this build.
    pub(super) fn status(&self, now: Timestamp) -> &'static str {
        match (self.job(now), self.transition) {
            ("pending", _) => "pending",
            ("running", Transition::Start) => "starting",
            ("running", Transition::Stop) => "stopping",
            ("running", Transition::Delete) => "deleting",
            ("failed", _) => "failed",
            (_, Transition::Start) => "running",
            (_, Transition::Stop) => "stopped",
            (_, Transition::Delete) => "deleted",
        }
    }

    /// Whether it is still under way.
    pub(super) fn is_active(&self, now: Timestamp) -> bool {
        now < self.ended
    }

    /// The agents that there are.
    pub(super) fn agents(&self, now: Timestamp) -> &[Agent] {
        match self.status(now) {
            "running" => &self.agents,
            _ => &[],
        }
    }
}

/// How long Coder waits for an agent before it speaks of trouble.
pub(super) const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);

impl Agent {
    /// When it connects, given when its build ended.
    pub(super) fn connected(&self, since: Timestamp) -> Option<Timestamp> {
        self.template.connect.map(|it| later(since, it))
    }

    /// When its startup scripts end.
    pub(super) fn ready(&self, since: Timestamp) -> Option<Timestamp> {
        Some(later(self.connected(since)?, self.template.startup?))
    }

    /// `connecting`, `connected`, `disconnected` or `timeout`.
    pub(super) fn status(&self, since: Timestamp, now: Timestamp) -> &str {
        match (&self.status, self.connected(since)) {
            (Some(status), _) => status,
            (None, Some(at)) if at <= now => "connected",
            (None, _) if later(since, CONNECTION_TIMEOUT) <= now => "timeout",
            (None, _) => "connecting",
        }
    }

    /// `created`, `starting`, `ready`, `start_error`, `start_timeout`, `shutting_down`, `off`, ...
    pub(super) fn lifecycle(&self, since: Timestamp, now: Timestamp) -> &str {
        if let Some(lifecycle) = &self.lifecycle {
            return lifecycle;
        }
        match (self.connected(since), self.ready(since)) {
            (_, Some(at)) if at <= now => match self.template.outcome {
                Outcome::Ready => "ready",
                Outcome::Error => "start_error",
                Outcome::Timeout => "start_timeout",
            },
            (Some(at), _) if at <= now => "starting",
            _ => "created",
        }
    }
}

/// A moment after another.
pub(super) fn later(moment: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    moment.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// A random UUID.
pub(super) fn uuid() -> String {
    let hex = |digits: usize| -> String {
        (0..digits).map(|_| char::from(b"0123456789abcdef"[fastrand::usize(..16)])).collect()
    };
    format!("{}-{}-4{}-a{}-{}", hex(8), hex(4), hex(3), hex(3), hex(12))
}
