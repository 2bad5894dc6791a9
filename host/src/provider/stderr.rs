//! What a plugin says on standard error: the last of it, kept for the message of a failure.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::ChildStderr;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::trace::{Direction, Track};
use crate::output::foreign;

/// How much is kept.
const KEEP: usize = 8 * 1024;

/// How many lines of it are shown.
const LINES: usize = 6;

/// How long the last words of a process that is gone may take to be read.
const MOMENT: Duration = Duration::from_millis(100);

/// The tail of a stream. A task drains the stream for as long as anything holds its other end.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    kept: Kept,
    drain: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<VecDeque<u8>>>);

impl Tail {
    /// Starts to drain a plugin's standard error.
    pub(super) fn drain(mut stderr: ChildStderr, track: Option<Track>) -> Self {
        let tail = Kept::default();
        let kept = tail.clone();
        let drain = tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            let mut lines = Lines { track, unfinished: Vec::new() };
            while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
                kept.push(&buffer[..count]);
                lines.record(&buffer[..count]);
            }
        });
        Self { kept: tail, drain: Some(drain) }
    }

    /// The process is gone: what it said is read to its end, unless somebody else holds the stream.
    pub(crate) async fn ended(&mut self) {
        if let Some(drain) = self.drain.take() {
            let _ = timeout(MOMENT, drain).await;
        }
    }

    /// Whether what is kept has this text in it.
    pub(crate) fn has(&self, text: &str) -> bool {
        let kept = self.kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = kept.iter().copied().collect();
        !text.is_empty() && bytes.windows(text.len()).any(|part| part == text.as_bytes())
    }

    /// The last lines, safe to print; empty when nothing was said.
    pub(crate) fn last(&self) -> String {
        self.kept.last()
    }
}

impl Kept {
    fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(bytes);
        let excess = kept.len().saturating_sub(KEEP);
        kept.drain(..excess);
    }

    fn last(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = kept.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        let lines = &lines[lines.len().saturating_sub(LINES)..];
        lines.iter().map(|line| foreign(line)).collect::<Vec<_>>().join(" | ")
    }
}

/// What is written down of it, in whole lines.
struct Lines {
    track: Option<Track>,
    unfinished: Vec<u8>,
}

impl Lines {
    fn record(&mut self, bytes: &[u8]) {
        let Some(track) = &self.track else { return };
        self.unfinished.extend_from_slice(bytes);
        let whole = self.unfinished.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
        let enough = (self.unfinished.len() > KEEP).then_some(self.unfinished.len());
        if let Some(end) = whole.or(enough) {
            let lines: Vec<u8> = self.unfinished.drain(..end).collect();
            track.record(Direction::Stderr, &lines);
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if let Some(track) = &self.track
            && !self.unfinished.is_empty()
        {
            track.record(Direction::Stderr, &self.unfinished);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_and_not_the_beginning() {
        let tail = Kept::default();
        tail.push(&[b'x'; 20_000]);
        tail.push(b"\nwhy: \x1b[31mno disk\n\n");
        assert!(tail.last().ends_with("| why: \\u{1b}[31mno disk"), "{}", tail.last());
        assert!(tail.last().len() <= KEEP);
    }
}
