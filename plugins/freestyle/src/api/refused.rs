//! What a refusal of Freestyle's means to the host.

use crabbox_provider_kit::Error;
use crabbox_provider_kit::http::{Refusal, one_line};
use serde::Deserialize;

/// The body of a refusal. `code` decides, and `message` is for people.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    code: String,
    message: String,
}

/// What a refusal means to the host: by status and code.
pub(super) fn error(refusal: &Refusal) -> Error {
    let status = refusal.status.as_u16();
    let body: Body = serde_json::from_str(&refusal.body).unwrap_or_default();
    let what = match (body.code.as_str(), body.message.as_str()) {
        ("", "") => refusal.text.clone(),
        (code, message) => one_line(&format!("{code} {message}")),
    };
    let said = format!("Freestyle answered {status}: {what}");
    match status {
        401 => Error::auth(said).hint("is the key in FREESTYLE_API_KEY right, and of this account?"),
        403 => Error::auth(said).hint("the key or the account may not do this"),
        404 => Error::not_found(said),
        409 => Error::conflict(said),
        429 if body.code == "LIMIT_EXCEEDED" => {
            Error::quota(said).hint("the account's allowance is used up; delete machines or wait")
        }
        429 => Error::rate_limited(said).retryable(true),
        502..=504 => Error::unavailable(said).retryable(true),
        300..=399 => {
            Error::provider(format!("Freestyle answered {status}, a redirect, which is never followed"))
                .hint("check `apiUrl` in the block `freestyle`")
        }
        _ => Error::provider(said),
    }
}

#[cfg(test)]
mod tests {
    use crabbox_provider_kit::http::StatusCode;
    use crabbox_provider_kit::protocol::ErrorKind;

    use super::*;

    #[test]
    fn status_and_code_decide() {
        for (status, body, kind) in [
            (401, r#"{"code":"INVALID_API_KEY","message":"no"}"#, ErrorKind::Auth),
            (403, "", ErrorKind::Auth),
            (404, r#"{"code":"NOT_FOUND","message":"x"}"#, ErrorKind::NotFound),
            (409, "{}", ErrorKind::Conflict),
            (429, r#"{"code":"LIMIT_EXCEEDED"}"#, ErrorKind::Quota),
            (429, "slow down", ErrorKind::RateLimited),
            (503, "<html>404</html>", ErrorKind::Unavailable),
            (500, "404", ErrorKind::Provider),
            (302, "https://evil/", ErrorKind::Provider),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let error = error(&Refusal { status, text: body.to_owned(), body: body.to_owned() });
            assert_eq!(error.kind(), kind, "{status} {body}");
            assert!(!error.to_string().contains("evil"));
        }
    }
}
