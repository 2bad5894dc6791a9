//! What `crabbox plugins check` prints with `--json`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What `crabbox plugins check --json` prints: how well an executable keeps to the protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckReport {
    /// The executable.
    pub path: String,
    /// The provider's name, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The plugin's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether no rule is broken; what is only warned of does not count.
    pub ok: bool,
    /// Whether leases and runs were tried.
    pub live: bool,
    /// How many rules came out how.
    pub counts: CheckCounts,
    /// Every rule, in the order of `docs/protocol.md`.
    pub rules: Vec<CheckedRule>,
    /// What could not be released, with what releases it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

/// How many rules came out how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckCounts {
    /// Rules that are kept.
    pub pass: usize,
    /// Rules that are broken and that the host bears.
    pub warn: usize,
    /// Rules that are broken.
    pub fail: usize,
    /// Rules that were not tried.
    pub skip: usize,
}

/// One rule, and how it came out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckedRule {
    /// The rule's name, which does not change.
    pub id: String,
    /// What the rule is about, such as `handshake`.
    pub group: String,
    /// What holds where the rule is kept, in one sentence.
    pub rule: String,
    /// Whether it has to be kept.
    pub level: RuleLevel,
    /// Where it is laid down: a heading of `docs/protocol.md`, as a link.
    pub section: String,
    /// How it came out.
    pub status: RuleStatus,
    /// Why it did not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The last lines that the plugin got, shortened and escaped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<String>,
    /// The last lines that it wrote, shortened and escaped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub received: Vec<String>,
    /// The last that it said on standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
}

/// Whether a rule has to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RuleLevel {
    /// Broken, it fails the check.
    Must,
    /// Broken, it is warned of: the host works all the same.
    Should,
}

/// How a rule came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RuleStatus {
    /// It is kept.
    Pass,
    /// It is broken, and the host bears it.
    Warn,
    /// It is broken.
    Fail,
    /// It was not tried; the reason is given.
    Skip,
}

impl RuleLevel {
    /// The name in the record.
    pub fn name(self) -> &'static str {
        match self {
            Self::Must => "must",
            Self::Should => "should",
        }
    }
}

impl RuleStatus {
    /// The name in the record.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
    }
}
