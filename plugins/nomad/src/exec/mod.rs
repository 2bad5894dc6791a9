//! `run`: executes a command in the lease's allocation, over a WebSocket.

mod frames;
mod greeting;
mod input;
mod marker;
mod socket;
mod talk;

use std::sync::OnceLock;
use std::time::Duration;

use crabbox_provider_kit::protocol::{Remote, RunParams, RunResult, Stream};
use crabbox_provider_kit::{Context, Error, Result};
use serde_json::Value;
use tokio::time::sleep;

use crate::allocations::{Place, Standing};
use crate::job::Identity;
use crate::provider::{Found, Nomad};
use input::Input;
use marker::Ending;
use socket::Socket;
use talk::Talk;

/// What is around every command. It is sent without its comments.
const OUTER: &str = include_str!("outer.sh");

/// How often an execution is begun that Nomad takes for ended before it began.
const TRIES: u32 = 8;

/// What is waited between them, and a little more each time.
const PAUSE: Duration = Duration::from_millis(50);

/// How long what the host executes of itself may take in any case: to end a command that does not want to takes 10 s,
/// and longer where the node is busy.
const OWN: Duration = Duration::from_secs(60);

impl Nomad {
    /// Answers `run`.
    pub(crate) async fn execute(&self, params: &RunParams, context: &Context) -> Result<RunResult> {
        let never = |error: Error| error.remote(Remote::Absent);
        let lease = params.lease.as_ref().ok_or_else(|| never(Error::internal("a run without a lease")))?;
        if params.argv.is_empty() {
            return Err(never(Error::internal("a run without a program: `argv` is empty")));
        }
        let identity = Identity::of(lease, &self.settings);
        let input = Input::open(params).await.map_err(never)?;
        let command = command(&identity, &input, &params.argv);
        // Nothing runs before the word is sent.
        let socket = self.begin(&identity, &command, context).await.map_err(|error| {
            self.forget(&identity);
            never(error)
        })?;
        let stdout = context.sink(Stream::Stdout, params.stdout.as_ref()).map_err(never)?;
        let stderr = context.sink(Stream::Stderr, params.stderr.as_ref()).map_err(never)?;
        let talk = Talk::new(&self.api, socket, input, [stdout, stderr]).map_err(never)?;
        let own = params.lifeline_ms.is_none();
        let limit = self.settings.exec_timeout.map(|limit| if own { limit.max(OWN) } else { limit });
        let stop = async {
            tokio::select! {
                _ = context.cancel().cancelled() => Error::cancelled("the command was told to end"),
                error = too_long(limit) => error,
            }
        };
        match talk.until_ended(stop).await {
            Ok(Ending::Exited(code)) => Ok(RunResult { exit_code: Some(code), ..RunResult::default() }),
            Ok(Ending::NotStarted) => {
                let directory = identity.directory.as_deref().unwrap_or("in the task's own directory");
                Err(never(Error::prerequisite(format!(
                    "the lease's directory {directory} cannot be made or entered"
                )))
                .hint("the line above says why; `workdir` in the block `nomad` names another"))
            }
            Err(error) => {
                // The allocation may have been replaced: the next command looks.
                self.forget(&identity);
                Err(error)
            }
        }
    }

    /// Begins an execution where the lease is: the script around the command is there then, and waits.
    async fn begin(&self, identity: &Identity, command: &[&str], context: &Context) -> Result<Socket> {
        let cancelled = || async {
            context.cancel().cancelled().await;
            Error::cancelled("the command was told to end")
        };
        for again in 1..=TRIES {
            let socket = tokio::select! {
                socket = self.connect(identity, command) => socket?,
                error = cancelled() => return Err(error),
            };
            if let Some(socket) = socket.greeted(&self.api, cancelled()).await? {
                return Ok(socket);
            }
            sleep(PAUSE * again).await;
        }
        let early =
            format!("Nomad took the shell around the command for ended {TRIES} times before it began");
        Err(Error::unavailable(early).hint("docker on the lease's node may be very busy").retryable(true))
    }

    /// Opens an execution where the lease is.
    async fn connect(&self, identity: &Identity, command: &[&str]) -> Result<Socket> {
        let place = match self.known(identity) {
            Some(place) => place,
            None => self.ready(identity).await?,
        };
        let socket = Socket::open(&self.api, &place.allocation, &self.settings.task, command).await?;
        self.remember(identity, &place);
        Ok(socket)
    }

    /// Where the lease is now, after whose it is was verified.
    async fn ready(&self, identity: &Identity) -> Result<Place> {
        let group = match self.find(identity).await? {
            Found::Ours(group) => group,
            Found::Absent => return Err(Error::not_found(format!("there is no job {}", identity.job_id))),
            Found::Stopped => {
                return Err(Error::conflict(format!("the job {} was stopped", identity.job_id)));
            }
        };
        match self.standing(identity, &group).await? {
            Standing::Ready(place) => Ok(place),
            Standing::Starting(why) | Standing::Failed(why) => {
                Err(Error::unavailable("nothing can be executed on the lease now").cause(why).retryable(true))
            }
        }
    }
}

/// The command for Nomad: nothing of it is secret, because the agent logs it.
fn command<'a>(identity: &'a Identity, input: &'a Input, argv: &'a [String]) -> Vec<&'a str> {
    let outer = ["/bin/sh", "-c", outer(), "crabbox"];
    let about = [identity.directory.as_deref().unwrap_or_default(), input.share()];
    outer.into_iter().chain(about).chain(argv.iter().map(String::as_str)).collect()
}

fn outer() -> &'static str {
    static SCRIPT: OnceLock<String> = OnceLock::new();
    SCRIPT.get_or_init(|| {
        let lines = OUTER.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
        lines.flat_map(|line| [line, "\n"]).collect()
    })
}

/// The command as the query carries it.
fn as_json(command: &[&str]) -> String {
    command.iter().copied().map(Value::from).collect::<Value>().to_string()
}

/// What was executed took longer than it may.
async fn too_long(limit: Option<Duration>) -> Error {
    let Some(limit) = limit else {
        return std::future::pending().await;
    };
    sleep(limit).await;
    Error::deadline(format!("what was executed took longer than {} s", limit.as_secs_f64()))
        .hint("`execTimeout` in the block `nomad` says how long it may take; 0 is for ever")
}

#[cfg(test)]
mod tests;
