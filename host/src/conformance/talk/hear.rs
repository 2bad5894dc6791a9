//! What a plugin says, as it comes: taken apart into lines, and each of them judged.

use std::collections::btree_map::Entry;

use crabbox_protocol::{MAX_LINE, Method, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};

use super::{Answer, SHOWN, Talk, remember, shown};
use crate::conformance::line::{self, Said};
use crate::conformance::output::Pipe;
use crate::conformance::rules;
use crate::provider::REAP;

impl Talk {
    /// Waits for whatever comes first.
    pub(super) async fn step(&mut self, due: Instant) {
        let due = self.until.map_or(due, |until| until.min(due));
        let Self { process, bytes, outgoing, pipes, heard, .. } = self;
        let [out, err] = match pipes {
            Some([out, err]) => [Some(out), Some(err)],
            None => [None, None],
        };
        let [to_out, to_err] = heard;
        tokio::select! {
            biased;
            written = write(&mut process.stdin, outgoing), if !outgoing.is_empty() && process.stdin.is_some() => {
                // What reads nothing more is heard of otherwise.
                let count = written.unwrap_or(outgoing.len());
                outgoing.drain(..count);
            }
            () = Pipe::read(out, to_out) => {}
            () = Pipe::read(err, to_err) => {}
            count = process.stdout.read_buf(bytes), if !self.end_of_output => {
                match count {
                    Ok(1..) => self.lines(),
                    _ => self.end_of_output(),
                }
            }
            status = process.child.wait(), if self.exit.is_none() => {
                self.exit = status.ok();
                self.until = Some(Instant::now() + REAP);
            }
            () = sleep_until(due) => {}
        }
    }

    fn end_of_output(&mut self) {
        self.end_of_output = true;
        if !self.bytes.is_empty() {
            let rest = std::mem::take(&mut self.bytes);
            self.scanned = 0;
            self.hear(&rest);
        }
    }

    /// Takes the lines that are there.
    fn lines(&mut self) {
        let mut start = 0;
        while let Some(at) = self.bytes[self.scanned..].iter().position(|byte| *byte == b'\n') {
            let end = self.scanned + at;
            let line = self.bytes[start..end].to_vec();
            (start, self.scanned) = (end + 1, end + 1);
            self.hear(&line);
        }
        self.bytes.drain(..start);
        self.scanned = self.bytes.len();
        if self.bytes.len() > MAX_LINE + 1 {
            let line = std::mem::take(&mut self.bytes);
            self.scanned = 0;
            self.hear(&line);
        }
    }

    fn hear(&mut self, line: &[u8]) {
        if self.broken {
            return;
        }
        let (said, faults) = line::read(line, |id| self.asked.get(&id).copied().flatten());
        let secret = self.ledger.borrow().secrets.iter().any(|secret| contains(line, secret));
        if secret {
            self.blame(rules::SECRETS, "a secret is in a line".to_owned(), b"(the line is not shown)");
        }
        if !matches!(said, Said::Output { .. }) || self.received.len() < SHOWN {
            remember(&mut self.received, line);
        }
        for (rule, problem) in faults {
            self.blame(rule, problem, line);
        }
        let request = match said {
            Said::Response { id, outcome } => return self.take_answer(id, outcome, line),
            Said::Output { request, stream, bytes } => {
                self.ledger.borrow_mut().pieces += 1;
                if self.asked.get(&request) == Some(&Some(Method::Run)) {
                    self.heard[usize::from(stream == Stream::Stderr)].take(&bytes);
                } else {
                    self.give_up(format!("request {request} has no output"), line);
                }
                if self.pipes.is_some() {
                    self.blame(rules::ONE_WAY, "output came by notification".to_owned(), line);
                }
                request
            }
            Said::Note { request } => request,
            Said::Lease { request, lease } => {
                self.early.insert(request, *lease);
                request
            }
            Said::Nothing => return,
            Said::Broken => {
                self.broken = true;
                return;
            }
        };
        if self.answers.contains_key(&request) {
            self.blame(rules::IN_TIME, format!("request {request} was answered already"), line);
        } else if !self.asked.contains_key(&request) {
            self.give_up(format!("there is no request {request}"), line);
        }
    }

    /// The host would not go on after this.
    fn give_up(&mut self, problem: String, line: &[u8]) {
        self.blame(rules::BROKEN, problem, line);
        self.broken = true;
    }

    fn take_answer(&mut self, id: u64, outcome: Answer, line: &[u8]) {
        if !self.asked.contains_key(&id) {
            return self.give_up(format!("there is no request {id}"), line);
        }
        match self.answers.entry(id) {
            Entry::Vacant(entry) => drop(entry.insert(outcome)),
            Entry::Occupied(_) => {
                self.blame(rules::ONCE, format!("request {id} is answered a second time"), line);
            }
        }
    }

    fn blame(&self, rule: &'static rules::Rule, problem: String, line: &[u8]) {
        let mut finding = self.finding(problem);
        finding.received = vec![shown(line)];
        self.ledger.borrow_mut().blame(rule, finding);
    }
}

async fn write(stdin: &mut Option<tokio::process::ChildStdin>, bytes: &[u8]) -> std::io::Result<usize> {
    match stdin {
        Some(stdin) => stdin.write(bytes).await,
        None => std::future::pending().await,
    }
}

fn contains(line: &[u8], text: &str) -> bool {
    !text.is_empty() && line.windows(text.len()).any(|window| window == text.as_bytes())
}
