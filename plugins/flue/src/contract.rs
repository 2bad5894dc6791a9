//! The contract with the runner in a Flue project: a file with the request, and one with the result. Both are
//! in a private directory; only the path of the first is ever on a command line. Every generation of Flue,
//! and every provider that works alike, can use it. `schemas/flue` is generated from these types.

use std::collections::BTreeMap;

use crabbox_provider_kit::protocol::{Signal, Workspace};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of this contract.
pub(crate) const VERSION: u32 = 1;

/// What is to be run.
///
/// The file has the mode 0600, is in a directory with the mode 0700, and both belong to the user that runs
/// the command: the runner refuses any other. It removes the file as soon as it has read it, so that a
/// request is done at most once and what is secret in it does not stay on the disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    /// The version of this contract.
    #[schemars(extend("const" = 1))]
    pub(crate) protocol_version: u32,
    /// The program and its arguments, to be executed as they are, without a shell around them.
    #[schemars(length(min = 1))]
    pub(crate) command: Vec<String>,
    /// The command's whole environment. The runner adds nothing of its own.
    pub(crate) env: BTreeMap<String, String>,
    /// The tree to run in. The runner compares size and SHA-256 before it starts the command.
    pub(crate) archive: Workspace,
    /// The absolute path of a directory that is not there yet: the runner makes it and unpacks the tree into
    /// it. The caller removes it.
    pub(crate) work_root: String,
    /// The directory that the command starts in, relative to `workRoot`, without `..`. Absent: `workRoot`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) workdir: Option<String>,
    /// The absolute path to which the result is renamed when it is complete.
    pub(crate) result_file: String,
    /// The absolute path of a file or FIFO that is there: the command's standard output, as it is written.
    pub(crate) stdout_file: String,
    /// The same of its standard error.
    pub(crate) stderr_file: String,
    /// What an archive may come to.
    pub(crate) limits: Limits,
}

/// What an archive may come to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Limits {
    /// The most bytes that its files may have together.
    pub(crate) unpacked_bytes: u64,
    /// The most entries that it may have.
    pub(crate) entries: u64,
}

/// How it ended: `exitCode`, or `error` where there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("oneOf" = [{"required": ["exitCode"]}, {"required": ["error"]}]))]
pub(crate) struct Reply {
    /// The version of this contract.
    #[schemars(extend("const" = 1))]
    pub(crate) protocol_version: u32,
    /// The command's exit code, or 128 and the number of the signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exit_code: Option<i32>,
    /// The signal that ended it, such as `KILL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signal: Option<Signal>,
    /// How long the command took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) duration_ms: Option<u64>,
    /// Why the request was not done. The command was not started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Failure>,
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Failure {
    /// What kind of trouble it is.
    pub(crate) kind: FailureKind,
    /// What happened, in one line.
    pub(crate) message: String,
}

/// What kind of trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FailureKind {
    /// The request is not one, is not in a private place, was done already, or is of another version.
    Request,
    /// The archive is damaged, not the announced one, or has what no tree has.
    Archive,
    /// A symbolic link of the tree leads out of it.
    Link,
    /// The tree is larger than the limits.
    Limit,
    /// The directory to start in is not there.
    Workdir,
    /// The program cannot be started.
    Command,
    /// Anything else.
    Internal,
    /// A word that is not known here.
    #[schemars(skip)]
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crabbox_provider_kit::protocol::schemas;
    use std::path::Path;

    const UPDATE: &str = "UPDATE_SCHEMAS=1 cargo test -p crabbox-provider-flue schemas";

    #[test]
    fn the_schemas_are_what_the_types_make() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/flue");
        let schemas = [("request", schemas::of::<Request>()), ("result", schemas::of::<Reply>())];
        for (name, schema) in &schemas {
            let path = directory.join(format!("{name}.schema.json"));
            let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
            if std::env::var_os("UPDATE_SCHEMAS").is_some() {
                std::fs::create_dir_all(&directory).unwrap();
                std::fs::write(path, text).unwrap();
                continue;
            }
            let there = std::fs::read_to_string(path).unwrap_or_default().replace("\r\n", "\n");
            assert!(there == text, "schemas/flue/{name}.schema.json is stale; run `{UPDATE}`");
        }
        assert_eq!(std::fs::read_dir(directory).unwrap().count(), schemas.len(), "a file belongs to no type");
    }

    #[test]
    fn a_reply_may_hold_more_than_is_known_here() {
        let text = r#"{"protocolVersion":1,"error":{"kind":"weather","message":"rain","more":1}}"#;
        let reply: Reply = serde_json::from_str(text).unwrap();
        assert_eq!(reply.error.unwrap().kind, FailureKind::Unknown);
    }
}
