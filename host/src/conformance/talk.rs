//! The checker's own conversation with a plugin.
//!
//! The host's session is lenient and hides what it repairs. This one sees every byte: each line is judged
//! (`line`), and what is wrong with it goes to the ledger, whichever rule is being tried at that moment.

mod hear;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::Duration;

use crabbox_protocol::{LeaseReport, Method};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::Instant;

use super::ledger::{Finding, Ledger};
use super::output::{Heard, Pipe};
use super::processes;
use super::rules;
use crate::output::foreign;
use crate::provider::{Process, REAP, STEP, Spawn};

/// How long an answer may take that needs nothing but the plugin.
pub(super) const SOON: Duration = Duration::from_secs(5);

/// How many lines of each direction are shown.
const SHOWN: usize = 3;

/// What to start, and how.
pub(super) struct Launch {
    pub(super) spawn: Spawn,
    /// The working directory.
    pub(super) directory: PathBuf,
    /// Words before the executable's path.
    pub(super) before: Vec<String>,
    /// Words after it.
    pub(super) after: Vec<String>,
    /// The longest that anything is waited for, whatever it is given.
    pub(super) patience: Duration,
}

/// An answer: the result, or the error.
pub(super) type Answer = Result<Value, Value>;

/// A conversation.
pub(super) struct Talk {
    pub(super) process: Process,
    pub(super) ledger: Rc<RefCell<Ledger>>,
    bytes: Vec<u8>,
    scanned: usize,
    outgoing: Vec<u8>,
    id: u64,
    asked: BTreeMap<u64, Option<Method>>,
    answers: BTreeMap<u64, Answer>,
    /// What was told about a lease before a response.
    pub(super) early: BTreeMap<u64, LeaseReport>,
    /// What the latest run printed.
    pub(super) heard: [Heard; 2],
    pub(super) pipes: Option<[Pipe; 2]>,
    sent: VecDeque<String>,
    received: VecDeque<String>,
    exit: Option<ExitStatus>,
    /// Until when output may come from a process that has ended.
    until: Option<Instant>,
    end_of_output: bool,
    broken: bool,
    patience: Duration,
}

