//! Running the user's command on a lease, and making sure that it is dead when it has to be.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::{Duration, Instant};

use crabbox_protocol::records::ClaimRun;
use crabbox_protocol::{CancelReason, Remote, RunId, RunResult};
use jiff::Timestamp;

use super::held::{AskError, Held, show_warnings};
use super::ms;
use super::on_lease::Way;
use super::script::run_params;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::output::warn;
use crate::provider::{Ask, Interrupts, ProviderError, Relay};
use crate::remote::{self, Line, UserCommand};

/// How long the lease waits for a sign of life, where the provider carries them: a machine that is busy, a
/// network that is changed and a daemon that is started again take less; a command that nobody waits for any
/// more costs more.
const ORPHAN_GRACE: Duration = Duration::from_secs(120);

/// How many signs of life are sent meanwhile: some may be late or lost.
const SIGNS: u32 = 8;

/// How long the lease waits: in a debug build `CRABBOX_ORPHAN_GRACE=SECONDS` says it for a test.
fn orphan_grace() -> Duration {
    let test = std::env::var("CRABBOX_ORPHAN_GRACE").ok().filter(|_| cfg!(debug_assertions));
    test.and_then(|seconds| seconds.parse().ok()).map_or(ORPHAN_GRACE, Duration::from_secs)
}

/// The user's command and what goes with it.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// What to run.
    pub(crate) command: UserCommand,
    /// The forwarded environment.
    pub(crate) env: BTreeMap<String, OsString>,
    /// When to end it.
    pub(crate) timeout: Option<Duration>,
}

/// How the command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// What crabbox exits with because of it.
    pub(crate) code: u8,
    /// How long it took.
    pub(crate) took: Duration,
    /// Why it was ended, if it was.
    pub(crate) cancelled: Option<CancelReason>,
}

