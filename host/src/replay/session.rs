//! One session of a trace, played again: with leases of its own, so that none of yours is touched.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::compare::differences;
use super::player::Player;
use super::stand_in::StandIn;
use super::transcript::{Exchange, Recorded};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::lease::{new_lease_id, new_run_id, remote_name};
use crate::output::{self, warn};
use crate::plugins::Found;
use crate::provider::{Locks, Spawn};

/// Kinds of errors that come from the outside: a replay cannot bring them about.
const OUTSIDE: &[&str] =
    &["auth", "quota", "capacity", "unavailable", "rateLimited", "deadline", "transport", "provider"];

/// What came of one exchange.
#[derive(Debug)]
pub(super) enum Outcome {
    Same,
    /// What is different, each thing in words.
    Different(Vec<String>),
    Skipped(String),
}

/// A replay under way.
pub(super) struct Replay<'h> {
    host: &'h Host,
    found: Found,
    env: Vec<(std::ffi::OsString, std::ffi::OsString)>,
    /// Recorded identifiers, and those of this replay.
    names: BTreeMap<String, String>,
    /// What the plugin said about each lease, by its id now.
    leases: BTreeMap<String, Map<String, Value>>,
    /// Requests that release what the trace leaves behind.
    left: BTreeMap<String, Vec<Value>>,
    /// Stands in for directories that the configuration names and this machine does not have.
    places: tempfile::TempDir,
}

impl<'h> Replay<'h> {
    pub(super) async fn new(host: &'h Host, found: Found) -> Result<Self> {
        let known = host.plugins.manifest(&found).await?;
        let env = host.plugins.environment(&found.name, &known.manifest, &Default::default());
        let places = tempfile::Builder::new().prefix("crabbox-replay-").tempdir();
        let places = places.map_err(|error| Error::failure("cannot make a directory").cause(error))?;
        let (names, leases, left) = Default::default();
        Ok(Self { host, found, env, names, leases, left, places })
    }

    /// Plays a session, and says of each exchange what came of it.
    pub(super) async fn play(&mut self, session: &Recorded) -> Result<Vec<(String, Outcome)>> {
        let mut outcomes = Vec::new();
        let mut player = Player::start(&self.spawn()?).map_err(Error::from)?;
        let mut configure = None;
        let mut over: Option<String> = None;
        for exchange in &session.exchanges {
            let outcome = match (&exchange.answer, &over) {
                (_, Some(why)) => Outcome::Different(vec![why.clone()]),
                (None, None) => Outcome::Skipped("no answer was recorded".to_owned()),
                (Some(Err(error)), None) if is_outside(error) => {
                    Outcome::Skipped("it failed for a reason outside of the plugin".to_owned())
                }
                (Some(recorded), None) => {
                    match self.exchange(&mut player, exchange, recorded, &mut configure).await {
                        Ok(found) if found.is_empty() => Outcome::Same,
                        Ok(found) => Outcome::Different(found),
                        Err(why) => {
                            over = Some("the session was over".to_owned());
                            Outcome::Different(vec![why])
                        }
                    }
                }
            };
            outcomes.push((exchange.method.clone(), outcome));
        }
        if !player.close().await && over.is_none() {
            let why = "it did not end when its input did".to_owned();
            outcomes.push(("end".to_owned(), Outcome::Different(vec![why])));
        }
        Ok(outcomes)
    }

    async fn exchange(
        &mut self,
        player: &mut Player,
        exchange: &Exchange,
        recorded: &Result<Value, Value>,
        configure: &mut Option<Value>,
    ) -> Result<Vec<String>, String> {
        let mut params = self.renamed(&exchange.params).map_err(|error| error.to_string())?;
        self.tell_again(&mut params);
        let stand_in =
            StandIn::make(exchange, &mut params, self.places.path()).map_err(|error| error.to_string())?;
        let request = |params: &Value| json!({"jsonrpc": "2.0", "id": exchange.id, "method": exchange.method, "params": params});
        let cancel = exchange
            .cancel
            .as_ref()
            .map(|params| json!({"jsonrpc": "2.0", "method": "cancel", "params": params}));
        let is_run = exchange.method == "run";
        let begun = |printed: &[Vec<u8>; 2]| !is_run || !printed[0].is_empty() || stand_in.has_printed();
        self.remember(exchange, &params, configure);
        let answer = player.ask(exchange.id, &request(&params), cancel, begun).await?;
        self.learn(exchange, &params, &answer);
        let input = stand_in.input.clone();
        let printed = match stand_in.printed().await {
            Some(printed) => printed,
            None => std::mem::take(&mut player.printed[0]),
        };
        if exchange.cancel.is_some() && is_run {
            // By what a command ends that is cancelled is its own affair.
            return Ok(match (recorded, &answer) {
                (Ok(_), Ok(_)) => Vec::new(),
                (recorded, answer) => differences(&exchange.method, recorded, answer),
            });
        }
        let mut found = differences(&exchange.method, recorded, &answer);
        if is_run && answer.is_ok() && printed != input {
            found.push(format!(
                "the command was to print {} bytes that it was given, and {} others came",
                input.len(),
                printed.len()
            ));
        }
        Ok(found)
    }

