//! `resolve`: how a lease stands. With the intent to use it, one that sleeps is started, and what was published of it
//! for a time that is over is taken back.

use crabbox_provider_kit::Result;
use crabbox_provider_kit::protocol::{Intent, LeaseState, ResolveParams, ResolveResult};

use crate::api::{Found, Machine, Standing};
use crate::machine::Identity;
use crate::provider::{Freestyle, several};

impl Freestyle {
    /// Answers `resolve`. `missing` is only what the API has proven to be.
    pub(crate) async fn look(&self, params: &ResolveParams) -> Result<ResolveResult> {
        let identity = Identity::of(&params.lease);
        let nothing = |state, message| {
            Ok(ResolveResult { state, lease: None, message: Some(message), candidates: Vec::new() })
        };
        let machine = match self.api.find(&identity).await? {
            Found::Machine(machine) => machine,
            Found::Absent => {
                return nothing(LeaseState::Missing, format!("there is no machine {}", identity.name));
            }
            Found::Unknown(why) => return nothing(LeaseState::Unknown, why),
            // To release the lease is to delete all of them.
            Found::Several(machines) if params.intent == Intent::Release => {
                return nothing(LeaseState::Stopped, several(&identity, &machines));
            }
            Found::Several(machines) => {
                let message = Some(several(&identity, &machines));
                let candidates = machines.into_iter().map(|machine| machine.id).collect();
                let state = LeaseState::Ambiguous;
                return Ok(ResolveResult { state, lease: None, message, candidates });
            }
        };
        let mut state = state(&machine);
        if params.intent == Intent::Use {
            if machine.standing == Standing::Asleep {
                self.api.start(&machine.id).await?;
                state = LeaseState::Starting;
            }
            // Where that fails, the next use tries it again.
            _ = self.close_what_is_over(&machine.id).await;
        }
        let message =
            (state != LeaseState::Ready).then(|| format!("machine {} is {}", machine.id, machine.state));
        let lease = Some(self.report(&identity, &machine));
        Ok(ResolveResult { state, lease, message, candidates: Vec::new() })
    }
}

/// What a machine's standing means for its lease.
pub(crate) fn state(machine: &Machine) -> LeaseState {
    match machine.standing {
        Standing::Running => LeaseState::Ready,
        Standing::Starting => LeaseState::Starting,
        Standing::Leaving | Standing::Asleep => LeaseState::Stopped,
        Standing::Lost => LeaseState::Failed,
        Standing::Unknown => LeaseState::Unknown,
    }
}
