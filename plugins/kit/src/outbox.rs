//! What the plugin sends, in order, through one bounded queue.

use crabbox_protocol::{Failure, MAX_LINE, Note, RequestId, Success, encode};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::{Error, Result};

/// How many lines may wait. Small, so that a host that stops reading stops what writes.
const WAITING: usize = 16;

/// The way out. Whoever sends waits while the host does not read.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    lines: mpsc::Sender<Vec<u8>>,
}

impl Outbox {
    /// Starts the task that writes to `output`. It ends when every outbox is gone or the host is.
    pub(crate) fn open(output: impl AsyncWrite + Unpin + Send + 'static) -> (Self, JoinHandle<()>) {
        let (lines, queue) = mpsc::channel(WAITING);
        (Self { lines }, tokio::spawn(write(queue, output)))
    }

    /// Sends a notification.
    ///
    /// # Errors
    ///
    /// `transport` when the host is gone, `internal` when the line is too long to send.
    pub(crate) async fn notify<P: Serialize>(&self, name: &str, params: P) -> Result<()> {
        let line = line(&Note::new(name, params))?;
        self.lines.send(line).await.map_err(|_| Error::transport("the host is gone"))
    }

    /// Sends the response to a request. Nobody is left to tell when the host is gone.
    pub(crate) async fn respond(&self, id: RequestId, outcome: Result<Box<RawValue>>) {
        let outcome = match outcome {
            Ok(result) => line(&Success::new(id, result)),
            Err(error) => line(&Failure::new(id, error.into_object())),
        };
        let sent = outcome.or_else(|error| line(&Failure::new(id, error.into_object())));
        if let Ok(line) = sent {
            let _ = self.lines.send(line).await;
        }
    }
}

fn line(message: &impl Serialize) -> Result<Vec<u8>> {
    let line = encode(message).map_err(|error| {
        Error::internal("the plugin made a message that cannot be written as JSON").cause(error)
    })?;
    if line.len() > MAX_LINE + 1 {
        let size = line.len();
        return Err(Error::internal(format!(
            "the plugin made a message of {size} bytes, and a line has at most {MAX_LINE}"
        )));
    }
    Ok(line)
}

async fn write(mut queue: mpsc::Receiver<Vec<u8>>, mut output: impl AsyncWrite + Unpin) {
    while let Some(line) = queue.recv().await {
        if output.write_all(&line).await.is_err() {
            return;
        }
        if queue.is_empty() && output.flush().await.is_err() {
            return;
        }
    }
}
