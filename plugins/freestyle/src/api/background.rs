//! Work that outlasts its request: the answer is where to ask for the answer.

use std::time::Duration;

use crabbox_provider_kit::http::{Answer, Bytes, Method, Refusal};
use crabbox_provider_kit::{Error, Result};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::client::Client;

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(250);

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long questions may fail in a row.
const FAILING: Duration = Duration::from_secs(300);

/// The header that says which work an answer is about.
const ID: &str = "x-freestyle-background-request-id";

/// The body of an answer that is none yet.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Pending {
    #[serde(alias = "request_id")]
    request_id: Option<String>,
    result_url: Option<String>,
}

/// Whether an answer only says where to ask.
pub(super) fn is_pending(answer: &Answer) -> bool {
    answer.status.as_u16() == 202
}

/// Waits for the answer.
pub(super) async fn result(
    client: &Client,
    answer: &Answer,
    patience: Duration,
) -> Result<Result<Answer, Refusal>> {
    let target = target(client.http.origin(), client.dialect.results, answer)?;
    let begun = Instant::now();
    let mut failing: Option<Instant> = None;
    while begun.elapsed() < patience {
        sleep(PAUSE).await;
        let asked = client.http.send(Method::GET, &target, client.headers()?, Bytes::new(), PATIENCE).await;
        match asked {
            Ok(Ok(answer)) if is_pending(&answer) => failing = None,
            // These come from what is on the way, and say nothing about the work.
            Ok(Err(refusal)) if is_of_the_way(&refusal) => {
                if failing.get_or_insert_with(Instant::now).elapsed() > FAILING {
                    return Ok(Err(refusal));
                }
            }
            Err(error) => {
                if failing.get_or_insert_with(Instant::now).elapsed() > FAILING {
                    return Err(error);
                }
            }
            Ok(answer) => return Ok(answer),
        }
    }
    Err(Error::deadline(format!("Freestyle was not done within {} s", patience.as_secs())).retryable(true))
}

/// Whether it is a gateway that refuses, and not the work: a result says whose it is.
fn is_of_the_way(refusal: &Refusal) -> bool {
    matches!(refusal.status.as_u16(), 408 | 429 | 502..=504) && refusal.header(ID).is_none()
}

/// Where to ask: on the same origin, and below `results`, for the key goes there.
fn target(origin: &str, results: &str, answer: &Answer) -> Result<String> {
    let pending: Pending = serde_json::from_slice(&answer.body).unwrap_or_default();
    let named = pending.result_url.map(|url| url.strip_prefix(origin).map(str::to_owned).unwrap_or(url));
    let id = answer.header(ID).map(str::to_owned).or(pending.request_id);
    let target = named.or_else(|| id.map(|id| format!("{results}{id}"))).unwrap_or_default();
    let is_id = |id: &str| {
        !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    match target.strip_prefix(results).is_some_and(is_id) {
        true => Ok(target),
        false => Err(Error::provider("Freestyle said to ask for the answer at a place that is not its own")
            .hint("the key was not sent there")),
    }
}

#[cfg(test)]
mod tests {
    use crabbox_provider_kit::http::{HeaderMap, StatusCode};

    use super::*;

    fn asks(header: Option<&'static str>, body: &'static str) -> Option<String> {
        let mut headers = HeaderMap::new();
        if let Some(id) = header {
            headers.insert(ID, id.parse().unwrap());
        }
        let answer =
            Answer { status: StatusCode::ACCEPTED, headers, body: Bytes::from_static(body.as_bytes()) };
        target("https://api.example:443", "/v5/background-requests/", &answer).ok()
    }

    #[test]
    fn the_key_goes_only_to_where_results_are() {
        let expected = Some("/v5/background-requests/a-B_9".to_owned());
        assert_eq!(asks(Some("a-B_9"), ""), expected);
        assert_eq!(asks(None, r#"{"requestId":"a-B_9"}"#), expected);
        assert_eq!(asks(Some("x"), r#"{"resultUrl":"/v5/background-requests/a-B_9"}"#), expected);
        assert_eq!(
            asks(None, r#"{"resultUrl":"https://api.example:443/v5/background-requests/a-B_9"}"#),
            expected
        );
        for url in [
            "https://evil.example/v5/background-requests/a",
            "//evil.example/v5/background-requests/a",
            "/v5/vms/x",
            "/auth/v1/background-requests/a",
            "/v5/background-requests/",
            "/v5/background-requests/a/../../vms",
            "/v5/background-requests/a?x=1",
        ] {
            let body: &'static str = Box::leak(format!(r#"{{"resultUrl":"{url}"}}"#).into_boxed_str());
            assert_eq!(asks(None, body), None, "{url}");
        }
        assert_eq!(asks(Some("a/b"), ""), None);
        assert_eq!(asks(None, ""), None);
    }
}
