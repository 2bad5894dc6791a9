//! What goes to the command: the word, the run's file, signs of life, and at last the end.

use std::time::Duration;

use crabbox_provider_kit::protocol::RunParams;
use crabbox_provider_kit::{Doing as _, Error, Result};
use futures_util::SinkExt as _;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, interval_at};
use tokio_tungstenite::tungstenite::{self, Message};

use super::frames::{self, CHUNK};
use super::socket::Sending;

/// How often the connection is shown to be in use. Proxies cut what is idle, some after a minute.
const BEAT: Duration = Duration::from_secs(10);

/// A sign of life that reaches the command's wrapper, unlike an empty frame.
const LIFE: &[u8] = b"\n";

/// What goes to standard input.
#[derive(Debug)]
pub(super) struct Input {
    file: Option<(File, String)>,
    size: u64,
    /// How often a sign of life follows, if at all.
    lifeline: Option<Duration>,
    /// `size` in digits, or `-`.
    share: String,
}

impl Input {
    /// Opens the run's input.
    pub(super) async fn open(params: &RunParams) -> Result<Self> {
        let mut file = None;
        if let Some(stdin) = &params.stdin {
            let path = stdin.path.clone();
            file = Some((File::open(&path).await.doing(|| format!("open `{path}`"))?, path));
        }
        let size = params.stdin.as_ref().map_or(0, |stdin| stdin.size);
        let lifeline = params.lifeline_ms.map(|ms| Duration::from_millis(ms.max(1)));
        let share = if lifeline.is_some() { "-".to_owned() } else { size.to_string() };
        Ok(Self { file, size, lifeline, share })
    }

    /// Whether signs of life follow the file.
    pub(super) fn has_lifeline(&self) -> bool {
        self.lifeline.is_some()
    }

    /// How much of standard input is the command's, as the script around it wants to know.
    pub(super) fn share(&self) -> &str {
        &self.share
    }

    /// Sends everything, and then keeps the connection in use for as long as this runs.
    ///
    /// # Errors
    ///
    /// Of the file only. When the connection breaks this ends, and the other half knows why.
    pub(super) async fn send(
        mut self,
        mut sink: Sending,
        word: &str,
        stage: watch::Sender<Stage>,
    ) -> Result<()> {
        let mut closing = stage.subscribe();
        let mut buffer = format!("{word}\n").into_bytes();
        let mut left = self.size;
        loop {
            if let Some((file, path)) = self.file.as_mut().filter(|_| left > 0) {
                let most = left.min((CHUNK - buffer.len()) as u64);
                let read = file.take(most).read_to_end(&mut buffer).await;
                let read = read.doing(|| format!("read `{path}`"))? as u64;
                if read < most {
                    return Err(Error::internal(format!(
                        "`{path}` is shorter than the {} bytes announced",
                        self.size
                    )));
                }
                left -= read;
            }
            if *closing.borrow() == Stage::Closing {
                break;
            }
            if sink.send(Message::text(frames::stdin(&buffer))).await.is_err() {
                return Ok(());
            }
            buffer.clear();
            if left == 0 {
                break;
            }
        }
        stage.send_if_modified(|stage| {
            let sending = *stage == Stage::Sending;
            if sending {
                *stage = Stage::Sent;
            }
            sending
        });
        _ = self.stay(&mut sink, &mut closing).await;
        Ok(())
    }

    /// Shows that we are there until the connection breaks.
    async fn stay(
        &self,
        sink: &mut Sending,
        closing: &mut watch::Receiver<Stage>,
    ) -> tungstenite::Result<()> {
        let every = |period: Duration| interval_at(Instant::now() + period, period);
        let (mut beat, mut life) = (every(BEAT), every(self.lifeline.unwrap_or(BEAT)));
        let mut open = true;
        loop {
            tokio::select! {
                _ = beat.tick() => {
                    sink.feed(Message::text(frames::HEARTBEAT)).await?;
                    sink.send(Message::Ping(Default::default())).await?;
                }
                _ = life.tick(), if open && self.lifeline.is_some() => {
                    sink.send(Message::text(frames::stdin(LIFE))).await?;
                }
                () = closed(closing), if open => {
                    sink.send(Message::text(frames::CLOSE)).await?;
                    open = false;
                }
            }
        }
    }
}

/// Waits until standard input is to be closed.
async fn closed(stage: &mut watch::Receiver<Stage>) {
    _ = stage.wait_for(|stage| *stage == Stage::Closing).await;
}

/// How far standard input has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The file is on its way.
    Sending,
    /// All of it is.
    Sent,
    /// It is to be closed.
    Closing,
}
