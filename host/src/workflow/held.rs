//! A lease in this process's hands: its claim, its lock, and the plugin that serves it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crabbox_protocol::records::{Claim, Owner};
use crabbox_protocol::{
    Call, ConfigureResult, Endpoint, LeaseReport, LeaseState, Method, Progress, ReleaseAction,
};

use super::release::Released;
use crate::error::{Error, Result};
use crate::host::{Chosen, Host};
use crate::lease::{LeaseLock, RunDir};
use crate::output::{foreign, say, warn};
use crate::provider::{Ask, Event, ProviderError, Session};
use crate::sync::Bases;

/// A lease that is locked by this process. One session serves it; a fresh one after a death.
pub(crate) struct Held<'a> {
    pub(super) host: &'a Host,
    pub(super) chosen: Chosen,
    pub(super) lock: LeaseLock,
    pub(super) claim: Claim,
    pub(super) session: Option<Session>,
    /// What the plugin made of the configuration, once there was a session.
    pub(super) configured: ConfigureResult,
    /// Whose run this is about, if it is about one.
    pub(super) run: Option<RunDir>,
}

impl<'a> Held<'a> {
    /// Takes a lease that has a claim.
    pub(crate) fn new(host: &'a Host, chosen: Chosen, lock: LeaseLock, claim: Claim) -> Self {
        Self { host, chosen, lock, claim, session: None, configured: ConfigureResult::default(), run: None }
    }

    /// The claim as it is on disk.
    pub(crate) fn claim(&self) -> &Claim {
        &self.claim
    }

    /// The plugin, started and configured.
    pub(super) async fn session(&mut self) -> Result<&mut Session> {
        if self.session.is_none() {
            let (session, configured) = self.chosen.connect(self.host, self.locks()?).await?;
            if let Err(error) = same_scope(&self.claim, &configured.scope) {
                session.close().await;
                return Err(error);
            }
            self.configured = configured;
            self.session = Some(session);
        }
        self.session.as_mut().ok_or_else(|| Error::failure("the plugin has no session"))
    }

    /// Asks the plugin. One that did not answer is gone afterwards, and the next request gets a fresh one.
    pub(super) async fn ask<P: Call>(&mut self, params: &P, ask: Ask<'_>) -> Result<P::Result, AskError> {
        let session = self.session().await.map_err(AskError::Host)?;
        match session.call(params, ask).await {
            Ok(result) => Ok(result),
            Err(error) => {
                if !error.answered()
                    && let Some(session) = self.session.take()
                {
                    session.abandon().await;
                }
                Err(AskError::Provider(error))
            }
        }
    }

    /// Asks, showing progress as it comes.
    pub(super) async fn ask_plainly<P: Call>(&mut self, params: &P) -> Result<P::Result, AskError> {
        let mut events = show_progress;
        self.ask(params, Ask { events: Some(&mut events), ..Ask::default() }).await
    }

    /// How the lease ends when the user, or the end of a run, says so: as the configuration has it.
    pub(super) async fn release_action(&mut self) -> Result<ReleaseAction> {
        self.session().await?;
        Ok(self.configured.release.unwrap_or(self.claim.release))
    }

    /// Whether the plugin answers a method.
    pub(super) fn has(&self, method: Method) -> bool {
        self.chosen.manifest.has(method)
    }

    /// Writes what the plugin said about the lease into the claim.
    pub(super) fn record(&mut self, report: &LeaseReport, durable: bool) -> Result<()> {
        check_id(&self.claim, report)?;
        merge(&mut self.claim, report);
        let claims = self.host.claims();
        self.claim = claims.update(&self.claim.lease.id, durable, |claim| {
            merge(claim, report);
            Ok(())
        })?;
        Ok(())
    }

    /// Ends the session and lets go of the lease, which stays.
    pub(crate) async fn let_go(mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }

    /// Ends the session, forgets the lease, and removes its locks: it is no more.
    pub(super) async fn forget(mut self) -> Result<Released> {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
        self.hang_up().await;
        self.host.claims().remove(&self.claim.lease.id)?;
        Bases::of(&self.host.paths, &self.claim.lease.id).remove();
        self.lock.remove();
        Ok(Released::Gone)
    }

    /// Ends this session, so that the next request gets a fresh process.
    pub(super) async fn restart(&mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }

    /// Whether the lease is there for the user when the run is over.
    pub(super) fn stays(&self) -> bool {
        self.claim.owner == Owner::User
    }

    /// From now on the user ends the lease, not this run.
    pub(super) fn give_to_user(&mut self) -> Result<()> {
        self.claim = self.host.claims().update(&self.claim.lease.id, true, |claim| {
            claim.owner = Owner::User;
            Ok(())
        })?;
        Ok(())
    }

    /// Where the user's files are on the lease.
    pub(super) fn workspace(&self) -> String {
        self.claim
            .lease
            .root
            .as_deref()
            .map_or("ws".to_owned(), |root| format!("{}/ws", root.trim_end_matches('/')))
    }

    /// The command that ends this lease.
    pub(crate) fn stop_command(&self) -> String {
        let flags = self.chosen.release_flags.iter().map(|flag| format!(" {flag}"));
        stop_command(&self.claim) + &flags.collect::<String>()
    }
}

