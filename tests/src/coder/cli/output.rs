//! What the CLI writes: text for people, and its two lines about an error.

use std::io::{self, Write};

use crate::coder::state::Refusal;

/// Why a command fails.
#[derive(Debug)]
pub(super) struct Failure {
    /// The command, once it has been understood.
    command: Option<String>,
    text: String,
}

impl Failure {
    pub(super) fn text(text: &str) -> Self {
        Self { command: None, text: text.to_owned() }
    }

    pub(super) fn not_logged_in(program: &str) -> Self {
        Self::text(&format!("You are not logged in. Try logging in using '{program} login <url>'."))
    }

    pub(super) fn unreachable(url: &str) -> Self {
        let host = url.split("://").last().unwrap_or(url).trim_end_matches('/');
        let lookup = host.split(':').next().unwrap_or(host);
        Self::text(&format!(
            "Get \"{}/api/v2/users/me\": dial tcp: lookup {lookup}: no such host",
            url.trim_end_matches('/')
        ))
    }

    /// Whether it is because another build is under way.
    pub(super) fn is_conflict(&self) -> bool {
        self.text.contains("A workspace build is already active.")
    }

    /// The failure of a command.
    pub(super) fn of(mut self, command: &str) -> Self {
        self.command = Some(command.to_owned());
        self
    }

    /// What was being done. An answer of the server keeps its line, and gets another before it.
    pub(super) fn during(mut self, what: &str) -> Self {
        let answer = self.text.strip_prefix("\0").map(str::to_owned);
        self.text = match answer {
            Some(answer) => match answer.strip_prefix("Trace=[") {
                Some(rest) => format!("\0Trace=[{what}: {rest}"),
                None => format!("\0Trace=[{what}: ]\n{answer}"),
            },
            None => format!("{what}: {}", self.text),
        };
        self
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        // Marks what the server has said.
        Self::text(&format!("\0{}", refusal.message))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::text(&error.to_string())
    }
}

impl Refusal {
    /// What the server says to a token that is not valid, and what the CLI makes of it.
    pub(super) fn signed_out() -> Self {
        Self::new(
            401,
            "You are signed out or your session has expired. Please sign in again to continue.\n\
             Suggestion: Try logging in using 'coder login'.",
        )
    }
}

/// Writes about a failure.
pub(super) fn fail(failure: &Failure) {
    let text = failure.text.trim_start_matches('\0');
    match &failure.command {
        Some(command) => to_stderr(&format!(
            "Encountered an error running \"coder {command}\", see \"coder {command} --help\" for more \
             information\nerror: {text}\n"
        )),
        None => to_stderr(&format!("{text}\n")),
    }
}

/// Writes, if anybody is there who reads it.
pub(super) fn to_stdout(text: &str) {
    let mut stdout = io::stdout().lock();
    if stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_err() {
        std::process::exit(1);
    }
}

/// Writes, if anybody is there who reads it.
pub(super) fn to_stderr(text: &str) {
    // There is nobody to tell.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
