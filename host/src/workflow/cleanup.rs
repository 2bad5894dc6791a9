//! Finding what was left behind, and ending it.

use std::time::{Duration, Instant};

use crabbox_protocol::ReleaseReason;
use crabbox_protocol::records::{Claim, ClaimState, CleanupAction, CleanupReport, CleanupRow, Owner};
use jiff::Timestamp;

use super::held::{AFTER_DEATH, Held};
use super::release::Released;
use super::{after, shown};
use crate::error::Result;
use crate::host::Host;
use crate::lease::{LeaseLock, RunDir, abandoned_runs, remove_stale_locks};
use crate::output::say;
use crate::paths::sweep;
use crate::provider::Interrupts;
use crate::ssh::close_lost;
use crate::sync::{forget_lost_leases, forget_lost_repositories};

/// For how long the locks of a dead host's leases may be held: its guards give the plugins two seconds.
const OF_A_GUARD: Duration = Duration::from_secs(3);

/// How to clean up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cleanup {
    /// Only say what would be done.
    pub(crate) dry_run: bool,
    /// Wait for what is not over yet.
    pub(crate) wait: bool,
}

/// Looks at every claim and at what dead runs left.
pub(crate) async fn cleanup(host: &Host, how: Cleanup) -> Result<CleanupReport> {
    let mut report = look(host, how).await?;
    if !how.wait || how.dry_run {
        return Ok(report);
    }
    loop {
        let pending = report.rows.iter().filter(|row| row.action == CleanupAction::Pending);
        let Some(at) = pending.filter_map(|row| row.again_at).min() else { return Ok(report) };
        let wait = (at - Timestamp::now()).try_into().unwrap_or_default();
        say(format!("looking again in {}", shown(wait)));
        tokio::time::sleep(wait.max(Duration::from_millis(100))).await;
        let again = look(host, how).await?;
        report.rows.retain(|row| {
            row.action != CleanupAction::Pending && again.rows.iter().all(|new| new.id != row.id)
        });
        report.rows.extend(again.rows);
    }
}

async fn look(host: &Host, how: Cleanup) -> Result<CleanupReport> {
    let (claims, bad) = host.claims().list()?;
    let mut rows = Vec::new();
    let patience = Instant::now() + if how.wait { OF_A_GUARD } else { Duration::ZERO };
    for claim in &claims {
        rows.push(clean(host, claim, how, patience).await);
    }
    for bad in &bad {
        let id = bad.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let message = format!("the claim cannot be used: {}", bad.problem);
        rows.push(CleanupRow { id, provider: None, action: CleanupAction::Failed, message, again_at: None });
    }
    let (claims_left, _) = host.claims().list()?;
    for run in abandoned_runs(&host.paths) {
        // A run that a claim still names is ended with its lease.
        if claims_left.iter().any(|claim| claim.runs.contains_key(&run)) {
            continue;
        }
        let row = |action, message: &str| CleanupRow {
            id: run.to_string(),
            provider: None,
            action,
            message: message.to_owned(),
            again_at: None,
        };
        if how.dry_run {
            rows.push(row(CleanupAction::WouldRelease, "files of a run whose host died"));
        } else if RunDir::take_over(&host.paths, run.clone())?.is_some() {
            rows.push(row(CleanupAction::Forgotten, "removed the files of a run whose host died"));
        }
    }
    if !how.dry_run {
        host.claims().sweep()?;
        remove_stale_locks(&host.paths, &claims_left);
        forget_lost_leases(&host.paths, &claims_left);
        close_lost(host, &claims_left).await;
        forget_lost_repositories(&host.paths);
        sweep(&host.paths.cache);
    }
    Ok(CleanupReport { checked: claims.len() + bad.len(), rows })
}

/// Takes the lock of a lease, if it is free. For one that would be ended if it is, that may be once its guard has gone.
async fn lock(host: &Host, claim: &Claim, patience: Instant) -> Result<Option<LeaseLock>> {
    loop {
        let lock = LeaseLock::try_exclusive(&host.paths, &claim.lease.id)?;
        if lock.is_some() || over(claim).is_err() || Instant::now() >= patience {
            return Ok(lock);
        }
        tokio::time::sleep(AFTER_DEATH).await;
    }
}

/// What is to become of one claim.
async fn clean(host: &Host, claim: &Claim, how: Cleanup, patience: Instant) -> CleanupRow {
    let row = |action, message: String| CleanupRow {
        id: claim.lease.id.to_string(),
        provider: Some(claim.provider.clone()),
        action,
        message,
        again_at: None,
    };
    let lock = match lock(host, claim, patience).await {
        Ok(Some(lock)) => lock,
        Ok(None) => return row(CleanupAction::Kept, "it is in use".to_owned()),
        Err(error) => return row(CleanupAction::Failed, error.to_string()),
    };
    // Read again under the lock: whoever held it may have changed it.
    let claim = match host.claims().load(&claim.lease.id) {
        Ok(Some(claim)) => claim,
        Ok(None) => {
            lock.remove();
            return row(CleanupAction::Forgotten, "it was released meanwhile".to_owned());
        }
        Err(error) => return row(CleanupAction::Failed, error.to_string()),
    };
    let why = match over(&claim) {
        Ok(why) => why,
        Err(until) => return row(CleanupAction::Kept, until),
    };
    if how.dry_run {
        return row(CleanupAction::WouldRelease, why);
    }
    tokio::time::sleep(AFTER_DEATH).await;
    let state = claim.state;
    let released = async {
        let chosen = host.chosen_for(&claim).await?;
        let mut held = Held::new(host, chosen, lock, claim.clone());
        if state == ClaimState::Acquiring {
            return held.settle(ReleaseReason::Cleanup).await;
        }
        held.kill_before_release(&mut Interrupts::listen()?).await;
        held.release(claim.release, ReleaseReason::Cleanup).await
    };
    match released.await {
        Ok(Released::Gone) => row(CleanupAction::Released, why),
        Ok(Released::Stopped) => row(CleanupAction::Released, format!("{why}; it is stopped, not deleted")),
        Ok(Released::Later(at)) => CleanupRow {
            again_at: Some(at),
            ..row(CleanupAction::Pending, format!("{why}; it may still appear"))
        },
        Err(error) => row(CleanupAction::Failed, error.to_string()),
    }
}

/// Why a lease whose lock is free is to be ended, or why it is not.
fn over(claim: &Claim) -> Result<String, String> {
    match (claim.state, claim.owner) {
        (ClaimState::Acquiring, _) => return Ok("making it was never finished".to_owned()),
        (ClaimState::Releasing, _) => return Ok("releasing it was never finished".to_owned()),
        (ClaimState::Leased, Owner::Run) => return Ok("its run died".to_owned()),
        (ClaimState::Leased, Owner::User) if claim.stopped_at.is_some() => {
            return Err("yours, and stopped".to_owned());
        }
        (ClaimState::Leased, Owner::User) => {}
    }
    let now = Timestamp::now();
    let ends = [
        claim.ttl_ms.map(|ttl| (after(claim.created_at, ttl), "its time is over")),
        claim.idle_timeout_ms.map(|idle| (after(claim.last_used_at, idle), "it stood unused too long")),
    ];
    let first = ends.into_iter().flatten().min_by_key(|(at, _)| *at);
    match first {
        Some((at, why)) if after(at, claim.cleanup_grace_ms) <= now => Ok(why.to_owned()),
        Some((at, _)) => Err(format!("yours until {}", at.round(jiff::Unit::Second).unwrap_or(at))),
        None => Err("yours, without an end".to_owned()),
    }
}
