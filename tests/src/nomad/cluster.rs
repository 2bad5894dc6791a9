//! The clusters that the same test is run against: the emulator, a real agent, and one that is given.

#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use super::agent::client::Client;
use super::agent::{Agent, AgentOptions};
use super::{Acl, Emulator, Grants, Options};
use crate::skip;

/// What a test runs against.
pub enum Cluster {
    /// An emulator of its own.
    Emulator {
        /// The emulator, with all that it knows.
        emulator: Emulator,
        /// The tokens that were asked for.
        tokens: Vec<String>,
        /// The API, with the token that may do everything.
        client: Client,
    },
    /// An agent of its own, of the binary that `CRABBOX_TEST_NOMAD` names.
    Agent {
        /// The agent.
        agent: Agent,
        /// The tokens that were asked for.
        tokens: Vec<String>,
    },
    /// The cluster at `NOMAD_ADDR`, where others have jobs, too.
    Given(Given),
}

/// A cluster that is somebody's. Nothing is done to it but through jobs that are told to be ours.
pub struct Given {
    address: String,
    client: Client,
    namespace: Option<String>,
    region: Option<String>,
    /// The name of the tasks that this test's jobs have, and no other job.
    task: String,
}

/// All clusters that there are, without access control: the emulator always, an agent when `CRABBOX_TEST_NOMAD`
/// names a `nomad`, the cluster at `NOMAD_ADDR` when `CRABBOX_LIVE=1`, too. What is not there is said to be skipped:
/// `CRABBOX_TEST_REQUIRE` knows them as `nomad` and `nomad-cluster`.
pub fn clusters() -> Vec<Cluster> {
    let mut all = vec![Cluster::emulator(&[])];
    all.extend(binary().map(|binary| Cluster::agent(&binary, None)));
    all.extend(given());
    all
}

/// The clusters with access control, with a token for each of these. A cluster that is given has its own owner, and
/// is none of them.
pub fn clusters_with_tokens(grants: &[Grants]) -> Vec<Cluster> {
    let mut all = vec![Cluster::emulator(grants)];
    all.extend(binary().map(|binary| Cluster::agent(&binary, Some(grants))));
    all
}

/// The `nomad` to start agents of. `None`: there is none, and that has been said.
pub fn binary() -> Option<String> {
    let binary = std::env::var("CRABBOX_TEST_NOMAD").ok().filter(|name| !name.is_empty());
    if binary.is_none() {
        skip("nomad", "on a real agent: CRABBOX_TEST_NOMAD names no nomad");
    }
    binary
}

/// The image that `CRABBOX_TEST_NOMAD_IMAGE` names: with it, leases on real clusters have the driver docker in place
/// of raw_exec. It has to be there already, and to have bash. An agent's containers are looked into from outside,
/// which takes root.
pub fn image() -> Option<String> {
    std::env::var("CRABBOX_TEST_NOMAD_IMAGE").ok().filter(|name| !name.is_empty())
}

fn given() -> Option<Cluster> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let address = variable("NOMAD_ADDR").filter(|_| variable("CRABBOX_LIVE").as_deref() == Some("1"));
    let Some(address) = address else {
        skip("nomad-cluster", "on a given cluster: CRABBOX_LIVE=1 and NOMAD_ADDR are not both set");
        return None;
    };
    let Some(client) = Client::of_address(&address) else {
        skip("nomad-cluster", "on a given cluster: the tests read NOMAD_ADDR only at http://HOST:PORT");
        return None;
    };
    let client = match variable("NOMAD_TOKEN") {
        Some(token) => client.with_token(&token),
        None => client,
    };
    let (namespace, region) = (variable("NOMAD_NAMESPACE"), variable("NOMAD_REGION"));
    let client = client.within(namespace.clone(), region.clone());
    Some(Cluster::Given(Given { address, client, namespace, region, task: format!("crabbox-{}", unique()) }))
}

impl Cluster {
    fn emulator(grants: &[Grants]) -> Self {
        let mut acl = Acl::new();
        let management = uuid();
        let tokens: Vec<String> = grants.iter().map(|_| uuid()).collect();
        for (secret, grants) in tokens.iter().zip(grants) {
            acl = acl.token(secret, grants.clone());
        }
        acl = acl.token(&management, Grants::management());
        let acl = (!grants.is_empty()).then_some(acl);
        let emulator = Emulator::with(Options { acl: acl.clone(), ..Options::default() });
        let mut client = Client::new("127.0.0.1", emulator.port());
        if acl.is_some() {
            client = client.with_token(&management);
        }
        Self::Emulator { emulator, tokens, client }
    }

    fn agent(binary: &str, grants: Option<&[Grants]>) -> Self {
        let agent = Agent::with(binary, AgentOptions { acl: grants.is_some(), docker: image().is_some() });
        let grants = grants.unwrap_or_default().iter().enumerate();
        let tokens = grants.map(|(nth, grants)| agent.token(&format!("test-{nth}"), grants)).collect();
        Self::Agent { agent, tokens }
    }

