//! What a refusal of the agent's means to the host.

use crabbox_provider_kit::Error;
use crabbox_provider_kit::http::Refusal;

/// Whether nothing was done with the request, and the same may be answered soon: too many connections, or no leader.
pub(super) fn is_too_early(refusal: &Refusal) -> bool {
    refusal.status.as_u16() == 429 || refusal.text.contains("No cluster leader")
}

/// What a refusal means to the host. The kind depends on the status alone, but for what has no status of its own.
pub(super) fn error(refusal: &Refusal, has_token: bool, token_env: &str) -> Error {
    let status = refusal.status.as_u16();
    let said = format!("Nomad answered {status}: {}", refusal.text);
    match status {
        401 | 403 if has_token => Error::auth(said).hint(format!(
            "the token in {token_env} is not valid here or its policies do not allow this; \
             docs/providers/nomad.md lists what they must hold"
        )),
        401 | 403 => Error::auth(said)
            .hint(format!("the cluster wants a token: set {token_env} to an ACL token's secret")),
        404 => Error::not_found(said),
        429 => Error::rate_limited(said)
            .retryable(true)
            .hint("too many connections from this machine; try again"),
        400 if refusal.text.contains("HTTPS server") => {
            Error::config_invalid(said).hint("write the address with `https://`")
        }
        500 if refusal.text.contains("No path to region") => Error::config_invalid(said)
            .hint("set `region` in the block `nomad`, or NOMAD_REGION, to one that exists"),
        500 if refusal.text.contains("No cluster leader") => Error::unavailable(said).retryable(true),
        502..=504 => Error::unavailable(said).retryable(true),
        300..=399 => Error::provider(format!("Nomad answered {status}, a redirect, which is never followed"))
            .hint("configure the address of the agent itself"),
        _ => Error::provider(said),
    }
}

#[cfg(test)]
mod tests {
    use crabbox_provider_kit::http::{HeaderMap, StatusCode};
    use crabbox_provider_kit::protocol::ErrorKind;

    use super::*;

    fn refused(status: u16, text: &str) -> Error {
        let status = StatusCode::from_u16(status).unwrap();
        error(&Refusal::new(status, HeaderMap::new(), text), true, "T")
    }

    #[test]
    fn the_status_decides_and_not_the_text() {
        for (status, text, kind) in [
            (404, "job not found", ErrorKind::NotFound),
            (500, "404 not found", ErrorKind::Provider),
            (401, "Unauthorized", ErrorKind::Auth),
            (403, "Permission denied", ErrorKind::Auth),
            (429, "", ErrorKind::RateLimited),
            (500, "No cluster leader", ErrorKind::Unavailable),
            (500, "No path to region", ErrorKind::ConfigInvalid),
            (307, "http://elsewhere", ErrorKind::Provider),
        ] {
            assert_eq!(refused(status, text).kind(), kind, "{status} {text}");
        }
    }

    #[test]
    fn where_a_redirect_leads_is_not_told() {
        assert!(!refused(307, "http://evil/").to_string().contains("evil"));
    }
}
