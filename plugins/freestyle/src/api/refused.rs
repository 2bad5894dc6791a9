//! What a refusal of Freestyle's means to the host.

use crabbox_provider_kit::Error;
use crabbox_provider_kit::http::{Refusal, one_line};
use serde::Deserialize;

/// The body of a refusal. `code` decides, which version 1 also calls `error`; `message` is for people.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    code: Option<String>,
    error: Option<String>,
    message: Option<String>,
}

/// Whether it says that something does not exist, or does no more.
pub(super) fn is_absent(refusal: &Refusal) -> bool {
    matches!(refusal.status.as_u16(), 404 | 410)
}

/// The code of a refusal, or nothing.
pub(super) fn code(refusal: &Refusal) -> String {
    let body: Body = serde_json::from_str(&refusal.body).unwrap_or_default();
    body.code.or(body.error).unwrap_or_default()
}

/// What a refusal means to the host: by status and code.
pub(super) fn error(refusal: &Refusal) -> Error {
    let status = refusal.status.as_u16();
    let body: Body = serde_json::from_str(&refusal.body).unwrap_or_default();
    let (code, message) = (code(refusal), body.message.unwrap_or_default());
    let what = match (code.as_str(), message.as_str()) {
        ("", "") => refusal.text.clone(),
        (code, message) => one_line(&format!("{code} {message}")),
    };
    let said = format!("Freestyle answered {status}: {what}");
    match (status, code.as_str()) {
        (_, "CUSTOM_SIZING_NOT_ALLOWED") => {
            Error::quota(said).hint("leave out `vcpus` and `memoryGb`, or take a plan that allows sizes")
        }
        (403 | 429, "LIMIT_EXCEEDED" | "VM_LIMIT_EXCEEDED" | "TOTAL_VM_LIMIT_EXCEEDED") => {
            Error::quota(said).hint("the account's allowance is used up; delete machines or wait")
        }
        (401, _) => Error::auth(said).hint("is the key in FREESTYLE_API_KEY right, and of this account?"),
        (403, _) => Error::auth(said).hint("the key or the account may not do this"),
        (404 | 410, _) => Error::not_found(said),
        (408, _) => Error::deadline(said),
        (409, _) => Error::conflict(said),
        (429, _) => Error::rate_limited(said).retryable(true),
        (502..=504, _) => Error::unavailable(said).retryable(true),
        (300..=399, _) => {
            Error::provider(format!("Freestyle answered {status}, a redirect, which is never followed"))
                .hint("check `apiUrl` in the block `freestyle`")
        }
        _ => Error::provider(said),
    }
}

#[cfg(test)]
mod tests {
    use crabbox_provider_kit::http::{HeaderMap, StatusCode};
    use crabbox_provider_kit::protocol::ErrorKind;

    use super::*;

    #[test]
    fn status_and_code_decide() {
        for (status, body, kind) in [
            (401, r#"{"code":"INVALID_API_KEY","message":"no"}"#, ErrorKind::Auth),
            (403, "", ErrorKind::Auth),
            (403, r#"{"error":"VM_LIMIT_EXCEEDED","message":"no more"}"#, ErrorKind::Quota),
            (400, r#"{"code":"CUSTOM_SIZING_NOT_ALLOWED"}"#, ErrorKind::Quota),
            (404, r#"{"code":"NOT_FOUND","message":"x"}"#, ErrorKind::NotFound),
            (410, r#"{"error":"VM_DELETED","code":null,"message":"x"}"#, ErrorKind::NotFound),
            (408, "{}", ErrorKind::Deadline),
            (409, "{}", ErrorKind::Conflict),
            (429, r#"{"code":"LIMIT_EXCEEDED"}"#, ErrorKind::Quota),
            (429, "slow down", ErrorKind::RateLimited),
            (503, "<html>404</html>", ErrorKind::Unavailable),
            (500, "404", ErrorKind::Provider),
            (302, "https://evil/", ErrorKind::Provider),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let refusal = Refusal::new(status, HeaderMap::new(), body);
            let error = error(&refusal);
            assert_eq!(error.kind(), kind, "{status} {body}");
            assert!(!error.to_string().contains("evil"));
        }
    }

    #[test]
    fn both_forms_of_a_refusal_are_read() {
        for body in
            [r#"{"error":"VM_DELETED","message":"it was"}"#, r#"{"code":"VM_DELETED","message":"it was"}"#]
        {
            let refusal = Refusal::new(StatusCode::GONE, HeaderMap::new(), body);
            assert_eq!(error(&refusal).to_string(), "Freestyle answered 410: VM_DELETED it was");
        }
    }
}
