//! An emulated Coder: a `coder` on PATH, and behind it workspaces that are real as far as SSH goes.
//!
//! What exists is in a file that a test and the CLI share, so every call of the CLI is a process of its own, as
//! with the real one. Builds take the time that their template says, whoever waits for them or does not; at the
//! end of a stop or a delete everything that ran in the workspace is ended. `coder ssh --stdio` becomes a real
//! `sshd -i`, with a host key of the workspace's own and its home directory, which outlives a stop. Whatever a
//! deployment can do to a client can be made to happen: see [`Faults`], [`Deployment`] and [`Template`]. What was
//! asked of the CLI is in [`Coder::calls`].
//!
//! The sentences, the exit codes and the shape of the JSON are those of coder/coder from 2.18 on to 2.33. It shares
//! no code with the provider.
//!
//! # What a test's world needs
//!
//! [`Coder::install`] puts `coder` on its PATH, logs it in, and puts an `ssh` there (see [`Client`]). Agents let
//! anybody in without a key, whatever user is named, as the real ones do, where nss_wrapper is installed (of names,
//! they know `coder` and that of the user who runs the tests). Elsewhere that `ssh` stands in for them: it logs in as
//! that user, with a key that nobody else has to know of.
//!
//! The provider's default work root is a path of a container. Here, workspaces are on the machine that runs the tests,
//! so a test sets another, in the world or below [`Coder::home`].
//!
//! # What it leaves out
//!
//! The network between CLI and agent, and the ten times that `ssh` tries in vain to reach the server; menus that are
//! answered; every command but `version`, `whoami`, `list`, `create`, `start`, `stop`, `delete` and
//! `ssh --stdio`. An agent takes the variables of sshd's `AcceptEnv` only,
//! which is none; the real one takes all. `expanded_directory` is the directory as the template has it, which is
//! below the home here, and `/home/coder` when the template has none. In which version a flag appeared is known to
//! the month only.

mod agent;
mod cli;
mod deployment;
mod faults;
mod json;
mod state;
mod workspace;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;

pub use self::deployment::{AgentTemplate, Deployment, Outcome, Parameter, Preset, Template};
pub use self::faults::Faults;
pub use self::state::Call;
pub use self::workspace::{Agent, Build, Transition, Workspace};

/// The CLI: what the executable does.
pub use self::cli::main as cli;

use self::state::{State, Store};
use crate::sshd::{Client, Identity, is_open};
use crate::{World, binary, quoted, tool};

/// An emulated deployment and its CLI. Dropped, it is gone, and with it everything that ran in its workspaces.
pub struct Coder {
    store: Store,
    key: Identity,
    ended: Arc<AtomicBool>,
    clock: Option<JoinHandle<()>>,
    // Last: what is in it is in use until then.
    _directory: TempDir,
}

impl Coder {
    /// A deployment with one user, who has no workspace, and one template; `None` where there is no sshd and the
    /// test is skipped.
    ///
    /// # Panics
    ///
    /// When it cannot be set up.
    pub fn start() -> Option<Self> {
        tool("sshd")?;
        tool("ssh")?;
        let directory = TempDir::with_prefix("crabbox-coder-").expect("a directory can be made");
        let path = directory.path().canonicalize().expect("the directory is there");
        let store = Store::create(&path).expect("a file can be written");
        let key = Identity::new(&path.join("id"));
        let bin = path.join("bin");
        fs::create_dir(&bin).expect("a directory can be made");
        let [cli, state] =
            [&binary("examples").join("fake-coder"), &path].map(|it| quoted(&it.to_string_lossy()));
        let script = format!("#!/bin/sh\nexec {cli} {state} \"$0\" \"$@\"\n");
        fs::write(bin.join("coder"), script).expect("a file can be written");
        fs::set_permissions(bin.join("coder"), fs::Permissions::from_mode(0o755)).expect("a mode can be set");
        let ended = Arc::new(AtomicBool::new(false));
        let clock = std::thread::spawn({
            let (store, ended) = (store.clone(), Arc::clone(&ended));
            move || {
                while !ended.load(Ordering::SeqCst) {
                    // What is due happens whether or not anybody looks.
                    let _ = store.with(|_| ());
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        });
        Some(Self { store, key, ended, clock: Some(clock), _directory: directory })
    }

    /// The directory that has `coder`.
    pub fn path_dir(&self) -> PathBuf {
        self.store.directory.join("bin")
    }

    /// The CLI.
    pub fn path(&self) -> PathBuf {
        self.path_dir().join("coder")
    }

    /// Puts the CLI and an ssh on a world's PATH, and logs in.
    ///
    /// # Panics
    ///
    /// As [`Client::install`].
    pub fn install(&self, world: &World) -> Client {
        world.install(&self.path());
        self.log_in(world);
        Client::install_with(world, (!is_open()).then_some(&self.key))
    }

    /// Writes what `coder login` leaves in a world's home.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn log_in(&self, world: &World) {
        let directory = Self::config_dir(world);
        fs::create_dir_all(&directory).expect("a directory can be made");
        let deployment = self.read(|state| state.deployment.clone());
        for (name, content) in [("url", deployment.url), ("session", deployment.token)] {
            fs::write(directory.join(name), content).expect("a file can be written");
        }
    }

    /// Where `coder login` leaves what it leaves, in a world: the default of `CODER_CONFIG_DIR`.
    pub fn config_dir(world: &World) -> PathBuf {
        world.home().join(".config/coderv2")
    }

    /// The address and the token, as the environment of a CLI that was never logged in.
    pub fn env(&self) -> BTreeMap<&'static str, String> {
        let deployment = self.read(|state| state.deployment.clone());
        BTreeMap::from([("CODER_URL", deployment.url), ("CODER_SESSION_TOKEN", deployment.token)])
    }

