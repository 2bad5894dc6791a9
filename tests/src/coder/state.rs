//! What exists, in a file that the tests and the CLI share.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::agent;
use super::deployment::{Deployment, Template};
use super::workspace::{Build, Transition, Workspace};

/// What exists.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) deployment: Deployment,
    pub(super) workspaces: Vec<Workspace>,
}

/// The directory that all of it is in.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) directory: PathBuf,
}

/// Why the server does not do what it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) message: String,
}

/// A line of the log: one call of the CLI.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Call {
    /// The arguments, without the program.
    pub argv: Vec<String>,
    /// The names of all variables of its environment.
    pub env: Vec<String>,
}

impl Store {
    /// Does something with the state, alone, and writes it down if it has changed.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> io::Result<T> {
        let lock = File::create(self.directory.join("lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let path = self.directory.join("state.json");
        let before = fs::read(&path)?;
        let mut state: State = serde_json::from_slice(&before)?;
        state.advance(self);
        let result = act(&mut state);
        // What has ended in the meantime has ended before anybody hears of it.
        state.advance(self);
        let after = serde_json::to_vec(&state)?;
        if after != before {
            let new = self.directory.join("state.new");
            fs::write(&new, after)?;
            fs::rename(new, path)?;
        }
        Ok(result)
    }

    /// Makes the directory's first state.
    pub(super) fn create(directory: &Path) -> io::Result<Self> {
        fs::write(directory.join("state.json"), serde_json::to_vec(&State::default())?)?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// Adds a call to the log.
    pub(super) fn log(&self, call: &Call) -> io::Result<()> {
        let mut line = serde_json::to_vec(call)?;
        line.push(b'\n');
        OpenOptions::new().create(true).append(true).open(self.directory.join("calls"))?.write_all(&line)
    }

    /// The calls so far.
    pub(super) fn calls(&self) -> Vec<Call> {
        let text = fs::read_to_string(self.directory.join("calls")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    pub(super) fn forget(&self) -> io::Result<()> {
        fs::write(self.directory.join("calls"), "")
    }
}

impl State {
    /// Ends what a stop or a delete that is over has ended, and takes away what is deleted.
    fn advance(&mut self, store: &Store) {
        let now = Timestamp::now();
        for workspace in &mut self.workspaces {
            let id = workspace.id.clone();
            let build = workspace.latest_mut();
            let over = ["stopped", "deleted"].contains(&build.status(now));
            if over && !build.done {
                build.done = true;
                agent::switch_off(store, &id);
            }
        }
        let (gone, left) = std::mem::take(&mut self.workspaces)
            .into_iter()
            .partition(|it| it.latest().status(now) == "deleted");
        self.workspaces = left;
        for workspace in gone {
            agent::remove(store, &workspace.id);
        }
    }

    /// The workspace that an identifier names, if it can be seen: a UUID, `name` or `owner/name`.
    pub(super) fn find(&mut self, identifier: &str) -> Result<&mut Workspace, Refusal> {
        let now = Timestamp::now();
        let me = self.deployment.user.clone();
        let (owner, name) = identifier.split_once('/').unwrap_or((&me, identifier));
        let owner = if owner == "me" { &me } else { owner };
        let seen = self.workspaces.iter_mut().filter(|it| it.visible <= now);
        let mut fit = seen
            .filter(|it| it.id == identifier || (it.owner == owner && it.name.eq_ignore_ascii_case(name)));
        fit.next().ok_or_else(Refusal::not_found)
    }

    /// The template of this name in this organization.
    pub(super) fn template(&self, name: &str, organization: &str) -> Option<&Template> {
        self.deployment.templates.iter().find(|it| it.name == name && it.organization == organization)
    }

    /// Begins a build of a workspace, by its id.
    pub(super) fn build(&mut self, id: &str, transition: Transition, reason: &str) -> Result<Build, Refusal> {
        let conflict = self.deployment.faults.conflict();
        let by = self.deployment.user.clone();
        let workspace = self.workspaces.iter().find(|it| it.id == id).ok_or_else(Refusal::not_found)?;
        if conflict || workspace.latest().is_active(Timestamp::now()) {
            return Err(Refusal::new(409, "A workspace build is already active."));
        }
        let template = self.template(&workspace.template, &workspace.organization).cloned();
        let error = self.deployment.faults.build_failure(transition);
        let build = Build::new(transition, &template.unwrap_or_default(), &by, reason, error);
        if let Some(workspace) = self.workspaces.iter_mut().find(|it| it.id == id) {
            workspace.last_used = build.created;
            workspace.builds.push(build.clone());
        }
        Ok(build)
    }
}

impl Refusal {
    pub(super) fn new(status: u16, message: &str) -> Self {
        Self { status, message: message.to_owned() }
    }

    fn not_found() -> Self {
        Self::new(404, "Resource not found or you do not have access to this resource")
    }
}
