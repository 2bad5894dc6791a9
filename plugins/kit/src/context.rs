//! What a method has at hand while its request is under way.

use crabbox_protocol::{LeaseEvent, LeaseReport, PathRef, Progress, RequestId, Stream, note};

use crate::outbox::Outbox;
use crate::{CancelToken, Result, Sink};

/// A request under way: how to tell the host something before the response, and whether to stop.
#[derive(Debug)]
pub struct Context {
    request: RequestId,
    cancel: CancelToken,
    outbox: Outbox,
}

impl Context {
    pub(crate) fn new(request: RequestId, cancel: CancelToken, outbox: Outbox) -> Self {
        Self { request, cancel, outbox }
    }

    /// The request's number.
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// Whether the host still wants this.
    pub fn cancel(&self) -> &CancelToken {
        &self.cancel
    }

    /// Tells the user, in one line, what is going on.
    ///
    /// # Errors
    ///
    /// `transport` when the host is gone.
    pub async fn progress(&self, message: impl Into<String> + Send) -> Result<()> {
        self.report(Progress { message: message.into(), ..Progress::default() }).await
    }

    /// Tells how far it is: like [`progress`](Self::progress), with numbers. `request` is filled in.
    ///
    /// # Errors
    ///
    /// `transport` when the host is gone.
    pub async fn report(&self, progress: Progress) -> Result<()> {
        self.outbox.notify(note::PROGRESS, Progress { request: self.request, ..progress }).await
    }

    /// Tells the host something about the lease before the response. Call it as soon as something was
    /// created, so that the host can name it whatever happens next.
    ///
    /// # Errors
    ///
    /// `transport` when the host is gone.
    pub async fn lease(&self, lease: LeaseReport) -> Result<()> {
        self.outbox.notify(note::LEASE, LeaseEvent { request: self.request, lease }).await
    }

    /// Opens the way for a stream of output: to the FIFO `path` where the host gave one (`stdout` and
    /// `stderr` of a `run`), else by notification.
    ///
    /// # Errors
    ///
    /// When the FIFO cannot be opened, with the nearest kind.
    pub fn sink(&self, stream: Stream, path: Option<&PathRef>) -> Result<Sink> {
        match path {
            Some(path) => Sink::to_path(&path.path),
            None => Ok(Sink::by_notification(self.outbox.clone(), self.request, stream)),
        }
    }
}
