//! `release`: takes the job away, after a look at whose it is, and confirms that it is gone.

use std::time::Duration;

use crabbox_provider_kit::Result;
use crabbox_provider_kit::protocol::{ReleaseOutcome, ReleaseParams, ReleaseResult};
use tokio::time::{Instant, sleep};

use crate::allocations::ended;
use crate::api::Allocation;
use crate::job::Identity;
use crate::provider::{Found, Nomad, job_path};

/// How long the job may take to be gone: it is as soon as the servers agree.
const GONE: Duration = Duration::from_secs(60);

/// How long its task may take to end on its node after that. A node that does not answer may take for ever.
const ENDED: Duration = Duration::from_secs(20);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

impl Nomad {
    /// Answers `release`. A stopped job could not be started again, so `stop` deletes, too.
    pub(crate) async fn end(&self, params: &ReleaseParams) -> Result<ReleaseResult> {
        let identity = Identity::of(&params.lease, &self.settings);
        let done = |outcome, message| Ok(ReleaseResult { outcome, retry_after_ms: None, message });
        match self.find(&identity).await? {
            Found::Absent => return done(ReleaseOutcome::Absent, None),
            Found::Ours | Found::Stopped => {}
        }
        self.forget(&identity);
        self.api.purge(&job_path(&identity)).await?;
        let begun = Instant::now();
        while !matches!(self.find(&identity).await?, Found::Absent) {
            if begun.elapsed() > GONE {
                let message = format!("Nomad took the order, and the job {} is still there", identity.job_id);
                let (outcome, retry_after_ms) = (ReleaseOutcome::Pending, Some(5_000));
                return Ok(ReleaseResult { outcome, retry_after_ms, message: Some(message) });
            }
            sleep(PAUSE).await;
        }
        // The job is gone before its task is. Nothing can stop that any more; that it has happened is good to know.
        let path = format!("{}/allocations", job_path(&identity));
        let begun = Instant::now();
        loop {
            let allocations: Vec<Allocation> = self.api.get(&path, &[("all", "true")]).await?;
            if ended(&identity.job_id, &allocations) {
                return done(ReleaseOutcome::Released, None);
            }
            if begun.elapsed() > ENDED {
                let message = "the job is gone; its node has not said yet that the task has ended".to_owned();
                return done(ReleaseOutcome::Released, Some(message));
            }
            sleep(PAUSE).await;
        }
    }
}
