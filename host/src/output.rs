//! Everything that crabbox itself prints. Data goes to stdout, all else to stderr.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use serde::Serialize;

use crate::error::{Error, Result};

/// Prints data that was asked for. A reader that went away is no error.
pub(crate) fn data(text: &str) -> Result<()> {
    match write_all(rustix::stdio::stdout(), text.as_bytes()) {
        Ok(()) | Err(Errno::PIPE) => Ok(()),
        Err(error) => Err(Error::failure("cannot write to standard output").cause(error)),
    }
}

/// Writes everything, waiting for the reader, also to a descriptor that somebody made non-blocking.
pub(crate) fn write_all(target: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(target, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => drop(poll(&mut [PollFd::from_borrowed_fd(target, PollFlags::OUT)], None)),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Prints data as indented JSON, without a character in it that drives a terminal.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|error| Error::failure("cannot encode the answer").cause(error))?;
    data(&(escaped(&text) + "\n"))
}

/// JSON that says the same without what JSON allows to stand as it is and a terminal obeys.
fn escaped(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' => safe.push(c),
            // All of them have four digits.
            c if c.is_control() || is_invisible(c) => drop(write!(safe, "\\u{:04x}", u32::from(c))),
            c => safe.push(c),
        }
    }
    safe
}

/// Prints help, in colours where the terminal has them.
pub(crate) fn help(text: &clap::builder::StyledStr) -> Result<()> {
    let styled = text.ansi().to_string();
    data(&for_terminal(&styled, AutoStream::choice(&io::stdout())))
}

/// The text, without its colours where they are not wanted.
fn for_terminal(text: &str, choice: ColorChoice) -> Cow<'_, str> {
    match choice {
        ColorChoice::Never => Cow::Owned(strip_str(text).to_string()),
        _ => Cow::Borrowed(text),
    }
}

/// Whether standard error stood still when it was last written to.
static STALLED: AtomicBool = AtomicBool::new(false);

/// How long a reader of standard error is waited for, once.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Whether a line of a terminal is drawn that has no end yet.
static DRAWN: AtomicBool = AtomicBool::new(false);

/// Draws a line on the terminal in the place of the one that was drawn before.
pub(crate) fn draw(line: &str) {
    let columns = rustix::termios::tcgetwinsize(rustix::stdio::stderr()).map_or(0, |size| size.ws_col);
    let width = if columns == 0 { 79 } else { usize::from(columns) - 1 };
    let line: String = without_secrets(line).chars().take(width).collect();
    DRAWN.store(true, Ordering::Relaxed);
    write_stderr(&format!("{ERASE}{line}"));
}

/// Takes away what was drawn.
pub(crate) fn undraw() {
    if DRAWN.swap(false, Ordering::Relaxed) {
        write_stderr(ERASE);
    }
}

/// Goes to the beginning of the line and erases it.
const ERASE: &str = "\r\u{1b}[K";

/// Says something on standard error. What cannot be said is dropped: a lease that is held weighs more.
fn emit(text: &str) {
    undraw();
    write_stderr(&(for_terminal(text, AutoStream::choice(&io::stderr())).into_owned() + "\n"));
}

fn write_stderr(text: &str) {
    let stderr = rustix::stdio::stderr();
    // As much as POSIX guarantees a pipe to take without blocking once it is ready.
    for piece in text.as_bytes().chunks(512) {
        let wait =
            if STALLED.load(Ordering::Relaxed) { Timespec { tv_sec: 0, tv_nsec: 0 } } else { PATIENCE };
        let ready = poll(&mut [PollFd::from_borrowed_fd(stderr, PollFlags::OUT)], Some(&wait));
        let written = ready.is_ok_and(|count| count > 0) && write_all(stderr, piece).is_ok();
        STALLED.store(!written, Ordering::Relaxed);
        if !written {
            return;
        }
    }
}

/// Values that are never printed, whoever brings them up.
static HIDDEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Makes sure that a secret is never printed. One of a few letters would only mangle what is said.
pub(crate) fn hide(secret: &str) {
    if secret.len() >= 6 {
        HIDDEN.lock().unwrap_or_else(PoisonError::into_inner).push(secret.to_owned());
    }
}

/// All that is never printed.
pub(crate) fn hidden() -> Vec<String> {
    HIDDEN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Text without the secrets in it.
fn without_secrets(text: &str) -> Cow<'_, str> {
    let hidden = HIDDEN.lock().unwrap_or_else(PoisonError::into_inner);
    hidden.iter().fold(Cow::Borrowed(text), |text, secret| match text.contains(secret) {
        true => Cow::Owned(text.replace(secret, "[redacted]")),
        false => text,
    })
}

/// Tells the user something, in one line.
pub(crate) fn say(text: impl AsRef<str>) {
    emit(&without_secrets(text.as_ref()));
}

/// Warns the user, in one line.
pub(crate) fn warn(text: impl AsRef<str>) {
    emit(&without_secrets(&format!("\u{1b}[33mwarning:\u{1b}[0m {}", text.as_ref())));
}

/// Prints an error with its causes and hints.
pub(crate) fn error(error: &Error) {
    let mut text = format!("\u{1b}[31merror:\u{1b}[0m {}", error.message);
    for cause in &error.causes {
        let _ = write!(text, "\ncaused by: {cause}");
    }
    for hint in &error.hints {
        let _ = write!(text, "\n\u{1b}[36mhint:\u{1b}[0m {hint}");
    }
    emit(&without_secrets(&text));
}

/// A number of bytes for people.
pub(crate) fn human(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Text of a plugin's, safe to print: control characters are escaped, and it is one line of at most
/// 2,000 characters.
pub(crate) fn foreign(text: &str) -> String {
    const MOST: usize = 2_000;
    let mut safe = String::new();
    for (n, c) in without_secrets(text).trim_end().chars().enumerate() {
        if n == MOST {
            safe.push_str(" ...");
            break;
        }
        match c {
            '\t' => safe.push(' '),
            c if c.is_control() || is_invisible(c) => safe.extend(c.escape_default()),
            c => safe.push(c),
        }
    }
    safe
}

/// Characters that reorder or hide their neighbours on a terminal.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Lays rows out in columns, two spaces between them, the last one as long as it is.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |n: usize| rows.iter().filter_map(|r| r.get(n)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (n, cell) in row.iter().enumerate() {
            let _ = write!(line, "{cell:<width$}  ", width = widths[n]);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_says_cannot_drive_the_terminal() {
        assert_eq!(foreign("a\u{1b}[31mb\nc\u{202e}d\t\n"), "a\\u{1b}[31mb\\nc\\u{202e}d");
        assert_eq!(foreign(&"x".repeat(3_000)).len(), 2_004);
    }

    #[test]
    fn json_cannot_drive_the_terminal() {
        let text = "a\u{9b}31m\u{7f}\u{202e}\u{1b}\n\u{e9}";
        let json = serde_json::to_string_pretty(&[text]).unwrap();
        assert_eq!(escaped(&json), "[\n  \"a\\u009b31m\\u007f\\u202e\\u001b\\n\u{e9}\"\n]");
        assert_eq!(serde_json::from_str::<Vec<String>>(&escaped(&json)).unwrap(), [text]);
    }

    #[test]
    fn a_secret_is_never_printed() {
        hide("s3cr3t-token");
        assert_eq!(foreign("401 for s3cr3t-token at /s3cr3t-token"), "401 for [redacted] at /[redacted]");
    }

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["NAME".into(), "STATE".into()], vec!["a".into(), "ok".into()]];
        assert_eq!(table(&rows), "NAME  STATE\na     ok\n");
    }
}
