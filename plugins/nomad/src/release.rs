//! `release`: takes the job away, after a look at whose it is, and confirms that it is gone.

use std::time::Duration;

use crabbox_provider_kit::protocol::{ReleaseAction, ReleaseOutcome, ReleaseParams, ReleaseResult};
use crabbox_provider_kit::{Error, Result};
use tokio::time::{Instant, sleep};

use crate::acquire::pause;
use crate::allocations::{Ended, ended};
use crate::job::Identity;
use crate::provider::{Found, Nomad, job_path};

/// How long to wait for the task's end on its node: more than the 30 s after which Nomad kills it. A node that does not
/// answer may take for ever.
const ENDED: Duration = Duration::from_secs(45);

/// When to ask again.
const AGAIN_MS: u64 = 5_000;

/// How long the job may take to be gone after that: it is as soon as the servers agree.
const GONE: Duration = Duration::from_secs(60);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

impl Nomad {
    /// Answers `release`.
    ///
    /// First the job is stopped, and only when its task has ended is it purged: with the job Nomad forgets the
    /// allocation, and then nobody can say any more whether something of it is alive.
    pub(crate) async fn end(&self, params: &ReleaseParams) -> Result<ReleaseResult> {
        if params.action == ReleaseAction::Stop {
            return Err(Error::unsupported("a lease here cannot be stopped and started again")
                .hint("a stopped job loses its allocation: delete the lease instead"));
        }
        let identity = Identity::of(&params.lease, &self.settings);
        let done = |outcome, message| Ok(ReleaseResult { outcome, retry_after_ms: None, message });
        match self.find(&identity).await? {
            Found::Absent => return done(ReleaseOutcome::Absent, None),
            Found::Stopped => {}
            Found::Ours(_) => self.api.deregister(&job_path(&identity), false).await?,
        }
        self.forget(&identity);
        let ended = self.ended(&identity).await?;
        if ended == Ended::No {
            let message = format!(
                "the job {} is stopped; its node has not said that the task has ended",
                identity.job_id
            );
            return Ok(pending(message));
        }
        // Whose it is may have changed since.
        if !matches!(self.find(&identity).await?, Found::Absent) {
            self.api.deregister(&job_path(&identity), true).await?;
        }
        let begun = Instant::now();
        while !matches!(self.find(&identity).await?, Found::Absent) {
            if begun.elapsed() > GONE {
                let message = format!("Nomad took the order, and the job {} is still there", identity.job_id);
                return Ok(pending(message));
            }
            sleep(PAUSE).await;
        }
        let message = "its node is lost; should it come back, Nomad ends there what is left".to_owned();
        done(ReleaseOutcome::Released, (ended == Ended::Lost).then_some(message))
    }

    /// Waits until the job's tasks have ended, and says whether they have.
    async fn ended(&self, identity: &Identity) -> Result<Ended> {
        let begun = Instant::now();
        let mut index = 0;
        while begun.elapsed() < ENDED {
            let left = ENDED.saturating_sub(begun.elapsed());
            let reply = self.allocations(identity, index, left).await?;
            let ended = ended(&reply.body);
            if ended != Ended::No {
                return Ok(ended);
            }
            pause(&mut index, reply.index).await;
        }
        Ok(Ended::No)
    }
}

fn pending(message: String) -> ReleaseResult {
    let (outcome, retry_after_ms) = (ReleaseOutcome::Pending, Some(AGAIN_MS));
    ReleaseResult { outcome, retry_after_ms, message: Some(message) }
}
