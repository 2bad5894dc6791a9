//! What went wrong between us and the agent, in words for people and a kind for the host. No token in any of it.

use std::error::Error as _;
use std::io;

use crabbox_provider_kit::Error;
use hyper::StatusCode;

/// The most of an agent's text that is passed on.
const LONGEST: usize = 600;

/// An answer of the agent other than 200.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// Its status.
    pub(crate) status: StatusCode,
    /// What it said: one line, without the token.
    pub(crate) text: String,
}

impl Refusal {
    /// Makes a refusal from an answer. The token is taken out of its text, should it echo it.
    pub(crate) fn new(status: StatusCode, body: &[u8], token: Option<&str>) -> Self {
        let text = String::from_utf8_lossy(&body[..body.len().min(4 * LONGEST)]);
        let text = match token.filter(|token| token.len() >= 4) {
            Some(token) => text.replace(token, "[token]"),
            None => text.into_owned(),
        };
        Self { status, text: one_line(&text) }
    }

    /// Whether the agent would not let us: with a token that is wrong or not enough, or without one.
    pub(crate) fn is_denial(&self) -> bool {
        matches!(self.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    }

    /// Whether nothing was done with the request, and the same may be answered soon: too many connections, or no
    /// leader.
    pub(super) fn is_too_early(&self) -> bool {
        self.status.as_u16() == 429 || self.text.contains("No cluster leader")
    }

    /// What it means to the host. The kind depends on the status alone, but for what has no status of its own.
    pub(crate) fn error(&self, has_token: bool, token_env: &str) -> Error {
        let said = format!("Nomad answered {}: {}", self.status.as_u16(), self.text);
        match self.status.as_u16() {
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
            400 if self.text.contains("HTTPS server") => {
                Error::config_invalid(said).hint("write the address with `https://`")
            }
            500 if self.text.contains("No path to region") => Error::config_invalid(said)
                .hint("set `region` in the block `nomad`, or NOMAD_REGION, to one that exists"),
            500 if self.text.contains("No cluster leader") => Error::unavailable(said).retryable(true),
            502..=504 => Error::unavailable(said).retryable(true),
            300..=399 => Error::provider(format!(
                "Nomad answered {}, a redirect, which is never followed",
                self.status.as_u16()
            ))
            .hint("configure the address of the agent itself"),
            _ => Error::provider(said),
        }
    }
}

/// No connection.
pub(super) fn connecting(origin: &str, error: &io::Error) -> Error {
    let is_tls = error.get_ref().is_some_and(|inner| inner.is::<tokio_rustls::rustls::Error>());
    if is_tls {
        return Error::config_invalid(format!("TLS with the Nomad agent at {origin} failed")).cause(error).hint(
            "check `caCert`, `caPath` and `tlsServerName`, and `clientCert` and `clientKey` if the agent wants them",
        );
    }
    Error::unavailable(format!("cannot connect to the Nomad agent at {origin}"))
        .cause(error)
        .hint("is it running, and is the address right?")
        .retryable(true)
}

/// No answer.
pub(super) fn sending(origin: &str, error: &hyper_util::client::legacy::Error) -> Error {
    let mut source = error.source();
    while let Some(cause) = source {
        if let (true, Some(error)) = (error.is_connect(), cause.downcast_ref::<io::Error>()) {
            return connecting(origin, error);
        }
        source = cause.source();
    }
    broken(origin, &deepest(error))
}

/// Half an answer.
pub(super) fn reading(origin: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    broken(origin, &deepest(error))
}

fn broken(origin: &str, cause: &str) -> Error {
    Error::unavailable(format!("the connection to the Nomad agent at {origin} broke"))
        .cause(cause)
        .hint("is it a Nomad agent, and does it speak TLS?")
        .retryable(true)
}

/// What is at the bottom of an error: the layers above it say only that there was one.
fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Text of somebody else in one short line.
pub(crate) fn one_line(text: &str) -> String {
    let words = text.split_whitespace().map(|word| word.replace(char::is_control, "\u{fffd}"));
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use crabbox_provider_kit::protocol::ErrorKind;

    use super::*;

    fn kind(status: u16, text: &str) -> ErrorKind {
        Refusal::new(StatusCode::from_u16(status).unwrap(), text.as_bytes(), None).error(true, "T").kind()
    }

    #[test]
    fn the_status_decides_and_not_the_text() {
        assert_eq!(kind(404, "job not found"), ErrorKind::NotFound);
        assert_eq!(kind(500, "404 not found"), ErrorKind::Provider);
        assert_eq!(kind(401, "Unauthorized"), ErrorKind::Auth);
        assert_eq!(kind(403, "Permission denied"), ErrorKind::Auth);
        assert_eq!(kind(429, ""), ErrorKind::RateLimited);
        assert_eq!(kind(500, "No cluster leader"), ErrorKind::Unavailable);
        assert_eq!(kind(500, "No path to region"), ErrorKind::ConfigInvalid);
        assert_eq!(kind(307, "http://elsewhere"), ErrorKind::Provider);
    }

    #[test]
    fn a_body_that_echoes_the_token_does_not_pass_it_on() {
        let refusal =
            Refusal::new(StatusCode::FORBIDDEN, b"bad token s3cr3t-token\n\x1b[31m!", Some("s3cr3t-token"));
        assert_eq!(refusal.text, "bad token [token] \u{fffd}[31m!");
        let error = Refusal::new(StatusCode::TEMPORARY_REDIRECT, b"http://evil/", None).error(true, "T");
        assert!(!error.to_string().contains("evil"));
        let long = Refusal::new(StatusCode::BAD_GATEWAY, "é".repeat(100_000).as_bytes(), None);
        assert!(long.text.chars().count() <= LONGEST + 1);
    }
}
