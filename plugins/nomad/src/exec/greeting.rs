//! The beginning of an execution: the script around the command says that it is there, and nothing is executed before.
//!
//! Nomad's docker driver asks docker whether the process runs as soon as docker has agreed to start it, and takes a no
//! for its end (`ExecTaskStreaming` in `drivers/docker/driver.go` of 1.11.3 and 2.0.5). The exit frame then says 0, and
//! the process starts all the same, without anybody who hears it: measured about once in 300 executions with docker
//! 20.10. So the word is sent to a script that was heard of, and to no other; without it a script does nothing.

use std::time::Duration;

use crabbox_provider_kit::protocol::Remote;
use crabbox_provider_kit::{Error, Result};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::Message;

use super::frames;
use super::socket::{Socket, cause, closed_early};
use crate::api::Api;

/// What the script says first, on standard output: ENQ.
const HELLO: u8 = 5;

/// How long a process may take to start, on a node that is very busy.
const LIMIT: Duration = Duration::from_secs(60);

/// How long a script that was told that nothing follows may take to end.
const LETTING_GO: Duration = Duration::from_millis(500);

/// How many bytes of something else are kept, to be shown.
const MOST: usize = 400;

impl Socket {
    /// Waits until the script is there, or until `stop`. `None`: Nomad has taken it for ended before it began, and it
    /// is worth another try.
    ///
    /// # Errors
    ///
    /// Why the script is not there; nothing was executed, whatever it is.
    pub(super) async fn greeted(
        mut self,
        api: &Api,
        stop: impl Future<Output = Error>,
    ) -> Result<Option<Self>> {
        let until = Instant::now() + LIMIT;
        let met = tokio::select! {
            met = timeout_at(until, self.meet(api)) => met.unwrap_or_else(|_| Err(late())),
            error = stop => Err(error),
        };
        match met {
            Ok(true) => Ok(Some(self)),
            Ok(false) => Ok(None),
            Err(error) => {
                self.dismiss().await;
                Err(error.remote(Remote::Absent))
            }
        }
    }

    /// Whether the script is there now, or its end has come too early.
    async fn meet(&mut self, api: &Api) -> Result<bool> {
        let mut other = Vec::new();
        loop {
            let bytes = match self.stream.next().await {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => message.into_data(),
                Some(Ok(Message::Close(frame))) => {
                    let reason = frame.map(|frame| api.shown(&frame.reason)).unwrap_or_default();
                    return Err(closed_early(&reason));
                }
                Some(Ok(_)) => continue,
                Some(Err(error)) => {
                    let broken = Error::transport("the connection broke before anything was executed");
                    return Err(broken.cause(cause(&error)));
                }
                None => return Err(closed_early("")),
            };
            let said = std::str::from_utf8(&bytes).map_err(|error| error.to_string()).and_then(frames::read);
            let said =
                said.map_err(|error| Error::provider("the agent sent a frame that is none").cause(error))?;
            if other.is_empty() && said.stdout.first() == Some(&HELLO) {
                return Ok(true);
            }
            let room = MOST.saturating_sub(other.len());
            other.extend(said.stdout.into_iter().chain(said.stderr).take(room));
            match said.exited {
                None => {}
                Some(0) if other.is_empty() => return Ok(false),
                Some(code) => return Err(no_shell(code, &api.shown(&String::from_utf8_lossy(&other)))),
            }
        }
    }

    /// Tells a script that may be there that nothing follows: Nomad does not tell it when its client is gone.
    async fn dismiss(mut self) {
        if self.sink.send(Message::text(frames::CLOSE)).await.is_ok() {
            let until = Instant::now() + LETTING_GO;
            while let Ok(Some(Ok(message))) = timeout_at(until, self.stream.next()).await {
                let ended = |text: &str| frames::read(text).is_ok_and(|said| said.exited.is_some());
                if message.to_text().is_ok_and(ended) {
                    break;
                }
            }
        }
    }
}

fn late() -> Error {
    let late = format!("nothing was heard of the shell around the command for {} s", LIMIT.as_secs());
    Error::unavailable(late).hint("is the node too busy?").retryable(true)
}

/// It ended before it said anything of its own. What docker says of a program that is not there comes as its output.
fn no_shell(code: i32, said: &str) -> Error {
    let text = format!("the shell around the command did not start, with code {code}");
    match said.trim() {
        "" => Error::unavailable(text).hint("was the lease just stopped?").retryable(true),
        said => {
            Error::prerequisite(text).cause(said).hint("a lease needs `/bin/sh`; choose an image that has it")
        }
    }
}
