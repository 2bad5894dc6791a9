//! The conversation with a plugin: one request at a time, exactly one answer to each.

use std::borrow::Cow;
use std::process::ExitStatus;
use std::time::Duration;

use crabbox_protocol::{
    Call, Cancel, CancelReason, ConfigureParams, ConfigureResult, Deadlines, Decoded, ErrorKind,
    InitializeParams, LeaseEvent, LineBuffer, Manifest, Method, Note, Peer, PluginMessage, Progress, Remote,
    Request, Stream, VERSIONS, decode_lenient, decode_plugin_line, encode, feature, note,
};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdin;
use tokio::time::{Instant, sleep_until};

use super::ladder::{Ladder, Rung};
use super::process::{Process, REAP, Spawn};
use super::{Interrupts, ProviderError, Relay};
use crate::output::foreign;

/// How much is read at once.
const READ: usize = 64 * 1024;

/// How long `initialize` and `configure` may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// A plugin that has introduced itself.
#[derive(Debug)]
pub(crate) struct Session {
    provider: String,
    process: Process,
    lines: LineBuffer,
    /// The number of the latest request.
    id: u64,
    /// The latest stray line, for the message of a later failure.
    stray: Option<String>,
    manifest: Manifest,
    deadlines: Deadlines,
    withdrawn: Vec<String>,
    cancelled: Option<CancelReason>,
    exit: Option<ExitStatus>,
}

/// What one request may do, besides being answered.
#[derive(Default)]
pub(crate) struct Ask<'a> {
    /// How long it may take, where it is not the method's own deadline.
    pub(crate) deadline: Option<Duration>,
    /// Who may cancel it.
    pub(crate) interrupts: Option<&'a mut Interrupts>,
    /// Where output goes.
    pub(crate) relay: Option<&'a mut Relay>,
    /// Who hears what happens meanwhile.
    pub(crate) events: Option<&'a mut dyn FnMut(Event)>,
}

/// What happens while a request is under way.
#[derive(Debug)]
pub(crate) enum Event {
    /// How it is getting on.
    Progress(Progress),
    /// Something about a lease is known.
    Lease(Box<LeaseEvent>),
}

/// Asks a plugin who it is, and ends it.
pub(crate) async fn probe(
    path: &std::path::Path,
    name: &str,
    env: &[(std::ffi::OsString, std::ffi::OsString)],
) -> Result<Manifest, ProviderError> {
    let spawn = Spawn {
        provider: name.to_owned(),
        path: path.to_owned(),
        env: env.to_vec(),
        locks: Default::default(),
    };
    let session = Session::open(&spawn).await?;
    let manifest = session.manifest.clone();
    session.close().await;
    Ok(manifest)
}

