//! How others reach a lease: what is said of it, what is opened on request, and what is closed again.

use std::time::Duration;

use crabbox_protocol::{
    BridgeParams, BridgeResult, BridgeState, Method, Transport, UnbridgeOutcome, UnbridgeParams,
    UnbridgeResult,
};

use super::check::{Check, read, value};
use super::lease::lease_of;
use super::ledger::{Finding, Verdict};
use super::rules;
use super::talk::Talk;
use crate::output::foreign;

/// How long an answer may take.
const BRIDGE: Duration = Duration::from_secs(30);

/// The port that is asked about. Nothing listens there.
const PORT: u16 = 48_017;

/// How long it stays open, should nobody close it: 10 minutes, in milliseconds.
const TTL_MS: u64 = 10 * 60 * 1000;

/// Tries them all.
pub(super) async fn check(check: &mut Check<'_>) {
    check.rule(rules::BRIDGE, answers).await;
    check.rule(rules::BRIDGE_LOOKS, looks).await;
    check.rule(rules::UNBRIDGE_NOTHING, nothing_to_close).await;
    check.rule(rules::PUBLISHED, published).await;
}

async fn bridge(
    check: &Check<'_>,
    talk: &mut Talk,
    port: Option<u16>,
    publish: bool,
) -> Result<BridgeResult, Finding> {
    let ttl_ms = publish.then_some(TTL_MS);
    let params = BridgeParams { lease: lease_of(check)?, port, publish, ttl_ms };
    let result = read::<BridgeParams>(talk.call(Method::Bridge, value(&params), BRIDGE).await?)?;
    sound(talk, &result, port)?;
    Ok(result)
}

/// A way that is ready is one, and leads somewhere: to the port that was asked about.
fn sound(talk: &Talk, result: &BridgeResult, port: Option<u16>) -> Verdict {
    if result.state != BridgeState::Ready {
        return Ok(());
    }
    if matches!(result.transport, Transport::None | Transport::Unknown) {
        return Err(talk.finding("it is `ready`, and by no transport"));
    }
    if result.endpoint.is_none() && result.targets.is_empty() {
        return Err(talk.finding("it is `ready`, and leads nowhere: neither `endpoint` nor `targets`"));
    }
    let strange = result.targets.iter().find(|target| port.is_some_and(|port| target.port != port));
    match strange {
        Some(target) => Err(talk.finding(format!("asked about port {PORT}, it names port {}", target.port))),
        None => Ok(()),
    }
}

async fn answers(check: &mut Check<'_>) -> Verdict {
    let mut talk = check.ready().await?;
    for port in [None, Some(PORT)] {
        bridge(check, &mut talk, port, false).await?;
    }
    talk.close().await;
    Ok(())
}

async fn looks(check: &mut Check<'_>) -> Verdict {
    let mut talk = check.ready().await?;
    let first = bridge(check, &mut talk, Some(PORT), false).await?;
    talk.close().await;
    if first.state == BridgeState::Pending {
        return Err(Finding::skipped("it is `pending`"));
    }
    let mut talk = check.ready().await?;
    let second = bridge(check, &mut talk, Some(PORT), false).await?;
    let said = |result: &BridgeResult| (result.state, result.transport, result.endpoint.clone());
    if said(&first) != said(&second) || first.targets != second.targets {
        return Err(talk.finding("asked twice, it does not say the same"));
    }
    talk.close().await;
    Ok(())
}

async fn unbridge(check: &Check<'_>, talk: &mut Talk) -> Result<UnbridgeOutcome, Finding> {
    let params = UnbridgeParams { lease: lease_of(check)?, port: Some(PORT), id: None };
    let result: UnbridgeResult =
        read::<UnbridgeParams>(talk.call(Method::Unbridge, value(&params), BRIDGE).await?)?;
    Ok(result.outcome)
}

async fn nothing_to_close(check: &mut Check<'_>) -> Verdict {
    let mut talk = check.ready().await?;
    if unbridge(check, &mut talk).await? != UnbridgeOutcome::Absent {
        return Err(talk.finding("nothing was published, and it is not `absent`"));
    }
    talk.close().await;
    Ok(())
}

async fn published(check: &mut Check<'_>) -> Verdict {
    let mut talk = check.ready().await?;
    let first = bridge(check, &mut talk, Some(PORT), true).await?;
    if first.state != BridgeState::Ready || first.targets.is_empty() {
        let why = first.message.as_deref().unwrap_or("it publishes nothing");
        return Err(Finding::skipped(foreign(why)));
    }
    let again = bridge(check, &mut talk, Some(PORT), true).await?;
    if first.targets != again.targets {
        return Err(talk.finding("published twice, the port is not in the same place"));
    }
    if unbridge(check, &mut talk).await? != UnbridgeOutcome::Released {
        return Err(talk.finding("the port is published, and it is not `released`"));
    }
    if unbridge(check, &mut talk).await? != UnbridgeOutcome::Absent {
        return Err(talk.finding("the port was taken back, and it is not `absent`"));
    }
    talk.close().await;
    Ok(())
}
