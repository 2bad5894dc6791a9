//! What the CLI says when it fails. There are no codes, only sentences: those are known that are Coder's own.

use std::process::ExitStatus;

use crabbox_provider_kit::Error;
use crabbox_provider_kit::protocol::ErrorKind;

/// A command of the CLI that failed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    /// What it was, such as `coder list`.
    pub(crate) command: String,
    /// Why, as far as it can be told.
    pub(crate) reason: Reason,
    /// What the CLI said, in a few lines at the most.
    pub(crate) text: String,
}

/// Why a command failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Nobody is logged in, or the session is over.
    SignedOut,
    /// The user may not do that.
    Forbidden,
    /// There is no such workspace, or the user may not see it.
    Absent,
    /// A build of the workspace is under way.
    Busy,
    /// A workspace of that name is there.
    Exists,
    /// What was asked for is wrong, which shows before anything is made.
    Wrong(ErrorKind),
    /// A quota is used up.
    Quota,
    /// The deployment cannot be reached.
    Unreachable,
    /// The CLI could not be executed.
    NotRun,
    /// Anything else: a build that failed, above all.
    Other,
}

/// The whole sentence of a 404, also where the user may not see what is there.
const ABSENT: &str = "Resource not found or you do not have access to this resource";

/// What goes with signing in.
const SIGNED_OUT: &[&str] =
    &["not logged in", "signed out", "session has expired", "coder login", "api key is invalid"];

/// What shows before anything is made, and what kind of error it is.
const WRONG: &[(&str, ErrorKind)] = &[
    ("no template found with the name", ErrorKind::ConfigInvalid),
    ("template not found", ErrorKind::ConfigInvalid),
    ("unable to resolve preset", ErrorKind::ConfigInvalid),
    ("is not present in the template", ErrorKind::ConfigInvalid),
    ("can't parse parameter", ErrorKind::ConfigInvalid),
    ("can't parse given parameter", ErrorKind::ConfigInvalid),
    ("parameter value must be", ErrorKind::ConfigInvalid),
    ("is invalid: ", ErrorKind::ConfigInvalid),
    ("unknown flag", ErrorKind::Unsupported),
    ("unknown shorthand flag", ErrorKind::Unsupported),
    ("prepare build: eof", ErrorKind::InputRequired),
    ("prompt: eof", ErrorKind::InputRequired),
    ("not a tty", ErrorKind::InputRequired),
];

/// What Go says of a connection that does not come about, and proxies of a deployment that is down.
const UNREACHABLE: &[&str] = &[
    "dial tcp",
    "dial unix",
    "no such host",
    "connection refused",
    "connection reset",
    "network is unreachable",
    "no route to host",
    "i/o timeout",
    "tls handshake",
    "x509:",
    "context deadline exceeded",
    "unexpected status code 5",
    "bad gateway",
    "service unavailable",
    "gateway timeout",
];

impl Refusal {
    /// Reads what a command said on standard error.
    pub(crate) fn new(command: String, status: ExitStatus, stderr: &[u8]) -> Self {
        let text = said(&String::from_utf8_lossy(stderr));
        let reason = if matches!(status.code(), Some(126 | 127)) { Reason::NotRun } else { reason(&text) };
        let text = match (text.is_empty(), status.code()) {
            (false, _) => text,
            (true, Some(code)) => format!("it ended with exit code {code} and said nothing"),
            (true, None) => "it was killed".to_owned(),
        };
        Self { command, reason, text }
    }

    /// The error that the host hears of.
    pub(crate) fn error(&self) -> Error {
        let command = &self.command;
        let kind = match self.reason {
            Reason::SignedOut | Reason::Forbidden => ErrorKind::Auth,
            Reason::Absent => ErrorKind::NotFound,
            Reason::Busy | Reason::Exists => ErrorKind::Conflict,
            Reason::Wrong(kind) => kind,
            Reason::Quota => ErrorKind::Quota,
            Reason::Unreachable => ErrorKind::Unavailable,
            Reason::NotRun => ErrorKind::Prerequisite,
            Reason::Other => ErrorKind::Provider,
        };
        let error = match self.reason {
            Reason::SignedOut => Error::new(kind, "the coder CLI is not logged in, or its session is over"),
            Reason::Unreachable => Error::new(kind, "the Coder deployment cannot be reached"),
            _ => Error::new(kind, format!("`{command}` failed")),
        };
        let error = error.cause(&self.text);
        match self.reason {
            Reason::SignedOut => error.hint("`coder login URL` logs in"),
            Reason::Wrong(ErrorKind::InputRequired) => error.hint(
                "give the template's parameters values in `parameters`, or take its defaults with `useParameterDefaults`",
            ),
            Reason::Wrong(ErrorKind::Unsupported) => {
                error.hint("this CLI is too old for a setting of yours: update it, or leave the setting out")
            }
            Reason::NotRun => error.hint("install the coder CLI, or say where it is with `cli` in the block `coder`"),
            _ => error,
        }
    }
}

