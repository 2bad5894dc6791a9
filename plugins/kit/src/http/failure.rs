//! What went wrong between us and an API, in words for people and a kind for the host. No secrets in any of it.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use hyper::{HeaderMap, StatusCode};

use super::Http;
use crate::Error;

/// The most characters of a text of somebody else that are passed on.
const LONGEST: usize = 600;

/// The most bytes of a refusal that are looked at.
const LONGEST_BODY: usize = 4096;

/// An answer with another status than 200 to 299.
#[derive(Clone)]
pub struct Refusal {
    /// Its status.
    pub status: StatusCode,
    /// As they came: not for messages.
    headers: HeaderMap,
    /// What it said, up to 4 KiB, without secrets.
    pub body: String,
    /// The same in one short line.
    pub text: String,
}

impl Refusal {
    /// A refusal without secrets.
    pub fn new(status: StatusCode, headers: HeaderMap, body: &str) -> Self {
        Self::concealing(status, headers, body.as_bytes(), std::iter::empty())
    }

    /// A refusal without these secrets in its texts.
    pub(super) fn concealing<'a>(
        status: StatusCode,
        headers: HeaderMap,
        body: &[u8],
        secrets: impl Iterator<Item = &'a str>,
    ) -> Self {
        let mut body = String::from_utf8_lossy(body).into_owned();
        // Before it is cut: half a secret is not recognised.
        for secret in secrets.filter(|secret| secret.len() >= 4) {
            body = body.replace(secret, "[secret]");
        }
        if let Some(end) = (LONGEST_BODY..body.len()).find(|at| body.is_char_boundary(*at)) {
            body.truncate(end);
        }
        Self { status, headers, text: one_line(&body), body }
    }

    /// A header's value, if it is there and text. It may have a secret in it.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether we were not let in, or not allowed to do this: 401 or 403.
    pub fn is_denial(&self) -> bool {
        matches!(self.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("status", &self.status)
            .field("text", &self.text)
            .finish_non_exhaustive()
    }
}

/// No connection.
pub(super) fn connecting(http: &Http, error: &io::Error) -> Error {
    match of_tls(error) {
        Some(tls) => tls_failed(http, tls),
        None => Error::unavailable(format!("cannot connect to {}", http.name))
            .cause(error)
            .hint("is it running, and is the address right?")
            .retryable(true),
    }
}

/// No answer.
pub(super) fn sending(http: &Http, error: &hyper_util::client::legacy::Error) -> Error {
    let mut source = error.source();
    while let Some(cause) = source {
        if let (true, Some(error)) = (error.is_connect(), cause.downcast_ref::<io::Error>()) {
            return connecting(http, error);
        }
        source = cause.source();
    }
    reading(http, error)
}

/// No answer, or half of one.
pub(super) fn reading(http: &Http, error: &(dyn StdError + 'static)) -> Error {
    match of_tls(error) {
        // In TLS 1.3 a client hears only after the handshake that its certificate was not accepted.
        Some(tls @ tokio_rustls::rustls::Error::AlertReceived(_)) => tls_failed(http, tls),
        _ => Error::unavailable(format!("the connection to {} broke", http.name))
            .cause(deepest(error))
            .hint("is the address right, and is it one with or without TLS?")
            .retryable(true),
    }
}

fn tls_failed(http: &Http, error: &tokio_rustls::rustls::Error) -> Error {
    let hint = match error {
        tokio_rustls::rustls::Error::InvalidMessage(_) => {
            "does that port speak TLS? If not, the address begins with `http://`"
        }
        _ => &http.tls_hint,
    };
    Error::config_invalid(format!("TLS with {} failed", http.name)).cause(error).hint(hint)
}

/// What TLS says about it, if that is what failed.
fn of_tls<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e tokio_rustls::rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(tls) = inner.and_then(|inner| inner.downcast_ref()) {
            return Some(tls);
        }
        next = error.source();
    }
    None
}

/// What is at the bottom of an error: the layers above it say only that there was one.
fn deepest(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Text of somebody else in one short line, without control characters.
pub fn one_line(text: &str) -> String {
    let words = text.split_whitespace().map(|word| word.replace(char::is_control, "\u{fffd}"));
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_echoes_a_secret_does_not_pass_it_on() {
        let secrets = || ["s3cr3t-token"].into_iter();
        let refused =
            |body: &[u8]| Refusal::concealing(StatusCode::FORBIDDEN, HeaderMap::new(), body, secrets());
        assert_eq!(refused(b"bad token s3cr3t-token\n\x1b[31m!").text, "bad token [secret] \u{fffd}[31m!");
        let at_the_edge = [&[b'x'; LONGEST_BODY - 4][..], b"s3cr3t-token"].concat();
        assert!(!refused(&at_the_edge).body.contains("s3cr"));
        let long = refused("é".repeat(100_000).as_bytes());
        assert!(long.text.chars().count() <= LONGEST + 1 && long.body.len() <= LONGEST_BODY + 1);
    }
}
