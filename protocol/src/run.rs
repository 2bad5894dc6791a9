//! `run`, `put`, `kill`: what happens on a lease.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Lease, RunId};

/// Executes a command.
///
/// For a leased provider: this argv on the lease, started in the same directory every time, with the
/// file on standard input. The provider needs no notion of a workspace, a shell or an environment: they
/// are in the file. A one-shot provider gets `env`, `workspace` and `scratch` instead of `lease`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunParams {
    /// The lease to run on. Absent for a one-shot provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// The run's identifier.
    pub run_id: RunId,
    /// The program and its arguments. Nothing in it is secret and nothing is to be quoted.
    pub argv: Vec<String>,
    /// The file that the command gets on standard input. Absent: nothing, at once end of file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<FileRef>,
    /// With the feature `lifeline`: keep standard input open after the file's last byte, write LF at this
    /// interval in milliseconds, and close it when the command ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifeline_ms: Option<u64>,
    /// With the feature `outputPaths`: where the command's standard output goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<PathRef>,
    /// With the feature `outputPaths`: where the command's standard error goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<PathRef>,
    /// How long the command may take, in milliseconds. The host cancels by itself; this is for providers
    /// that have to tell their backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// One-shot: the command's environment, besides what the machine gives.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// One-shot: the tree to run in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Workspace>,
    /// One-shot: a private directory on the host's machine that the host removes afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch: Option<String>,
}

/// A file on the host's machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FileRef {
    /// Its absolute path.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// The SHA-256 of its content, in lowercase hexadecimal.
    #[schemars(extend("pattern" = "^[0-9a-f]{64}$"))]
    pub sha256: String,
}

/// A path on the host's machine that is written to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PathRef {
    /// The absolute path of a FIFO that the host reads.
    pub path: String,
}

/// A tree packed into a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Workspace {
    /// The file's absolute path.
    pub path: String,
    /// How it is packed: `tar` or `tar.gz`.
    pub format: String,
    /// Its size in bytes.
    pub size: u64,
    /// The SHA-256 of its content, in lowercase hexadecimal.
    #[schemars(extend("pattern" = "^[0-9a-f]{64}$"))]
    pub sha256: String,
}

/// How the command ended. A broken connection is never an exit code: it is an error `transport`.
///
/// An answer to a cancelled run says by itself that nothing of the run is alive.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("oneOf" = [{"required": ["exitCode"]}, {"required": ["signal"]}]))]
pub struct RunResult {
    /// Its exit code. Either this or `signal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// Output that was lost after a cancel, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<Dropped>,
}

/// A signal on the lease: its name without `SIG`, such as `TERM`, or its number in digits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Signal(String);

/// Output that was lost, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Dropped {
    /// Of standard output.
    #[serde(default)]
    pub stdout: u64,
    /// Of standard error.
    #[serde(default)]
    pub stderr: u64,
}

/// The signals that have the same number on every system this runs on (POSIX `kill` utility, XSI).
const SIGNALS: &[(&str, u8)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("FPE", 8),
    ("KILL", 9),
    ("SEGV", 11),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
];

impl Signal {
    /// Makes a signal from its number; the name where the number means the same everywhere.
    pub fn from_number(number: u8) -> Self {
        let known = SIGNALS.iter().find(|(_, n)| *n == number);
        Self(known.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned()))
    }

    /// The signal's number, where it can be told.
    pub fn number(&self) -> Option<u8> {
        let name = self.0.trim().to_ascii_uppercase();
        let name = name.strip_prefix("SIG").unwrap_or(&name);
        let known = SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
        known.or_else(|| name.parse().ok())
    }
}

/// Places a file of the host's on the lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PutParams {
    /// The lease.
    pub lease: Lease,
    /// The file's absolute path on the host's machine.
    pub path: String,
    /// Where it goes: absolute, or relative to the lease's root.
    pub to: String,
    /// Its size in bytes.
    pub size: u64,
    /// The SHA-256 of its content, in lowercase hexadecimal. The plugin verifies both on the lease.
    #[schemars(extend("pattern" = "^[0-9a-f]{64}$"))]
    pub sha256: String,
    /// Permission bits, such as 384 for 0600.
    pub mode: u32,
}

/// The file is in place.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PutResult {}

/// Ends a run, all of it. Can be repeated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KillParams {
    /// The lease.
    pub lease: Lease,
    /// The run.
    pub run_id: RunId,
    /// How long the run may take to end by itself after SIGTERM, in milliseconds.
    pub grace_ms: u64,
}

/// What became of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KillResult {
    /// What became of it.
    pub remote: Remote,
}

/// What is left of a run on the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Remote {
    /// It was there, and no process of it is alive.
    Dead,
    /// There is no such run.
    Absent,
    /// It cannot be told.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_a_number_by_name_or_digits() {
        assert_eq!(Signal::from_number(15), Signal("TERM".into()));
        assert_eq!(Signal("sigkill".into()).number(), Some(9));
        assert_eq!(Signal::from_number(31).number(), Some(31));
        assert_eq!(Signal("LUNCH".into()).number(), None);
    }
}
