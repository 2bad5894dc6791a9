//! Taking back what `crew peers --share-port` published.

use crabbox_protocol::records::{Claim, ClaimState};
use crabbox_protocol::{Endpoint, Method, UnbridgeOutcome, UnbridgeParams};

use super::AT_ONCE;
use crate::error::Result;
use crate::host::Host;
use crate::join::join;
use crate::lease::LeaseLock;
use crate::provider::{Ask, Locks};
use crate::workflow::same_scope;

/// Takes back a port of every member, or all ports. Says for each whether something was open; `None` where nothing can
/// be, because its provider publishes nothing or the lease does not run.
pub(crate) async fn unshare(host: &Host, claims: &[Claim], port: Option<u16>) -> Vec<Result<Option<bool>>> {
    join(AT_ONCE, claims.iter().map(|claim| close(host, claim, port))).await
}

async fn close(host: &Host, claim: &Claim, port: Option<u16>) -> Result<Option<bool>> {
    let chosen = host.chosen_for(claim).await?;
    let runs = claim.state == ClaimState::Leased && claim.stopped_at.is_none();
    if !chosen.manifest.has(Method::Unbridge) || !runs {
        return Ok(None);
    }
    // Beside what runs there, and not while somebody ends the lease.
    let lock = LeaseLock::shared(&host.paths, &claim.lease.id, || ()).await?;
    let locks = Locks { lease: Some(lock.for_guard()?), run: None };
    let (mut session, configured) = chosen.connect(host, locks).await?;
    let asked = async {
        same_scope(claim, &configured.scope)?;
        let params = UnbridgeParams { lease: claim.lease.clone(), port, id: None };
        Ok::<_, crate::error::Error>(session.call(&params, Ask::default()).await?)
    };
    let answer = asked.await;
    session.close().await;
    let was_open = answer?.outcome == UnbridgeOutcome::Released;
    let stays =
        |endpoint: &Endpoint| endpoint.id.is_none() || port.is_some_and(|port| endpoint.port != Some(port));
    if !claim.endpoints.iter().all(stays) {
        host.claims().update(&claim.lease.id, false, |claim| {
            claim.endpoints.retain(stays);
            Ok(())
        })?;
    }
    Ok(Some(was_open))
}
