//! Ending a run that does not want to end: `cancel` and `kill`.

use std::time::Duration;

use crabbox_protocol::{Cancel, CancelReason, ErrorKind, KillParams, Method, Remote, note};
use serde_json::{Value, json};

use super::check::{Check, read, value};
use super::lease::lease_of;
use super::ledger::{Finding, Verdict};
use super::lifeline;
use super::requests::NO_METHOD;
use super::rules;
use super::running::{self, RUN, shell};
use super::talk::{Answer, SOON, Talk};

/// How long a cancelled run may take to be answered.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// How long a killed run has between SIGTERM and SIGKILL.
const KILL_GRACE_MS: u64 = 300;

/// Tries all of them.
pub(super) async fn check(check: &mut Check<'_>) {
    check.rule(rules::CANCEL_DURING, during).await;
    check.rule(rules::CANCEL_BEFORE, before).await;
    check.rule(rules::CANCEL_AFTER, after).await;
    lifeline::check(check).await;
    check.rule(rules::KILLED, killed).await;
    check.rule(rules::KILLED_TWICE, killed_twice).await;
}

pub(super) fn cancel(talk: &mut Talk, request: u64) {
    talk.note(note::CANCEL, value(&Cancel { request, reason: CancelReason::User }));
}

/// Whether the answer to a cancelled run says that the command is dead.
fn claims_death(talk: &Talk, answer: &Answer) -> Result<bool, Finding> {
    let error = match answer {
        Ok(_) => return Ok(true),
        Err(error) => error,
    };
    let kind = error.pointer("/data/kind").and_then(Value::as_str).unwrap_or_default();
    if kind != ErrorKind::Cancelled.name() {
        return Err(talk.refused("a run that was cancelled, with another kind than `cancelled`", error));
    }
    let remote = error.pointer("/data/remote").and_then(Value::as_str);
    Ok(matches!(remote, Some("dead" | "absent")))
}

/// The session goes on after a cancel. A second answer to what was cancelled would be blamed there.
async fn goes_on(talk: &mut Talk) -> Verdict {
    talk.ask(NO_METHOD, json!({}), SOON).await.map(drop)
}

async fn during(check: &mut Check<'_>) -> Verdict {
    let mut talk = check.ready().await?;
    let stubborn = running::stubborn(check, &mut talk).await?;
    cancel(&mut talk, stubborn.id);
    let answer = talk.answer(stubborn.id, GRACE).await?;
    talk.pipes = None;
    let dead = claims_death(&talk, &answer)?;
    let mut beside = check.ready().await?;
    if dead {
        stubborn.is_dead(check, &mut beside).await?;
    }
    beside.close().await;
    goes_on(&mut talk).await?;
    talk.close().await;
    Ok(())
}

/// The request and its cancel arrive together.
async fn before(check: &mut Check<'_>) -> Verdict {
    if check.ledger.borrow().broken(rules::CANCEL_DURING) {
        return Err(Finding::skipped("a cancel is not obeyed: see `cancel-in-mid-run`"));
    }
    let mut talk = check.ready().await?;
    let place = check.place.clone().map_err(Finding::skipped)?;
    let (id, _) = running::begin(check, &mut talk, place, shell("exec sleep 600", &[]), None)?;
    cancel(&mut talk, id);
    let answer = talk.answer(id, GRACE).await?;
    talk.pipes = None;
    claims_death(&talk, &answer)?;
    goes_on(&mut talk).await?;
    talk.close().await;
    Ok(())
}

async fn after(check: &mut Check<'_>) -> Verdict {
    let mut talk = check.ready().await?;
    let place = check.place.clone().map_err(Finding::skipped)?;
    let (id, _) = running::begin(check, &mut talk, place, shell("exit 0", &[]), None)?;
    running::end(&mut talk, id, RUN).await?.expect_code(&talk, 0)?;
    cancel(&mut talk, id);
    goes_on(&mut talk).await?;
    talk.close().await;
    Ok(())
}

async fn kill(check: &Check<'_>, talk: &mut Talk, run: &crabbox_protocol::RunId) -> Result<Remote, Finding> {
    let params = KillParams { lease: lease_of(check)?, run_id: run.clone(), grace_ms: KILL_GRACE_MS };
    let result = talk.call(Method::Kill, value(&params), RUN).await?;
    Ok(read::<KillParams>(result)?.remote)
}

async fn killed(check: &mut Check<'_>) -> Verdict {
    let mut talk = check.ready().await?;
    let stubborn = running::stubborn(check, &mut talk).await?;
    let mut beside = check.ready().await?;
    let remote = kill(check, &mut beside, &stubborn.run).await?;
    if remote != Remote::Dead {
        return Err(beside.finding("it does not say `dead` of a run that was there"));
    }
    stubborn.is_dead(check, &mut beside).await?;
    beside.close().await;
    talk.answer(stubborn.id, RUN).await?.err();
    talk.close().await;
    Ok(())
}

async fn killed_twice(check: &mut Check<'_>) -> Verdict {
    let mut talk = check.ready().await?;
    let place = check.place.clone().map_err(Finding::skipped)?;
    let (id, run) = running::begin(check, &mut talk, place, shell("exit 0", &[]), None)?;
    running::end(&mut talk, id, RUN).await?.expect_code(&talk, 0)?;
    for _ in 0..2 {
        if kill(check, &mut talk, &run).await? == Remote::Unknown {
            return Err(talk.finding("it says `unknown` of a run that has ended"));
        }
    }
    talk.close().await;
    Ok(())
}
