//! `release`: deletes the machine, after a look at whose it is, and confirms that it is gone. What was published of
//! it goes with it.

use std::time::Duration;

use crabbox_provider_kit::Result;
use crabbox_provider_kit::protocol::{ReleaseAction, ReleaseOutcome, ReleaseParams, ReleaseResult};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::machine::Identity;
use crate::provider::Freestyle;

/// How long a machine may take to be gone.
const GONE: Duration = Duration::from_secs(120);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

impl Freestyle {
    /// Answers `release`. To stop is to pause: a stopped machine is deleted by Freestyle.
    pub(crate) async fn end(&self, params: &ReleaseParams) -> Result<ReleaseResult> {
        let identity = Identity::of(&params.lease);
        let done = |outcome, message| Ok(ReleaseResult { outcome, retry_after_ms: None, message });
        let Some(vm) = self.find(&identity).await? else {
            return done(ReleaseOutcome::Absent, None);
        };
        if params.action == ReleaseAction::Stop {
            if vm.state != "paused" {
                let path = format!("/v5/vms/{}/pause", vm.id);
                let paused = self.api.order::<Value>(&path, &json!({}), GONE).await?;
                paused.map_err(|refusal| self.api.error(&refusal))?;
            }
            return done(ReleaseOutcome::Released, Some(format!("machine {} is paused", vm.id)));
        }
        self.api.delete(&format!("/v5/vms/{}", vm.id)).await?;
        let begun = Instant::now();
        while self.find(&identity).await?.is_some() {
            if begun.elapsed() > GONE {
                let message = format!("Freestyle took the order, and machine {} is still there", vm.id);
                let (outcome, retry_after_ms) = (ReleaseOutcome::Pending, Some(5_000));
                return Ok(ReleaseResult { outcome, retry_after_ms, message: Some(message) });
            }
            sleep(PAUSE).await;
        }
        done(ReleaseOutcome::Released, None)
    }
}
