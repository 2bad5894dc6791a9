//! `run` over a connection: an argv, a file for its standard input, its output to where the relay reads, its exit code.
//!
//! The output goes to the pipes by itself: the master writes into them, and nothing of it is in our hands. What ssh
//! has to say goes to a file, so that standard error is the command's alone.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use crabbox_protocol::{CancelReason, Method, PathRef, Progress, Remote, RunParams, RunResult};
use rustix::fs::SeekFrom;
use rustix::process::Signal;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Connection, Failure};
use crate::error::Result;
use crate::fault::{Fault, pass};
use crate::paths::read_end;
use crate::provider::{Ask, Event, Guard, Interrupts, Ladder, Locks, ProviderError, Rung, at, reader_gone};
use crate::remote;

/// How often it is looked how far the input was read.
const LOOK: Duration = Duration::from_millis(200);

/// How long the machine may take to say whether it was the command that ended with 255.
const ASKING: Duration = Duration::from_secs(30);

/// How much of what ssh said is read.
const LOG: u64 = 64 * 1024;

impl Connection {
    /// Executes what `run` would be asked for. With `lifelineMs` the wrapper of a command is at its other end: it
    /// ends the command when its input ends, and leaves word when the command itself exits with 255.
    pub(crate) async fn run(
        &self,
        locks: impl Fn() -> Result<Locks>,
        params: &RunParams,
        mut ask: Ask<'_>,
    ) -> Result<RunResult, ProviderError> {
        let io = |source| ProviderError::Io { provider: self.provider.clone(), source };
        let (out, err) =
            (output(params.stdout.as_ref()).map_err(io)?, output(params.stderr.as_ref()).map_err(io)?);
        let log = params.stdout.as_ref().map(|to| Path::new(&to.path).with_file_name("ssh"));
        let log = log.ok_or_else(|| io(io::ErrorKind::InvalidInput.into()))?;
        let lifeline = params.lifeline_ms.map(Duration::from_millis);
        let (mut script, mut read) = (None, None);
        let input = match (&params.stdin, lifeline) {
            (Some(file), Some(_)) => {
                script = Some(fs::read(&file.path).map_err(io)?);
                Stdio::piped()
            }
            (Some(file), None) => {
                Stdio::from(read.insert(File::open(&file.path).map_err(io)?).try_clone().map_err(io)?)
            }
            (None, _) => Stdio::null(),
        };
        let held = locks().map_err(|error| ProviderError::Connection {
            provider: self.provider.clone(),
            error: Box::new(error),
        })?;
        let guard = Guard::spawn(&held).map_err(io)?;
        let more = ["-T", "-E", &log.to_string_lossy()];
        let mut child = self
            .command(&params.argv, &more)
            .process_group(guard.group().as_raw_nonzero().get())
            .stdin(input)
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(io)?;
        let feed = child.stdin.take().zip(script).zip(lifeline);
        let mut feed = Feed(feed.map(|((stdin, script), period)| tokio::spawn(feeds(stdin, script, period))));
        let size = params.stdin.as_ref().map_or(0, |file| file.size);
        pass(Fault::Sent(Method::Run));
        let ended =
            self.wait(&mut child, &guard, &mut feed, read.as_ref().map(|file| (file, size)), &mut ask).await;
        guard.end().await;
        let status = ended?;
        pass(Fault::Answered(Method::Run));
        match status.code() {
            Some(255) if lifeline.is_some() && self.exited_with_255(params, locks).await => Ok(exited(255)),
            Some(code) if code != 255 => {
                self.place.touch();
                Ok(exited(code))
            }
            _ => {
                let error = Box::new(Failure::broken(&self.target, &read_end(&log, LOG)).error);
                Err(ProviderError::Connection { provider: self.provider.clone(), error })
            }
        }
    }