/// What a plugin says of a lease, as far as it can be believed: with another credential than the lease was
/// made with, `missing` may only mean that this one may not see it.
pub(crate) fn believed(state: LeaseState, claim: &Claim, configured: &ConfigureResult) -> LeaseState {
    let same = claim.credential.is_none() || claim.credential == configured.credential;
    if state == LeaseState::Missing && !same { LeaseState::Unknown } else { state }
}

/// A lease is looked for only where it was made.
pub(crate) fn same_scope(claim: &Claim, scope: &str) -> Result<()> {
    if scope == claim.scope {
        return Ok(());
    }
    let (theirs, ours) = (foreign(&claim.scope), foreign(scope));
    Err(Error::new(
        crate::Exit::NotFound,
        format!(
            "lease {} was made under scope `{theirs}`, and provider `{}` is at `{ours}` now",
            claim.lease.id, claim.provider
        ),
    )
    .hint("use the endpoint and the account that the lease was made with"))
}

/// The command that ends a lease.
pub(crate) fn stop_command(claim: &Claim) -> String {
    format!("crabbox stop {}", claim.lease.id)
}

/// Why a request about a lease failed.
#[derive(Debug)]
pub(super) enum AskError {
    /// The plugin could not be started or configured: the request was not sent.
    Host(Error),
    /// The plugin failed, or said no.
    Provider(ProviderError),
}

impl From<AskError> for Error {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Host(error) => error,
            AskError::Provider(error) => error.into(),
        }
    }
}

/// An `id` in a report that is not the lease's is a fault of the plugin.
pub(super) fn check_id(claim: &Claim, report: &LeaseReport) -> Result<()> {
    match &report.id {
        Some(id) if *id != claim.lease.id.as_str() => Err(Error::failure(format!(
            "provider `{}` answered about lease `{}` when it was asked about {}",
            claim.provider,
            foreign(id),
            claim.lease.id
        ))
        .hint(format!("this is a fault of crabbox-provider-{}", claim.provider))),
        _ => Ok(()),
    }
}

/// What is absent in a report stays as it was.
pub(super) fn merge(claim: &mut Claim, report: &LeaseReport) {
    let LeaseReport { id: _, r#ref, state, root, labels, ssh, endpoints, expires_at, message: _ } =
        report.clone();
    let lease = &mut claim.lease;
    lease.r#ref = r#ref.or(lease.r#ref.take());
    lease.state = state.or(lease.state.take());
    lease.root = root.or(ssh.as_ref().map(|ssh| ssh.work_root.clone())).or(lease.root.take());
    // What the user called it stays. What the provider said, such as where it is, may be another now.
    for (key, value) in labels {
        if !lease.labels.contains_key(&key) {
            claim.provider_labels.insert(key.clone());
        }
        if claim.provider_labels.contains(&key) {
            lease.labels.insert(key, value);
        }
    }
    claim.ssh = ssh.or(claim.ssh.take());
    claim.expires_at = expires_at.or(claim.expires_at);
    if !endpoints.is_empty() {
        // What was published on request stays, unless this is about the same.
        let told = |old: &Endpoint| {
            endpoints.iter().any(|new| (new.transport, new.port) == (old.transport, old.port))
        };
        claim.endpoints.retain(|old| old.id.is_some() && !told(old));
        claim.endpoints.splice(0..0, endpoints);
    }
}

/// How often progress is told.
const TELL: Duration = Duration::from_millis(500);

/// The phase of progress that is a warning: it is told also where progress is not.
const WARNING: &str = "warning";

/// Tells the user how a long request is getting on, not more often than anybody reads.
pub(super) fn show_progress(event: Event) {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    if let Event::Progress(progress) = event {
        if progress.phase.as_deref() == Some(WARNING) {
            return show_warning(&progress);
        }
        if !is_due(&LAST) {
            return;
        }
        let count = match (progress.done, progress.total) {
            (Some(done), Some(total)) => format!(" {done}/{total}"),
            (Some(done), None) => format!(" {done}"),
            _ => String::new(),
        };
        let unit = progress.unit.as_deref().map(|unit| format!(" {unit}")).unwrap_or_default();
        say(foreign(&format!("{}{count}{unit}", progress.message)));
    }
}

/// Tells the user of what a plugin warns of, and of nothing else.
pub(super) fn show_warnings(event: &Event) {
    if let Event::Progress(progress) = event
        && progress.phase.as_deref() == Some(WARNING)
    {
        show_warning(progress);
    }
}

fn show_warning(progress: &Progress) {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    if is_due(&LAST) {
        warn(foreign(&progress.message));
    }
}

/// Whether something may be told once more, which was told last then.
fn is_due(last: &Mutex<Option<Instant>>) -> bool {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    let due = last.is_none_or(|last| last.elapsed() >= TELL);
    if due {
        *last = Some(Instant::now());
    }
    due
}

/// How long the next owner of a dead run's lock waits: SIGKILL has been sent to the group, and takes effect
/// a moment later.
pub(super) const AFTER_DEATH: Duration = Duration::from_millis(100);