    /// Changes the deployment.
    pub fn deployment<T>(&self, change: impl FnOnce(&mut Deployment) -> T) -> T {
        self.read(|state| change(&mut state.deployment))
    }

    /// Changes the first template, which is named `docker`.
    ///
    /// # Panics
    ///
    /// When there is none any more.
    pub fn template(&self, change: impl FnOnce(&mut Template)) {
        self.deployment(|it| change(it.templates.first_mut().expect("there is a template")));
    }

    /// Changes what goes wrong.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        self.deployment(|it| change(&mut it.faults));
    }

    /// Undoes all faults.
    pub fn heal(&self) {
        self.faults(|faults| *faults = Faults::default());
    }

    /// What was asked of the CLI so far.
    pub fn calls(&self) -> Vec<Call> {
        self.store.calls()
    }

    /// The arguments of each call so far.
    pub fn argv(&self) -> Vec<Vec<String>> {
        self.calls().into_iter().map(|call| call.argv).collect()
    }

    /// How often this command was called: its first word, or several.
    pub fn asked(&self, command: &[&str]) -> usize {
        self.argv()
            .iter()
            .filter(|argv| argv.iter().zip(command).filter(|(a, b)| a == b).count() == command.len())
            .count()
    }

    /// Forgets the calls so far.
    ///
    /// # Panics
    ///
    /// When the log cannot be written.
    pub fn forget(&self) {
        self.store.forget().expect("a file can be written");
    }

    /// All workspaces, those that cannot be seen yet among them.
    pub fn workspaces(&self) -> Vec<Workspace> {
        self.read(|state| state.workspaces.clone())
    }

    /// A workspace by `name` or `owner/name`.
    pub fn workspace(&self, name: &str) -> Option<Workspace> {
        let me = self.read(|state| state.deployment.user.clone());
        let (owner, name) = name.split_once('/').unwrap_or((&me, name));
        self.workspaces().into_iter().find(|it| it.owner == owner && it.name == name)
    }

    /// Makes a workspace of the first template, as if its owner had, and returns when its agents are ready.
    ///
    /// # Panics
    ///
    /// When there is no template.
    pub fn add(&self, owner: &str, name: &str) -> Workspace {
        self.read(|state| {
            let template = state.deployment.templates.first().expect("there is a template");
            let now = Timestamp::now();
            let mut build = Build::new(Transition::Start, template, owner, "initiator", None);
            let past = now - jiff::SignedDuration::from_hours(1);
            (build.created, build.started, build.ended) = (past, past, past);
            let workspace = Workspace {
                id: workspace::uuid(),
                name: name.to_owned(),
                owner: owner.to_owned(),
                template: template.name.clone(),
                organization: template.organization.clone(),
                created: past,
                visible: past,
                last_used: past,
                dormant: None,
                ttl_ms: None,
                automatic_updates: "never".to_owned(),
                parameters: BTreeMap::new(),
                preset: None,
                builds: vec![build],
            };
            state.workspaces.push(workspace.clone());
            workspace
        })
    }

    /// Begins a build as somebody else would, and does not wait for it.
    ///
    /// # Panics
    ///
    /// When there is no such workspace, or a build is under way.
    pub fn build(&self, name: &str, transition: Transition) {
        let id = self.id(name);
        let built = self.read(|state| state.build(&id, transition, "initiator"));
        built.unwrap_or_else(|why| panic!("{name}: {}", why.message));
    }

    /// Ends a workspace's build that is under way, however long it was to take.
    ///
    /// # Panics
    ///
    /// When there is no such workspace.
    pub fn end_build(&self, name: &str) {
        self.change(name, |it| {
            let now = Timestamp::now();
            let build = it.latest_mut();
            (build.started, build.ended) = (build.started.min(now), build.ended.min(now));
        });
    }

    /// Changes a workspace behind everybody's back.
    ///
    /// # Panics
    ///
    /// When there is no such workspace.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut Workspace)) {
        let id = self.id(name);
        self.read(|state| change(state.workspaces.iter_mut().find(|it| it.id == id).expect("it is there")));
    }

    /// A workspace's home directory, which is there once somebody has connected.
    pub fn home(&self, name: &str) -> PathBuf {
        agent::home(&self.store, &self.id(name))
    }

    /// The live processes of a workspace's sessions, also of those whose connection has ended.
    pub fn processes(&self, name: &str) -> Vec<u32> {
        agent::processes(&self.store, &self.id(name))
    }

    /// What was asked for in each session with a workspace so far.
    pub fn sessions(&self, name: &str) -> Vec<String> {
        agent::sessions(&self.store, &self.id(name))
    }

    /// The public host key of an agent that somebody has connected to, as `TYPE BASE64`.
    pub fn host_key(&self, name: &str, agent: &str) -> String {
        agent::host_key(&self.store, &self.id(name), agent)
    }

    /// Cuts all connections with a workspace. What sessions have started goes on.
    pub fn cut(&self, name: &str) {
        agent::cut(&self.store, &self.id(name));
    }

    /// Whether agents let anybody in without a key here, as the real ones do.
    pub fn needs_no_key() -> bool {
        is_open()
    }

    /// The directory of all of it.
    pub fn directory(&self) -> &Path {
        &self.store.directory
    }

    fn id(&self, name: &str) -> String {
        self.workspace(name).unwrap_or_else(|| panic!("there is no workspace {name}")).id
    }

    fn read<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        self.store.with(act).expect("the state can be read and written")
    }
}

impl Drop for Coder {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        if let Some(clock) = self.clock.take() {
            let _ = clock.join();
        }
        agent::end_everything(&self.store);
    }
}
