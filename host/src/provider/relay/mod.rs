//! A command's output on its way through the host: byte for byte, in order per stream, live.
//!
//! `notes` writes what notifications carry, `fifo` moves what the plugin writes to a path. Either way a
//! thread per stream does the writing, so that a reader who stands still stops the plugin and never the
//! host. After a cancel nothing waits any more: what cannot be written is counted and dropped.

mod fifo;
mod notes;

pub(crate) use fifo::make_fifo;

use std::borrow::Cow;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crabbox_protocol::{PathRef, Stream};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use crate::error::{Error, Result};

/// How long a blocked writer gets after a cancel.
const PATIENCE: Duration = Duration::from_millis(250);

/// How much captured output is kept, per stream.
const CAPTURE: usize = 1024 * 1024;

/// The way that the output of one run takes.
#[derive(Debug)]
pub(crate) struct Relay {
    way: Way,
    /// What is captured.
    kept: [Arc<Mutex<Vec<u8>>>; 2],
    shared: [Arc<Shared>; 2],
    broken: Arc<Notify>,
}

#[derive(Debug)]
enum Way {
    /// Notifications; what is for the host itself is kept.
    Notes([Option<notes::Sink>; 2]),
    Fifos([fifo::Mover; 2]),
}

/// A descriptor that output goes to.
#[derive(Debug)]
pub(super) enum Descriptor {
    /// One of this process's own.
    Own(BorrowedFd<'static>),
    /// The writing end of a pipe, which ends with the output.
    Pipe(OwnedFd),
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(own) => *own,
            Self::Pipe(pipe) => pipe.as_fd(),
        }
    }
}

/// What the threads and the session tell each other.
#[derive(Debug, Default)]
struct Shared {
    /// Nothing may wait any more.
    lossy: AtomicBool,
    /// Nothing can be written any more.
    broken: AtomicBool,
    /// Why not, where it is not that the reader went away.
    failure: Mutex<Option<Errno>>,
    /// Bytes that nobody got.
    dropped: AtomicU64,
}

impl Shared {
    /// Nothing can be written any more.
    fn fail(&self, error: Errno) {
        if error != Errno::PIPE {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
        self.broken.store(true, Ordering::Relaxed);
    }
}

/// What became of the output.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    /// Captured standard output.
    pub(crate) stdout: Vec<u8>,
    /// Captured standard error.
    pub(crate) stderr: Vec<u8>,
    /// Bytes that were dropped after a cancel because nobody read them.
    pub(crate) dropped: u64,
    /// Whether our standard output takes no more: its reader went away, or see `failure`.
    pub(crate) broken: bool,
    /// Why standard output could not be written to, where it is not that its reader went away.
    pub(crate) failure: Option<Errno>,
    /// Whether the user did not wait for the reader any more.
    pub(crate) given_up: bool,
}

impl Relay {
    /// To this process's own standard output and error. With `directory` the plugin writes to FIFOs
    /// that are made there.
    pub(crate) fn live(directory: Option<&Path>) -> Result<Self> {
        Self::to(directory, STREAMS.map(|stream| Some(descriptor(stream))))
    }

    /// To the host, at most 1 MiB of each stream. With `directory` the plugin writes to FIFOs that are
    /// made there.
    pub(crate) fn capture(directory: Option<&Path>) -> Result<Self> {
        Self::to(directory, [None, None])
    }

    /// Standard output to a pipe, which ends when the relay does; standard error to the host, at most 1 MiB of
    /// it. With `directory` the plugin writes to FIFOs that are made there.
    pub(crate) fn into_pipe(directory: Option<&Path>, pipe: OwnedFd) -> Result<Self> {
        Self::to(directory, [Some(Descriptor::Pipe(pipe)), None])
    }

    /// Standard output to this process's own, standard error to the host, at most 1 MiB of it. With `directory`
    /// the plugin writes to FIFOs that are made there.
    pub(crate) fn half_live(directory: Option<&Path>) -> Result<Self> {
        Self::to(directory, [Some(descriptor(Stream::Stdout)), None])
    }

    /// Each stream to a descriptor, or to the host.
    fn to(directory: Option<&Path>, targets: [Option<Descriptor>; 2]) -> Result<Self> {
        let (kept, shared, broken) = Default::default();
        let mut relay = Self { way: Way::Notes([None, None]), kept, shared, broken };
        let [out, err] = targets;
        relay.way = match directory {
            Some(directory) => Way::Fifos([
                relay.fifo(directory, Stream::Stdout, out)?,
                relay.fifo(directory, Stream::Stderr, err)?,
            ]),
            None => Way::Notes([relay.sink(Stream::Stdout, out), relay.sink(Stream::Stderr, err)]),
        };
        Ok(relay)
    }

    fn sink(&self, stream: Stream, target: Option<Descriptor>) -> Option<notes::Sink> {
        let shared = self.shared[index(stream)].clone();
        target.map(|target| notes::Sink::start(target, shared, self.broken.clone()))
    }

