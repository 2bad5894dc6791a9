//! Taking back what `crew peers --share-port` published.

use std::time::Duration;

use crabbox_protocol::records::{Claim, ClaimState};
use crabbox_protocol::{Endpoint, Method, UnbridgeOutcome, UnbridgeParams};
use tokio::time::timeout;

use super::AT_ONCE;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::join::join;
use crate::lease::LeaseLock;
use crate::provider::{Ask, Locks};
use crate::workflow::same_scope;

/// How long a provider may take for a lease.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes back a port of every member, or all ports. Says for each whether something was open.
pub(crate) async fn unshare(host: &Host, claims: &[Claim], port: Option<u16>) -> Vec<Result<bool>> {
    join(AT_ONCE, claims.iter().map(|claim| close(host, claim, port))).await
}

async fn close(host: &Host, claim: &Claim, port: Option<u16>) -> Result<bool> {
    let late = || {
        let after = humantime::format_duration(PATIENCE);
        Error::new(Exit::Unavailable, format!("provider `{}` did not answer within {after}", claim.provider))
    };
    let was_open = match claim.state {
        ClaimState::Leased => timeout(PATIENCE, ask(host, claim, port)).await.map_err(|_| late())??,
        ClaimState::Acquiring | ClaimState::Releasing => false,
    };
    let stays =
        |endpoint: &Endpoint| endpoint.id.is_none() || port.is_some_and(|port| endpoint.port != Some(port));
    if !claim.endpoints.iter().all(stays) {
        host.claims().update(&claim.lease.id, false, |claim| {
            claim.endpoints.retain(stays);
            Ok(())
        })?;
    }
    Ok(was_open)
}

/// Asks the provider to take it back. One without `unbridge` opens nothing that could be closed.
async fn ask(host: &Host, claim: &Claim, port: Option<u16>) -> Result<bool> {
    let chosen = host.chosen_for(claim).await?;
    if !chosen.manifest.has(Method::Unbridge) {
        return Ok(false);
    }
    // Beside what runs there, and not while somebody ends the lease.
    let lock = LeaseLock::shared(&host.paths, &claim.lease.id, || ()).await?;
    let locks = Locks { lease: Some(lock.for_guard()?), run: None };
    let (mut session, configured) = chosen.connect(host, locks).await?;
    let asked = async {
        same_scope(claim, &configured.scope)?;
        let params = UnbridgeParams { lease: claim.lease.clone(), port, id: None };
        Ok::<_, Error>(session.call(&params, Ask::default()).await?)
    };
    let answer = asked.await;
    session.close().await;
    Ok(answer?.outcome == UnbridgeOutcome::Released)
}