    /// Waits for the end of ssh, and ends it when it has to end.
    async fn wait(
        &self,
        child: &mut Child,
        guard: &Guard,
        feed: &mut Feed,
        read: Option<(&File, u64)>,
        ask: &mut Ask<'_>,
    ) -> Result<ExitStatus, ProviderError> {
        let due = ask.deadline.map(|deadline| Instant::now() + deadline);
        let mut ladder: Option<Ladder> = None;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Where there is a lifeline, its end is how the command is told. A script of ours has none.
        let first = if feed.is_there() { Rung::Cancel } else { Rung::Terminate };
        let status = loop {
            let step = ladder.as_ref().and_then(Ladder::due);
            let rung = tokio::select! {
                biased;
                _ = Interrupts::next_of(&mut ask.interrupts) => match &mut ladder {
                    Some(ladder) => ladder.hurry(),
                    None => ladder.insert(Ladder::begin(CancelReason::User, first)).rung(),
                },
                () = at(due), if due.is_some() && ladder.is_none() => {
                    ladder.insert(Ladder::begin(CancelReason::Deadline, first)).rung()
                }
                () = at(step), if step.is_some() => match &mut ladder {
                    Some(ladder) => ladder.step(),
                    None => continue,
                },
                () = reader_gone(&ask.relay), if ladder.is_none() && ask.relay.is_some() => {
                    ladder.insert(Ladder::begin(CancelReason::Hangup, first)).rung()
                }
                status = child.wait() => break status,
                _ = look.tick(), if read.is_some() && ask.events.is_some() => {
                    if let (Some((file, total)), Some(events)) = (read, &mut ask.events) {
                        tell(file, total, events);
                    }
                    continue;
                }
            };
            if let Some(relay) = &mut ask.relay {
                relay.lossy();
            }
            match rung {
                Rung::Cancel | Rung::CloseStdin => feed.stop(),
                Rung::Terminate => guard.signal(Signal::TERM),
                Rung::Kill => guard.signal(Signal::KILL),
            }
        };
        let provider = self.provider.clone();
        let method = Method::Run;
        match (ladder, ask.deadline) {
            (None, _) => status.map_err(|source| ProviderError::Io { provider, source }),
            (Some(ladder), Some(after)) if ladder.reason == CancelReason::Deadline => {
                Err(ProviderError::Deadline { provider, method, after, answered: true, said: String::new() })
            }
            // Whether all of it is dead is found out by looking.
            (Some(ladder), _) => {
                let (reason, remote) = (ladder.reason, Remote::Unknown);
                Err(ProviderError::Cancelled { provider, method, reason, remote, answered: true })
            }
        }
    }

    /// Whether the wrapper left word that the command exited with what ssh says when it fails itself.
    async fn exited_with_255(&self, params: &RunParams, locks: impl Fn() -> Result<Locks>) -> bool {
        let Ok(locks) = locks() else { return false };
        let script = remote::receipt_script(&self.target.root, &params.run_id);
        let answer = self.say(locks, &script, ASKING).await;
        answer.is_ok_and(|answer| answer.stdout == b"exited\n")
    }
}

/// What goes into a command's standard input, for as long as it runs.
struct Feed(Option<JoinHandle<()>>);

impl Feed {
    fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Ends the input.
    fn stop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Writes the script, and then a sign of life every `period`.
async fn feeds(mut stdin: ChildStdin, script: Vec<u8>, period: Duration) {
    if stdin.write_all(&script).await.is_err() {
        return;
    }
    drop(script);
    loop {
        tokio::time::sleep(period).await;
        if stdin.write_all(b"\n").await.is_err() {
            return;
        }
    }
}

fn exited(code: i32) -> RunResult {
    RunResult { exit_code: Some(code), ..RunResult::default() }
}

/// Opens what the relay reads from.
fn output(to: Option<&PathRef>) -> io::Result<Stdio> {
    let to = to.ok_or(io::ErrorKind::InvalidInput)?;
    Ok(File::options().write(true).open(&to.path)?.into())
}

/// How far the input was read: whoever reads it moves our offset, too.
fn tell(file: &File, total: u64, events: &mut dyn FnMut(Event)) {
    if let Ok(done) = rustix::fs::seek(file, SeekFrom::Current(0)) {
        events(Event::Progress(Progress {
            request: 0,
            message: "sending".to_owned(),
            phase: None,
            done: Some(done),
            total: Some(total),
            unit: Some("bytes".to_owned()),
            waiting_on_user: None,
        }));
    }
}