    fn spawn(&self) -> Result<Spawn> {
        self.host.plugins.spawn(&self.found, &self.env, Locks::default())
    }

    /// The params with this replay's identifiers in the place of the recorded ones.
    fn renamed(&mut self, params: &Value) -> Result<Value> {
        let mut text = params.to_string();
        for old in identifiers(&text, "cbx_").into_iter().chain(identifiers(&text, "run_")) {
            if !self.names.contains_key(&old) {
                let is_lease = old.starts_with("cbx_");
                let new = if is_lease { new_lease_id()?.to_string() } else { new_run_id()?.to_string() };
                self.names.insert(old.clone(), new);
            }
            text = text.replace(&old, &self.names[&old]);
        }
        let mut params: Value = serde_json::from_str(&text).unwrap_or_default();
        let id = params["lease"]["id"].as_str().and_then(|id| id.parse().ok());
        if let (Some(id), Some(slug)) = (id, params["lease"]["slug"].as_str()) {
            params["lease"]["name"] = remote_name(&id, slug).into();
        }
        Ok(params)
    }

    /// Says of a lease what the plugin itself said about it in this replay.
    fn tell_again(&self, params: &mut Value) {
        let Some(lease) = params.get_mut("lease").and_then(Value::as_object_mut) else { return };
        let Some(said) = lease.get("id").and_then(Value::as_str).and_then(|id| self.leases.get(id)) else {
            return;
        };
        for key in ["ref", "state", "root"] {
            if lease.contains_key(key) {
                match said.get(key) {
                    Some(value) => drop(lease.insert(key.to_owned(), value.clone())),
                    None => drop(lease.remove(key)),
                }
            }
        }
    }

    /// Before an answer: what will have to be released if the trace does not.
    fn remember(&mut self, exchange: &Exchange, params: &Value, configure: &mut Option<Value>) {
        match exchange.method.as_str() {
            "configure" => *configure = Some(params.clone()),
            "acquire" => {
                let release = json!({"lease": params["lease"], "action": "delete", "reason": "cleanup"});
                let id = params["lease"]["id"].as_str().unwrap_or_default().to_owned();
                self.left.insert(id, vec![configure.clone().unwrap_or_default(), release]);
            }
            _ => {}
        }
    }

    /// After an answer: what the plugin says about a lease, and what is released.
    fn learn(&mut self, exchange: &Exchange, params: &Value, answer: &Result<Value, Value>) {
        let (Some(id), Ok(result)) = (params["lease"]["id"].as_str(), answer) else { return };
        if let Some(lease) = result.get("lease").and_then(Value::as_object) {
            self.leases.entry(id.to_owned()).or_default().extend(lease.clone());
        }
        let gone = ["released", "absent"].iter().any(|outcome| result["outcome"] == *outcome);
        if exchange.method == "release" && gone && params["action"] == "delete" {
            self.left.remove(id);
        }
    }

    /// Releases the leases that the trace left.
    pub(super) async fn clean_up(&mut self) {
        for (id, requests) in std::mem::take(&mut self.left) {
            match self.release(requests).await {
                Ok(()) => output::say(format!("released {id}, which the trace left")),
                Err(why) => warn(format!("the trace left {id}, and it could not be released: {why}")),
            }
        }
    }

    async fn release(&self, requests: Vec<Value>) -> Result<(), String> {
        let spawn = self.spawn().map_err(|error| error.to_string())?;
        let mut player = Player::start(&spawn).map_err(|error| error.to_string())?;
        let hello =
            json!({"versions": [1], "host": {"name": "crabbox", "version": env!("CARGO_PKG_VERSION")}});
        let mut result = Ok(());
        for (n, (method, mut params)) in ["initialize", "configure", "release"]
            .into_iter()
            .zip([hello].into_iter().chain(requests))
            .enumerate()
        {
            if params.is_null() {
                continue;
            }
            self.tell_again(&mut params);
            let request = json!({"jsonrpc": "2.0", "id": n + 1, "method": method, "params": params});
            result = match player.ask(n as u64 + 1, &request, None, |_| false).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(error["message"].to_string()),
                Err(why) => Err(why),
            };
            if result.is_err() {
                break;
            }
        }
        player.close().await;
        result
    }
}

fn is_outside(error: &Value) -> bool {
    error["data"]["kind"].as_str().is_some_and(|kind| OUTSIDE.contains(&kind))
}

/// The identifiers in a text that begin so.
fn identifiers(text: &str, prefix: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (at, _) in text.match_indices(prefix) {
        let digits = text[at + prefix.len()..].bytes().take(12);
        let is_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        if digits.filter(is_hex).count() == 12 {
            let id = text[at..at + prefix.len() + 12].to_owned();
            if !found.contains(&id) {
                found.push(id);
            }
        }
    }
    found
}
