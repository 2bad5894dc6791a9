//! The life of a lease: made, found again, kept alive, released, and gone.

use std::time::Duration;

use crabbox_protocol::{
    AcquireParams, Intent, Lease, LeaseReport, LeaseState, ListParams, Method, ReleaseAction, ReleaseOutcome,
    ReleaseParams, ReleaseReason, ResolveParams, TouchParams,
};
use jiff::Timestamp;
use tokio::time::Instant;

use super::check::{Check, Place, read, value};
use super::ledger::{Finding, Verdict};
use super::made::{Made, record};
use super::running::{RUN, on, shell};
use super::talk::Talk;
use super::{put, rules};
use crate::lease::new_lease_id;

/// How long making a lease may take.
const ACQUIRE: Duration = Duration::from_secs(15 * 60);

/// How long ending one may take, however often it is asked for.
const RELEASE: Duration = Duration::from_secs(5 * 60);

/// How long looking for one may take.
pub(super) const LOOK: Duration = Duration::from_secs(60);

/// How long a lease of a check may live, should nobody release it.
pub(super) const TTL_MS: u64 = 60 * 60 * 1000;

/// The lease, without what the plugin gave back.
fn bare(lease: &Lease) -> Lease {
    Lease { r#ref: None, state: None, root: None, ..lease.clone() }
}

/// The lease of this check.
pub(super) fn lease_of(check: &Check<'_>) -> Result<Lease, Finding> {
    match &check.place {
        Ok(Place::Lease(lease)) => Ok((**lease).clone()),
        _ => Err(Finding::skipped("there is no lease")),
    }
}

/// Makes the lease. Without it nothing else about leases can be tried.
pub(super) async fn make(check: &mut Check<'_>) {
    check.rule(rules::ACQUIRED, acquired).await;
    if matches!(check.place, Ok(Place::Lease(_))) && !check.ledger.borrow().passed(rules::ACQUIRED) {
        check.place = Err("no lease was made: see `acquire-answers`".to_owned());
    }
}

/// Everything else that is tried on a lease before its end.
pub(super) async fn check(check: &mut Check<'_>) {
    check.rule(rules::ACQUIRED_TWICE, acquired_twice).await;
    check.rule(rules::WITHOUT_STATE, without_state).await;
    check.rule(rules::OBSERVE, observed).await;
    check.rule(rules::NEVER_MADE, never_made).await;
    check.rule(rules::LISTED, listed).await;
    check.rule(rules::TOUCHED, touched).await;
    check.rule(rules::PUT, put::places).await;
    check.rule(rules::PUT_VERIFIES, put::verifies).await;
}

/// The end of the lease, and what comes after.
pub(super) async fn release(check: &mut Check<'_>) {
    check.rule(rules::RELEASE_NOTHING, release_nothing).await;
    check.rule(rules::RELEASED, released).await;
    if matches!(check.place, Ok(Place::Lease(_))) && !check.ledger.borrow().passed(rules::RELEASED) {
        check.place = Err("the lease was not released: see `release-confirms`".to_owned());
    }
    check.rule(rules::RELEASED_TWICE, released_twice).await;
    check.rule(rules::MISSING, missing).await;
    check.rule(rules::UNLISTED, unlisted).await;
}

async fn acquire(check: &Check<'_>, talk: &mut Talk, lease: Lease) -> Result<LeaseReport, Finding> {
    let now = Timestamp::now();
    let params = AcquireParams {
        lease,
        target: check.manifest.as_ref().and_then(|manifest| manifest.targets.first().cloned()),
        keep: false,
        ttl_ms: Some(TTL_MS),
        idle_timeout_ms: Some(TTL_MS),
        expires_at: Some(now.saturating_add(Duration::from_millis(TTL_MS)).unwrap_or(now)),
        expose: Vec::new(),
        tailscale: None,
    };
    let result = talk.call(Method::Acquire, value(&params), ACQUIRE).await?;
    Ok(read::<AcquireParams>(result)?.lease)
}

async fn acquired(check: &mut Check<'_>) -> Verdict {
    let mut lease = lease_of(check)?;
    let mut talk = check.ready().await?;
    // From here on it may exist, whatever is answered.
    let claim = match check.live {
        true => Some(record(check, &mut lease).await.map_err(|error| Finding::skipped(error.to_string()))?),
        false => None,
    };
    check.made.push(Made { lease: lease.clone(), claim });
    let answer = acquire(check, &mut talk, lease.clone()).await;
    let early = std::mem::take(&mut talk.early).into_values();
    for report in early.chain(answer.clone().ok()) {
        merge(&mut lease, report);
    }
    if let Some(made) = check.made.last_mut() {
        made.lease = lease.clone();
    }
    let report = answer?;
    if report.id.as_deref().is_some_and(|id| id != lease.id.as_str()) {
        return Err(talk.finding(format!("the lease is {}, and it answers about another", lease.id)));
    }
    if report.root.as_deref().is_some_and(|root| !root.starts_with('/')) {
        return Err(talk.finding("`root` is not absolute"));
    }
    if !check.has(Method::Run) && report.ssh.is_none() {
        return Err(talk.finding("it has no `run`, and the lease no `ssh`"));
    }
    check.ssh = report.ssh;
    check.place = Ok(Place::Lease(Box::new(lease)));
    talk.close().await;
    Ok(())
}

/// What a plugin says about a lease is in the requests that follow.
fn merge(lease: &mut Lease, report: LeaseReport) {
    lease.r#ref = report.r#ref.or(lease.r#ref.take());
    lease.state = report.state.or(lease.state.take());
    lease.root = report.root.or(lease.root.take());
}

async fn acquired_twice(check: &mut Check<'_>) -> Verdict {
    let lease = lease_of(check)?;
    let mut talk = check.ready().await?;
    let report = acquire(check, &mut talk, bare(&lease)).await?;
    if report.r#ref.is_some() && report.r#ref != lease.r#ref {
        return Err(talk.finding("its `ref` is another"));
    }
    if report.root.is_some() && report.root != lease.root {
        return Err(talk.finding("its `root` is another"));
    }
    talk.close().await;
    Ok(())
}

