//! Output by notification: a bounded queue and a thread that writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fd::AsFd;
use tokio::sync::{Notify, mpsc, oneshot};

use super::{Descriptor, Shared};
use crate::output::write_all;

/// How many pieces may wait. Each is at most one line of the protocol.
const QUEUE: usize = 16;

/// One stream's queue, and the thread behind it.
#[derive(Debug)]
pub(super) struct Sink {
    queue: mpsc::Sender<Vec<u8>>,
    done: oneshot::Receiver<()>,
    unwritten: Arc<AtomicU64>,
    shared: Arc<Shared>,
}

impl Sink {
    /// Starts the thread that writes to `target`.
    pub(super) fn start(target: Descriptor, shared: Arc<Shared>, broken: Arc<Notify>) -> Self {
        let (queue, mut pieces) = mpsc::channel::<Vec<u8>>(QUEUE);
        let (finished, done) = oneshot::channel();
        let unwritten = Arc::new(AtomicU64::new(0));
        let sink = Self { queue, done, unwritten: unwritten.clone(), shared: shared.clone() };
        std::thread::spawn(move || {
            while let Some(piece) = pieces.blocking_recv() {
                if !shared.broken.load(Ordering::Relaxed)
                    && let Err(error) = write_all(target.as_fd(), &piece)
                {
                    shared.fail(error);
                    broken.notify_one();
                }
                unwritten.fetch_sub(piece.len() as u64, Ordering::Relaxed);
            }
            drop(target);
            let _ = finished.send(());
        });
        sink
    }

    /// Takes a piece, or hands it back when the queue is full. After a cancel it is dropped instead.
    pub(super) fn offer(&self, piece: Vec<u8>) -> Option<Vec<u8>> {
        let length = piece.len() as u64;
        // Counted first: the thread may be done with the piece before the next line runs.
        self.unwritten.fetch_add(length, Ordering::Relaxed);
        let (Err(mpsc::error::TrySendError::Full(piece)) | Err(mpsc::error::TrySendError::Closed(piece))) =
            self.queue.try_send(piece)
        else {
            return None;
        };
        self.unwritten.fetch_sub(length, Ordering::Relaxed);
        if self.shared.lossy.load(Ordering::Relaxed) {
            self.shared.dropped.fetch_add(length, Ordering::Relaxed);
            return None;
        }
        Some(piece)
    }

    /// Waits until a piece would be taken.
    pub(super) async fn room(&self) {
        let _ = self.queue.reserve().await;
    }

    /// No more will come.
    pub(super) fn finish(self) -> Finishing {
        Finishing { done: self.done, unwritten: self.unwritten }
    }
}

/// A queue that nothing is added to any more.
#[derive(Debug)]
pub(super) struct Finishing {
    /// Hears when everything is written.
    pub(super) done: oneshot::Receiver<()>,
    /// How many bytes wait.
    pub(super) unwritten: Arc<AtomicU64>,
}
