//! `release`: takes the job away, after a look at whose it is, and confirms that it is gone.

use std::time::Duration;

use crabbox_provider_kit::Result;
use crabbox_provider_kit::protocol::{ReleaseOutcome, ReleaseParams, ReleaseResult};
use tokio::time::{Instant, sleep};

use crate::acquire::pause;
use crate::allocations::ended;
use crate::api::Allocation;
use crate::job::Identity;
use crate::provider::{Found, Nomad, job_path};

/// How long the task may take to end on its node: Nomad gives it 5 s before it is killed. A node that does not answer
/// may take for ever.
const ENDED: Duration = Duration::from_secs(20);

/// How long the job may take to be gone after that: it is as soon as the servers agree.
const GONE: Duration = Duration::from_secs(60);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

impl Nomad {
    /// Answers `release`. A stopped job could not be started again, so `stop` deletes, too.
    ///
    /// First the job is stopped, and only when its task has ended is it purged: with the job Nomad forgets the
    /// allocation, and then nobody can say any more whether something of it is alive.
    pub(crate) async fn end(&self, params: &ReleaseParams) -> Result<ReleaseResult> {
        let identity = Identity::of(&params.lease, &self.settings);
        let done = |outcome, message| Ok(ReleaseResult { outcome, retry_after_ms: None, message });
        match self.find(&identity).await? {
            Found::Absent => return done(ReleaseOutcome::Absent, None),
            Found::Stopped => {}
            Found::Ours => self.api.deregister(&job_path(&identity), false).await?,
        }
        self.forget(&identity);
        let has_ended = self.ended(&identity).await?;
        // Whose it is may have changed since.
        if !matches!(self.find(&identity).await?, Found::Absent) {
            self.api.deregister(&job_path(&identity), true).await?;
        }
        let begun = Instant::now();
        while !matches!(self.find(&identity).await?, Found::Absent) {
            if begun.elapsed() > GONE {
                let message = format!("Nomad took the order, and the job {} is still there", identity.job_id);
                let (outcome, retry_after_ms) = (ReleaseOutcome::Pending, Some(5_000));
                return Ok(ReleaseResult { outcome, retry_after_ms, message: Some(message) });
            }
            sleep(PAUSE).await;
        }
        let message = "the job is gone; its node did not say that the task has ended".to_owned();
        done(ReleaseOutcome::Released, (!has_ended).then_some(message))
    }

    /// Waits until the job's tasks have ended, and says whether they have.
    async fn ended(&self, identity: &Identity) -> Result<bool> {
        let path = format!("{}/allocations", job_path(identity));
        let begun = Instant::now();
        let mut index = 0;
        while begun.elapsed() < ENDED {
            let left = ENDED.saturating_sub(begun.elapsed());
            let reply = self.api.watch::<Vec<Allocation>>(&path, index, left).await?;
            if ended(&identity.job_id, &reply.body) {
                return Ok(true);
            }
            pause(&mut index, reply.index).await;
        }
        Ok(false)
    }
}