impl Session {
    /// Starts a plugin and asks who it is.
    pub(crate) async fn open(spawn: &Spawn) -> Result<Self, ProviderError> {
        let mut session = Self {
            provider: spawn.provider.clone(),
            process: Process::spawn(spawn)?,
            lines: LineBuffer::new(),
            id: 0,
            stray: None,
            manifest: nobody(),
            deadlines: Deadlines::default(),
            withdrawn: Vec::new(),
            cancelled: None,
            exit: None,
        };
        let host = Peer { name: "crabbox".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let hello = InitializeParams { versions: VERSIONS.to_vec(), host };
        match session.call(&hello, Ask::default()).await {
            Ok(manifest) if VERSIONS.contains(&manifest.protocol) => session.manifest = manifest,
            Ok(manifest) => {
                let provider = session.provider.clone();
                session.abandon().await;
                return Err(ProviderError::Version {
                    provider,
                    theirs: manifest.protocol,
                    ours: VERSIONS[0],
                });
            }
            Err(error) => {
                session.abandon().await;
                return Err(error);
            }
        }
        Ok(session)
    }

    /// What the plugin says about itself.
    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether a feature is declared, and not withdrawn under this configuration.
    pub(crate) fn feature(&self, name: &str) -> bool {
        self.manifest.feature(name) && !self.withdrawn.iter().any(|withdrawn| withdrawn == name)
    }

    /// Why the latest request was cancelled, if it was.
    pub(crate) fn cancelled(&self) -> Option<CancelReason> {
        self.cancelled
    }

    /// Hands the configuration over. The caller looks at the problems.
    pub(crate) async fn configure(
        &mut self,
        params: &ConfigureParams,
    ) -> Result<ConfigureResult, ProviderError> {
        let result = if self.manifest.has(Method::Configure) {
            self.call(params, Ask::default()).await?
        } else {
            ConfigureResult { scope: default_scope(params), ..Default::default() }
        };
        self.deadlines = result.deadlines.clone();
        self.withdrawn = result.withdrawn.clone();
        Ok(result)
    }

    /// Ends the plugin, gently first.
    pub(crate) async fn close(self) {
        self.process.end().await;
    }

    /// Ends a plugin that did not do as it should, at once.
    pub(crate) async fn abandon(self) {
        self.process.signal(Signal::KILL);
        self.process.end().await;
    }

    /// Sends a request and waits for its answer, whatever happens meanwhile.
    pub(crate) async fn call<P: Call>(
        &mut self,
        params: &P,
        mut ask: Ask<'_>,
    ) -> Result<P::Result, ProviderError> {
        self.id += 1;
        self.cancelled = None;
        let request = Request::new(self.id, P::METHOD.name(), params);
        let line = encode(&request).map_err(|error| self.io(error.into()))?;
        let deadline = ask.deadline.or_else(|| self.deadline(P::METHOD));
        let raw = self.converse(P::METHOD, line, deadline, &mut ask).await?;
        self.decode::<P>(&raw)
    }

    fn decode<P: Call>(&self, raw: &str) -> Result<P::Result, ProviderError> {
        let strict = serde_json::from_str(raw);
        let error = match strict {
            Ok(result) => return Ok(result),
            Err(error) => error,
        };
        let value: serde_json::Value = serde_json::from_str(raw).unwrap_or_default();
        if P::METHOD == Method::Initialize
            && let Some(theirs) = value.get("protocol").and_then(serde_json::Value::as_u64)
            && let Ok(theirs) = u32::try_from(theirs)
            && !VERSIONS.contains(&theirs)
        {
            return Err(ProviderError::Version {
                provider: self.provider.clone(),
                theirs,
                ours: VERSIONS[0],
            });
        }
        decode_lenient(value, &mut Vec::new()).map_err(|_| ProviderError::BadResult {
            provider: self.provider.clone(),
            method: P::METHOD,
            problem: error.to_string(),
            line: foreign(&shortened(raw)),
        })
    }

    /// The exchange itself: returns the text of the result.
    async fn converse(
        &mut self,
        method: Method,
        mut outgoing: Vec<u8>,
        deadline: Option<Duration>,
        ask: &mut Ask<'_>,
    ) -> Result<String, ProviderError> {
        let begun = Instant::now();
        let mut deadline_at = deadline.map(|deadline| begun + deadline);
        let mut ladder: Option<Ladder> = None;
        let mut held: Option<(Stream, Vec<u8>)> = None;
        let mut sent = 0;
        let (mut end_of_output, mut give_up) = (false, None::<Instant>);
        loop {
            while held.is_none() {
                let line = match self.lines.next_line() {
                    Ok(Some(line)) => line,
                    Ok(None) => break,
                    Err(error) => {
                        let head = String::from_utf8_lossy(&error.head).into_owned();
                        return Err(self.broken(method, error.to_string(), &head));
                    }
                };
                let text = || String::from_utf8_lossy(line).into_owned();
                let message = match decode_plugin_line(line) {
                    Decoded::Message(message, _) => message,
                    Decoded::Stray => {
                        if !line.is_empty() {
                            self.stray = Some(foreign(&shortened(&text())));
                        }
                        continue;
                    }
                    Decoded::Broken(problem) => {
                        let line = text();
                        return Err(self.broken(method, problem, &line));
                    }
                };
                match message {
                    PluginMessage::Response { id, outcome } if id == self.id => {
                        let outcome = outcome.map(|result| result.get().to_owned());
                        return self.answered(method, deadline, ladder.as_ref(), outcome);
                    }
                    PluginMessage::Response { id, .. } => {
                        let problem = if id < self.id {
                            format!("a second response to request {id}")
                        } else {
                            format!("a response to request {id}, which was never sent")
                        };
                        let line = text();
                        return Err(self.broken(method, problem, &line));
                    }
                    PluginMessage::Output(output) => {
                        let stream = output.stream;
                        let offered = match (output.request == self.id, &mut ask.relay) {
                            (false, _) => Err("output of another request"),
                            (true, None) => Err("output of a request that has none"),
                            (true, Some(relay)) => {
                                output.into_bytes().and_then(|bytes| relay.offer(stream, bytes))
                            }
                        };
                        match offered {
                            Ok(full) => held = full.map(|bytes| (stream, bytes)),
                            Err(problem) => {
                                let line = text();
                                return Err(self.broken(method, problem.to_owned(), &line));
                            }
                        }
                    }
                    PluginMessage::Progress(progress) => tell(ask, Event::Progress(progress)),
                    PluginMessage::Lease(event) => tell(ask, Event::Lease(event)),
                    PluginMessage::Unknown(_) => {}
                }
            }
            if end_of_output && self.exit.is_some() {
                give_up = Some(Instant::now());
            }

            let due = ladder.as_ref().and_then(Ladder::due);
            let mut rung = None;
            tokio::select! {
                biased;
                () = at(give_up), if give_up.is_some() => {
                    return Err(self.gone(method, ladder.as_ref(), deadline));
                }
                _ = Interrupts::next_of(&mut ask.interrupts) => {
                    rung = Some(match &mut ladder {
                        Some(ladder) => ladder.hurry(),
                        None => self.cancel(&mut ladder, CancelReason::User),
                    });
                }
                () = at(deadline_at), if deadline_at.is_some() && ladder.is_none() => {
                    deadline_at = None;
                    // An exit at the same moment says more than a deadline.
                    let moment = tokio::time::timeout(Duration::from_millis(100), self.process.child.wait()).await;
                    if !matches!(moment, Ok(Ok(_))) {
                        rung = Some(self.cancel(&mut ladder, CancelReason::Deadline));
                    }
                }
                () = at(due), if due.is_some() => rung = ladder.as_mut().map(Ladder::step),
                () = reader_gone(&ask.relay), if ladder.is_none() && ask.relay.is_some() => {
                    rung = Some(self.cancel(&mut ladder, CancelReason::Hangup));
                }
                () = room(&ask.relay, &held), if held.is_some() => {
                    if let (Some(relay), Some((stream, bytes))) = (&mut ask.relay, held.take()) {
                        let full = relay.offer(stream, Cow::Owned(bytes)).ok().flatten();
                        held = full.map(|bytes| (stream, bytes));
                    }
                }
                written = write(&mut self.process.stdin, &outgoing[sent..]), if sent < outgoing.len() => {
                    // A plugin that does not read any more is heard of by its end or by the deadline.
                    sent = written.map_or(outgoing.len(), |count| sent + count);
                }
                count = self.process.stdout.read_buf(self.lines.input(READ)), if held.is_none() && !end_of_output => {
                    if !matches!(count, Ok(1..)) {
                        end_of_output = true;
                        give_up = Some(Instant::now() + REAP);
                        if let Some(rest) = self.lines.take_rest() {
                            self.stray = Some(foreign(&shortened(&String::from_utf8_lossy(&rest))));
                        }
                    }
                }
                status = self.process.child.wait(), if self.exit.is_none() => {
                    self.exit = Some(status.map_err(|error| self.io(error))?);
                    give_up = Some(Instant::now() + REAP);
                }
            }
            match rung {
                Some(Rung::Cancel) => {
                    let reason = ladder.as_ref().map_or(CancelReason::User, |ladder| ladder.reason);
                    let cancel = Note::new(note::CANCEL, Cancel { request: self.id, reason });
                    outgoing.extend(encode(&cancel).map_err(|error| self.io(error.into()))?);
                }
                Some(Rung::CloseStdin) => self.process.close_stdin(),
                Some(Rung::Terminate) => self.process.signal(Signal::TERM),
                Some(Rung::Kill) => self.process.signal(Signal::KILL),
                None => {}
            }
            if rung.is_some()
                && let Some(relay) = &mut ask.relay
            {
                relay.lossy();
            }
        }
    }

    /// Begins to end the request.
    fn cancel(&mut self, ladder: &mut Option<Ladder>, reason: CancelReason) -> Rung {
        self.cancelled = Some(reason);
        ladder.insert(Ladder::begin(reason, self.feature(feature::CANCEL))).rung()
    }

    /// The plugin answered.
    fn answered(
        &self,
        method: Method,
        deadline: Option<Duration>,
        ladder: Option<&Ladder>,
        outcome: Result<String, crabbox_protocol::ErrorObject>,
    ) -> Result<String, ProviderError> {
        let error = match outcome {
            Ok(result) => return Ok(result),
            Err(error) => error,
        };
        let provider = self.provider.clone();
        match (ladder, deadline) {
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
    fn gone(&self, method: Method, ladder: Option<&Ladder>, deadline: Option<Duration>) -> ProviderError {
        let provider = self.provider.clone();
        match (ladder, self.exit) {
            // It ended although nothing had made it: that is what is to be told.
            (Some(ladder), _) if ladder.rung() != Rung::Cancel || self.exit.is_none() => {
                match (ladder.reason, deadline) {
                    (CancelReason::Deadline, Some(after)) => ProviderError::Deadline {
                        provider,
                        method,
                        after,
                        answered: false,
                        said: self.said(),
                    },
                    (reason, _) => ProviderError::Cancelled {
                        provider,
                        method,
                        reason,
                        remote: Remote::Unknown,
                        answered: false,
                    },
                }
            }
            (_, Some(status)) => ProviderError::Exited { provider, method, status, said: self.said() },
            (_, None) => self.broken(method, "it closed its output without an answer".to_owned(), ""),
        }
    }

    fn broken(&self, method: Method, problem: String, line: &str) -> ProviderError {
        let line = foreign(&shortened(line));
        ProviderError::Broken { provider: self.provider.clone(), method, problem, line, said: self.said() }
    }

    fn io(&self, source: std::io::Error) -> ProviderError {
        ProviderError::Io { provider: self.provider.clone(), source }
    }

    /// The last that the plugin said outside the protocol: on standard error, else on standard output.
    fn said(&self) -> String {
        let said = self.process.stderr.last();
        if said.is_empty() { self.stray.clone().unwrap_or_default() } else { said }
    }

    /// How long a method may take.
    fn deadline(&self, method: Method) -> Option<Duration> {
        let ms =
            |raised: Option<u64>, own: u64| Some(Duration::from_millis(raised.map_or(own, |ms| ms.max(own))));
        let raised = &self.deadlines;
        match method {
            Method::Initialize | Method::Configure => Some(HANDSHAKE),
            Method::Doctor => ms(raised.doctor_ms, 30_000),
            Method::Acquire => ms(raised.acquire_ms, 15 * 60_000),
            Method::Resolve => ms(raised.resolve_ms, 60_000),
            Method::Run => None,
            Method::Put => ms(raised.put_ms, 60_000),
            Method::Kill => ms(raised.kill_ms, 60_000),
            Method::Release => ms(raised.release_ms, 5 * 60_000),
            Method::Touch => ms(raised.touch_ms, 30_000),
            Method::List => ms(raised.list_ms, 30_000),
            Method::Bridge | Method::Unbridge => ms(raised.bridge_ms, 30_000),
        }
    }
}

/// Writes to the plugin. Cancel-safe.
async fn write(stdin: &mut Option<ChildStdin>, bytes: &[u8]) -> std::io::Result<usize> {
    match stdin {
        Some(stdin) => stdin.write(bytes).await,
        None => Err(std::io::ErrorKind::BrokenPipe.into()),
    }
}

async fn at(instant: Option<Instant>) {
    if let Some(instant) = instant {
        sleep_until(instant).await;
    }
}

async fn reader_gone(relay: &Option<&mut Relay>) {
    if let Some(relay) = relay {
        relay.broken().await;
    }
}

async fn room(relay: &Option<&mut Relay>, held: &Option<(Stream, Vec<u8>)>) {
    if let (Some(relay), Some((stream, _))) = (relay, held) {
        relay.room(*stream).await;
    }
}

fn tell(ask: &mut Ask<'_>, event: Event) {
    if let Some(events) = &mut ask.events {
        events(event);
    }
}

/// The beginning of a line, for an error message.
fn shortened(text: &str) -> String {
    const MOST: usize = 160;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{} ... ({} bytes)", &text[..at], text.len()),
        None => text.to_owned(),
    }
}

/// The scope of a provider that does not say: the hash of its configuration.
fn default_scope(params: &ConfigureParams) -> String {
    use sha2::{Digest, Sha256};
    let text = serde_json::to_string(&params.config).unwrap_or_default();
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Stands for the manifest until there is one.
fn nobody() -> Manifest {
    Manifest {
        protocol: 0,
        name: String::new(),
        version: String::new(),
        lifecycle: crabbox_protocol::Lifecycle::Leased,
        summary: None,
        targets: Vec::new(),
        methods: Vec::new(),
        features: Vec::new(),
        requires: Vec::new(),
        config: None,
        env: Vec::new(),
        limits: Default::default(),
        transports: Vec::new(),
    }
}