async fn resolve(talk: &mut Talk, lease: Lease, intent: Intent) -> Result<LeaseState, Finding> {
    let result = talk.call(Method::Resolve, value(&ResolveParams { lease, intent }), LOOK).await?;
    Ok(read::<ResolveParams>(result)?.state)
}

async fn without_state(check: &mut Check<'_>) -> Verdict {
    let lease = bare(&lease_of(check)?);
    let mut talk = check.ready().await?;
    if check.has(Method::Resolve) {
        let state = resolve(&mut talk, lease, Intent::Use).await?;
        if state != LeaseState::Ready && state != LeaseState::Starting {
            return Err(talk.finding(format!("it is `{}`", state.name())));
        }
    } else if check.has(Method::Run) {
        let words = shell("exit 0", &[]);
        let ended = on(check, &mut talk, Place::Lease(Box::new(lease)), words, None, RUN).await?;
        ended.expect_code(&talk, 0)?;
    } else {
        return Err(Finding::skipped("it has neither `resolve` nor `run`"));
    }
    talk.close().await;
    Ok(())
}

async fn observed(check: &mut Check<'_>) -> Verdict {
    let lease = lease_of(check)?;
    let mut talk = check.ready().await?;
    let first = resolve(&mut talk, lease.clone(), Intent::Observe).await?;
    let second = resolve(&mut talk, lease, Intent::Observe).await?;
    if first != LeaseState::Ready || second != first {
        return Err(talk.finding(format!("it is `{}`, and then `{}`", first.name(), second.name())));
    }
    talk.close().await;
    Ok(())
}

async fn never_made(check: &mut Check<'_>) -> Verdict {
    let params = ResolveParams { lease: nobody(check)?, intent: Intent::Observe };
    let mut talk = check.ready().await?;
    if let Ok(result) = talk.ask(Method::Resolve.name(), value(&params), LOOK).await? {
        let state = read::<ResolveParams>(result)?.state;
        if !matches!(state, LeaseState::Missing | LeaseState::Unknown) {
            return Err(talk.finding(format!("it is `{}`", state.name())));
        }
    }
    talk.close().await;
    Ok(())
}

/// A lease that nobody has made.
fn nobody(check: &Check<'_>) -> Result<Lease, Finding> {
    let id = new_lease_id().map_err(|error| Finding::skipped(error.to_string()))?;
    let name = crate::lease::remote_name(&id, "nobody");
    Ok(Lease { id, slug: "nobody".to_owned(), name, ..bare(&lease_of(check)?) })
}

/// Whether a list has the lease; `None` where it is not complete.
async fn is_listed(check: &Check<'_>, talk: &mut Talk) -> Result<Option<bool>, Finding> {
    let lease = lease_of(check)?;
    let result = talk.call(Method::List, value(&ListParams {}), LOOK).await?;
    let list = read::<ListParams>(result)?;
    let ours = list.leases.iter().any(|listed| {
        listed.id.as_deref() == Some(lease.id.as_str()) || lease.r#ref.as_ref() == Some(&listed.r#ref)
    });
    Ok((list.complete || ours).then_some(ours))
}

