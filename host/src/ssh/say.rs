//! A short script of ours, and what it answers.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use super::failure::Failure;
use super::{Connection, line};
use crate::Exit;
use crate::error::Error;
use crate::provider::{Guard, Locks};
use crate::remote;

/// How much of an answer is read.
const MOST: u64 = 1024 * 1024;

/// What a script came to.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its exit code, which is not 255: ssh says that of itself.
    pub(crate) code: i32,
    /// What it printed.
    pub(crate) stdout: Vec<u8>,
    /// What it printed on standard error.
    pub(crate) stderr: Vec<u8>,
}

impl Connection {
    /// The command that executes an argv over the open connection. ssh hands one line to the shell of the user there.
    pub(super) fn command(&self, argv: &[String], more: &[&str]) -> Command {
        let mut command = self.target.ssh();
        command
            .args(self.target.over(&self.place.socket(), more))
            .arg(OsString::from(format!("exec {}", line(argv))));
        command
    }

    /// The command that opens a shell for a person: the line for it is still to be added.
    pub(crate) fn shell(&self, terminal: bool) -> Command {
        let mut command = Command::new(&self.target.program);
        let more = if terminal { "-t" } else { "-T" };
        command
            .args(self.target.over(&self.place.socket(), &[more]))
            .env_clear()
            .envs(self.target.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Executes a script over the open connection.
    pub(crate) async fn say(&self, locks: Locks, script: &[u8], limit: Duration) -> Result<Answer, Failure> {
        let broken =
            |error: std::io::Error| Failure::passing(Failure::broken(&self.target, "").error.cause(error));
        let guard = Guard::spawn(&locks).map_err(broken)?;
        let mut child = self
            .command(&remote::argv(), &["-T"])
            .process_group(guard.group().as_raw_nonzero().get())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(broken)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let asked = async {
            let write = async {
                if let Some(mut stdin) = stdin {
                    // One that does not listen any more is heard of by its end.
                    _ = stdin.write_all(script).await;
                }
            };
            let ((), stdout, stderr) = tokio::join!(write, all(stdout), all(stderr));
            (child.wait().await, stdout, stderr)
        };
        let asked = timeout(limit, asked).await;
        guard.end().await;
        let Ok((status, stdout, stderr)) = asked else {
            let after = humantime::format_duration(limit);
            let message = format!("{} did not answer within {after}", self.target.shown());
            return Err(Failure::passing(Error::new(Exit::Transport, message)));
        };
        match status.map_err(broken)?.code() {
            Some(code) if code != 255 => {
                self.place.touch();
                Ok(Answer { code, stdout, stderr })
            }
            _ => Err(Failure::broken(&self.target, &String::from_utf8_lossy(&stderr))),
        }
    }
}

async fn all(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        _ = stream.take(MOST).read_to_end(&mut bytes).await;
    }
    bytes
}
