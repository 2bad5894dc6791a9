//! An execution from its first byte to its end: what comes from the command, and the proof that it is whole.

use std::time::Duration;

use crabbox_provider_kit::http::Bytes;
use crabbox_provider_kit::protocol::{ErrorKind, Remote};
use crabbox_provider_kit::{Error, Result, Sink};
use futures_util::StreamExt as _;
use futures_util::stream::SplitStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};

use super::frames;
use super::input::{Input, Stage};
use super::marker::{Ending, Splitter, both};
use super::socket::{Socket, cause};
use crate::api::{Api, Stream};

/// How long nothing at all may come, not even an answer to a ping. The lease's wrapper ends the command after the
/// same time without a sign of life from here.
const SILENCE: Duration = Duration::from_secs(120);

/// How long the exit frame may take after the command has said that it ended. What a command left in the
/// background, with its output still open, keeps Nomad from sending it.
const EXIT: Duration = Duration::from_secs(1);

/// How long a command may take to end when its standard input was closed on it: its wrapper kills it after 5 s, and
/// the host gives a cancelled request 10 s.
const LETTING_GO: Duration = Duration::from_secs(9);

/// The same for what has no wrapper that would notice.
const LETTING_GO_ALONE: Duration = Duration::from_millis(500);

/// [`SILENCE`], for which in a debug build `CRABBOX_NOMAD_SILENCE=SECONDS` stands in, for a test.
fn silence() -> Duration {
    let test = std::env::var("CRABBOX_NOMAD_SILENCE").ok().filter(|_| cfg!(debug_assertions));
    test.and_then(|seconds| seconds.parse().ok()).map_or(SILENCE, Duration::from_secs)
}

/// An execution under way.
pub(super) struct Talk<'a> {
    api: &'a Api,
    stream: SplitStream<WebSocketStream<Stream>>,
    outputs: [Output; 2],
    /// The task that sends, ended with this.
    sending: JoinSet<Result<()>>,
    stage: watch::Sender<Stage>,
    /// Whether there are signs of life, and at the other end a wrapper that ends all of the run without them.
    lifeline: bool,
}

/// One stream of output.
struct Output {
    sink: Sink,
    splitter: Splitter,
}

/// What a message comes to.
enum Step {
    More,
    /// The exit frame.
    Exited(i32),
}

impl<'a> Talk<'a> {
    pub(super) fn new(api: &'a Api, socket: Socket, input: Input, sinks: [Sink; 2]) -> Result<Self> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|error| Error::internal("there is no randomness").cause(error))?;
        let word: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let outputs = sinks.map(|sink| Output { sink, splitter: Splitter::new(&word) });
        let (stage, lifeline) = (watch::Sender::new(Stage::Sending), input.has_lifeline());
        let mut sending = JoinSet::new();
        let (sink, progress) = (socket.sink, stage.clone());
        sending.spawn(async move { input.send(sink, &word, progress).await });
        Ok(Self { api, stream: socket.stream, outputs, sending, stage, lifeline })
    }