impl Held<'_> {
    /// Runs the command and relays its output. An error says that its end is not known, or that it never ran.
    pub(super) async fn execute(&mut self, job: &Job, interrupts: &mut Interrupts) -> Result<Ran> {
        let begun = Instant::now();
        let Way { by_path, lifeline, is_ssh } = self.way().await?;
        let silence = lifeline.then(orphan_grace);
        let run = self.run.as_ref().ok_or_else(|| Error::failure("a command needs a run"))?;
        let (run_id, directory) = (run.id().clone(), run.path().to_owned());
        let lease = self.claim.lease.clone();
        let mut env = job.env.clone();
        env.insert("CRABBOX_LEASE_ID".to_owned(), lease.id.as_str().into());
        env.insert("CRABBOX_SLUG".to_owned(), lease.slug.clone().into());
        let script =
            remote::run_script(lease.root.as_deref(), &run_id, &env, &job.command, Line { silence, is_ssh });
        let script_file = run.file("script", |out| out.write_all(&script))?;

        self.note_run(&run_id, false)?;
        let mut relay = Relay::live(by_path.then_some(directory.as_path()))?;
        let mut params = run_params(Some(lease), run_id.clone(), Some(script_file.clone()), &relay);
        params.timeout_ms = job.timeout.map(ms);
        params.lifeline_ms = silence.map(|silence| ms(silence / SIGNS));
        let heartbeat = self.heartbeat();
        let answer = {
            let mut events = |event| show_warnings(&event);
            let ask = Ask {
                deadline: job.timeout,
                interrupts: Some(interrupts),
                relay: Some(&mut relay),
                events: Some(&mut events),
            };
            let call = self.run_there(&params, ask);
            tokio::select! {
                answer = call => answer,
                () = heartbeat => Err(AskError::Host(Error::failure("the heartbeat ended"))),
            }
        };
        let cancelled = match &answer {
            Err(AskError::Provider(ProviderError::Cancelled { reason, .. })) => Some(*reason),
            _ if is_ssh => None,
            _ => self.session.as_ref().and_then(|session| session.cancelled()),
        };
        let delivered = relay.finish(async { _ = interrupts.next().await }).await;
        let cancelled = cancelled.or(delivered.given_up.then_some(CancelReason::User));
        if delivered.dropped > 0 && !delivered.broken {
            warn(format!("{} bytes of output were dropped: nobody read them", delivered.dropped));
        }
        // The script has the forwarded values in it.
        if let Some(run) = &self.run {
            run.discard(&script_file);
        }
        let took = begun.elapsed();
        let ran = match answer {
            Ok(result) => Ran { code: exit_code(&self.claim.provider, &result)?, took, cancelled },
            Err(error) => self.unclear(&run_id, error, took, interrupts).await?,
        };
        if let Err(error) = self.forget_run(&run_id) {
            warn(format!("{error}; the lease still names the run {run_id}"));
        }
        match (delivered.broken, delivered.failure) {
            (true, None) => Ok(Ran { cancelled: Some(CancelReason::Hangup), ..ran }),
            (_, Some(error)) => {
                Err(Error::failure("cannot write to standard output, so the command was ended").cause(error))
            }
            (false, None) => Ok(ran),
        }
    }

    /// The command's end is not known: it is ended for certain, or the error says that it is not.
    async fn unclear(
        &mut self,
        run: &RunId,
        error: AskError,
        took: Duration,
        interrupts: &mut Interrupts,
    ) -> Result<Ran> {
        let error = match error {
            // It was never sent.
            AskError::Host(error) => {
                self.forget_run(run)?;
                return Err(error);
            }
            AskError::Provider(error) => error,
        };
        let (reason, proven) = match &error {
            ProviderError::Cancelled { reason, remote, .. } => (Some(*reason), *remote != Remote::Unknown),
            ProviderError::Deadline { .. } => (Some(CancelReason::Deadline), false),
            ProviderError::Refused { error, .. } => {
                let remote = error.data.as_ref().and_then(|data| data.remote);
                (None, remote.is_some_and(|remote| remote != Remote::Unknown))
            }
            _ => (None, false),
        };
        if !proven {
            // A session that was told to cancel may still be at it.
            self.restart().await;
            if let Err(kill) = self.kill(run, interrupts).await {
                let stop = self.stop_command();
                let unproven = Error::from(error).cause(format!("ending it failed: {kill}"));
                return Err(Error { exit: Exit::Transport, ..unproven }.hint(format!(
                    "the command may still run on lease {}: `{stop} --force` ends both",
                    self.claim.lease.id
                )));
            }
        }
        match reason {
            Some(reason) => Ok(Ran { code: cancel_exit(reason).code(), took, cancelled: Some(reason) }),
            None => {
                self.forget_run(run)?;
                Err(error.into())
            }
        }
    }

    /// Notes a run in the claim, before the lease hears of it.
    pub(super) fn note_run(&mut self, run: &RunId, sync: bool) -> Result<()> {
        self.claim = self.host.claims().update(&self.claim.lease.id, false, |claim| {
            let now = Timestamp::now();
            claim.last_used_at = now;
            claim.runs.insert(run.clone(), ClaimRun { started_at: now, sync });
            Ok(())
        })?;
        Ok(())
    }

    /// Takes a run out of the claim.
    pub(super) fn forget_run(&mut self, run: &RunId) -> Result<()> {
        self.claim = self.host.claims().update(&self.claim.lease.id, false, |claim| {
            claim.runs.remove(run);
            claim.last_used_at = Timestamp::now();
            Ok(())
        })?;
        Ok(())
    }
}

/// The code that the command exited with, or 128 and its signal.
pub(super) fn exit_code(provider: &str, result: &RunResult) -> Result<u8> {
    let fault = |what: &str| {
        Err(Error::failure(format!("provider `{provider}` answered `run` with {what}"))
            .hint(format!("this is a fault of crabbox-provider-{provider}")))
    };
    match (result.exit_code, &result.signal) {
        // A code is 8 bits everywhere it runs; one that is not must not come out as success.
        (Some(code), None) => Ok(u8::try_from(code).unwrap_or(((code & 0xff) as u8).max(1))),
        (None, Some(signal)) => match signal.number() {
            Some(number) => Ok(Exit::Signal(number).code()),
            None => fault("a signal that has no number here"),
        },
        (None, None) => fault("neither an exit code nor a signal"),
        (Some(_), Some(_)) => fault("an exit code and a signal"),
    }
}

/// What crabbox exits with when it ended the command.
pub(super) fn cancel_exit(reason: CancelReason) -> Exit {
    match reason {
        CancelReason::Deadline => Exit::Timeout,
        // What a writer to a closed pipe exits with.
        CancelReason::Hangup => Exit::Signal(13),
        CancelReason::User | CancelReason::Unknown => Exit::Signal(2),
    }
}
