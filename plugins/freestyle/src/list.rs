//! `list`: the machines that crabbox made in this account.

use crabbox_provider_kit::Result;
use crabbox_provider_kit::protocol::{ListResult, Listed};

use crate::api::{Machine, Names};
use crate::machine::{LEASE, SLUG, lease_of};
use crate::provider::Freestyle;
use crate::resolve::state;

impl Freestyle {
    /// Answers `list`. It is not complete where there are machines that may be ours.
    pub(crate) async fn listed(&self) -> Result<ListResult> {
        let inventory = self.api.list().await?;
        let complete = !matches!(inventory.names, Names::NotTold(_));
        let leases = inventory.machines.into_iter().map(listed).collect();
        Ok(ListResult { leases, complete })
    }
}

fn listed(mut machine: Machine) -> Listed {
    let state = state(&machine);
    let name = machine.name.unwrap_or_else(|| machine.id.clone());
    Listed {
        id: machine.metadata.remove(LEASE).or_else(|| lease_of(&name)),
        slug: machine.metadata.remove(SLUG),
        r#ref: name.clone(),
        name,
        state,
        labels: [("vm".to_owned(), machine.id)].into(),
        created_at: machine.created_at,
        expires_at: None,
    }
}