async fn listed(check: &mut Check<'_>) -> Verdict {
    let mut talk = check.ready().await?;
    match is_listed(check, &mut talk).await? {
        Some(true) => {}
        Some(false) => return Err(talk.finding(format!("the lease {} is not in it", lease_of(check)?.id))),
        None => return Err(Finding::skipped("its list is not complete")),
    }
    talk.close().await;
    Ok(())
}

async fn touched(check: &mut Check<'_>) -> Verdict {
    let lease = lease_of(check)?;
    let params = TouchParams { lease: lease.clone(), idle_timeout_ms: Some(TTL_MS), expires_at: None };
    let mut talk = check.ready().await?;
    talk.call(Method::Touch, value(&params), LOOK).await?;
    if check.has(Method::Resolve) {
        let state = resolve(&mut talk, lease, Intent::Observe).await?;
        if state != LeaseState::Ready {
            return Err(talk.finding(format!("it is `{}`", state.name())));
        }
    }
    talk.close().await;
    Ok(())
}

async fn release_once(talk: &mut Talk, lease: Lease) -> Result<crabbox_protocol::ReleaseResult, Finding> {
    let params = ReleaseParams { lease, action: ReleaseAction::Delete, reason: ReleaseReason::End };
    let result = talk.call(Method::Release, value(&params), RELEASE).await?;
    read::<ReleaseParams>(result)
}

/// Asks until it is gone.
async fn release_fully(talk: &mut Talk, lease: Lease) -> Result<ReleaseOutcome, Finding> {
    let due = Instant::now() + RELEASE;
    let mut asked = 0;
    loop {
        let result = release_once(talk, lease.clone()).await?;
        asked += 1;
        match result.outcome {
            ReleaseOutcome::Pending if Instant::now() < due => {
                let pause = Duration::from_millis(result.retry_after_ms.unwrap_or(1000).clamp(100, 15_000));
                tokio::time::sleep(pause).await;
            }
            ReleaseOutcome::Pending => return Err(talk.finding("it is still pending after 5 min")),
            // It was under way.
            ReleaseOutcome::Absent if asked > 1 => return Ok(ReleaseOutcome::Released),
            outcome => return Ok(outcome),
        }
    }
}

async fn release_nothing(check: &mut Check<'_>) -> Verdict {
    let lease = nobody(check)?;
    let mut talk = check.ready().await?;
    if release_once(&mut talk, lease).await?.outcome != ReleaseOutcome::Absent {
        return Err(talk.finding("it does not say `absent`"));
    }
    talk.close().await;
    Ok(())
}

async fn released(check: &mut Check<'_>) -> Verdict {
    let lease = lease_of(check)?;
    let mut talk = check.ready().await?;
    if release_fully(&mut talk, lease).await? != ReleaseOutcome::Released {
        return Err(talk.finding("it says `absent` of a lease that was there"));
    }
    talk.close().await;
    check.made.drain(..).for_each(Made::forget);
    Ok(())
}

async fn released_twice(check: &mut Check<'_>) -> Verdict {
    let lease = lease_of(check)?;
    let mut talk = check.ready().await?;
    let outcome = release_once(&mut talk, lease).await?.outcome;
    if outcome == ReleaseOutcome::Pending {
        return Err(talk.finding("it says `pending` of a lease that it said was released"));
    }
    talk.close().await;
    Ok(())
}

async fn missing(check: &mut Check<'_>) -> Verdict {
    let lease = lease_of(check)?;
    let mut talk = check.ready().await?;
    let state = resolve(&mut talk, lease, Intent::Observe).await?;
    if state != LeaseState::Missing {
        return Err(talk.finding(format!("it is `{}`", state.name())));
    }
    talk.close().await;
    Ok(())
}

async fn unlisted(check: &mut Check<'_>) -> Verdict {
    let mut talk = check.ready().await?;
    match is_listed(check, &mut talk).await? {
        Some(false) => {}
        Some(true) => return Err(talk.finding(format!("the lease {} is in it", lease_of(check)?.id))),
        None => return Err(Finding::skipped("its list is not complete")),
    }
    talk.close().await;
    Ok(())
}

/// Releases what is still there, whatever happened. Says what could not be released, and how it can be.
pub(super) async fn clean_up(check: &mut Check<'_>) -> Vec<String> {
    let mut left = Vec::new();
    while let Some(lease) = check.made.last().map(|made| made.lease.clone()) {
        let gone = async {
            let mut talk = check.ready().await?;
            release_fully(&mut talk, lease).await?;
            talk.close().await;
            Ok::<_, Finding>(())
        };
        let gone = gone.await;
        let Some(made) = check.made.pop() else { break };
        match gone {
            Ok(()) => made.forget(),
            // Its record stays for `crabbox cleanup`, and its lock goes.
            Err(finding) => left.push(format!("{}: {}", made.how(check), finding.why)),
        }
    }
    left
}
