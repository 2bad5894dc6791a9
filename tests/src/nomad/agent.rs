//! A real Nomad agent in dev mode, for tests that want more than the emulator's word.
//!
//! `nomad agent -dev` is server and client in one, with its state in memory and raw_exec on
//! (<https://developer.hashicorp.com/nomad/docs/commands/agent>). It leaves more than it says: what an exec has
//! started outlives its allocation on cgroups v1 and without cgroups, so that ending it is half of this module.

pub mod client;
mod remains;
mod start;

use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::client::Client;
use super::options::Grants;
use super::process;

/// What an agent is like.
#[derive(Clone, Copy, Debug, Default)]
pub struct AgentOptions {
    /// Whether access is controlled. [`Agent::management`] has the token that may do everything, and
    /// [`Agent::token`] makes others.
    pub acl: bool,
    /// Whether it has the driver docker, too: with the docker that `DOCKER_HOST` names, or else the machine's.
    pub docker: bool,
}

/// An agent of its own. Dropped, it is gone, and what its allocations have started is, too.
#[derive(Debug)]
pub struct Agent {
    process: Child,
    /// Ends the agent when this process is killed: it waits for the end of the pipe that it is held by.
    watchdog: Option<Child>,
    port: u16,
    client: Client,
    version: String,
    docker: bool,
    directory: TempDir,
}

impl Agent {
    /// Starts an agent without access control and waits until jobs can be placed.
    ///
    /// # Panics
    ///
    /// When it does not become ready in any of the ways that a machine may allow.
    pub fn start(binary: impl Into<PathBuf>) -> Self {
        Self::with(binary, AgentOptions::default())
    }

    /// Starts an agent and waits until jobs can be placed.
    ///
    /// # Panics
    ///
    /// When it does not become ready in any of the ways that a machine may allow.
    pub fn with(binary: impl Into<PathBuf>, options: AgentOptions) -> Self {
        start::start(&binary.into(), options)
    }

    /// The address, for `NOMAD_ADDR`.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What version it says it has.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The token that may do everything, if access is controlled.
    pub fn management(&self) -> Option<&str> {
        self.client.token()
    }

    /// The API, with the token that may do everything.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Makes a token that is good for this, and says its secret.
    ///
    /// # Panics
    ///
    /// When access is not controlled.
    pub fn token(&self, name: &str, grants: &Grants) -> String {
        if grants.management {
            return self.client.post("/v1/acl/token", &json!({"Name": name, "Type": "management"}))["SecretID"]
                .as_str()
                .expect("a token has a secret")
                .to_owned();
        }
        self.token_with_rules(name, &rules(grants))
    }

    /// Makes a token with a policy of these rules, as a cluster's owner writes them, and says its secret.
    ///
    /// # Panics
    ///
    /// When access is not controlled, or the rules are not accepted.
    pub fn token_with_rules(&self, name: &str, rules: &str) -> String {
        let (status, text) = self.client.request(
            "POST",
            &format!("/v1/acl/policy/{name}"),
            Some(&json!({"Name": name, "Rules": rules})),
        );
        assert_eq!(status, 200, "the policy `{name}` is refused: {text}\n{rules}");
        let token = json!({"Name": name, "Type": "client", "Policies": [name]});
        self.client.post("/v1/acl/token", &token)["SecretID"]
            .as_str()
            .expect("a token has a secret")
            .to_owned()
    }

    /// Makes a namespace.
    pub fn namespace(&self, name: &str) {
        self.client.post("/v1/namespace", &json!({"Name": name}));
    }

    /// The jobs, as they are read, of all namespaces; stopped ones, too.
    pub fn jobs(&self) -> Vec<Value> {
        self.client.jobs("", "*")
    }

    /// The live processes of all allocations, those that were exec'd among them, whatever they have become since:
    /// also of allocations that the agent has forgotten.
    pub fn processes(&self) -> Vec<u32> {
        remains::of_allocations(self.directory.path())
    }

    /// Ends it.
    pub fn stop(mut self) {
        self.end();
    }

    /// Asks the agent to end, kills the tasks that it waits for, and then whatever is left of them.
    fn end(&mut self) {
        if let Some(mut watchdog) = self.watchdog.take() {
            // First: the id that it would kill is about to be free.
            let _ = watchdog.kill();
            let _ = watchdog.wait();
        }
        process::signal(self.process.id(), Signal::INT);
        let deadline = Instant::now() + Duration::from_secs(15);
        while !matches!(self.process.try_wait(), Ok(Some(_))) {
            if Instant::now() > deadline {
                let _ = self.process.kill();
            }
            std::thread::sleep(Duration::from_millis(50));
            // It gives each task 5 s otherwise.
            remains::kill(&self.processes());
        }
        remains::clear(self.directory.path());
        if self.docker {
            remains::remove_containers(self.directory.path());
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a token is good for, as a policy (<https://developer.hashicorp.com/nomad/docs/other-specifications/acl-policy>).
fn rules(grants: &Grants) -> String {
    let mut rules = String::new();
    for (namespace, capabilities) in &grants.namespaces {
        let capabilities = json!(capabilities);
        rules += &format!("namespace \"{namespace}\" {{\n  capabilities = {capabilities}\n}}\n");
    }
    for (allowed, on) in [(grants.agent_read, "agent"), (grants.node_read, "node")] {
        if allowed {
            rules += &format!("{on} {{\n  policy = \"read\"\n}}\n");
        }
    }
    rules
}
