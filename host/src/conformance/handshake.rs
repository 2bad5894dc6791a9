//! The first words, the choice of a version, and the end.

use std::cell::RefCell;
use std::rc::Rc;

use crabbox_protocol::{InitializeParams, Method, VERSIONS};
use serde_json::{Value, json};

use super::check::{Check, hello, read};
use super::ledger::{Finding, Ledger, Verdict};
use super::rules;
use super::talk::{SOON, Talk};

/// Versions that there are not.
const FUTURE: [u32; 2] = [1_000_001, 1_000_000];

/// Asks the plugin who it is. Without an answer nothing else can be tried.
pub(super) async fn first(check: &mut Check<'_>) {
    check.rule(rules::ANSWERS, introduce).await;
}

async fn introduce(check: &mut Check<'_>) -> Verdict {
    let mut talk = check.talk()?;
    let result = talk.call(Method::Initialize, hello(VERSIONS), SOON).await?;
    let manifest = read::<InitializeParams>(result.clone())?;
    if !VERSIONS.contains(&manifest.protocol) {
        let (theirs, ours) = (manifest.protocol, VERSIONS[0]);
        return Err(talk.finding(format!("it speaks protocol {theirs}, and this crabbox speaks {ours}")));
    }
    (check.raw, check.manifest) = (result, Some(manifest));
    talk.close().await;
    Ok(())
}

/// Everything else about the first words and the last.
pub(super) async fn check(check: &mut Check<'_>) {
    check.rule(rules::VERSION_UNKNOWN, only_the_future).await;
    check.rule(rules::VERSION_PICKED, several_versions).await;
    check.rule(rules::FIELDS_IGNORED, unknown_fields).await;
    check.rule(rules::NO_LAST_LF, last_line_without_lf).await;
    check.rule(rules::HELP, help).await;
}

/// Asks with these params, and returns the answer.
async fn asked(check: &Check<'_>, params: Value) -> Result<(Talk, Value), Finding> {
    let mut talk = check.talk()?;
    let result = talk.call(Method::Initialize, params, SOON).await?;
    Ok((talk, result))
}

async fn only_the_future(check: &mut Check<'_>) -> Verdict {
    let (talk, result) = asked(check, hello(&FUTURE)).await?;
    let protocol = result.get("protocol").and_then(Value::as_u64);
    if protocol.is_none_or(|protocol| FUTURE.iter().any(|version| u64::from(*version) == protocol)) {
        return Err(talk.finding("it does not say which version it speaks"));
    }
    talk.close().await;
    Ok(())
}

async fn several_versions(check: &mut Check<'_>) -> Verdict {
    let (talk, result) = asked(check, hello(&[FUTURE[0], VERSIONS[0]])).await?;
    if result.get("protocol").and_then(Value::as_f64) != Some(f64::from(VERSIONS[0])) {
        return Err(talk.finding(format!("it did not pick version {}", VERSIONS[0])));
    }
    talk.close().await;
    Ok(())
}

async fn unknown_fields(check: &mut Check<'_>) -> Verdict {
    let mut params = hello(VERSIONS);
    params["host"]["colour"] = json!({"of": ["the", "hull"]});
    params["features"] = json!(["timeTravel"]);
    let mut talk = check.talk()?;
    let message = json!({
        "trace": {"parent": null}, "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params,
    });
    talk.request_as(1, "initialize", message);
    let answer = talk.answer(1, SOON).await?;
    let result = answer.map_err(|error| talk.refused("`initialize`", &error))?;
    if result != check.raw {
        return Err(talk.finding("the manifest is another"));
    }
    talk.close().await;
    Ok(())
}

async fn last_line_without_lf(check: &mut Check<'_>) -> Verdict {
    let mut talk = check.talk()?;
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello(VERSIONS)});
    talk.request_as(1, "initialize", message);
    talk.without_lf();
    talk.close_input().await;
    let answer = talk.answer(1, SOON).await?;
    talk.close().await;
    answer.map(drop).map_err(|error| Finding::broken(format!("it refused: {error}")))
}

/// What is printed then is no protocol: it is judged by nobody.
async fn help(check: &mut Check<'_>) -> Verdict {
    let mut launch = check.launch(&check.env);
    launch.after.clear();
    let mut talk = Talk::start(&launch, &Rc::new(RefCell::new(Ledger::default())))?;
    talk.close_input().await;
    let ended = talk.ended(SOON).await;
    let verdict = match (ended, talk.said_something()) {
        (true, true) => Ok(()),
        (true, false) => Err(talk.finding("it printed nothing")),
        (false, _) => Err(talk.finding("it does not end")),
    };
    talk.kill().await;
    verdict
}
