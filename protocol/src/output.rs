//! Notifications: what happens while a request is under way.

use std::borrow::Cow;

use base64::Engine as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{LeaseReport, RequestId};

/// The most bytes of output that one notification carries.
pub const MAX_CHUNK: usize = 32 * 1024;

/// Plugin to host: a piece of a command's output, at most 32 KiB of it.
///
/// The pieces of one stream, joined, are byte for byte what the command wrote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = [{"required": ["text"]}, {"required": ["base64"]}]))]
pub struct Output<'a> {
    /// The `run` that it belongs to.
    pub request: RequestId,
    /// Which stream.
    pub stream: Stream,
    /// The bytes, where they are valid UTF-8. Either this or `base64`.
    #[serde(
        default,
        borrow,
        deserialize_with = "crate::decode::borrowed",
        skip_serializing_if = "Option::is_none"
    )]
    pub text: Option<Cow<'a, str>>,
    /// The bytes in Base64 (RFC 4648, section 4). Always allowed.
    #[serde(
        default,
        borrow,
        deserialize_with = "crate::decode::borrowed",
        skip_serializing_if = "Option::is_none"
    )]
    pub base64: Option<Cow<'a, str>>,
}

impl<'a> Output<'a> {
    /// Makes a notification of `bytes`, as text where they are valid UTF-8.
    pub fn new(request: RequestId, stream: Stream, bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self { request, stream, text: Some(text.into()), base64: None },
            Err(_) => {
                let base64 = base64::engine::general_purpose::STANDARD.encode(bytes);
                Self { request, stream, text: None, base64: Some(base64.into()) }
            }
        }
    }

    /// The bytes that the notification carries.
    ///
    /// # Errors
    ///
    /// Says what is wrong when it carries neither or both forms, or Base64 that is none.
    pub fn into_bytes(self) -> Result<Cow<'a, [u8]>, &'static str> {
        match (self.text, self.base64) {
            (Some(Cow::Borrowed(text)), None) => Ok(Cow::Borrowed(text.as_bytes())),
            (Some(Cow::Owned(text)), None) => Ok(Cow::Owned(text.into_bytes())),
            (None, Some(base64)) => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(base64.as_bytes());
                bytes.map(Cow::Owned).map_err(|_| "`base64` is not Base64")
            }
            (Some(_), Some(_)) => Err("it carries both `text` and `base64`"),
            (None, None) => Err("it carries neither `text` nor `base64`"),
        }
    }
}

/// A stream of a command's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Plugin to host: how a long request is getting on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The request that it belongs to.
    pub request: RequestId,
    /// What is going on, in one line.
    pub message: String,
    /// A word for the phase, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// How much is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<u64>,
    /// Of how much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// What is counted, such as `bytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Whether a person has to do something before it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_on_user: Option<bool>,
}

/// Plugin to host: something about a lease is known before the response.
///
/// A plugin sends it as soon as it has created something, so that the host can name it whatever
/// happens next.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LeaseEvent {
    /// The request that it belongs to.
    pub request: RequestId,
    /// What is known.
    pub lease: LeaseReport,
}

/// Host to plugin: end a request. The request still gets its one response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cancel {
    /// The request to end.
    pub request: RequestId,
    /// Why.
    pub reason: CancelReason,
}

/// Why a request is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CancelReason {
    /// The user asked for it.
    User,
    /// Its time is over.
    Deadline,
    /// Nobody reads the answer any more.
    Hangup,
    /// A reason that this version does not know.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// The names of the notifications.
pub mod note {
    /// [`Output`](super::Output).
    pub const OUTPUT: &str = "output";
    /// [`Progress`](super::Progress).
    pub const PROGRESS: &str = "progress";
    /// [`LeaseEvent`](super::LeaseEvent).
    pub const LEASE: &str = "lease";
    /// [`Cancel`](super::Cancel).
    pub const CANCEL: &str = "cancel";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_whatever_they_are() {
        for bytes in [&b""[..], b"plain\n", "caf\u{e9} \u{2028}".as_bytes(), b"\xff\x00\xfe"] {
            let line = serde_json::to_string(&Output::new(3, Stream::Stderr, bytes)).unwrap();
            let back: Output<'_> = serde_json::from_str(&line).unwrap();
            assert_eq!(back.into_bytes().unwrap(), bytes);
        }
    }

    #[test]
    fn neither_and_both_are_refused() {
        let neither: Output<'_> = serde_json::from_str(r#"{"request":1,"stream":"stdout"}"#).unwrap();
        assert!(neither.into_bytes().is_err());
        let both = r#"{"request":1,"stream":"stdout","text":"a","base64":"YQ=="}"#;
        let both: Output<'_> = serde_json::from_str(both).unwrap();
        assert!(both.into_bytes().is_err());
    }
}
