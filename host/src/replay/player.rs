//! Talking to a plugin without a session's rules: what it says is compared, not acted on.

use std::time::Duration;

use crabbox_protocol::{Decoded, LineBuffer, PluginMessage, Stream, decode_plugin_line};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::provider::{Process, ProviderError, REAP, Spawn};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether a command has begun.
const LOOK: Duration = Duration::from_millis(20);

/// A plugin that is talked to.
#[derive(Debug)]
pub(super) struct Player {
    process: Process,
    lines: LineBuffer,
    /// What the request under way printed, by notification.
    pub(super) printed: [Vec<u8>; 2],
}

impl Player {
    /// Starts a plugin.
    pub(super) fn start(spawn: &Spawn) -> Result<Self, ProviderError> {
        Ok(Self {
            process: Process::untracked(spawn)?,
            lines: LineBuffer::new(),
            printed: Default::default(),
        })
    }

    /// Sends a request and waits for its answer. `cancel` is sent once `begun` says so.
    pub(super) async fn ask(
        &mut self,
        id: u64,
        request: &Value,
        mut cancel: Option<Value>,
        begun: impl Fn(&[Vec<u8>; 2]) -> bool,
    ) -> Result<Result<Value, Value>, String> {
        self.printed = Default::default();
        self.send(request).await?;
        let mut due = Instant::now() + PATIENCE;
        let mut ended = false;
        loop {
            while let Some(answer) = self.next(id)? {
                if let Heard::Answer(answer) = answer {
                    return Ok(answer);
                }
            }
            if let Some(cancel) = cancel.take_if(|_| begun(&self.printed)) {
                self.send(&cancel).await?;
            }
            let room = self.lines.input(64 * 1024);
            let count = tokio::select! {
                count = self.process.stdout.read_buf(room) => count.map_err(|error| error.to_string())?,
                () = sleep(LOOK), if cancel.is_some() => continue,
                _ = self.process.child.wait(), if !ended => {
                    // What it said before that is still to be read.
                    (ended, due) = (true, Instant::now() + REAP);
                    continue;
                }
                () = sleep_until(due), if !ended => {
                    return Err("it did not answer within a minute".to_owned());
                }
                () = sleep_until(due) => 0,
            };
            if count == 0 {
                let said = self.process.stderr.last();
                let said = if said.is_empty() { said } else { format!("; it said: {said}") };
                return Err(format!("it ended without an answer{said}"));
            }
        }
    }

    async fn send(&mut self, message: &Value) -> Result<(), String> {
        let line = format!("{message}\n");
        let Some(stdin) = &mut self.process.stdin else { return Err("its input has ended".to_owned()) };
        match timeout(PATIENCE, stdin.write_all(line.as_bytes())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("it does not read: {error}")),
            Err(_) => Err("it does not read".to_owned()),
        }
    }

    /// Takes the next line that is there. `None`: there is none.
    fn next(&mut self, id: u64) -> Result<Option<Heard>, String> {
        let line = match self.lines.next_line() {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        match decode_plugin_line(line) {
            Decoded::Message(PluginMessage::Response { id: of, outcome }, _) if of == id => {
                let answer = match outcome {
                    Ok(result) => Ok(serde_json::from_str(result.get()).unwrap_or_default()),
                    Err(error) => Err(serde_json::to_value(error).unwrap_or_default()),
                };
                Ok(Some(Heard::Answer(answer)))
            }
            Decoded::Message(PluginMessage::Response { id: of, .. }, _) => {
                Err(format!("it answered request {of}, which was not the one under way"))
            }
            Decoded::Message(PluginMessage::Output(output), _) => {
                let n = usize::from(output.stream == Stream::Stderr);
                self.printed[n].extend_from_slice(&output.into_bytes()?);
                Ok(Some(Heard::Something))
            }
            Decoded::Message(..) | Decoded::Stray => Ok(Some(Heard::Something)),
            Decoded::Broken(problem) => Err(format!("it sent a line that is no message: {problem}")),
        }
    }

    /// Ends the plugin's input, and waits until it has ended. Says whether it did so by itself.
    pub(super) async fn close(mut self) -> bool {
        self.process.close_stdin();
        let ended = timeout(crate::provider::STEP, self.process.child.wait()).await.is_ok();
        self.process.end().await;
        ended
    }
}

/// What a line was.
enum Heard {
    Answer(Result<Value, Value>),
    Something,
}
