//! `list`: the machines that crabbox made in this account.

use crabbox_provider_kit::Result;
use crabbox_provider_kit::protocol::{LeaseState, ListResult, Listed};

use crate::api::{Vm, Vms};
use crate::machine::{LEASE, MANAGED, SLUG};
use crate::provider::Freestyle;

/// How many are asked for at once.
const PAGE: usize = 100;

impl Freestyle {
    /// Answers `list`.
    pub(crate) async fn listed(&self) -> Result<ListResult> {
        let mut leases = Vec::new();
        let mut seen: u64 = 0;
        loop {
            let (limit, offset, ours) = (PAGE.to_string(), seen.to_string(), format!("{MANAGED}:true"));
            let query = [("metadata", ours.as_str()), ("limit", &limit), ("offset", &offset)];
            let page: Vms = self.api.get("/v5/vms", &query).await?;
            let got = page.vms.len() as u64;
            seen += got;
            leases.extend(page.vms.into_iter().filter(|vm| vm.metadata.contains_key(LEASE)).map(listed));
            // Pages may be shorter than was asked for: the count decides, and an empty page.
            if got == 0 || page.total_count.map_or(got < PAGE as u64, |total| seen >= total) {
                return Ok(ListResult { leases, complete: true });
            }
        }
    }
}

fn listed(mut vm: Vm) -> Listed {
    let state = match vm.state.as_str() {
        "running" => LeaseState::Ready,
        "starting" => LeaseState::Starting,
        "pausing" | "paused" | "stopped" => LeaseState::Stopped,
        _ => LeaseState::Unknown,
    };
    let name = vm.slug.unwrap_or_else(|| vm.id.clone());
    Listed {
        id: vm.metadata.remove(LEASE),
        slug: vm.metadata.remove(SLUG),
        r#ref: name.clone(),
        name,
        state,
        labels: [("vm".to_owned(), vm.id)].into(),
        created_at: vm.created_at,
        expires_at: None,
    }
}
