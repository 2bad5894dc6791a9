//! The plugin on a machine of its own: a home that goes away, and nothing inherited.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crabbox_provider_kit::testing::{Answer, Plugin, until};
use serde_json::{Value, json};

pub(crate) const LEASE: &str = "cbx_0123456789ab";

/// A run id that no other test has: two runs of one id on a machine would end each other.
pub(crate) fn run_id() -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    format!("run_{:08x}{:04x}", std::process::id(), number)
}

/// A home directory and a plugin that is configured.
pub(crate) struct Machine {
    pub(crate) plugin: Plugin,
    home: tempfile::TempDir,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { plugin: configured(home.path()), home }
    }

    /// A machine with one lease.
    pub(crate) fn with_lease() -> Self {
        let mut machine = Self::new();
        let acquired = machine.acquire(LEASE);
        assert_eq!(acquired["lease"]["id"], LEASE);
        machine
    }

    /// A plugin as a later host starts it: it knows nothing but what is on disk.
    pub(crate) fn another(&self) -> Plugin {
        configured(self.home.path())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Where the leases are.
    pub(crate) fn root(&self) -> PathBuf {
        self.path(".local/state/crabbox/local")
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.root().join(LEASE)
    }

    pub(crate) fn acquire(&mut self, id: &str) -> Value {
        self.plugin.result("acquire", json!({"lease": lease(id), "keep": false}))
    }

    /// The state that `resolve` answers.
    pub(crate) fn state(&mut self, id: &str) -> Value {
        let answer = self.plugin.result("resolve", json!({"lease": lease(id), "intent": "observe"}));
        answer["state"].clone()
    }

    /// The outcome that `release` answers.
    pub(crate) fn release(&mut self, id: &str) -> Value {
        self.plugin.result("release", release(id, "delete"))["outcome"].clone()
    }

    pub(crate) fn ask(&mut self, run: &str, argv: &[&str], extra: Value) -> u64 {
        let mut params = json!({"lease": lease(LEASE), "runId": run, "argv": argv});
        params.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        self.plugin.ask("run", params)
    }

    pub(crate) fn run(&mut self, argv: &[&str], extra: Value) -> Answer {
        let request = self.ask(&run_id(), argv, extra);
        self.plugin.answer(request)
    }

    /// Begins a run of a shell script that writes process ids to `$pids`, and waits for them.
    pub(crate) fn begin(&mut self, run: &str, script: &str) -> (u64, Vec<i32>) {
        let file = self.path(run);
        let script = format!("pids={0}.new; {script}; mv {0}.new {0}; wait", file.display());
        let request = self.ask(run, &["sh", "-c", &script], json!({}));
        until("the command says its processes", || file.exists());
        let text = std::fs::read_to_string(&file).unwrap();
        (request, text.split_whitespace().map(|pid| pid.parse().unwrap()).collect())
    }
}

fn configured(home: &Path) -> Plugin {
    let mut plugin = start(&[("HOME", home.to_str().unwrap())]);
    plugin.initialize();
    let scope = format!("local:{}", home.join(".local/state/crabbox/local").display());
    assert_eq!(plugin.result("configure", json!({"config": {}})), json!({"scope": scope}));
    plugin
}

pub(crate) fn start(environment: &[(&str, &str)]) -> Plugin {
    Plugin::start(env!("CARGO_BIN_EXE_crabbox-provider-local"), environment.iter().copied())
}

pub(crate) fn lease(id: &str) -> Value {
    json!({"id": id, "slug": "tidy-crab", "name": format!("crabbox-tidy-crab-{}", &id[4..12])})
}

pub(crate) fn release(id: &str, action: &str) -> Value {
    json!({"lease": lease(id), "action": action, "reason": "user"})
}

pub(crate) fn kill(run: &str, grace: u64) -> Value {
    json!({"lease": lease(LEASE), "runId": run, "graceMs": grace})
}
