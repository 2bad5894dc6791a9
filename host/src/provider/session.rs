//! The conversation with a plugin: one request at a time, exactly one answer to each.

use std::process::ExitStatus;
use std::time::Duration;

use crabbox_protocol::{
    Call, CancelReason, ConfigureParams, ConfigureResult, Deadlines, InitializeParams, LeaseEvent,
    LineBuffer, Manifest, Method, Peer, Progress, Request, VERSIONS, decode_lenient, encode,
};
use rustix::process::Signal;

use super::exchange::Exchange;
use super::process::{Process, Spawn};
use super::trace::Direction;
use super::{Interrupts, ProviderError, Relay};
use crate::output::foreign;

/// How long `initialize` and `configure` may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// A plugin that has introduced itself.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) provider: String,
    pub(super) process: Process,
    pub(super) lines: LineBuffer,
    /// The number of the latest request.
    pub(super) id: u64,
    /// The latest stray line, for the message of a later failure.
    pub(super) stray: Option<String>,
    manifest: Manifest,
    deadlines: Deadlines,
    withdrawn: Vec<String>,
    pub(super) cancelled: Option<CancelReason>,
    pub(super) exit: Option<ExitStatus>,
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
        ask: Ask<'_>,
    ) -> Result<P::Result, ProviderError> {
        self.id += 1;
        self.cancelled = None;
        let request = Request::new(self.id, P::METHOD.name(), params);
        let line = encode(&request).map_err(|error| self.io(error.into()))?;
        self.process.record(Direction::Host, &line);
        let deadline = ask.deadline.or_else(|| self.deadline(P::METHOD));
        let raw = Exchange::new(self, P::METHOD, line, deadline, ask).run().await?;
        self.decode::<P>(&raw)
    }

    fn decode<P: Call>(&self, raw: &str) -> Result<P::Result, ProviderError> {
        // Of an array the strict decoder would take the fields in their order.
        if !raw.starts_with('[')
            && let Ok(result) = serde_json::from_str(raw)
        {
            return Ok(result);
        }
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
        decode_lenient(value, &mut Vec::new()).map_err(|error| ProviderError::BadResult {
            provider: self.provider.clone(),
            method: P::METHOD,
            problem: foreign(&error.to_string()),
            line: foreign(&shortened(raw)),
        })
    }

    pub(super) fn broken(&self, method: Method, problem: String, line: &str) -> ProviderError {
        let (problem, line) = (foreign(&problem), foreign(&shortened(line)));
        ProviderError::Broken { provider: self.provider.clone(), method, problem, line, said: self.said() }
    }

    pub(super) fn io(&self, source: std::io::Error) -> ProviderError {
        ProviderError::Io { provider: self.provider.clone(), source }
    }

    /// The last that the plugin said outside the protocol: on standard error, else on standard output.
    pub(super) fn said(&self) -> String {
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

/// The beginning of a line, for an error message.
pub(super) fn shortened(text: &str) -> String {
    const MOST: usize = 160;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{} ... ({} bytes)", &text[..at], text.len()),
        None => text.to_owned(),
    }
}

/// The scope of a provider that does not say: the hash of its configuration.
pub(crate) fn default_scope(params: &ConfigureParams) -> String {
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
