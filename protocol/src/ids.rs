//! Identifiers as types, so that a run id cannot be passed for a lease id.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Number of a request, chosen by the host, unique within a session.
pub type RequestId = u64;

/// A text that is not an identifier of the expected form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidId {
    text: String,
    form: &'static str,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not {}", self.text.escape_debug(), self.form)
    }
}

impl std::error::Error for InvalidId {}

fn is_hex12(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|hex| hex.len() == 12 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $pattern:literal, $form:literal) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        #[serde(try_from = "String", into = "String")]
        #[schemars(extend("pattern" = $pattern))]
        pub struct $name(String);

        impl $name {
            /// What every identifier of this kind begins with.
            pub const PREFIX: &'static str = $prefix;

            /// Makes an identifier from six bytes, random or derived.
            pub fn from_bytes(bytes: [u8; 6]) -> Self {
                let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
                Self(format!("{}{hex}", $prefix))
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                if is_hex12(&text, $prefix) {
                    Ok(Self(text))
                } else {
                    Err(InvalidId { text, form: $form })
                }
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

hex_id!(
    /// Identifier of a lease: `cbx_` and 12 lowercase hexadecimal digits. The host makes it,
    /// before the provider is asked for anything.
    LeaseId, "cbx_", "^cbx_[0-9a-f]{12}$", "a lease id (`cbx_` and 12 lowercase hex digits)"
);

hex_id!(
    /// Identifier of a run: `run_` and 12 lowercase hexadecimal digits. No two runs on one
    /// machine share one.
    RunId, "run_", "^run_[0-9a-f]{12}$", "a run id (`run_` and 12 lowercase hex digits)"
);

/// Whether `name` can be a provider's: `[a-z][a-z0-9-]{0,31}`.
pub fn is_provider_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && name.len() <= 32
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked_when_they_are_read() {
        assert_eq!(LeaseId::from_bytes([0, 1, 2, 0xab, 0xcd, 0xef]).as_str(), "cbx_000102abcdef");
        for wrong in
            ["", "cbx_", "cbx_00010203040", "cbx_0001020304AB", "run_000102030405", "cbx_0001020304050"]
        {
            assert!(wrong.parse::<LeaseId>().is_err(), "{wrong}");
        }
        assert!(serde_json::from_str::<LeaseId>("\"../../etc\"").is_err());
    }

    #[test]
    fn provider_names() {
        for good in ["a", "local", "my-cloud2", "a2345678901234567890123456789012"] {
            assert!(is_provider_name(good), "{good}");
        }
        for bad in ["", "A", "2a", "-a", "a_b", "a.b", "a23456789012345678901234567890123", "é"] {
            assert!(!is_provider_name(bad), "{bad}");
        }
    }
}
