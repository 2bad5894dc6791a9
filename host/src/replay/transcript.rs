//! Reading a trace: its sessions, and in each what was asked and answered.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::provider::trace::{Direction, Entry};

/// A trace.
#[derive(Debug)]
pub(super) struct Transcript {
    pub(super) sessions: Vec<Recorded>,
}

/// What one process of a plugin's and the host said to each other.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    /// The provider's name.
    pub(super) plugin: String,
    id: String,
    pub(super) exchanges: Vec<Exchange>,
}

/// A request, and what came of it.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) id: u64,
    pub(super) method: String,
    pub(super) params: Value,
    /// The params of the `cancel` that was sent for it.
    pub(super) cancel: Option<Value>,
    /// The result or the error; `None` where no answer came.
    pub(super) answer: Option<Result<Value, Value>>,
}

impl Transcript {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .map_err(|error| Error::usage(format!("cannot read `{}`", path.display())).cause(error))?;
        let mut transcript = Self { sessions: Vec::new() };
        for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let entry = serde_json::from_str(line).map_err(|error| {
                Error::usage(format!("line {} of `{}` is not one of a trace", n + 1, path.display()))
                    .cause(error)
            })?;
            transcript.add(&entry);
        }
        Ok(transcript)
    }

    /// The providers that it has sessions of.
    pub(super) fn plugins(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.sessions.iter().map(|session| session.plugin.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn add(&mut self, entry: &Entry) {
        let known = self.sessions.iter().position(|s| s.plugin == entry.plugin && s.id == entry.session);
        let at = known.unwrap_or_else(|| {
            let (plugin, id) = (entry.plugin.clone(), entry.session.clone());
            self.sessions.push(Recorded { plugin, id, exchanges: Vec::new() });
            self.sessions.len() - 1
        });
        // What is no JSON was no message, and nobody answered it.
        let message = entry.line.as_deref().and_then(|line| serde_json::from_str::<Value>(line).ok());
        let Some(mut message) = message.filter(Value::is_object) else { return };
        match entry.dir {
            Direction::Host => self.sessions[at].asked(&mut message),
            Direction::Plugin => self.sessions[at].answered(&mut message),
            Direction::Stderr => {}
        }
    }
}

impl Recorded {
    fn asked(&mut self, message: &mut Value) {
        let params = message["params"].take();
        match (number(&message["id"]), message["method"].as_str()) {
            (Some(id), Some(method)) if params.is_object() || params.is_null() => {
                let method = method.to_owned();
                self.exchanges.push(Exchange { id, method, params, cancel: None, answer: None });
            }
            (None, Some("cancel")) => {
                if let Some(exchange) = self.open(number(&params["request"])) {
                    exchange.cancel = Some(params);
                }
            }
            _ => {}
        }
    }

    fn answered(&mut self, message: &mut Value) {
        if message.get("method").is_some() {
            return;
        }
        let outcome = match message.get_mut("error").map(Value::take).filter(|error| !error.is_null()) {
            Some(error) => Err(error),
            None => Ok(message["result"].take()),
        };
        if let Some(exchange) = self.open(number(&message["id"])) {
            exchange.answer = Some(outcome);
        }
    }

    /// The request of that number, if it was not answered yet.
    fn open(&mut self, id: Option<u64>) -> Option<&mut Exchange> {
        self.exchanges.iter_mut().find(|exchange| Some(exchange.id) == id && exchange.answer.is_none())
    }
}

/// The number of a request, also where it was written as text.
pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().map(|number| number as u64)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}
