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
    /// Whether a build, or the plan before one, had begun: what the CLI says from then on may be the template's.
    pub(crate) building: bool,
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

/// How the line begins that comes before the error, and names the command.
const NAMED: &str = "Encountered an error running \"";

/// How what goes with signing in begins.
const SIGNED_OUT: &[&str] = &["you are signed out", "you are not logged in", "api key is invalid"];

/// How what shows before anything is made begins, and what kind of error it is.
const WRONG: &[(&str, ErrorKind)] = &[
    ("no template found with the name", ErrorKind::ConfigInvalid),
    ("template is in organization", ErrorKind::ConfigInvalid),
    ("multiple templates found with the name", ErrorKind::ConfigInvalid),
    ("unable to resolve preset", ErrorKind::ConfigInvalid),
    ("can't parse given parameter", ErrorKind::ConfigInvalid),
    ("prepare build: eof", ErrorKind::InputRequired),
    ("prepare build: can't parse parameter", ErrorKind::ConfigInvalid),
    ("prepare build: parameter \"", ErrorKind::ConfigInvalid),
    ("parameter \"", ErrorKind::ConfigInvalid),
    ("workspace name \"", ErrorKind::ConfigInvalid),
    ("parsing flags (", ErrorKind::Unsupported),
    ("unknown flag", ErrorKind::Unsupported),
    ("unknown shorthand flag", ErrorKind::Unsupported),
];

/// How what a user may not do begins. A template's cloud has sentences of its own, so it proves nothing.
const FORBIDDEN: &[&str] = &["forbidden.", "you are not authorized", "insufficient permissions"];

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
    /// Reads what a command said on standard error, and of standard output whether a build had begun.
    pub(crate) fn new(command: String, status: ExitStatus, stdout: &[u8], stderr: &[u8]) -> Self {
        let (building, text) = (is_building(stdout), said(&String::from_utf8_lossy(stderr)));
        let reason = match status.code() {
            Some(126 | 127) if !building => Reason::NotRun,
            _ => reason(&text, building),
        };
        let text = match (text.is_empty(), status.code()) {
            (false, _) => text,
            (true, Some(code)) => format!("it ended with exit code {code} and said nothing"),
            (true, None) => "it was killed".to_owned(),
        };
        Self { command, reason, text, building }
    }

    /// Whether it is certain that nothing was made: the CLI said so in words of its own, and before any build.
    pub(crate) fn is_early(&self) -> bool {
        !self.building && matches!(self.reason, Reason::Wrong(_) | Reason::SignedOut | Reason::NotRun)
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

/// Whether standard output shows a build, or the plan before one: every stage of it has a line.
fn is_building(stdout: &[u8]) -> bool {
    let text = String::from_utf8_lossy(stdout);
    text.lines().map(clean).any(|line| line.starts_with("==> ") || line.starts_with("=== "))
}

/// The error itself: what comes after the line that names the command, and no more than a few lines.
fn said(stderr: &str) -> String {
    // The first: what a template says comes later, and may look the same.
    let named = stderr.starts_with(NAMED).then_some(0).or_else(|| stderr.find(&format!("\n{NAMED}")));
    let named = named.unwrap_or_default();
    let marker = stderr[named..].find("\nerror: ").map(|at| named + at + 1);
    let from = marker.or_else(|| stderr.starts_with("error: ").then_some(0));
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

/// Coder's own sentences are known by how the text begins. Further on, and anywhere once a build has begun, the words
/// are the template's, terraform's or a cloud's.
fn reason(text: &str, building: bool) -> Reason {
    let lower = text.to_lowercase();
    let begins = |with: &[&str]| with.iter().any(|with| lower.starts_with(with));
    match () {
        () if !building && text.trim_end_matches('.') == ABSENT => Reason::Absent,
        () if begins(&["a workspace build is already active"]) => Reason::Busy,
        () if begins(SIGNED_OUT) => Reason::SignedOut,
        () if begins(&["a workspace already exists named"]) => Reason::Exists,
        () if begins(&["workspace \""]) && lower.contains("\" already exists") => Reason::Exists,
        // Which is what the build itself finds.
        () if lower.contains("insufficient quota") => Reason::Quota,
        () if building => Reason::Other,
        () if UNREACHABLE.iter().any(|words| lower.contains(words)) => Reason::Unreachable,
        () if lower == "forbidden" || begins(FORBIDDEN) => Reason::Forbidden,
        () => match WRONG.iter().find(|(with, _)| lower.starts_with(with)) {
            Some((_, kind)) => Reason::Wrong(*kind),
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
        Refusal::new("coder stop".to_owned(), status, b"", stderr.as_bytes())
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
            (
                "workspace name \"a--b\" is invalid: must be alphanumeric",
                Reason::Wrong(ErrorKind::ConfigInvalid),
            ),
            (
                "prepare build: parameter \"x\" is not present in the template.",
                Reason::Wrong(ErrorKind::ConfigInvalid),
            ),
        ] {
            assert_eq!(refusal(text).reason, reason, "{text}");
        }
        assert_eq!(refusal("prepare build: EOF").error().kind(), ErrorKind::InputRequired);
    }

    /// Those are of terraform, or of whoever it asks.
    #[test]
    fn the_words_of_a_template_are_not_coders() {
        let status = ExitStatus::from_raw(1 << 8);
        for text in [
            "pods is forbidden: User \"system:serviceaccount:coder\" cannot create resource",
            "UnauthorizedOperation: You are not authorized to perform this operation",
            "You are not authorized to perform this operation",
            "Error: insufficient permissions",
            "machine_type is invalid: no such type",
            "watch build: workspace name \"x\" is invalid: of a cloud's",
            "terraform: unknown flag: --x",
            "a script printed: you are not logged in, try coder login",
            "the registry's API key is invalid",
            "Error: a workspace already exists named \"x\"",
            "a\nEncountered an error running \"x\"\nerror: You are not logged in.",
            "a\nerror: unknown flag: --x",
        ] {
            let early = refusal(text);
            assert!(matches!(early.reason, Reason::Other | Reason::Forbidden), "{text}: {early:?}");
            assert!(!early.is_early(), "{text}");
        }
        // Whatever comes once a build has begun proves nothing.
        let stdout = "Planning workspace...\n\u{1b}[1m==> \u{29d7} Queued\u{1b}[0m\n".as_bytes();
        for text in
            ["unknown flag: --x", "You are not logged in.", "prepare build: EOF", "parameter \"x\" is wrong"]
        {
            assert!(refusal(text).is_early(), "{text}");
            let stderr = format!("error: {text}\n");
            let late = Refusal::new("coder create".into(), status, stdout, stderr.as_bytes());
            assert!(!late.is_early(), "{text}");
        }
        let late = Refusal::new("coder create".into(), ExitStatus::from_raw(127 << 8), stdout, b"");
        assert!(!late.is_early() && late.reason == Reason::Other);
    }

    #[test]
    fn what_is_shown_is_the_error_without_colours() {
        assert_eq!(refusal("one\n\n\u{1b}[1;31mtwo\u{1b}[0m\u{7}").text, "one; two");
        let status = ExitStatus::from_raw(1 << 8);
        assert_eq!(Refusal::new("x".into(), status, b"", b"a\nb\nc\nd\n").text, "b; c; d");
        assert!(Refusal::new("x".into(), status, b"", b"").text.contains("exit code 1"));
        assert_eq!(Refusal::new("x".into(), ExitStatus::from_raw(127 << 8), b"", b"").reason, Reason::NotRun);
    }
}
