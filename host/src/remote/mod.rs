//! What crabbox executes on a lease: POSIX sh, sent on standard input.
//!
//! The argv of every request is constant. The script, the user's words (any bytes), the forwarded
//! environment and the bundle travel on standard input, so that nothing secret is in any argv and no
//! provider has to quote anything. `docs/architecture.md`, "On the lease".

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use crabbox_protocol::RunId;

const LOADER: &str = include_str!("loader.sh");
const RECORD: &str = include_str!("record.sh");
const WRAP: &str = include_str!("wrap.sh");
/// Tells what is alive of a run.
pub(crate) const LOOK: &str = include_str!("look.sh");
const LIFELINE: &str = include_str!("lifeline.sh");
const KILL: &str = include_str!("kill.sh");

/// What ends the script and begins its input.
const END: &[u8] = b"#crabbox-end\n";

/// The argv of every request that executes something on a lease.
pub(crate) fn argv() -> Vec<String> {
    let words = ["sh", "-c", "eval \"$1\"", "crabbox"].map(str::to_owned);
    words.into_iter().chain([without_comments(LOADER)]).collect()
}

/// The lines of a script that do something, without indentation: a shell reads them byte by byte.
fn without_comments(script: &str) -> String {
    let lines = script.lines().map(str::trim_start);
    lines.filter(|line| !line.starts_with('#')).flat_map(|line| [line, "\n"]).collect()
}

/// A script in the making, for the standard input of a request.
#[derive(Debug, Default)]
pub(crate) struct Script(Vec<u8>);

impl Script {
    /// A script that starts in the lease's root, where the provider named one.
    pub(crate) fn new(root: Option<&str>) -> Self {
        let mut script = Self::default();
        if let Some(root) = root {
            script.words("cd", [OsStr::new(root)]);
            script.line("[ $? = 0 ] || exit 125");
        }
        script
    }

    /// Adds a line as it is.
    pub(crate) fn line(&mut self, line: &str) {
        self.0.extend_from_slice(line.as_bytes());
        self.0.push(b'\n');
    }

    /// Adds a command with quoted words.
    pub(crate) fn words<'a>(&mut self, command: &str, words: impl IntoIterator<Item = &'a OsStr>) {
        self.0.extend_from_slice(command.as_bytes());
        for word in words {
            self.0.push(b' ');
            quote(word.as_bytes(), &mut self.0);
        }
        self.0.push(b'\n');
    }

    /// Sets an environment variable for what follows.
    pub(crate) fn export(&mut self, name: &str, value: &OsStr) {
        self.0.extend_from_slice(b"export ");
        self.assign(name, value);
    }

    /// Sets a variable of the script's own.
    pub(crate) fn assign(&mut self, name: &str, value: &OsStr) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'=');
        quote(value.as_bytes(), &mut self.0);
        self.0.push(b'\n');
    }

    /// Notes on the lease who has to be ended to end this run, and marks what it starts.
    pub(crate) fn record(&mut self, run: &RunId) {
        self.export("CRABBOX_RUN_ID", OsStr::new(run.as_str()));
        self.line(&format!("cbx_run={run}"));
        self.source(RECORD);
    }

    /// Adds a script of ours.
    pub(crate) fn source(&mut self, script: &str) {
        self.0.extend_from_slice(without_comments(script).as_bytes());
    }

    /// Ends the script: what is appended to the bytes is its input.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(END);
        self.0
    }
}

/// Quotes any bytes but NUL, which no argument can hold.
fn quote(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'\'');
    for &byte in bytes {
        match byte {
            b'\'' => out.extend_from_slice(b"'\\''"),
            _ => out.push(byte),
        }
    }
    out.push(b'\'');
}

/// What the user wants to run.
#[derive(Debug, Clone)]
pub(crate) enum UserCommand {
    /// A program and its arguments, as they are.
    Argv(Vec<OsString>),
    /// A line for `bash -lc`, or `sh -lc` where there is no bash.
    Shell(OsString),
}

/// What the way to the lease is like.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Line {
    /// Signs of life follow on standard input; the run is ended when none has come for so long.
    pub(crate) silence: Option<Duration>,
    /// It says 255 when it breaks, so that a command which exits with 255 has to leave word of it.
    pub(crate) is_ssh: bool,
}

/// The script that runs the user's command.
pub(crate) fn run_script(
    root: Option<&str>,
    run: &RunId,
    env: &BTreeMap<String, OsString>,
    command: &UserCommand,
    line: Line,
) -> Vec<u8> {
    let mut script = Script::new(root);
    for (name, value) in env {
        script.export(name, value);
    }
    script.record(run);
    match command {
        UserCommand::Argv(words) => script.words("set --", words.iter().map(OsString::as_os_str)),
        UserCommand::Shell(text) => {
            script.words("set -- -lc", [text.as_os_str()]);
            script.line(
                "if command -v bash >/dev/null 2>&1; then set -- bash \"$@\"; else set -- sh \"$@\"; fi",
            );
        }
    }
    let seconds = line.silence.map(|silence| silence.as_secs().max(1).to_string());
    script.line(&format!("cbx_silence={}", seconds.as_deref().unwrap_or_default()));
    script.line(if line.is_ssh { "cbx_receipt=1" } else { "cbx_receipt=" });
    if line.silence.is_some() {
        script.source(LOOK);
        script.source(LIFELINE);
    }
    script.source(WRAP);
    script.finish()
}

/// The script that asks whether a run's command exited with 255, which ssh says of itself, too: `exited` if it did.
pub(crate) fn receipt_script(root: &str, run: &RunId) -> Vec<u8> {
    let mut script = Script::new(Some(root));
    script.line(&format!("rm .crabbox/runs/{run}.255 2>/dev/null && echo exited"));
    script.finish()
}

/// The script that ends a run: SIGTERM, and SIGKILL after `grace_ms`.
pub(crate) fn kill_script(root: Option<&str>, run: &RunId, grace_ms: u64) -> Vec<u8> {
    let mut script = Script::new(root);
    script.line(&format!("set -- {run} {}", grace_ms.div_ceil(100).max(1)));
    script.source(LOOK);
    script.source(KILL);
    script.finish()
}

#[cfg(test)]
mod tests;