impl Talk {
    /// Starts a plugin. Says nothing to it.
    pub(super) fn start(launch: &Launch, ledger: &Rc<RefCell<Ledger>>) -> Result<Self, Finding> {
        let mut words =
            launch.before.iter().map(Into::into).chain([launch.spawn.path.clone().into_os_string()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).args(&launch.after).current_dir(&launch.directory);
        let process = Process::start(command, &launch.spawn);
        let process =
            process.map_err(|error| Finding::broken(crate::error::Error::from(error).to_string()))?;
        Ok(Self {
            process,
            ledger: ledger.clone(),
            bytes: Vec::new(),
            scanned: 0,
            outgoing: Vec::new(),
            id: 0,
            asked: BTreeMap::new(),
            answers: BTreeMap::new(),
            early: BTreeMap::new(),
            heard: Default::default(),
            pipes: None,
            sent: VecDeque::new(),
            received: VecDeque::new(),
            exit: None,
            until: None,
            end_of_output: false,
            broken: false,
            patience: launch.patience,
        })
    }

    /// Sends a request, and returns its id.
    pub(super) fn request(&mut self, method: &str, params: impl Into<Value>) -> u64 {
        self.id += 1;
        let id = self.id;
        self.request_as(
            id,
            method,
            json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params.into()}),
        );
        id
    }

    /// Sends a message that is a request of that id.
    pub(super) fn request_as(&mut self, id: u64, method: &str, message: Value) {
        self.asked.insert(id, method.parse().ok());
        self.post(format!("{message}\n").as_bytes());
    }

    /// Sends a notification.
    pub(super) fn note(&mut self, method: &str, params: Value) {
        let message = json!({"jsonrpc": "2.0", "method": method, "params": params});
        self.post(format!("{message}\n").as_bytes());
    }

    /// Sends bytes as they are.
    pub(super) fn post(&mut self, bytes: &[u8]) {
        remember(&mut self.sent, bytes);
        self.outgoing.extend_from_slice(bytes);
    }

    /// Takes the LF off what was posted last.
    pub(super) fn without_lf(&mut self) {
        if self.outgoing.ends_with(b"\n") {
            self.outgoing.pop();
        }
    }

    /// Whether anything was printed, on either stream.
    pub(super) fn said_something(&self) -> bool {
        !self.received.is_empty() || !self.process.stderr.last().is_empty()
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(
        &mut self,
        method: &str,
        params: impl Into<Value>,
        within: Duration,
    ) -> Result<Answer, Finding> {
        let id = self.request(method, params);
        self.answer(id, within).await
    }

    /// Asks for something that has to succeed.
    pub(super) async fn call(
        &mut self,
        method: Method,
        params: impl Into<Value>,
        within: Duration,
    ) -> Result<Value, Finding> {
        match self.ask(method.name(), params, within).await? {
            Ok(result) => Ok(result),
            Err(error) => Err(self.refused(method.name(), &error)),
        }
    }

    /// Waits for the answer to a request.
    pub(super) async fn answer(&mut self, id: u64, within: Duration) -> Result<Answer, Finding> {
        let method = self.asked.get(&id).copied().flatten();
        let what = method.map_or_else(|| "the request".to_owned(), |method| format!("`{method}`"));
        if method.is_some_and(|method| self.ledger.borrow().unanswered.contains(&method)) {
            return Err(Finding::skipped(format!("{what} was not answered before")));
        }
        let within = within.min(self.patience);
        let due = Instant::now() + within;
        let answer =
            self.wait(&format!("answer {what}"), within, |talk| talk.answers.get(&id).cloned()).await;
        // Nobody has to wait for that a second time.
        if let (Err(_), Some(method)) = (&answer, method.filter(|_| Instant::now() >= due)) {
            self.ledger.borrow_mut().unanswered.insert(method);
        }
        answer
    }

    /// Waits until something is so.
    pub(super) async fn wait<T>(
        &mut self,
        what: &str,
        within: Duration,
        mut done: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<T, Finding> {
        let within = within.min(self.patience);
        let due = Instant::now() + within;
        loop {
            if let Some(found) = done(self) {
                return Ok(found);
            }
            if self.broken {
                return Err(Finding::skipped("it wrote what cannot be read: see `messages-can-be-read`"));
            }
            if let Some(status) = self.exit.filter(|_| self.is_over()) {
                // Why it ended may be the last that it said.
                self.process.stderr.ended().await;
                return Err(self.finding(format!("it did not {what}, and ended: {status}")));
            }
            if Instant::now() >= due {
                let within = humantime::format_duration(within);
                return Err(self.finding(format!("it did not {what} within {within}")));
            }
            self.step(due).await;
        }
    }

    /// Whether nothing more can come.
    fn is_over(&self) -> bool {
        self.exit.is_some() && (self.end_of_output || self.until.is_some_and(|until| Instant::now() >= until))
    }

    /// Something that is wrong, with what was said last.
    pub(super) fn finding(&self, why: impl Into<String>) -> Finding {
        Finding {
            sent: self.sent.iter().cloned().collect(),
            received: self.received.iter().cloned().collect(),
            stderr: self.process.stderr.last(),
            ..Finding::broken(why)
        }
    }

    /// A refusal where none should have been.
    pub(super) fn refused(&self, what: &str, error: &Value) -> Finding {
        let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
        self.finding(format!("it refused {what}: {}", foreign(message)))
    }

    /// Ends the input. What was posted goes first.
    pub(super) async fn close_input(&mut self) {
        let due = Instant::now() + SOON;
        while !self.outgoing.is_empty() && self.exit.is_none() && Instant::now() < due {
            self.step(due).await;
        }
        self.process.close_stdin();
    }

    /// Waits until the plugin has ended, and says so.
    pub(super) async fn ended(&mut self, within: Duration) -> bool {
        let due = Instant::now() + within;
        while self.exit.is_none() && Instant::now() < due {
            self.step(due).await;
        }
        let rest = Instant::now() + REAP;
        while self.exit.is_some() && !self.end_of_output && Instant::now() < rest {
            self.step(rest).await;
        }
        if self.exit.is_some() {
            self.process.stderr.ended().await;
        }
        self.exit.is_some()
    }

    /// Ends the input, and so the plugin. That it ends, and leaves nothing, is a rule of its own.
    pub(super) async fn close(mut self) {
        self.close_input().await;
        // One that does not end has been waited for once.
        let known = self.ledger.borrow().broken(rules::ENDS);
        if !self.ended(if known { REAP } else { STEP }).await {
            let finding = self.finding("it was alive 2 s after its input had ended");
            self.ledger.borrow_mut().blame(rules::ENDS, finding);
        } else if !self.ledger.borrow().broken(rules::NO_PROCESS_LEFT) {
            let group = self.process.group();
            let left = processes::gone(|| processes::of_group(group)).await;
            if !left.is_empty() {
                let finding = self.finding(format!("alive after it: {}", processes::names(&left)));
                self.ledger.borrow_mut().blame(rules::NO_PROCESS_LEFT, finding);
            }
        }
        self.kill().await;
    }

    /// Ends everything at once.
    pub(super) async fn kill(self) {
        let secret = self.ledger.borrow().secrets.iter().any(|secret| self.process.stderr.has(secret));
        if secret {
            let finding = Finding { stderr: String::new(), ..self.finding("a secret is on standard error") };
            self.ledger.borrow_mut().blame(rules::SECRETS, finding);
        }
        self.process.signal(Signal::KILL);
        self.process.end().await;
    }
}

fn remember(lines: &mut VecDeque<String>, line: &[u8]) {
    if lines.len() == SHOWN {
        lines.pop_front();
    }
    lines.push_back(shown(line));
}

/// A line of either side, short enough to be read.
fn shown(line: &[u8]) -> String {
    const MOST: usize = 300;
    let head = &line[..line.len().min(MOST)];
    let text = foreign(&String::from_utf8_lossy(head));
    if line.len() > MOST { format!("{text} ... ({} bytes)", line.len()) } else { text }
}
