//! One connection for one request: the script goes there, and its answer comes back.

use std::process::Stdio;
use std::time::Duration;

use crabbox_provider_kit::protocol::Lease;
use crabbox_provider_kit::{Doing as _, Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use crate::answer::Answer;
use crate::failure::{failure, last_line};
use crate::options::NOBODY;
use crate::provider::Machine;
use crate::script::{Script, Verb};

/// The most that is read of either stream.
const LONGEST: u64 = 4 << 20;

impl Machine {
    /// Has the script do something.
    ///
    /// # Errors
    ///
    /// `auth`, `unavailable` or `transport` when there is no connection; what the script says; `deadline`.
    pub(crate) async fn talk(
        &self,
        verb: Verb,
        lease: Option<(&str, &Lease)>,
        deadline: Duration,
    ) -> Result<Answer> {
        let script = Script::new(verb, &self.settings.work_root, lease)?;
        let said = timeout(deadline, self.send(&script)).await;
        let Ok(said) = said else {
            let (shown, seconds) = (self.destination.shown(), deadline.as_secs());
            return Err(Error::deadline(format!("{shown} has not answered within {seconds} s")));
        };
        let (code, output, errors) = said?;
        let Some(answer) = Answer::read(&output, &script.word) else {
            return Err(failure(&self.destination, code, &errors));
        };
        match answer.error() {
            Some(error) => Err(match last_line(&errors) {
                line if line.is_empty() => error,
                line => error.cause(line),
            }),
            None => Ok(answer),
        }
    }

    /// Sends the script and returns ssh's exit code and both streams. Dropped, it ends ssh, which is in this plugin's
    /// own process group and does not outlive it either.
    async fn send(&self, script: &Script) -> Result<(Option<i32>, Vec<u8>, String)> {
        let what = || "start `ssh`".to_owned();
        let mut child = Command::new(&self.destination.program)
            .args(self.destination.arguments("/bin/sh -s"))
            // What ssh says of the system's errors is read, too.
            .env("LC_ALL", "C")
            .envs(NOBODY)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .doing(what)?;
        let (Some(mut stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Error::internal(format!("cannot {}: it has no streams", what())));
        };
        let write = async move {
            // One that hangs up early says why by its exit code.
            let _ = stdin.write_all(script.text.as_bytes()).await;
        };
        let ((), stdout, stderr) = tokio::join!(write, read(stdout), read(stderr));
        let status = child.wait().await.doing(|| "wait for `ssh`".to_owned())?;
        Ok((status.code(), stdout, String::from_utf8_lossy(&stderr).into_owned()))
    }
}

/// Reads a stream to its end, and keeps so much of it.
async fn read(stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut limited = stream.take(LONGEST);
    // An error is an end: what ssh meant, its exit code says.
    let _ = limited.read_to_end(&mut bytes).await;
    let _ = tokio::io::copy(&mut limited.into_inner(), &mut tokio::io::sink()).await;
    bytes
}
