//! Errors on the wire: a closed list of kinds, so that nobody parses prose.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What went wrong, for programs. Each kind says what the host does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration is wrong. The host exits 2.
    ConfigInvalid,
    /// The provider does not do this. The host exits 2.
    Unsupported,
    /// A person would have to answer a question first. The host exits 2.
    InputRequired,
    /// Not logged in, or not allowed. The host exits 3.
    Auth,
    /// Something that the provider needs is missing, such as a program. The host exits 3.
    Prerequisite,
    /// What was named does not exist. Of a lease it is believed only when `resolve` says `missing`. The host exits 4.
    NotFound,
    /// It exists and is not ours, or is in a state that forbids this. The host exits 4.
    Conflict,
    /// Several things match. The host exits 4.
    Ambiguous,
    /// A limit of the account is reached. The host exits 5.
    Quota,
    /// The backend has no room now. The host exits 5.
    Capacity,
    /// The backend cannot be reached, or is down. The host exits 5.
    Unavailable,
    /// Too many requests. The host exits 5.
    RateLimited,
    /// It took longer than was allowed. The host exits 5.
    Deadline,
    /// The host cancelled it.
    Cancelled,
    /// The way to the lease broke; the fate of what ran there is not known. The host exits 7.
    Transport,
    /// The backend answered something that it should not have. The host exits 1.
    Provider,
    /// A fault of the plugin itself. The host exits 1.
    Internal,
    /// A kind that this version does not know. The host treats it as `internal`.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

impl ErrorKind {
    /// The kind's name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::ConfigInvalid => "configInvalid",
            Self::Unsupported => "unsupported",
            Self::InputRequired => "inputRequired",
            Self::Auth => "auth",
            Self::Prerequisite => "prerequisite",
            Self::NotFound => "notFound",
            Self::Conflict => "conflict",
            Self::Ambiguous => "ambiguous",
            Self::Quota => "quota",
            Self::Capacity => "capacity",
            Self::Unavailable => "unavailable",
            Self::RateLimited => "rateLimited",
            Self::Deadline => "deadline",
            Self::Cancelled => "cancelled",
            Self::Transport => "transport",
            Self::Provider => "provider",
            Self::Internal => "internal",
            Self::Unknown => "unknown",
        }
    }
}

/// The `error` of a response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorObject {
    /// `-32601` for a method that is not there, else `-32000`. The host looks at `data.kind` only.
    pub code: i64,
    /// What happened, to what, and why, in one line. No secrets.
    pub message: String,
    /// What programs need to know. Absent, the kind is `internal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<ErrorData>,
}

/// The `error.data` of a response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorData {
    /// What went wrong.
    pub kind: ErrorKind,
    /// Whether the same request may succeed later, unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// When to try again, in milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// What the user can do next, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Why, one cause a line, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// Of `acquire`: `false` says that certainly nothing was created, so the host forgets the lease at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<bool>,
    /// Of `run`: what became of the command. Absent means `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<crate::Remote>,
}

impl ErrorObject {
    /// The code of an unknown method (JSON-RPC 2.0, section 5.1).
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// The code of every other error.
    pub const FAILED: i64 = -32000;

    /// Makes an error of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            code: Self::FAILED,
            message: message.into(),
            data: Some(ErrorData {
                kind,
                retryable: None,
                retry_after_ms: None,
                hint: None,
                causes: Vec::new(),
                created: None,
                remote: None,
            }),
        }
    }

    /// Makes the answer to a method that is not there.
    pub fn method_not_found(method: &str) -> Self {
        let mut error = Self::new(ErrorKind::Unsupported, format!("no method `{method}`"));
        error.code = Self::METHOD_NOT_FOUND;
        error
    }

    /// The kind, `unsupported` for a missing method and `internal` where none is given.
    pub fn kind(&self) -> ErrorKind {
        match &self.data {
            Some(data) => data.kind,
            None if self.code == Self::METHOD_NOT_FOUND => ErrorKind::Unsupported,
            None => ErrorKind::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_kind_parses_and_every_name_is_the_wire_name() {
        let kind: ErrorKind = serde_json::from_str("\"melted\"").unwrap();
        assert_eq!(kind, ErrorKind::Unknown);
        for name in ["configInvalid", "rateLimited", "internal", "notFound"] {
            let kind: ErrorKind = serde_json::from_str(&format!("\"{name}\"")).unwrap();
            assert_eq!(kind.name(), name);
        }
    }

    #[test]
    fn a_missing_method_without_data_is_unsupported() {
        let error: ErrorObject = serde_json::from_str(r#"{"code":-32601,"message":"no"}"#).unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
