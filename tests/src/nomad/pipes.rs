//! The process of an exec, and the pipes to it.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Agent;
use super::allocation::Allocation;
use super::frames::Stream;
use super::process::surroundings;

/// Pieces of output, as they are read.
pub(super) type Output = mpsc::Receiver<(Stream, Vec<u8>)>;

/// What reaches stdin.
pub(super) enum ToStdin {
    Data(Vec<u8>),
    Close,
}

/// A process and what it is connected with.
pub(super) struct Pipes {
    pub(super) child: Child,
    pub(super) to_stdin: mpsc::Sender<ToStdin>,
    pub(super) stdin_ended: tokio::task::JoinHandle<Option<ChildStdin>>,
    /// Output of a container that is not yet sure to arrive.
    pub(super) held: VecDeque<(Instant, Stream, Vec<u8>)>,
}

impl Pipes {
    /// Starts a command beside a task's main process, with its environment and where it started.
    pub(super) fn start(
        agent: &Agent,
        allocation: &Allocation,
        task: &str,
        command: &[String],
    ) -> std::io::Result<(Self, Output)> {
        let isolated = allocation.task_of_job(task).is_some_and(|it| it["Driver"] != "raw_exec");
        let from = surroundings(allocation, task, &agent.options.region, &agent.options.datacenter);
        let executor = agent.read(|state| state.allocations.get(&allocation.id)?.tasks.get(task)?.executor);
        let executor = executor.filter(|_| !isolated).and_then(|pid| i32::try_from(pid).ok());
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .env_clear()
            .envs(from.environment)
            .current_dir(from.directory)
            // As with the real one, what is exec'd is of the executor's group, and `kill 0` is the end of the task.
            .process_group(executor.unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let missing = || std::io::Error::other("a pipe is missing");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let (to_stdin, for_stdin) = mpsc::channel(1);
        let stdin_ended = tokio::spawn(feed(stdin, for_stdin));
        let (to_output, output) = mpsc::channel(1);
        let size = if isolated { 1024 } else { 4096 };
        tokio::spawn(read(Stream::Stdout, stdout, size, to_output.clone()));
        tokio::spawn(read(Stream::Stderr, stderr, size, to_output));
        Ok((Self { child, to_stdin, stdin_ended, held: VecDeque::new() }, output))
    }
}

/// What Go says of a command that cannot be started, as the executor hands it on.
pub(super) fn start_error(program: &str, error: &std::io::Error) -> String {
    let why = match error.kind() {
        ErrorKind::NotFound if program.contains('/') => "no such file or directory".to_owned(),
        ErrorKind::ArgumentListTooLong => "argument list too long".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    let why = match error.kind() {
        ErrorKind::NotFound if !program.contains('/') => {
            format!("exec: {program:?}: executable file not found in $PATH")
        }
        _ => format!("fork/exec {program}: {why}"),
    };
    format!("rpc error: code = Unknown desc = failed to start command: {why}")
}

/// Copies to stdin until it is closed, or cannot be written.
async fn feed(mut stdin: ChildStdin, mut from: mpsc::Receiver<ToStdin>) -> Option<ChildStdin> {
    loop {
        match from.recv().await {
            Some(ToStdin::Data(bytes)) => {
                if stdin.write_all(&bytes).await.is_err() {
                    return None;
                }
            }
            Some(ToStdin::Close) => return None,
            None => return Some(stdin),
        }
    }
}

/// Reads a stream in pieces.
async fn read(
    stream: Stream,
    mut from: impl AsyncRead + Unpin,
    size: usize,
    to: mpsc::Sender<(Stream, Vec<u8>)>,
) {
    let mut buffer = vec![0; size];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if to.send((stream, buffer[..count].to_vec())).await.is_err() {
            return;
        }
    }
}
