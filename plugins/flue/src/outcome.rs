//! What a run came to, by what Flue exited with and by what the runner wrote.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;

use crabbox_provider_kit::protocol::{Remote, RunResult, Signal};
use crabbox_provider_kit::{Error, Result};

use crate::cli::{Cli, node_is_refused};
use crate::contract::{Failure, FailureKind, Reply, VERSION};
use crate::run::Place;
use crate::settings::Settings;
use crate::version::Generation;

/// The most bytes of a result, and of what Flue printed last.
const TAIL: u64 = 64 * 1024;

/// The most characters of it that a message shows.
const SHOWN: usize = 600;

/// Everything there is to judge by. Nothing of the run is alive any more.
pub(crate) struct Outcome<'a> {
    /// What Flue exited with.
    pub(crate) status: ExitStatus,
    /// Where its files are.
    pub(crate) place: &'a Place,
    /// Which Flue it was.
    pub(crate) cli: &'a Cli,
    /// What was configured.
    pub(crate) settings: &'a Settings,
}

impl Outcome<'_> {
    /// The command's end, or why there is none.
    pub(crate) fn judge(&self) -> Result<RunResult> {
        let remote = if self.place.is_taken() { Remote::Dead } else { Remote::Absent };
        let reply = reply(&self.place.result).map_err(|error| error.remote(remote))?;
        let exit_code = reply.as_ref().and_then(|reply| reply.exit_code);
        // Flue itself turns a signal into an exit code; its own are 0 and 1.
        let turned = self.status.code().filter(|code| [129, 130, 143].contains(code)).map(|code| code - 128);
        let by = self.status.signal().or(turned.filter(|_| exit_code.unwrap_or(0) == 0));
        if let Some(number) = by {
            let signal = Signal::from_number(u8::try_from(number).unwrap_or(u8::MAX));
            return Ok(RunResult { signal: Some(signal), ..RunResult::default() });
        }
        match reply {
            Some(Reply { error: Some(failure), .. }) => Err(refused(failure).remote(Remote::Absent)),
            Some(Reply { signal: Some(signal), .. }) => {
                Ok(RunResult { signal: Some(signal), ..RunResult::default() })
            }
            Some(Reply { exit_code: Some(0), .. }) if !self.status.success() => {
                let message = format!("the command succeeded, and Flue {} failed", self.cli.version);
                Err(self.failed(message).remote(remote))
            }
            Some(Reply { exit_code: Some(code), .. }) => {
                Ok(RunResult { exit_code: Some(code), ..RunResult::default() })
            }
            _ => Err(self.unanswered().remote(remote)),
        }
    }

    /// Whether a Flue that builds a server gave up waiting for it: it allows it 5 s, which a busy machine may
    /// need for that alone. Nothing was run.
    pub(crate) fn was_too_slow(&self) -> bool {
        self.cli.generation == Generation::Payload
            && !self.place.is_taken()
            && tail(&self.place.stderr).contains("did not become ready within 5 seconds")
    }

    /// Flue ended, and the runner had said nothing.
    fn unanswered(&self) -> Error {
        let stderr = tail(&self.place.stderr);
        if let Some(error) = node_is_refused(&stderr) {
            return error;
        }
        let (workflow, agent, root) =
            (&self.settings.workflow, &self.settings.agent, self.settings.root.display());
        let unknown = [
            format!("Unknown workflow: {workflow}"),
            format!("Resource \"workflow:{workflow}\" not found"),
            format!("Agent module not found: {agent}"),
        ];
        if unknown.iter().any(|text| stderr.contains(text.as_str())) && !self.place.is_taken() {
            let what = match self.cli.generation {
                Generation::Agent => format!("no agent `{agent}`"),
                _ => format!("no workflow `{workflow}`"),
            };
            return Error::prerequisite(format!("there is {what} in `{root}`")).hint(format!(
                "`crabbox-provider-flue setup --root {root}` puts the one in place that runs commands"
            ));
        }
        let message = match self.status.success() {
            true => format!("Flue {} ended without a result", self.cli.version),
            false => format!("Flue {} failed", self.cli.version),
        };
        self.failed(message).hint("`crabbox doctor --provider flue` checks the project")
    }

    /// A failure of Flue's, with what it said last.
    fn failed(&self, message: String) -> Error {
        let error = Error::provider(message);
        let error = match self.status.success() {
            true => error,
            false => error.cause(self.status),
        };
        let said = [&self.place.stderr, &self.place.stdout].map(|path| tail_of(&self.redacted(&tail(path))));
        said.into_iter().filter(|said| !said.is_empty()).fold(error, Error::cause)
    }

    /// The text without the values of forwarded variables, which a workflow may have printed.
    fn redacted(&self, text: &str) -> String {
        let values = self.place.forwarded.iter().filter(|(_, value)| value.len() >= 4);
        values.fold(text.to_owned(), |text, (name, value)| text.replace(value.as_str(), &format!("[{name}]")))
    }
}