    /// Passes output on until the command has ended and both streams are whole. When `stop` comes first, standard
    /// input is closed on the command. With a lifeline its wrapper then ends all of the run before it ends itself, so
    /// that its end is worth an answer; without one, or when it takes too long, `stop`'s value is the error.
    ///
    /// # Errors
    ///
    /// `transport` when the connection ended before; what Nomad said when it never began.
    pub(super) async fn until_ended(mut self, stop: impl Future<Output = Error>) -> Result<Ending> {
        let mut stop = std::pin::pin!(stop);
        let mut stopped = None;
        let silence = silence();
        let mut until = Instant::now() + silence;
        let ended = loop {
            tokio::select! {
                biased;
                error = &mut stop, if stopped.is_none() => {
                    stopped = Some(error);
                    self.stage.send_replace(Stage::Closing);
                    until = Instant::now() + if self.lifeline { LETTING_GO } else { LETTING_GO_ALONE };
                }
                message = self.stream.next() => {
                    match self.take(message).await {
                        Ok(Step::More) => {}
                        Ok(Step::Exited(code)) => break self.ending().ok_or_else(|| unsaid(code)),
                        Err(error) => break Err(error),
                    }
                    if let Some(ending) = self.ending() {
                        self.leave().await;
                        break Ok(ending);
                    }
                    if stopped.is_none() {
                        until = Instant::now() + silence;
                    }
                }
                Some(sent) = self.sending.join_next() => match sent {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => break Err(error),
                    Err(error) => break Err(Error::internal("sending was interrupted").cause(error)),
                },
                () = sleep_until(until) => {
                    // A command that does not read keeps the agent from answering pings.
                    if stopped.is_none() && *self.stage.borrow() == Stage::Sending {
                        until = Instant::now() + silence;
                        continue;
                    }
                    let silent = format!("nothing was heard of the agent for {} s", silence.as_secs());
                    break Err(Error::transport(silent).hint("the lease ends the command by itself"));
                }
            }
        };
        let [stdout, stderr] = self.outputs;
        let delivered = stdout.finish().await.and(stderr.finish().await);
        match stopped {
            Some(error) if !self.lifeline || ended.is_err() => Err(error),
            Some(error) if error.kind() != ErrorKind::Cancelled => Err(error.remote(Remote::Dead)),
            _ => ended.and_then(|ending| delivered.map(|()| ending)),
        }
    }

    /// Lets the script around the command end, and waits for the exit frame: for a moment only, because everything
    /// is known without it.
    async fn leave(&mut self) {
        self.stage.send_replace(Stage::Closing);
        let until = Instant::now() + EXIT;
        while let Ok(message) = timeout_at(until, self.stream.next()).await {
            match self.take(message).await {
                Ok(Step::More) => {}
                Ok(Step::Exited(_)) | Err(_) => return,
            }
        }
    }

    /// How the command ended, once both streams have said so.
    fn ending(&self) -> Option<Ending> {
        let [stdout, stderr] = &self.outputs;
        both(&stdout.splitter, &stderr.splitter)
    }

    async fn take(&mut self, message: Option<tungstenite::Result<Message>>) -> Result<Step> {
        let bytes = match message {
            Some(Ok(Message::Text(text))) => Bytes::from(text),
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Close(frame))) => return Err(self.broken(frame.as_ref(), None)),
            Some(Ok(_)) => return Ok(Step::More),
            Some(Err(error)) => return Err(self.broken(None, Some(&error))),
            None => return Err(self.broken(None, None)),
        };
        let said = std::str::from_utf8(&bytes).map_err(|error| error.to_string()).and_then(frames::read);
        let said =
            said.map_err(|error| Error::provider("the agent sent a frame that is none").cause(error))?;
        for (output, bytes) in self.outputs.iter_mut().zip([said.stdout, said.stderr]) {
            if !bytes.is_empty() {
                output.push(&bytes).await?;
            }
        }
        Ok(said.exited.map_or(Step::More, Step::Exited))
    }

    /// The connection ended, and no exit frame came. Whatever the close code is, that is no end of the command.
    fn broken(&self, frame: Option<&CloseFrame>, error: Option<&tungstenite::Error>) -> Error {
        let how = match (frame, error) {
            (Some(frame), _) => {
                format!("the agent closed it: {} {}", u16::from(frame.code), self.api.shown(&frame.reason))
            }
            (_, Some(error)) => cause(error),
            (None, None) => "the agent ended it".to_owned(),
        };
        Error::transport("the connection to the command broke before it ended").cause(how.trim_end())
    }
}

impl Output {
    async fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let certain = self.splitter.push(bytes);
        match certain.is_empty() {
            true => Ok(()),
            false => self.sink.write(&certain).await,
        }
    }

    async fn finish(mut self) -> Result<()> {
        let rest = self.splitter.rest();
        if !rest.is_empty() {
            self.sink.write(&rest).await?;
        }
        self.sink.finish().await
    }
}

/// The script around the command ended without a word: it was killed, or there was no memory for it.
fn unsaid(code: i32) -> Error {
    Error::transport(format!(
        "the shell around the command ended with {code} and did not say how the command did"
    ))
    .hint("was it killed on the lease, for want of memory perhaps?")
}
