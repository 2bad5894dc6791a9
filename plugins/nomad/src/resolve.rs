//! `resolve`: how a lease stands. Nothing is changed by looking.

use std::time::Duration;

use crabbox_provider_kit::Result;
use crabbox_provider_kit::protocol::{LeaseState, ResolveParams, ResolveResult};

use crate::acquire::report;
use crate::allocations::{Standing, standing};
use crate::api::{Allocation, Reply};
use crate::job::Identity;
use crate::provider::{Found, Nomad, job_path};

impl Nomad {
    /// Answers `resolve`. Only the status 404 for the job is `missing`.
    pub(crate) async fn look(&self, params: &ResolveParams) -> Result<ResolveResult> {
        let identity = Identity::of(&params.lease, &self.settings);
        let (state, place, message) = match self.find(&identity).await? {
            Found::Absent => {
                let message =
                    format!("there is no job {} in namespace {}", identity.job_id, self.settings.namespace);
                (LeaseState::Missing, None, Some(message))
            }
            Found::Stopped => {
                let message = format!("the job {} was stopped; it does not start again", identity.job_id);
                (LeaseState::Stopped, None, Some(message))
            }
            Found::Ours(group) => match self.standing(&identity, &group).await? {
                Standing::Ready(place) => (LeaseState::Ready, Some(place), None),
                Standing::Starting(why) => (LeaseState::Starting, None, Some(why)),
                Standing::Failed(why) => (LeaseState::Failed, None, Some(why)),
            },
        };
        if let Some(place) = &place {
            self.remember(&identity, place);
        }
        let lease = (state != LeaseState::Missing).then(|| report(&identity, place.as_ref()));
        Ok(ResolveResult { state, lease, message, candidates: Vec::new() })
    }

    /// How the lease stands, by the allocations of its job.
    pub(crate) async fn standing(&self, identity: &Identity, group: &str) -> Result<Standing> {
        let allocations = self.allocations(identity, 0, Duration::ZERO).await?.body;
        Ok(standing(group, &self.settings.task, &allocations))
    }

    /// The allocations of a lease's job, once they are newer than `index` or after `wait`; with index 0 at once. Those
    /// are among them that a job of this id had before it was purged: what is asked is whether anything still runs.
    pub(crate) async fn allocations(
        &self,
        identity: &Identity,
        index: u64,
        wait: Duration,
    ) -> Result<Reply<Vec<Allocation>>> {
        let path = format!("{}/allocations", job_path(identity));
        let mut reply: Reply<Vec<Allocation>> =
            self.api.watch(&path, &[("all", "true")], index, wait).await?;
        // Without an id there is nothing to execute in.
        reply.body.retain(|allocation| allocation.job_id == identity.job_id && !allocation.id.is_empty());
        Ok(reply)
    }
}
