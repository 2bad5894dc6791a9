//! Work on a thread of its own, so that Ctrl-C is heard meanwhile.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::provider::Interrupts;

/// Whether work that nobody waits for any more should end.
pub(super) type Stop = Arc<AtomicBool>;

/// Does work on a thread of its own, until the user interrupts.
pub(super) async fn aside<T: Send + 'static>(
    interrupts: &mut Interrupts,
    work: impl FnOnce(Stop) -> Result<T> + Send + 'static,
) -> Result<T> {
    let stop = Stop::default();
    let told = stop.clone();
    let mut work = tokio::task::spawn_blocking(move || work(told));
    tokio::select! {
        biased;
        done = &mut work => {
            done.unwrap_or_else(|error| Err(Error::failure("reading the tree ended badly").cause(error)))
        }
        number = interrupts.next() => {
            stop.store(true, Ordering::Relaxed);
            // What writes a file sees it with the next bytes; what only reads is not waited for.
            let _ = tokio::time::timeout(Duration::from_millis(200), work).await;
            Err(Error::new(Exit::Signal(number), "interrupted"))
        }
    }
}

/// Counts what is written, until it is told to stop.
pub(super) struct Watched<W> {
    /// Where it is written to.
    pub(super) sink: W,
    /// When to stop.
    pub(super) stop: Stop,
    /// How many bytes were written.
    pub(super) written: u64,
    /// Whether it could not be written to.
    pub(super) failed: bool,
}

impl<W> Watched<W> {
    /// Nothing is written yet.
    pub(super) fn new(sink: W, stop: Stop) -> Self {
        Self { sink, stop, written: 0, failed: false }
    }
}

impl<W: Write> Write for Watched<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("interrupted"));
        }
        let count = self.sink.write(bytes).inspect_err(|_| self.failed = true)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
