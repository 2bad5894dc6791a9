//! One request on its way: sent, listened for, cancelled if need be, and answered or given up.
//!
//! A single loop waits for whatever comes first. Nothing is queued without a bound: while the relay has no
//! room, nothing is read, and so the plugin waits.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use crabbox_protocol::{
    Cancel, CancelReason, Decoded, ErrorKind, ErrorObject, Method, Note, Output, PluginMessage, Remote,
    RequestId, Stream, decode_plugin_line, encode, feature, note,
};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdin;
use tokio::time::{Instant, sleep_until, timeout};

use super::ladder::{Ladder, Rung};
use super::process::REAP;
use super::session::{Ask, Event, Session, shortened};
use super::trace::Direction;
use super::{Interrupts, ProviderError, Relay};
use crate::fault::{Fault, pass};
use crate::output::foreign;

/// How much is read at once.
const READ: usize = 64 * 1024;

/// How long an exit may come after a deadline and still be the better explanation.
const MOMENT: Duration = Duration::from_millis(100);

/// A request on its way.
pub(super) struct Exchange<'s, 'a> {
    session: &'s mut Session,
    method: Method,
    ask: Ask<'a>,
    deadline: Option<Duration>,
    due: Option<Instant>,
    outgoing: Vec<u8>,
    sent: usize,
    ladder: Option<Ladder>,
    /// Output that the relay has no room for yet.
    held: Option<(Stream, Vec<u8>)>,
    end_of_output: bool,
    /// When to believe that there is no answer.
    give_up: Option<Instant>,
}

impl<'s, 'a> Exchange<'s, 'a> {
    /// Prepares to send `line`, the request that the session has numbered.
    pub(super) fn new(
        session: &'s mut Session,
        method: Method,
        line: Vec<u8>,
        deadline: Option<Duration>,
        ask: Ask<'a>,
    ) -> Self {
        Self {
            session,
            method,
            ask,
            deadline,
            due: deadline.map(|deadline| Instant::now() + deadline),
            outgoing: line,
            sent: 0,
            ladder: None,
            held: None,
            end_of_output: false,
            give_up: None,
        }
    }

    /// Sends the request and returns the text of its result.
    pub(super) async fn run(mut self) -> Result<String, ProviderError> {
        loop {
            while self.held.is_none() {
                match self.next_message()? {
                    Heard::Answer(outcome) => {
                        pass(Fault::Answered(self.method));
                        return self.answered(outcome);
                    }
                    Heard::Something => {}
                    Heard::Nothing => break,
                }
            }
            if self.end_of_output && self.session.exit.is_some() {
                self.give_up = Some(Instant::now());
            }
            if let Some(rung) = self.wait().await? {
                self.climb(rung)?;
            }
        }
    }

    /// Takes the next line that is there already.
    fn next_message(&mut self) -> Result<Heard, ProviderError> {
        let Self { session, ask, held, method, .. } = self;
        let id = session.id;
        let problem = match session.lines.next_line() {
            Ok(None) => return Ok(Heard::Nothing),
            Err(error) => {
                session.process.record(Direction::Plugin, &error.head);
                (error.to_string(), String::from_utf8_lossy(&error.head).into_owned())
            }
            Ok(Some(line)) => {
                session.process.record(Direction::Plugin, line);
                let text = || String::from_utf8_lossy(line).into_owned();
                match decode_plugin_line(line) {
                    Decoded::Message(message, _) => match hear(message, id, ask, held) {
                        Ok(heard) => return Ok(heard),
                        Err(problem) => (problem, text()),
                    },
                    Decoded::Stray => {
                        if !line.is_empty() {
                            session.stray = Some(foreign(&shortened(&text())));
                        }
                        return Ok(Heard::Something);
                    }
                    Decoded::Broken(problem) => (problem, text()),
                }
            }
        };
        Err(session.broken(*method, problem.0, &problem.1))
    }

