//! A process that is a run, or leads to it.

use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use crabbox_protocol::{FileRef, PathRef, Remote, RunParams, RunResult, Signal, Stream};
use rustix::process::Pid;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::error::Doing as _;
use crate::group;
use crate::pump::pump;
use crate::{Context, Error, Result, Sink};

/// How long a run has between SIGTERM and SIGKILL where nobody says otherwise: half of what the host
/// waits for the answer to a cancel.
pub const GRACE: Duration = Duration::from_secs(5);

/// How long it may take until the death of a killed process shows.
const CONFIRM: Duration = Duration::from_secs(3);

/// The same when the session ends.
const HURRY: Duration = Duration::from_millis(700);

/// A running process: leader of its own group, its output on the way to the host.
///
/// By path the process has the host's FIFO itself as its output, so nothing is copied; by notification
/// its output is read and sent. Dropped before it has ended, its group is killed.
#[derive(Debug)]
pub struct Process {
    child: Child,
    group: Pid,
    status: Option<ExitStatus>,
    pumps: Vec<Pump>,
    sent: Result<()>,
}

/// A task that moves output, and how it is told that the process has ended.
#[derive(Debug)]
struct Pump {
    ended: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<()>>,
}

impl Process {
    /// Starts `command`, with the file that `params` name on standard input and its output going where
    /// they say. Program, arguments, directory and environment are the command's own affair.
    ///
    /// # Errors
    ///
    /// `prerequisite` when the program cannot be started, with `remote: absent`; the nearest kind when a
    /// file or a FIFO cannot be opened.
    pub fn spawn(context: &Context, mut command: Command, params: &RunParams) -> Result<Self> {
        command.stdin(stdin(params.stdin.as_ref())?).process_group(0);
        let stdout = output(context, Stream::Stdout, params.stdout.as_ref())?;
        let stderr = output(context, Stream::Stderr, params.stderr.as_ref())?;
        let mut open = Vec::new();
        for (stream, (stdio, source)) in [(Stream::Stdout, stdout), (Stream::Stderr, stderr)] {
            match stream {
                Stream::Stdout => command.stdout(stdio),
                Stream::Stderr => command.stderr(stdio),
            };
            open.extend(source);
        }
        let child = command.spawn().map_err(|error| {
            let program = command.as_std().get_program().to_string_lossy().into_owned();
            Error::prerequisite(format!("cannot start `{program}`")).cause(error).remote(Remote::Absent)
        })?;
        // The command holds writing ends of the pipes.
        drop(command);
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let Some(group) = group else { return Err(Error::internal("a process was started without an id")) };
        let pumps = open.into_iter().map(|(source, sink)| {
            let (ended, over) = oneshot::channel();
            Pump { ended: Some(ended), task: tokio::spawn(pump(source, sink, over)) }
        });
        Ok(Self { child, group, status: None, pumps: pumps.collect(), sent: Ok(()) })
    }

    /// The process's id, which is its group's too. It is not given to another process before
    /// [`ended`](Self::ended) or [`wait`](Self::wait) returns.
    pub fn group(&self) -> Pid {
        self.group
    }

    /// Waits until the process has ended; its output may still be on its way. May be dropped and called
    /// again.
    ///
    /// # Errors
    ///
    /// `internal` when the system does not say.
    pub async fn ended(&mut self) -> Result<()> {
        self.exit().await.map(|_| ())
    }

    /// Waits until the process has ended and its output is sent. May be dropped and called again.
    ///
    /// What it left in the background is not waited for.
    ///
    /// # Errors
    ///
    /// `transport` when its output cannot be sent.
    pub async fn wait(&mut self) -> Result<RunResult> {
        let status = self.exit().await?;
        while let Some(pump) = self.pumps.last_mut() {
            // Nobody listens if the pipe has ended by itself.
            let _ = pump.ended.take().map(|ended| ended.send(()));
            let pumped = (&mut pump.task).await;
            let pumped = pumped.unwrap_or_else(|error| Err(Error::internal("output was lost").cause(error)));
            self.sent = std::mem::replace(&mut self.sent, Ok(())).and(pumped);
            self.pumps.pop();
        }
        self.sent.clone().map(|()| result_of(status))
    }

    async fn exit(&mut self) -> Result<ExitStatus> {
        let status = match self.status {
            Some(status) => status,
            None => self.child.wait().await.doing(|| "wait for a process".to_owned())?,
        };
        self.status = Some(status);
        Ok(status)
    }

    /// Waits like [`wait`](Self::wait) and obeys a cancel: for a process that is the run itself, not just
    /// the way to it.
    ///
    /// A cancelled run gets SIGTERM, and after `grace` SIGKILL, all of its group; [`GRACE`] suits the
    /// host. At the end of the session it is quicker.
    ///
    /// # Errors
    ///
    /// `cancelled`, with `remote: unknown`, when the group cannot be proven dead; `transport` when output
    /// cannot be sent.
    pub async fn finish(mut self, context: &Context, grace: Duration) -> Result<RunResult> {
        let cancel = context.cancel();
        tokio::select! {
            biased;
            ended = self.ended() => return match ended {
                Ok(()) => self.wait().await,
                Err(error) => Err(error),
            },
            _ = cancel.cancelled() => {}
        }
        // Not waited for yet, so that its number, and with it its group, stays its own.
        let hurry = async {
            cancel.closing().await;
            sleep(HURRY).await;
        };
        group::signal(self.group, rustix::process::Signal::TERM);
        tokio::select! {
            () = group::dead(self.group) => {}
            () = sleep(grace) => {}
            () = hurry => {}
        }
        group::signal(self.group, rustix::process::Signal::KILL);
        if timeout(CONFIRM, group::dead(self.group)).await.is_err() {
            let group = self.group.as_raw_nonzero();
            return Err(Error::cancelled(format!("process group {group} was killed and still lives"))
                .remote(Remote::Unknown));
        }
        self.wait().await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.status.is_none() {
            group::signal(self.group, rustix::process::Signal::KILL);
        }
        for pump in &self.pumps {
            pump.task.abort();
        }
    }
}

fn stdin(file: Option<&FileRef>) -> Result<Stdio> {
    let Some(FileRef { path, size, .. }) = file else { return Ok(Stdio::null()) };
    let file = File::open(path).doing(|| format!("open `{path}` for the command's input"))?;
    let found = file.metadata().doing(|| format!("read the size of `{path}`"))?.len();
    if found != *size {
        return Err(Error::internal(format!("`{path}` has {found} bytes, and the host said {size}")));
    }
    Ok(file.into())
}

type Source = Option<(Receiver, Sink)>;

/// What the process gets as its output, and what has to be pumped.
fn output(context: &Context, stream: Stream, path: Option<&PathRef>) -> Result<(Stdio, Source)> {
    match context.sink(stream, path)?.into_stdio()? {
        Ok(fifo) => Ok((fifo, None)),
        Err(sink) => {
            let what = || "make a pipe".to_owned();
            let (reader, writer) = io::pipe().doing(what)?;
            let source = Receiver::from_owned_fd(reader.into()).doing(what)?;
            Ok((writer.into(), Some((source, sink))))
        }
    }
}

fn result_of(status: ExitStatus) -> RunResult {
    let signal = status.signal().map(|number| Signal::from_number(u8::try_from(number).unwrap_or(u8::MAX)));
    RunResult { exit_code: status.code(), signal, dropped: None }
}
