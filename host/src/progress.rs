//! How long work is getting on: a line that is drawn again and again on a terminal, a line every few seconds
//! elsewhere.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::output::{self, human, say};

/// How often a line says that something is still going on, where it is not a terminal that is written to.
const TICK: Duration = Duration::from_secs(5);

/// How long work takes before a terminal shows anything of it, and how often that is drawn.
const FRAME: Duration = Duration::from_millis(200);

/// What is being done and how far it is.
#[derive(Debug)]
pub(crate) struct Progress {
    what: String,
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    /// Work of which nothing can be counted, or nobody knows how much it will be.
    pub(crate) fn of(what: impl Into<String>) -> Self {
        Self { what: what.into(), done: AtomicU64::new(0), total: AtomicU64::new(0) }
    }

    /// Work on so many bytes.
    pub(crate) fn of_bytes(what: impl Into<String>, total: u64) -> Self {
        let progress = Self::of(what);
        progress.total.store(total, Ordering::Relaxed);
        progress
    }

    /// So many of the bytes are done.
    pub(crate) fn done(&self, bytes: u64) {
        self.done.store(bytes, Ordering::Relaxed);
    }

    /// So many of so many bytes are done.
    pub(crate) fn done_of(&self, bytes: u64, total: u64) {
        self.total.store(total, Ordering::Relaxed);
        self.done(bytes);
    }

    /// How far it is, in one line.
    fn line(&self, after: Duration) -> String {
        let Self { what, done, total } = self;
        let (done, total) = (done.load(Ordering::Relaxed), total.load(Ordering::Relaxed));
        let so_far = format!("{}s so far", after.as_secs());
        if done == 0 {
            return format!("{what}, {so_far}");
        }
        let of = if total == 0 { String::new() } else { format!(" of {}", human(total)) };
        let rate = (done as f64 / after.as_secs_f64().max(0.001)) as u64;
        format!("{what}: {}{of}, {}/s, {so_far}", human(done), human(rate))
    }
}

/// Waits for the work, and shows how far it is.
pub(crate) async fn shown_while<T>(progress: &Progress, work: impl Future<Output = T>) -> T {
    let terminal =
        std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    let begun = Instant::now();
    let mut work = std::pin::pin!(work);
    loop {
        let done = tokio::select! {
            biased;
            done = &mut work => Some(done),
            () = sleep(if terminal { FRAME } else { TICK }) => None,
        };
        let line = progress.line(begun.elapsed());
        match done {
            Some(done) => {
                output::undraw();
                return done;
            }
            None if terminal => output::draw(&line),
            None => say(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_and_how_much_where_that_is_known() {
        let progress = Progress::of("making lease x");
        assert_eq!(progress.line(Duration::from_secs(7)), "making lease x, 7s so far");
        let progress = Progress::of_bytes("packing", 3 << 20);
        assert_eq!(progress.line(Duration::from_secs(1)), "packing, 1s so far");
        progress.done(1 << 20);
        assert_eq!(
            progress.line(Duration::from_secs(2)),
            "packing: 1.0 MiB of 3.0 MiB, 512.0 KiB/s, 2s so far"
        );
        let progress = Progress::of("fetching");
        progress.done(1 << 20);
        assert_eq!(progress.line(Duration::from_secs(2)), "fetching: 1.0 MiB, 512.0 KiB/s, 2s so far");
    }
}
