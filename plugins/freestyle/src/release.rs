//! `release`: deletes the machine, after a look at whose it is, and confirms that it is gone. What was published of
//! it goes with it.

use std::time::Duration;

use crabbox_provider_kit::protocol::{ReleaseAction, ReleaseOutcome, ReleaseParams, ReleaseResult};
use crabbox_provider_kit::{Error, Result};
use tokio::time::{Instant, sleep};

use crate::api::{Found, Machine, Standing};
use crate::machine::Identity;
use crate::provider::Freestyle;

/// How long a machine may take to be gone.
const GONE: Duration = Duration::from_secs(120);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

impl Freestyle {
    /// Answers `release`. To stop is to pause: a stopped machine is deleted by Freestyle.
    pub(crate) async fn end(&self, params: &ReleaseParams) -> Result<ReleaseResult> {
        if params.action == ReleaseAction::Stop {
            return self.pause(params).await;
        }
        let identity = Identity::of(&params.lease);
        let (begun, mut deleted): (_, Vec<String>) = (Instant::now(), Vec::new());
        loop {
            let machines = self.all_of(&identity).await?;
            for machine in &machines {
                if !deleted.contains(&machine.id) {
                    self.close_everything(machine).await;
                    self.api.delete(&machine.id).await?;
                    deleted.push(machine.id.clone());
                }
            }
            match machines.first() {
                None if deleted.is_empty() => return Ok(outcome(ReleaseOutcome::Absent, None)),
                None => return Ok(outcome(ReleaseOutcome::Released, None)),
                Some(machine) if begun.elapsed() > GONE => {
                    let message =
                        format!("Freestyle took the order, and machine {} is still there", machine.id);
                    let pending = outcome(ReleaseOutcome::Pending, Some(message));
                    return Ok(ReleaseResult { retry_after_ms: Some(5_000), ..pending });
                }
                // Deleting is over most of the time when it is answered.
                Some(_) if begun.elapsed() < PAUSE => {}
                Some(_) => sleep(PAUSE).await,
            }
        }
    }

    async fn pause(&self, params: &ReleaseParams) -> Result<ReleaseResult> {
        let Some(machine) = self.all_of(&Identity::of(&params.lease)).await?.pop() else {
            return Ok(outcome(ReleaseOutcome::Absent, None));
        };
        if machine.standing != Standing::Asleep {
            self.api.suspend(&machine.id).await?;
        }
        let message = format!("machine {} is paused", machine.id);
        Ok(outcome(ReleaseOutcome::Released, Some(message)))
    }

    /// Every machine that is certainly the lease's.
    async fn all_of(&self, identity: &Identity) -> Result<Vec<Machine>> {
        match self.api.find(identity).await? {
            Found::Machine(machine) => Ok(vec![machine]),
            Found::Several(machines) => Ok(machines),
            Found::Absent => Ok(Vec::new()),
            Found::Unknown(why) => Err(Error::ambiguous("what is to be deleted cannot be told")
                .cause(why)
                .hint("Freestyle deletes it by itself when the lease's time is over and nothing uses it")),
        }
    }
}

fn outcome(outcome: ReleaseOutcome, message: Option<String>) -> ReleaseResult {
    ReleaseResult { outcome, retry_after_ms: None, message }
}
