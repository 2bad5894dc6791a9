//! Keeping a lease alive while a command runs on it.

use std::time::Duration;

use crabbox_protocol::{Method, TouchParams};
use jiff::Timestamp;

use super::held::Held;
use crate::provider::{Ask, Locks};

impl<'a> Held<'a> {
    /// Every third of the idle time, for ever: the claim says that the lease is in use, and the provider
    /// is told where it wants to know. The session of the run is busy, so another process tells it.
    pub(super) fn heartbeat(&self) -> impl Future<Output = ()> + use<'a> {
        let (host, chosen, claim) = (self.host, self.chosen.clone(), self.claim.clone());
        async move {
            let Some(idle) = claim.idle_timeout_ms else { return std::future::pending().await };
            let period = Duration::from_millis((idle / 3).max(1_000));
            loop {
                tokio::time::sleep(period).await;
                // A beat that fails is made up for by the next; the run goes on.
                let _ = host.claims().update(&claim.lease.id, false, |claim| {
                    claim.last_used_at = Timestamp::now();
                    Ok(())
                });
                if !chosen.manifest.has(Method::Touch) {
                    continue;
                }
                let params =
                    TouchParams { lease: claim.lease.clone(), idle_timeout_ms: Some(idle), expires_at: None };
                if let Ok((mut session, _)) = chosen.connect(host, Locks::default()).await {
                    let _ = session.call(&params, Ask::default()).await;
                    session.close().await;
                }
            }
        }
    }
}