    /// Waits for whatever comes first. Returns what to do to a request that has to end.
    async fn wait(&mut self) -> Result<Option<Rung>, ProviderError> {
        let next_step = self.ladder.as_ref().and_then(Ladder::due);
        let session = &mut *self.session;
        tokio::select! {
            biased;
            () = at(self.give_up), if self.give_up.is_some() => {
                session.process.stderr.ended().await;
                return Err(self.gone());
            }
            _ = Interrupts::next_of(&mut self.ask.interrupts) => {
                return Ok(Some(match &mut self.ladder {
                    Some(ladder) => ladder.hurry(),
                    None => self.cancel(CancelReason::User),
                }));
            }
            () = at(self.due), if self.due.is_some() && self.ladder.is_none() => {
                self.due = None;
                // An exit at the same moment says more than a deadline.
                if !matches!(timeout(MOMENT, session.process.child.wait()).await, Ok(Ok(_))) {
                    return Ok(Some(self.cancel(CancelReason::Deadline)));
                }
            }
            () = at(next_step), if next_step.is_some() => return Ok(self.ladder.as_mut().map(Ladder::step)),
            () = reader_gone(&self.ask.relay), if self.ladder.is_none() && self.ask.relay.is_some() => {
                return Ok(Some(self.cancel(CancelReason::Hangup)));
            }
            () = room(&self.ask.relay, &self.held), if self.held.is_some() => {
                if let (Some(relay), Some((stream, bytes))) = (&mut self.ask.relay, self.held.take()) {
                    let full = relay.offer(stream, Cow::Owned(bytes)).ok().flatten();
                    self.held = full.map(|bytes| (stream, bytes));
                }
            }
            written = write(&mut session.process.stdin, &self.outgoing[self.sent..]), if self.sent < self.outgoing.len() => {
                // A plugin that does not read any more is heard of by its end or by the deadline.
                self.sent = written.map_or(self.outgoing.len(), |count| self.sent + count);
                if self.sent == self.outgoing.len() {
                    pass(Fault::Sent(self.method));
                }
            }
            count = session.process.stdout.read_buf(session.lines.input(READ)), if self.held.is_none() && !self.end_of_output => {
                if !matches!(count, Ok(1..)) {
                    self.end_of_output = true;
                    self.give_up = Some(Instant::now() + REAP);
                    let rest = session.lines.take_rest();
                    if let Some(rest) = &rest {
                        session.process.record(Direction::Plugin, rest);
                    }
                    let rest = rest.map(|rest| foreign(&shortened(&String::from_utf8_lossy(&rest))));
                    session.stray = rest.or(session.stray.take());
                }
            }
            status = session.process.child.wait(), if session.exit.is_none() => {
                session.exit = Some(status.map_err(|error| session.io(error))?);
                self.give_up = Some(Instant::now() + REAP);
            }
        }
        Ok(None)
    }

    /// Begins to end the request.
    fn cancel(&mut self, reason: CancelReason) -> Rung {
        self.session.cancelled = Some(reason);
        let first = match self.method {
            // A plugin that has not said who it is has nothing to lose.
            Method::Initialize => Rung::Kill,
            _ if self.session.feature(feature::CANCEL) => Rung::Cancel,
            _ => Rung::CloseStdin,
        };
        self.ladder.insert(Ladder::begin(reason, first)).rung()
    }

    /// Does what the ladder says. From the first step on, nothing waits for a reader.
    fn climb(&mut self, rung: Rung) -> Result<(), ProviderError> {
        if let Some(relay) = &mut self.ask.relay {
            relay.lossy();
        }
        match rung {
            Rung::Cancel => {
                let reason = self.ladder.as_ref().map_or(CancelReason::User, |ladder| ladder.reason);
                let cancel = Note::new(note::CANCEL, Cancel { request: self.session.id, reason });
                let line = encode(&cancel).map_err(|error| self.session.io(error.into()))?;
                self.session.process.record(Direction::Host, &line);
                self.outgoing.extend(line);
            }
            Rung::CloseStdin => self.session.process.close_stdin(),
            Rung::Terminate => self.session.process.signal(Signal::TERM),
            Rung::Kill => self.session.process.signal(Signal::KILL),
        }
        Ok(())
    }