/// What the runner says, if it said anything.
fn reply(path: &Path) -> Result<Option<Reply>> {
    let Ok(file) = File::open(path) else { return Ok(None) };
    let mut bytes = Vec::new();
    let broken = |error: &dyn std::fmt::Display| {
        Error::provider("the runner's result cannot be read")
            .cause(error)
            .hint("`crabbox-provider-flue setup --root DIR --force` puts this version's runner in place")
    };
    file.take(TAIL).read_to_end(&mut bytes).map_err(|error| broken(&error))?;
    let reply: Reply = serde_json::from_slice(&bytes).map_err(|error| broken(&error))?;
    if reply.protocol_version != VERSION {
        let theirs = reply.protocol_version;
        return Err(broken(&format!("it has version {theirs}, and this provider knows {VERSION}")));
    }
    Ok(Some(reply))
}

/// The runner's refusal, in the host's words.
fn refused(Failure { kind, message }: Failure) -> Error {
    match kind {
        FailureKind::Command => Error::prerequisite(message),
        FailureKind::Workdir => {
            Error::config_invalid(message).hint("that is the setting `workdir` of the provider `flue`")
        }
        FailureKind::Link => Error::unsupported(message)
            .hint("leave it out with `sync.exclude` in crabbox.yaml, or make it relative"),
        FailureKind::Limit => Error::quota(message),
        FailureKind::Request | FailureKind::Archive => Error::provider(message),
        FailureKind::Internal | FailureKind::Unknown => {
            Error::provider("the runner in the Flue project failed").cause(message)
        }
    }
}

/// The end of a file, as far as a message needs it.
fn tail(path: &Path) -> String {
    let read = || {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        std::io::Result::Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// The last lines that say something, in one.
pub(crate) fn tail_of(text: &str) -> String {
    let noise = |line: &&str| {
        let line = line.trim_start();
        line.is_empty()
            || line.starts_with("at ")
            || line.contains("ExperimentalWarning")
            || line.contains("--trace-warnings")
    };
    let text = uncoloured(text);
    let lines: Vec<_> = text.lines().filter(|line| !noise(line)).map(str::trim).collect();
    let last = lines[lines.len().saturating_sub(8)..].join(" | ");
    let skip = last.chars().count().saturating_sub(SHOWN);
    last.chars().skip(skip).collect()
}

/// The text without the sequences that colour it on a terminal.
fn uncoloured(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        text + rest.strip_prefix('m').unwrap_or(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_what_was_said_is_shown_without_its_noise() {
        let said = "(node:7) ExperimentalWarning: SQLite\n(Use `node --trace-warnings ...`)\n\nError: boom\n    at run (x.ts:1:2)\n";
        assert_eq!(tail_of(said), "Error: boom");
        let long = format!("{}\nlast", "é".repeat(5000));
        assert_eq!(tail_of(&long).chars().count(), SHOWN);
        assert!(tail_of(&long).ends_with("last"));
        assert_eq!(tail_of(""), "");
        assert_eq!(
            tail_of("\u{1b}[31m[PARSE_ERROR] \u{1b}[0mExpected\u{1b}[38;5;246m;"),
            "[PARSE_ERROR] Expected;"
        );
    }
}
