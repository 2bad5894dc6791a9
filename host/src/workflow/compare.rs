//! What a sync of a lease would do: the lease is asked, and stays as it is.

use crabbox_protocol::records::{Claim, LeaseSyncPlan, SyncSize};

use super::held::Held;
use super::reuse::usable;
use crate::error::Result;
use crate::host::{Chosen, Host};
use crate::provider::Interrupts;
use crate::sync::{Apply, Bases, Engine, Tree, manifest_of};

/// Compares the tree with what the lease holds. Goes in beside the commands that run there.
pub(crate) async fn compare(
    host: &Host,
    chosen: Chosen,
    claim: &Claim,
    tree: Tree,
    how: Apply,
) -> Result<LeaseSyncPlan> {
    usable(claim)?;
    let mut interrupts = Interrupts::listen()?;
    let bases = Bases::of(&host.paths, &claim.lease.id);
    let manifest = manifest_of(&tree, &host.paths)?;
    let mut engine = Engine::new(tree, manifest, how, Some(bases));
    let mut held = Held::reuse(host, chosen, claim, None, true).await?;
    let found = held.compare(&mut engine, &mut interrupts).await;
    held.let_go().await;
    let found = found.map_err(|error| interrupts.blame(error))?;
    let texts = |paths: Vec<std::path::PathBuf>| {
        paths.iter().map(|path| path.to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    Ok(LeaseSyncPlan {
        lease_id: claim.lease.id.to_string(),
        base: found.base.map(|marker| marker.as_str().to_owned()),
        send: SyncSize { files: found.send.0 as u64, bytes: found.send.1 },
        remove: if how == Apply::Add { Vec::new() } else { texts(found.remove) },
        dirty: texts(found.dirty),
    })
}
