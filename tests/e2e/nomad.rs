//! The nomad provider, from crabbox down to an agent: an emulated one always, a real one where there is one.

mod acquire;
mod check;
mod doctor;
mod lease;
mod ready;
mod run;
mod tls;
mod trust;

use std::process::Command;

use crabbox_tests::nomad::{Emulator, Options};
use crabbox_tests::{World, binary};
use serde_json::{Value, json};

/// A world with the provider, and an agent of its own.
pub(super) struct Site {
    pub(super) world: World,
    pub(super) agent: Emulator,
}

impl Site {
    /// An agent without ACLs, and leases with the driver raw_exec.
    pub(super) fn new() -> Self {
        Self::with(Options::default())
    }

    pub(super) fn with(options: Options) -> Self {
        let site = Self { world: World::new(), agent: Emulator::with(options) };
        site.world.install(&binary("crabbox-provider-nomad"));
        site.configure(json!({}));
        site
    }

    /// Writes the user's configuration: what `changes` says, and the agent's address and raw_exec.
    pub(super) fn configure(&self, changes: Value) {
        let mut nomad = json!({"address": self.agent.address(), "driver": "raw_exec"});
        nomad.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        // JSON is YAML.
        self.world.write_config(&json!({"provider": "nomad", "nomad": nomad}).to_string());
    }

    /// crabbox with these arguments.
    pub(super) fn crabbox(&self, arguments: &[&str]) -> Command {
        self.world.crabbox(arguments)
    }

    /// Runs crabbox and returns its exit code, standard output and standard error.
    pub(super) fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        self.world.run(arguments)
    }

    /// Makes a lease called `demo`.
    pub(super) fn warm(&self) {
        let (code, _, stderr) = self.run(&["warmup", "--slug", "demo"]);
        assert_eq!(code, 0, "{stderr}");
    }

    /// Runs a command on `demo`, without a sync.
    pub(super) fn on_demo(&self, command: &[&str]) -> (i32, String, String) {
        self.run(&[&["run", "--id", "demo", "--no-sync", "--"], command].concat())
    }

    /// Nothing is left: no job, no process, no claim.
    pub(super) fn nothing_is_left(&self) {
        assert_eq!(self.agent.jobs(), Vec::<Value>::new());
        assert_eq!(self.agent.processes(), Vec::<u32>::new());
        assert_eq!(self.world.json(&["list", "--json"]), json!([]));
    }

    /// Requests with this method so far.
    pub(super) fn asked(&self, method: &str) -> usize {
        self.agent.requests().iter().filter(|request| request.method == method).count()
    }
}
