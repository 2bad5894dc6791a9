//! A lease that the check has made: with `--live` it is recorded, so that it is found again.

use std::collections::BTreeSet;

use crabbox_protocol::records::{Claim, ClaimPlugin, ClaimState, Owner};
use crabbox_protocol::{Lease, Limits, ReleaseAction};
use jiff::Timestamp;

use super::check::Check;
use super::lease::TTL_MS;
use crate::error::Result;
use crate::lease::{Claims, LeaseLock};

/// A lease that may exist.
pub(super) struct Made {
    pub(super) lease: Lease,
    /// With `--live`: the record by which `crabbox cleanup` finds it, and the lock that keeps it away.
    pub(super) claim: Option<(Claims, LeaseLock)>,
}

impl Made {
    /// It is gone.
    pub(super) fn forget(self) {
        if let Some((claims, lock)) = self.claim {
            let _ = claims.remove(&self.lease.id);
            lock.remove();
        }
    }

    /// That it may still be there, and how it can be released.
    pub(super) fn how(&self, check: &Check<'_>) -> String {
        let Lease { id, slug, .. } = &self.lease;
        let directory = check.path.parent().map(|path| path.display().to_string()).unwrap_or_default();
        match self.claim {
            Some(_) => format!(
                "lease {id} may still exist; `CRABBOX_PLUGIN_PATH={directory} crabbox stop {slug}` releases it"
            ),
            None => format!(
                "lease {id} may still exist; it was made with HOME={}",
                check.world.path("home").display()
            ),
        }
    }
}

/// Writes the record by which `crabbox cleanup` finds the lease if this process dies.
pub(super) async fn record(check: &Check<'_>, lease: &mut Lease) -> Result<(Claims, LeaseLock)> {
    let manifest = check.manifest.as_ref();
    let now = Timestamp::now();
    let lock = LeaseLock::exclusive(&check.host.paths, &lease.id, || ()).await?;
    let mut claim = Claim {
        version: 1,
        lease: lease.clone(),
        provider_labels: BTreeSet::new(),
        revision: String::new(),
        state: ClaimState::Acquiring,
        owner: Owner::Run,
        provider: check.name(),
        plugin: ClaimPlugin {
            version: manifest.map(|manifest| manifest.version.clone()).unwrap_or_default(),
            path: check.path.to_string_lossy().into_owned(),
            sha256: String::new(),
        },
        scope: check.configured.scope.clone(),
        credential: check.configured.credential.clone(),
        config: check.params.config.clone(),
        secrets: check.params.secrets.clone(),
        release: ReleaseAction::Delete,
        repo_root: None,
        target: manifest.and_then(|manifest| manifest.targets.first().cloned()),
        ssh: None,
        expose: Vec::new(),
        tailscale: None,
        endpoints: Vec::new(),
        created_at: now,
        last_used_at: now,
        idle_timeout_ms: Some(TTL_MS),
        ttl_ms: Some(TTL_MS),
        expires_at: None,
        create_settle_ms: manifest
            .and_then(|manifest| manifest.limits.create_settle_ms)
            .unwrap_or(Limits::CREATE_SETTLE_MS),
        cleanup_grace_ms: 0,
        missing_since: None,
        stopped_at: None,
        runs: Default::default(),
    };
    let claims = check.host.claims();
    let slug = lease.slug.clone();
    claims.create(&mut claim, Some(&slug))?;
    *lease = claim.lease;
    Ok((claims, lock))
}
