//! Requests that go on in the background: a 202 with an id, and then polls for what the answer would have been.
//!
//! From `client.ts` of npm `freestyle@0.2.17`, and `index.mjs` of npm `freestyle-sandboxes@0.1.46` for v1.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;

use super::Cloud;
use super::answer::{Answer, Answered};
use super::state::hex;

/// The header with which a client says that the request may go on in the background, after so many seconds.
pub(super) const AFTER: &str = "x-freestyle-background-after-secs";

/// The header that every answer of such a request has.
const ID: &str = "x-freestyle-background-request-id";

/// Waits for a request's answer for as long as the client wants to; then the answer is that there will be one.
pub(super) async fn wait(
    cloud: &Arc<Cloud>,
    mut work: JoinHandle<Answered>,
    window: Option<Duration>,
    v1: bool,
) -> Answer {
    let Some(window) = window else { return answer(work.await) };
    let window = if cloud.faults().always_background { Duration::ZERO } else { window };
    if let Ok(done) = tokio::time::timeout(window, &mut work).await {
        return answer(done);
    }
    let id = hex(32);
    cloud.change(|state| state.background.insert(id.clone(), None));
    tokio::spawn({
        let (cloud, id) = (Arc::clone(cloud), id.clone());
        async move {
            let done = answer(work.await);
            let unstorable = cloud.faults().unstorable || done.body.len() > cloud.options.stored_result_limit;
            let stored = match unstorable {
                true => {
                    Answer::error(500, "BACKGROUND_RESULT_UNSTORABLE", "the result is too large to store")
                }
                false => done,
            };
            cloud.change(|state| state.background.insert(id, Some(stored)));
        }
    });
    let url = match v1 {
        true => format!("/auth/v1/background-requests/{id}"),
        false => format!("/v5/background-requests/{id}"),
    };
    let url = cloud.faults().result_url.clone().unwrap_or(url);
    Answer::json(202, &json!({"requestId": id, "resultUrl": url})).header(ID, id)
}

fn answer(done: Result<Answered, tokio::task::JoinError>) -> Answer {
    match done {
        Ok(Ok(answer) | Err(answer)) => answer,
        Err(panic) => Answer::error(500, "INTERNAL", format!("the emulator has failed: {panic}")),
    }
}

/// `GET /v5/background-requests/{id}`
pub(super) fn poll(cloud: &Cloud, id: &str) -> Answered {
    match cloud.read(|state| state.background.get(id).cloned()) {
        None => Err(Answer::not_found("background request")),
        Some(None) => Ok(Answer::json(202, &json!({"requestId": id, "status": "pending"})).header(ID, id)),
        Some(Some(stored)) => Ok(stored.header(ID, id)),
    }
}