    /// The plugin answered.
    fn answered(self, outcome: Result<String, ErrorObject>) -> Result<String, ProviderError> {
        let error = match outcome {
            Ok(result) => return Ok(result),
            Err(error) => error,
        };
        let (provider, method) = (self.session.provider.clone(), self.method);
        match (self.ladder, self.deadline) {
            (Some(ladder), Some(after)) if ladder.reason == CancelReason::Deadline => {
                Err(ProviderError::Deadline { provider, method, after, answered: true, said: String::new() })
            }
            (Some(ladder), _) if error.kind() == ErrorKind::Cancelled => {
                let remote = error.data.as_ref().and_then(|data| data.remote).unwrap_or(Remote::Unknown);
                Err(ProviderError::Cancelled {
                    provider,
                    method,
                    reason: ladder.reason,
                    remote,
                    answered: true,
                })
            }
            _ => Err(ProviderError::Refused { provider, method, error: Box::new(error) }),
        }
    }

    /// The plugin is gone, or as good as gone, without an answer.
    fn gone(&self) -> ProviderError {
        let (session, method) = (&*self.session, self.method);
        let (provider, said) = (session.provider.clone(), session.said());
        match (&self.ladder, session.exit) {
            // It ended although nothing had made it: that is what is to be told.
            (Some(ladder), exit) if ladder.rung() != Rung::Cancel || exit.is_none() => {
                match (ladder.reason, self.deadline) {
                    (CancelReason::Deadline, Some(after)) => {
                        ProviderError::Deadline { provider, method, after, answered: false, said }
                    }
                    (reason, _) => {
                        let remote = Remote::Unknown;
                        ProviderError::Cancelled { provider, method, reason, remote, answered: false }
                    }
                }
            }
            (_, Some(status)) => ProviderError::Exited { provider, method, status, said },
            (_, None) => session.broken(method, "it closed its output without an answer".to_owned(), ""),
        }
    }
}

/// What a line was.
enum Heard {
    /// The answer: the text of the result, or the error.
    Answer(Result<String, ErrorObject>),
    /// Anything else.
    Something,
    /// There is no line yet.
    Nothing,
}

/// Takes a message in. An error says how it breaks the protocol.
fn hear(
    message: PluginMessage<'_>,
    id: RequestId,
    ask: &mut Ask<'_>,
    held: &mut Option<(Stream, Vec<u8>)>,
) -> Result<Heard, String> {
    match message {
        PluginMessage::Response { id: of, outcome } if of == id => {
            return Ok(Heard::Answer(outcome.map(|result| result.get().to_owned())));
        }
        PluginMessage::Response { id: of, .. } if of < id => {
            return Err(format!("a second response to request {of}"));
        }
        PluginMessage::Response { id: of, .. } => {
            return Err(format!("a response to request {of}, which was never sent"));
        }
        PluginMessage::Output(output) => *held = relay(output, id, ask)?,
        PluginMessage::Progress(progress) => tell(ask, Event::Progress(progress)),
        PluginMessage::Lease(event) => tell(ask, Event::Lease(event)),
        PluginMessage::Unknown(_) => {}
    }
    Ok(Heard::Something)
}

/// Hands output on; what there is no room for comes back.
fn relay(output: Output<'_>, id: RequestId, ask: &mut Ask<'_>) -> Result<Option<(Stream, Vec<u8>)>, String> {
    let stream = output.stream;
    let relay = match &mut ask.relay {
        Some(relay) if output.request == id => relay,
        Some(_) => return Err("output of another request".to_owned()),
        None => return Err("output of a request that has none".to_owned()),
    };
    let full = relay.offer(stream, output.into_bytes()?)?;
    Ok(full.map(|bytes| (stream, bytes)))
}

fn tell(ask: &mut Ask<'_>, event: Event) {
    if let Some(events) = &mut ask.events {
        events(event);
    }
}

/// Writes to the plugin. Cancel-safe.
async fn write(stdin: &mut Option<ChildStdin>, bytes: &[u8]) -> io::Result<usize> {
    match stdin {
        Some(stdin) => stdin.write(bytes).await,
        None => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

/// Waits for an instant, where there is one.
pub(crate) async fn at(instant: Option<Instant>) {
    if let Some(instant) = instant {
        sleep_until(instant).await;
    }
}

/// Waits until nobody reads the output any more, where there is any.
pub(crate) async fn reader_gone(relay: &Option<&mut Relay>) {
    if let Some(relay) = relay {
        relay.broken().await;
    }
}

async fn room(relay: &Option<&mut Relay>, held: &Option<(Stream, Vec<u8>)>) {
    if let (Some(relay), Some((stream, _))) = (relay, held) {
        relay.room(*stream).await;
    }
}
