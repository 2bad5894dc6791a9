//! Requests that no plugin expects, and long ones.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crabbox_protocol::{ErrorObject, MAX_LINE, VERSIONS};
use serde_json::{Value, json};

use super::check::{Check, hello};
use super::ledger::{Ledger, Verdict};
use super::rules;
use super::talk::SOON;

/// A method that nobody has.
pub(super) const NO_METHOD: &str = "crabbox/nothing";

/// The largest id.
const LARGEST: u64 = (1 << 53) - 1;

/// How long a long line may take: there are shells that read it byte by byte.
const LONG: Duration = Duration::from_secs(60);

/// Tries all of them.
pub(super) async fn check(check: &mut Check<'_>) {
    check.rule(rules::UNKNOWN_METHOD, unknown_method).await;
    check.rule(rules::UNKNOWN_NOTE, unknown_notification).await;
    check.rule(rules::IDS, ids).await;
    check.rule(rules::LONG_60K, async |check| long(check, 60 * 1024).await).await;
    check.rule(rules::LONG_1M, async |check| long(check, MAX_LINE).await).await;
}

async fn unknown_method(check: &mut Check<'_>) -> Verdict {
    let mut talk = check.ready().await?;
    match talk.ask(NO_METHOD, json!({}), SOON).await? {
        Err(error) if error.get("code").and_then(Value::as_i64) == Some(ErrorObject::METHOD_NOT_FOUND) => {}
        Err(_) => return Err(talk.finding("it refused with another code than -32601")),
        Ok(_) => return Err(talk.finding("it answered with a result")),
    }
    talk.close().await;
    Ok(())
}

/// An answer to a notification has no request. It is blamed here, where it is known what it answers.
async fn unknown_notification(check: &mut Check<'_>) -> Verdict {
    let mut talk = check.ready().await?;
    let all = std::mem::replace(&mut talk.ledger, Rc::new(RefCell::new(Ledger::default())));
    talk.note("$/nothing", json!({"request": 1, "nothing": [1, 2]}));
    let id = talk.request(NO_METHOD, json!({}));
    let answer = talk.answer(id, SOON).await;
    if talk.ledger.borrow().broken(rules::BROKEN) {
        return Err(talk.finding("it answered the notification"));
    }
    answer?.err();
    talk.ledger = all;
    talk.close().await;
    Ok(())
}

async fn ids(check: &mut Check<'_>) -> Verdict {
    let mut talk = check.talk()?;
    for (id, method, params) in [(0, "initialize", hello(VERSIONS)), (LARGEST, NO_METHOD, json!({}))] {
        let all = std::mem::replace(&mut talk.ledger, Rc::new(RefCell::new(Ledger::default())));
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        talk.request_as(id, method, message);
        let answer = talk.answer(id, SOON).await;
        if talk.ledger.borrow().broken(rules::BROKEN) {
            return Err(talk.finding(format!("the id {id} did not come back")));
        }
        answer?.err();
        talk.ledger = all;
    }
    talk.close().await;
    Ok(())
}

/// The first request, as long as that.
async fn long(check: &mut Check<'_>, bytes: usize) -> Verdict {
    let mut params = hello(VERSIONS);
    params["padding"] = "".into();
    let line = |params: &Value| json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
    let padding = bytes - line(&params).to_string().len();
    params["padding"] = "x".repeat(padding).into();
    let mut talk = check.talk()?;
    talk.request_as(1, "initialize", line(&params));
    let answer = talk.answer(1, LONG).await?;
    answer.map_err(|error| talk.refused("it", &error))?;
    talk.close().await;
    Ok(())
}
