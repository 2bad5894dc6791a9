//! Ending a lease.

use std::time::Duration;

use crabbox_protocol::records::{ClaimState, Owner};
use crabbox_protocol::{LeaseId, ReleaseAction, ReleaseOutcome, ReleaseParams, ReleaseReason};
use jiff::Timestamp;
use tokio::time::Instant;

use super::held::{AskError, Held};
use super::patiently;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::output::{foreign, say};
use crate::provider::Interrupts;

/// How long a release that is under way is asked about.
const PENDING: Duration = Duration::from_secs(5 * 60);

/// How a release went.
#[derive(Debug)]
pub(crate) enum Released {
    /// Nothing is left of the lease, nor of its claim.
    Gone,
    /// The lease is stopped, and the user's: it can be started again, or deleted.
    Stopped,
    /// It is not over; look again at that time.
    Later(Timestamp),
}

/// A lease whose end the user watches: one Ctrl-C warns, another leaves it as it is.
pub(super) struct Watch {
    id: LeaseId,
    slug: String,
    stop: String,
}

impl Watch {
    pub(super) fn of(held: &Held<'_>) -> Self {
        let lease = &held.claim.lease;
        Self { id: lease.id.clone(), slug: lease.slug.clone(), stop: held.stop_command() }
    }

    /// Waits for the work, or until the user does not want to wait any more.
    pub(super) async fn over<T>(
        self,
        work: impl Future<Output = Result<T>>,
        interrupts: &mut Interrupts,
    ) -> Result<T> {
        let Self { id, slug, stop } = self;
        let mut work = std::pin::pin!(work);
        let mut warned = false;
        loop {
            tokio::select! {
                done = &mut work => {
                    return done.map_err(|error| error.hint(format!("lease {id} may still be there: `{stop}` releases it")));
                }
                number = interrupts.next() => {
                    if warned {
                        return Err(Error::new(Exit::Signal(number), format!("lease {id} was left as it is"))
                            .hint(format!("`{stop}` releases it")));
                    }
                    say(format!("releasing {slug}; again to leave it"));
                    warned = true;
                }
            }
        }
    }
}

impl Held<'_> {
    /// Releases the lease, and forgets it once that is confirmed. Repeating it is free.
    pub(crate) async fn release(mut self, action: ReleaseAction, reason: ReleaseReason) -> Result<Released> {
        let begun = Instant::now();
        let was_there = self.claim.state == ClaimState::Leased;
        // What stands to it would hold it up, or wake it again.
        self.hang_up().await;
        loop {
            let (outcome, again) = self.ask_release(action, reason).await?;
            if outcome == ReleaseOutcome::Absent && was_there {
                let (provider, slug) = (&self.claim.provider, &self.claim.lease.slug);
                say(format!("provider `{provider}` says that lease {slug} was not there"));
            }
            match outcome {
                ReleaseOutcome::Released if action == ReleaseAction::Stop => return self.stopped().await,
                ReleaseOutcome::Released | ReleaseOutcome::Absent => return self.forget().await,
                ReleaseOutcome::Pending if begun.elapsed() > PENDING => {
                    self.let_go().await;
                    return Ok(Released::Later(super::after(Timestamp::now(), again)));
                }
                ReleaseOutcome::Pending => tokio::time::sleep(Duration::from_millis(again.min(30_000))).await,
            }
        }
    }

    /// Notes that the lease is there and does not run. Nobody but the user ends it from here on.
    async fn stopped(mut self) -> Result<Released> {
        self.claim = self.host.claims().update(&self.claim.lease.id, true, |claim| {
            (claim.state, claim.owner) = (ClaimState::Leased, Owner::User);
            claim.stopped_at = Some(Timestamp::now());
            // Where it is when it runs again is said then. What was published may still be.
            claim.endpoints.retain(|endpoint| endpoint.id.is_some());
            claim.missing_since = None;
            Ok(())
        })?;
        let slug = &self.claim.lease.slug;
        say(format!(
            "lease {slug} is stopped, not deleted: `crabbox run --id {slug} -- COMMAND` starts it again, `crabbox stop {slug} --delete` deletes it"
        ));
        self.let_go().await;
        Ok(Released::Stopped)
    }

    /// Ends the runs whose hosts died, where that can be done. The end of the lease takes them along in any case;
    /// of one that is stopped the claim still names them.
    pub(super) async fn kill_before_release(&mut self, interrupts: &mut Interrupts) {
        if let Err(error) = self.kill_abandoned(false, interrupts).await {
            say(format!("{error}; releasing the lease ends it"));
        }
    }

    /// Releases the lease while the user watches.
    pub(crate) async fn release_watched(
        self,
        action: ReleaseAction,
        reason: ReleaseReason,
        interrupts: &mut Interrupts,
    ) -> Result<Released> {
        let watch = Watch::of(&self);
        watch.over(self.release(action, reason), interrupts).await
    }

    /// Asks for the release once and says whether anything was there. For a provider without `resolve`.
    pub(super) async fn release_and_look(&mut self, reason: ReleaseReason) -> Result<bool> {
        let (outcome, _) = self.ask_release(self.claim.release, reason).await?;
        Ok(outcome != ReleaseOutcome::Absent)
    }

    /// One request, with the claim on disk saying so before it is sent.
    async fn ask_release(
        &mut self,
        action: ReleaseAction,
        reason: ReleaseReason,
    ) -> Result<(ReleaseOutcome, u64)> {
        if self.claim.state == ClaimState::Leased {
            let claims = self.host.claims();
            self.claim = claims.update(&self.claim.lease.id, true, |claim| {
                claim.state = ClaimState::Releasing;
                claim.release = claim.release.min(action);
                Ok(())
            })?;
        }
        let params = ReleaseParams { lease: self.claim.lease.clone(), action, reason };
        let what = format!("waiting for provider {} to release the lease", self.claim.provider);
        let result = match patiently(&what, self.ask_plainly(&params)).await {
            Ok(result) => result,
            // A process that died may have been the last run's; a fresh one is asked once.
            Err(AskError::Provider(error)) if !error.answered() => {
                patiently(&what, self.ask_plainly(&params)).await?
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(message) = &result.message {
            say(foreign(message));
        }
        Ok((result.outcome, result.retry_after_ms.unwrap_or(2_000)))
    }
}
