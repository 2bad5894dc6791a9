//! Executing something on a lease, whichever way it is reached: by the plugin's `run`, or by SSH where it has none.

use std::time::{Duration, Instant};

use crabbox_protocol::{Intent, LeaseState, Method, ResolveParams, RunParams, RunResult, feature};

use super::held::{AskError, Held, believed};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::lease::RunDir;
use crate::output::{foreign, say};
use crate::provider::{Ask, Interrupts, Locks};
use crate::ssh::{Connection, Place};

/// How long a machine may take to be reached that was just made.
pub(super) const NEW: Duration = Duration::from_secs(10 * 60);

/// How long one that was there before.
pub(super) const THERE: Duration = Duration::from_secs(2 * 60);

/// How long the provider may take to say what has become of it.
const LOOK: Duration = Duration::from_secs(60);

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// What the way to the lease can do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    /// Output goes to paths.
    pub(super) by_path: bool,
    /// Signs of life arrive.
    pub(super) lifeline: bool,
    /// It is SSH.
    pub(super) is_ssh: bool,
}

impl Held<'_> {
    /// What the way to the lease can do.
    pub(super) async fn way(&mut self) -> Result<Way> {
        if self.is_by_ssh() {
            return Ok(Way { by_path: true, lifeline: true, is_ssh: true });
        }
        let session = self.session().await?;
        let (by_path, lifeline) =
            (session.feature(feature::OUTPUT_PATHS), session.feature(feature::LIFELINE));
        Ok(Way { by_path, lifeline, is_ssh: false })
    }

    /// Whether the host goes there by SSH.
    pub(super) fn is_by_ssh(&self) -> bool {
        !self.has(Method::Run)
    }

    /// Has an argv executed on the lease.
    pub(super) async fn run_there(
        &mut self,
        params: &RunParams,
        mut ask: Ask<'_>,
    ) -> Result<RunResult, AskError> {
        if !self.is_by_ssh() {
            return self.ask(params, ask).await;
        }
        // It is there, unless it broke since.
        self.connect(THERE, &mut ask.interrupts).await.map_err(AskError::Host)?;
        let connection = self.connection().map_err(AskError::Host)?;
        connection.run(|| self.locks(), params, ask).await.map_err(AskError::Provider)
    }

    /// Connects to the lease, one attempt at a time, for as long as there is hope. In between the provider is asked
    /// what has become of it.
    pub(super) async fn connect(
        &mut self,
        patience: Duration,
        interrupts: &mut Option<&mut Interrupts>,
    ) -> Result<()> {
        if !self.is_by_ssh() || self.connection()?.is_alive().await {
            return Ok(());
        }
        let begun = Instant::now();
        let mut told = String::new();
        loop {
            let connection = self.connection()?;
            let left = patience.saturating_sub(begun.elapsed());
            let what = format!("connecting to {}", connection.target().shown());
            let opened = tokio::select! {
                opened = super::patiently(&what, connection.open(|| self.locks(), left)) => opened,
                number = Interrupts::next_of(interrupts) => return Err(Error::new(Exit::Signal(number), "interrupted")),
            };
            let Err(failure) = opened else { return Ok(()) };
            if failure.is_final || begun.elapsed() + PAUSE > patience {
                return Err(failure.error);
            }
            let now = failure.error.to_string();
            if now != told {
                say(format!("{now}; trying again"));
                told = now;
            }
            self.is_coming(&failure.error, interrupts).await?;
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                number = Interrupts::next_of(interrupts) => return Err(Error::new(Exit::Signal(number), "interrupted")),
            }
        }
    }

    /// Whether a lease that cannot be reached yet can still become so. Nothing is woken by asking.
    async fn is_coming(&mut self, failed: &Error, interrupts: &mut Option<&mut Interrupts>) -> Result<()> {
        if !self.has(Method::Resolve) {
            return Ok(());
        }
        let params = ResolveParams { lease: self.claim.lease.clone(), intent: Intent::Observe };
        let mut events = super::held::show_progress;
        // The request is ended rather than dropped: whoever asks next must not get its answer.
        let ask = Ask {
            deadline: Some(LOOK),
            interrupts: interrupts.as_deref_mut(),
            relay: None,
            events: Some(&mut events),
        };
        let Ok(result) = self.ask(&params, ask).await else {
            // A provider that cannot tell now says nothing about the lease.
            let exit = interrupts.as_ref().and_then(|interrupts| interrupts.exit());
            return exit.map_or(Ok(()), |exit| Err(Error::new(exit, "interrupted")));
        };
        if let Some(report) = &result.lease {
            self.record(report, false)?;
        }
        let state = believed(result.state, &self.claim, &self.configured);
        match state {
            LeaseState::Stopped | LeaseState::Failed | LeaseState::Missing => {
                let mut error = Error::new(
                    Exit::Unavailable,
                    format!("lease {} cannot be reached: it is {}", self.claim.lease.slug, state.name()),
                );
                error.causes.extend(result.message.as_deref().map(foreign));
                Err(error.cause(failed))
            }
            _ => Ok(()),
        }
    }

    /// The connection to the lease, open or not.
    pub(super) fn connection(&self) -> Result<Connection> {
        Connection::of(self.host, &self.chosen, &self.claim)
    }

    /// Closes the connection to the lease, if there is one.
    pub(super) async fn hang_up(&self) {
        if self.is_by_ssh() {
            Place::of(self.host, &self.claim.lease.id).close().await;
        }
    }

    /// What a guard holds on to.
    pub(super) fn locks(&self) -> Result<Locks> {
        let run = self.run.as_ref().map(RunDir::for_guard).transpose()?.flatten();
        Ok(Locks { lease: Some(self.lock.for_guard()?), run })
    }
}
