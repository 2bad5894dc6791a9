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

/// What was printed by others than the script: a shell may have something to say of its own, such as of a locale.
#[derive(Debug, Default)]
struct Other {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Other {
    /// Keeps what was printed, unless it is the script's own: says whether that was heard of.
    fn keep(&mut self, stdout: &[u8], stderr: &[u8]) -> bool {
        if self.stdout.is_empty() && stdout.first() == Some(&HELLO) {
            return true;
        }
        for (kept, bytes) in [(&mut self.stdout, stdout), (&mut self.stderr, stderr)] {
            let room = MOST.saturating_sub(kept.len());
            kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        false
    }

    fn is_empty(&self) -> bool {
        self.stdout.is_empty() && self.stderr.is_empty()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&[self.stdout.as_slice(), &self.stderr].concat()).into_owned()
    }
}

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
        let mut other = Other::default();
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
            if other.keep(&said.stdout, &said.stderr) {
                return Ok(true);
            }
            match said.exited {
                None => {}
                Some(0) if other.is_empty() => return Ok(false),
                Some(code) => return Err(no_shell(code, &api.shown(&other.text()))),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_heard_of_whatever_its_shell_has_to_say_before() {
        let mut other = Other::default();
        assert!(!other.keep(b"", b"sh: warning: cannot change locale\n") && !other.is_empty());
        assert!(other.keep(&[HELLO], b""));
        // What docker says of a program that is not there comes on standard output.
        let mut other = Other::default();
        assert!(!other.keep(b"OCI runtime exec failed", b""));
        assert!(!other.keep(&[HELLO], b""));
        assert_eq!(other.text(), "OCI runtime exec failed\u{5}");
        assert!(!other.keep(&[b'x'; 1000], b"") && other.text().len() == MOST);
    }
}
