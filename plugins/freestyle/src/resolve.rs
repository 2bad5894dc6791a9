//! `resolve`: how a lease stands. With the intent to use it, one that is paused is started.

use crabbox_provider_kit::Result;
use crabbox_provider_kit::protocol::{Intent, LeaseState, ResolveParams, ResolveResult};

use crate::machine::Identity;
use crate::provider::Freestyle;

impl Freestyle {
    /// Answers `resolve`. Only the status 404 for the machine is `missing`.
    pub(crate) async fn look(&self, params: &ResolveParams) -> Result<ResolveResult> {
        let identity = Identity::of(&params.lease);
        let Some(vm) = self.find(&identity).await? else {
            let message = Some(format!("there is no machine {}", identity.slug));
            return Ok(ResolveResult {
                state: LeaseState::Missing,
                lease: None,
                message,
                candidates: Vec::new(),
            });
        };
        let state = match vm.state.as_str() {
            "running" => LeaseState::Ready,
            "starting" => LeaseState::Starting,
            "paused" | "stopped" if params.intent == Intent::Use => {
                self.start(&vm).await?;
                LeaseState::Starting
            }
            "pausing" | "paused" | "stopped" => LeaseState::Stopped,
            _ => LeaseState::Unknown,
        };
        let message = (state != LeaseState::Ready).then(|| format!("machine {} is {}", vm.id, vm.state));
        let lease = Some(self.report(&identity, &vm));
        Ok(ResolveResult { state, lease, message, candidates: Vec::new() })
    }
}
