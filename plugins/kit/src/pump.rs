//! From a pipe to a sink: in chunks, and never later than 20 ms.

use std::time::Duration;

use crabbox_protocol::MAX_CHUNK;
use rustix::io::ioctl_fionread;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::{Result, Sink};

/// How long output may wait for more.
const PATIENCE: Duration = Duration::from_millis(20);

/// Moves everything from `source` to `sink`, and finishes it.
///
/// It ends with the pipe, or, once `ended` says that the writer is gone, with the last byte that is in
/// the pipe by then: a process that went to the background and holds the pipe open is not waited for.
pub(crate) async fn pump(
    mut source: Receiver,
    mut sink: Sink,
    mut ended: oneshot::Receiver<()>,
) -> Result<()> {
    let mut buffer = Vec::with_capacity(MAX_CHUNK);
    let mut over = false;
    let mut left = usize::MAX;
    let mut due = None;
    while left > 0 {
        buffer.clear();
        let mut limited = (&mut source).take(left.min(MAX_CHUNK) as u64);
        tokio::select! {
            biased;
            // First, because a chatty process in the background never lets the pipe run dry.
            _ = &mut ended, if !over => {
                over = true;
                left = ioctl_fionread(&source).map_err(std::io::Error::from)? as usize;
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                due = None;
                match sink.held() {
                    (held, tail) if held > tail => sink.write(&[]).await?,
                    _ => sink.flush().await?,
                }
            }
            read = limited.read_buf(&mut buffer) => {
                let count = read?;
                if count == 0 {
                    break;
                }
                left -= if over { count } else { 0 };
                sink.gather(&buffer).await?;
            }
        }
        due = match (due, sink.held()) {
            (_, (0, _)) => None,
            (None, _) => Some(Instant::now() + PATIENCE),
            (waiting, _) => waiting,
        };
    }
    sink.finish().await
}
