//! `crabbox stop`: the user ends a lease.

use crabbox_protocol::records::{Claim, ClaimState};
use crabbox_protocol::{ReleaseAction, ReleaseReason, RunId};

use super::held::Held;
use super::release::{Released, Watch};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::{Chosen, Host};
use crate::lease::{LeaseLock, RunDir};
use crate::output::say;
use crate::provider::Interrupts;

/// How a lease is to end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ending {
    /// The runs on it are ended first, whoever's they are.
    pub(crate) force: bool,
    /// It is deleted, also where it would be stopped.
    pub(crate) delete: bool,
}

/// Releases a lease.
pub(crate) async fn stop(host: &Host, chosen: Chosen, claim: &Claim, how: Ending) -> Result<Released> {
    let mut interrupts = Interrupts::listen()?;
    let id = &claim.lease.id;
    if how.force {
        tokio::select! {
            ended = end_runs(host, &chosen, claim) => ended?,
            number = interrupts.next() => return Err(Error::new(Exit::Signal(number), "interrupted")),
        }
    }
    let waits = || say(format!("waiting for lease {}: another crabbox is changing it", claim.lease.slug));
    let lock = tokio::select! {
        lock = LeaseLock::exclusive(&host.paths, id, waits) => lock?,
        number = interrupts.next() => return Err(Error::new(Exit::Signal(number), "interrupted")),
    };
    let Some(claim) = host.claims().load(id)? else {
        lock.remove();
        return Ok(Released::Gone);
    };
    let slug = claim.lease.slug.clone();
    let state = claim.state;
    let mut held = Held::new(host, chosen, lock, claim);
    let watch = Watch::of(&held);
    let released = if state == ClaimState::Acquiring {
        watch.over(held.settle(ReleaseReason::User), &mut interrupts).await?
    } else {
        let action = match how.delete {
            true => ReleaseAction::Delete,
            false => held.release_action().await?,
        };
        held.kill_before_release(&mut interrupts).await;
        watch.over(held.release(action, ReleaseReason::User), &mut interrupts).await?
    };
    match released {
        Released::Gone | Released::Stopped => Ok(released),
        Released::Later(_) => {
            Err(Error::failure(format!("the provider has not confirmed that lease {slug} is gone"))
                .hint("`crabbox cleanup --wait` finishes it"))
        }
    }
}

/// Ends the runs of other hosts. They notice, and let go of the lease.
async fn end_runs(host: &Host, chosen: &Chosen, claim: &Claim) -> Result<()> {
    let alive: Vec<RunId> =
        claim.runs.keys().filter(|run| RunDir::is_alive(&host.paths, run)).cloned().collect();
    for run in alive {
        say(format!("ending run {run}"));
        Held::kill_of_another(host, chosen, claim, &run).await?;
    }
    Ok(())
}