    fn fifo(&self, directory: &Path, stream: Stream, target: Option<Descriptor>) -> Result<fifo::Mover> {
        let path = directory.join(["stdout", "stderr"][index(stream)]);
        let target = match target {
            Some(descriptor) => fifo::Target::Fd(descriptor),
            None => fifo::Target::Memory(self.kept[index(stream)].clone()),
        };
        let shared = self.shared[index(stream)].clone();
        fifo::Mover::start(path.clone(), target, shared, self.broken.clone()).map_err(|error| {
            Error::failure(format!("cannot make the pipe `{}`", path.display())).cause(error)
        })
    }

    /// Where the plugin is to write, if it is to write to paths.
    pub(crate) fn paths(&self) -> Option<[PathRef; 2]> {
        let Way::Fifos(movers) = &self.way else { return None };
        let reference = |mover: &fifo::Mover| PathRef { path: mover.path().to_string_lossy().into_owned() };
        Some([reference(&movers[0]), reference(&movers[1])])
    }

    /// Takes output that came by notification. What there is no room for now is handed back.
    ///
    /// # Errors
    ///
    /// Says so when the output should have gone to a path.
    pub(super) fn offer(
        &mut self,
        stream: Stream,
        bytes: Cow<'_, [u8]>,
    ) -> Result<Option<Vec<u8>>, &'static str> {
        let n = index(stream);
        match &mut self.way {
            Way::Notes(sinks) => match &sinks[n] {
                Some(sink) => Ok(sink.offer(bytes.into_owned())),
                None => {
                    keep(&mut self.kept[n].lock().unwrap_or_else(PoisonError::into_inner), &bytes);
                    Ok(None)
                }
            },
            Way::Fifos(_) => Err("it notified of output that it was given a path for"),
        }
    }

    /// Waits until there is room for output of `stream`. Cancel-safe.
    pub(super) async fn room(&self, stream: Stream) {
        if let Way::Notes(sinks) = &self.way
            && let Some(sink) = &sinks[index(stream)]
        {
            sink.room().await;
        }
    }

    /// Waits until the reader of our standard output is gone. Cancel-safe.
    pub(crate) async fn broken(&self) {
        while !self.shared[0].broken.load(Ordering::Relaxed) {
            self.broken.notified().await;
        }
    }

    /// From now on nothing waits for a reader.
    pub(crate) fn lossy(&mut self) {
        for shared in &self.shared {
            shared.lossy.store(true, Ordering::Relaxed);
        }
        if let Way::Fifos(movers) = &self.way {
            movers.iter().for_each(fifo::Mover::wake);
        }
    }

    /// Writes what is still on its way, and returns what became of all of it. Once `gives_up` is done,
    /// nothing waits for a reader any more.
    pub(crate) async fn finish(self, gives_up: impl Future<Output = ()>) -> Delivered {
        let Self { way, kept, shared, broken: _ } = self;
        let mut waiting = Waiting { shared: &shared, given_up: false, gives_up: pin!(gives_up) };
        match way {
            Way::Notes(sinks) => {
                for (sink, shared) in sinks.into_iter().zip(&shared) {
                    let Some(mut sink) = sink.map(notes::Sink::finish) else { continue };
                    if !waiting.for_end_of(&mut sink.done, || ()).await {
                        let left = sink.unwritten.load(Ordering::Relaxed);
                        shared.dropped.fetch_add(left, Ordering::Relaxed);
                    }
                }
            }
            Way::Fifos(movers) => {
                for mut mover in movers.map(fifo::Mover::finish) {
                    waiting.for_end_of(&mut mover.done, || mover.wake.wake()).await;
                }
            }
        }
        let given_up = waiting.given_up;
        let [stdout, stderr] =
            kept.map(|kept| std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner)));
        Delivered {
            stdout,
            stderr,
            dropped: shared.iter().map(|s| s.dropped.load(Ordering::Relaxed)).sum(),
            broken: shared[0].broken.load(Ordering::Relaxed),
            failure: shared[0].failure.lock().unwrap_or_else(PoisonError::into_inner).take(),
            given_up,
        }
    }
}

/// Waiting for the threads to end.
struct Waiting<'a, F> {
    shared: &'a [Arc<Shared>; 2],
    given_up: bool,
    gives_up: Pin<&'a mut F>,
}

impl<F: Future<Output = ()>> Waiting<'_, F> {
    /// Waits for one: for ever, until the user gives up, or after a cancel for a moment only.
    async fn for_end_of(&mut self, done: &mut oneshot::Receiver<()>, wake: impl Fn()) -> bool {
        if !self.shared[0].lossy.load(Ordering::Relaxed) {
            tokio::select! {
                ended = &mut *done => return ended.is_ok(),
                () = &mut self.gives_up => {
                    self.given_up = true;
                    self.shared.iter().for_each(|shared| shared.lossy.store(true, Ordering::Relaxed));
                    wake();
                }
            }
        }
        timeout(PATIENCE, done).await.is_ok()
    }
}

/// Adds to what is captured, up to the limit.
fn keep(kept: &mut Vec<u8>, bytes: &[u8]) {
    let room = CAPTURE.saturating_sub(kept.len());
    kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

fn descriptor(stream: Stream) -> Descriptor {
    Descriptor::Own(match stream {
        Stream::Stdout => rustix::stdio::stdout(),
        Stream::Stderr => rustix::stdio::stderr(),
    })
}