/// The error itself: what comes after the line that names the command, and no more than a few lines.
fn said(stderr: &str) -> String {
    let from =
        stderr.rfind("\nerror: ").map(|at| at + 1).or_else(|| stderr.starts_with("error: ").then_some(0));
    let text = from.map_or(stderr, |at| &stderr[at + "error: ".len()..]);
    // What was being done when the server said it comes first, on a line of its own.
    let is_trace = |line: &str| line.starts_with("Trace=[") && line.ends_with(']');
    let says = |line: &String| !line.is_empty() && !is_trace(line);
    let lines: Vec<_> = text.lines().map(clean).filter(says).collect();
    // Without the marker, the end says most.
    let lines =
        if from.is_some() { &lines[..lines.len().min(6)] } else { &lines[lines.len().saturating_sub(3)..] };
    lines.join("; ")
}

fn reason(text: &str) -> Reason {
    let lower = text.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    match () {
        () if text.trim_end_matches('.') == ABSENT => Reason::Absent,
        () if lower.contains("a workspace build is already active") => Reason::Busy,
        () if has(SIGNED_OUT) => Reason::SignedOut,
        () if lower.contains("a workspace already exists named") => Reason::Exists,
        () if lower.starts_with("workspace \"") && lower.contains("\" already exists") => Reason::Exists,
        () if has(UNREACHABLE) => Reason::Unreachable,
        () if lower.contains("insufficient quota") => Reason::Quota,
        () => match WRONG.iter().find(|(words, _)| lower.contains(words)) {
            Some((_, kind)) => Reason::Wrong(*kind),
            None if has(&["forbidden", "you are not authorized", "insufficient permissions"]) => {
                Reason::Forbidden
            }
            None => Reason::Other,
        },
    }
}

/// A line without colours, control characters and the token, cut where nobody reads on.
pub(crate) fn clean(line: &str) -> String {
    let mut text = String::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' && chars.next_if_eq(&'[').is_some() {
            // A sequence ends with a letter.
            while chars.next().is_some_and(|c| !c.is_ascii_alphabetic()) {}
        } else if !c.is_control() && text.chars().count() < 400 {
            text.push(c);
        }
    }
    without_token(text.trim().to_owned())
}

/// The CLI has no reason to say the token; an error of somebody else's might.
fn without_token(text: String) -> String {
    match std::env::var("CODER_SESSION_TOKEN") {
        Ok(token) if token.len() >= 8 => text.replace(&token, "***"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn refusal(text: &str) -> Refusal {
        let status = ExitStatus::from_raw(1 << 8);
        let stderr = format!(
            "Encountered an error running \"coder stop\", see \"coder stop --help\" for more information\nerror: {text}\n"
        );
        Refusal::new("coder stop".to_owned(), status, stderr.as_bytes())
    }

    #[test]
    fn coders_sentences_are_known() {
        for (text, reason) in [
            (
                "You are signed out or your session has expired. Please sign in again to continue.\n\
                 Suggestion: Try logging in using 'coder login'.",
                Reason::SignedOut,
            ),
            ("You are not logged in. Try logging in using '/opt/coder login <url>'.", Reason::SignedOut),
            (ABSENT, Reason::Absent),
            // Of a build, not of a workspace.
            ("terraform apply: image not found", Reason::Other),
            ("Resource not found or you do not have access to this resource: image", Reason::Other),
            ("A workspace build is already active.", Reason::Busy),
            ("A workspace already exists named \"x\"!", Reason::Exists),
            ("a workspace already exists named \"x\"", Reason::Exists),
            (
                "Trace=[create workspace: ]\nWorkspace \"x\" already exists.\n1 validation error(s) found",
                Reason::Exists,
            ),
            (
                "Trace=[get workspace: ]\nResource not found or you do not have access to this resource",
                Reason::Absent,
            ),
            ("no template found with the name \"nope\"", Reason::Wrong(ErrorKind::ConfigInvalid)),
            ("unable to resolve preset: preset \"x\" not found", Reason::Wrong(ErrorKind::ConfigInvalid)),
            ("parameter \"cpus\" is not present in the template.", Reason::Wrong(ErrorKind::ConfigInvalid)),
            ("prepare build: EOF", Reason::Wrong(ErrorKind::InputRequired)),
            (
                "parsing flags ([x]) for \"create\": unknown flag: --preset",
                Reason::Wrong(ErrorKind::Unsupported),
            ),
            (
                "Get \"https://x/api/v2\": dial tcp 127.0.0.1:1: connect: connection refused",
                Reason::Unreachable,
            ),
            ("insufficient quota: 5 of 5", Reason::Quota),
            ("Forbidden.", Reason::Forbidden),
        ] {
            assert_eq!(refusal(text).reason, reason, "{text}");
        }
        assert_eq!(refusal("prepare build: EOF").error().kind(), ErrorKind::InputRequired);
    }

    #[test]
    fn what_is_shown_is_the_error_without_colours() {
        assert_eq!(refusal("one\n\n\u{1b}[1;31mtwo\u{1b}[0m\u{7}").text, "one; two");
        let status = ExitStatus::from_raw(1 << 8);
        assert_eq!(Refusal::new("x".into(), status, b"a\nb\nc\nd\n").text, "b; c; d");
        assert!(Refusal::new("x".into(), status, b"").text.contains("exit code 1"));
        assert_eq!(Refusal::new("x".into(), ExitStatus::from_raw(127 << 8), b"").reason, Reason::NotRun);
    }
}