    /// What it is, for messages.
    pub fn name(&self) -> String {
        match self {
            Self::Emulator { .. } => "the emulator".to_owned(),
            Self::Agent { agent, .. } => {
                format!("an agent of version {} with {}", agent.version(), self.driver())
            }
            Self::Given(_) => format!("the given cluster with {}", self.driver()),
        }
    }

    /// The driver of leases here.
    pub fn driver(&self) -> &'static str {
        match self {
            Self::Agent { .. } | Self::Given(_) if image().is_some() => "docker",
            _ => "raw_exec",
        }
    }

    /// What a token needs for leases here, by docs/providers/nomad.md.
    pub fn needs(&self) -> &'static [&'static str] {
        let all: &[&str] = &["submit-job", "read-job", "list-jobs", "alloc-exec", "alloc-node-exec"];
        if self.driver() == "docker" { &all[..4] } else { all }
    }

    /// The address, for `NOMAD_ADDR`.
    pub fn address(&self) -> String {
        match self {
            Self::Emulator { emulator, .. } => emulator.address(),
            Self::Agent { agent, .. } => agent.address(),
            Self::Given(given) => given.address.clone(),
        }
    }

    /// The block `nomad` of a user's configuration that leases here. A given cluster's has a task name that tells
    /// this test's jobs from all others.
    pub fn config(&self) -> Value {
        let mut config = json!({"address": self.address(), "driver": self.driver()});
        if let Some(image) = image().filter(|_| self.driver() == "docker") {
            config["image"] = json!(image);
        }
        if let Self::Given(given) = self {
            config["task"] = json!(given.task);
            for (name, value) in [("namespace", &given.namespace), ("region", &given.region)] {
                if let Some(value) = value {
                    config[name] = json!(value);
                }
            }
        }
        config
    }

    /// What crabbox's environment has to hold here, besides: the token of a given cluster.
    pub fn env(&self) -> Option<(&'static str, String)> {
        let Self::Given(given) = self else { return None };
        Some(("NOMAD_TOKEN", given.client.token()?.to_owned()))
    }

    /// The secret of the token that was asked for at this place.
    pub fn token(&self, nth: usize) -> Option<&str> {
        match self {
            Self::Emulator { tokens, .. } | Self::Agent { tokens, .. } => Some(tokens.get(nth)?),
            Self::Given(_) => None,
        }
    }

    /// The API: with the token that may do everything, or with the given cluster's `NOMAD_TOKEN`.
    pub fn client(&self) -> &Client {
        match self {
            Self::Emulator { client, .. } => client,
            Self::Agent { agent, .. } => agent.client(),
            Self::Given(given) => &given.client,
        }
    }

    /// The emulator, with its faults and its log, where it is one.
    pub fn as_emulator(&self) -> Option<&Emulator> {
        match self {
            Self::Emulator { emulator, .. } => Some(emulator),
            _ => None,
        }
    }

    /// The jobs of this test; stopped ones, too.
    pub fn jobs(&self) -> Vec<Value> {
        match self {
            Self::Given(given) => {
                given.jobs().unwrap_or_else(|error| panic!("the jobs of {}: {error}", given.address))
            }
            _ => self.client().jobs("", "*"),
        }
    }

    /// The live processes of all allocations, those that were exec'd among them. A given cluster's are not to be
    /// seen from here.
    pub fn processes(&self) -> Vec<u32> {
        match self {
            Self::Emulator { emulator, .. } => emulator.processes(),
            Self::Agent { agent, .. } => agent.processes(),
            Self::Given(_) => Vec::new(),
        }
    }
}

impl Given {
    /// The jobs of this test, or what went wrong.
    fn jobs(&self) -> Result<Vec<Value>, String> {
        let (status, text) = self.client.try_request("GET", "/v1/jobs?meta=true&prefix=crabbox-", None)?;
        match serde_json::from_str(&text) {
            Ok(Value::Array(all)) if status == 200 => {
                Ok(all.into_iter().filter(|job| self.is_ours(job)).collect())
            }
            _ => Err(text),
        }
    }

    fn is_ours(&self, job: &Value) -> bool {
        job["Meta"]["crabbox.task"] == *self.task
    }
}

impl Drop for Given {
    /// Removes what a failed test has left in somebody's cluster.
    fn drop(&mut self) {
        for job in self.jobs().unwrap_or_default() {
            let path = format!("/v1/job/{}?purge=true", job["ID"].as_str().unwrap_or_default());
            // The test has failed by now, and says why.
            let _ = self.client.try_request("DELETE", &path, None);
        }
    }
}

/// A word that nobody else has.
fn unique() -> String {
    format!("{:016x}", fastrand::u64(..))
}

/// A secret as Nomad makes them.
fn uuid() -> String {
    let digits = format!("{:032x}", fastrand::u128(..));
    let part = |from, to| &digits[from..to];
    format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}
