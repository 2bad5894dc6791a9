//! The streams of an exec, between the WebSocket and the process.
//!
//! The two drivers differ, and both as the real ones do:
//!
//! - **raw_exec** (`drivers/shared/executor/exec_utils.go`): the exit frame comes when the process has ended, nobody
//!   holds its output any more, *and* the copier of stdin has ended, which it does only when stdin is closed or when
//!   another byte of it cannot be written. A client that is gone is noticed with the next output; the process, and
//!   only it, is killed then, and the pipes stay as they are until the task ends.
//! - **docker** (`drivers/docker/driver.go`, `plugins/drivers/execstreaming.go`): the exit frame comes when the
//!   process has ended. What it has written last may be lost, hashicorp/nomad#27146; here, it is lost for sure. A
//!   client that is gone is never noticed: stdin stays open, output is not read any more, and nothing is killed
//!   before the container ends.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustix::process::Signal;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use super::allocation::Allocation;
use super::exec::{Refusal, Socket};
use super::frames::{Input, Stream, close, exited};
use super::log::Exec;
use super::pipes::{self, Output, Pipes, ToStdin};
use super::process::{code_of, signal};
use super::{Agent, lock};

/// How much of the end of a docker exec's output is lost.
const LOST: Duration = Duration::from_millis(20);

/// How long after its beginning an exec is said to have ended that has not begun.
const EARLY: Duration = Duration::from_millis(20);

/// How much stdin a frame may carry on raw_exec: what gRPC takes, without what is around it.
const MOST: usize = 4 * 1024 * 1024 - 10;

/// An exec that has been found to be in order.
pub(super) struct Relay {
    pub(super) agent: Arc<Agent>,
    pub(super) allocation: Allocation,
    pub(super) task: String,
    pub(super) command: Vec<String>,
    /// Whether the task is in a container, as docker's are.
    pub(super) isolated: bool,
    /// Where the exec is in the log.
    pub(super) number: usize,
}

/// What the agent knows of its client.
enum Client {
    Here,
    /// It is gone, or has sent what cannot be read; it will be told with the next output.
    Lost(Option<Refusal>),
}

/// How the relaying ended.
enum End {
    /// The process has ended, with this code.
    Exited(i32),
    /// The client is gone, which has just been noticed.
    Lost,
    /// The agent ends it.
    Refused(Refusal),
}

impl Relay {
    /// Runs the command, until it ends or the client is gone.
    pub(super) async fn run(self, socket: &mut Socket) -> Result<(), Refusal> {
        let started = match self.isolated && self.agent.faults().exec_no_program {
            true => Err(std::io::ErrorKind::NotFound.into()),
            false => Pipes::start(&self.agent, &self.allocation, &self.task, &self.command),
        };
        let (mut pipes, mut output) = match started {
            Ok(started) => started,
            Err(error) if self.isolated => return self.not_in_container(socket, &error).await,
            Err(error) => return Err(Refusal::internal(pipes::start_error(&self.command[0], &error))),
        };
        let pid = pipes.child.id();
        self.log(|it| it.pid = pid);
        if self.isolated && self.agent.faults().exec_early() {
            self.too_early(socket, &pipes).await;
            self.exited(socket, 0).await;
            self.log(|it| it.ended = true);
            tokio::spawn(self.abandoned(pipes, output));
            return Ok(());
        }
        let end = self.relay(socket, &mut pipes, &mut output).await;
        self.log(|it| it.ended = true);
        match end {
            End::Exited(code) => {
                self.exited(socket, code).await;
                Ok(())
            }
            End::Refused(refusal) => {
                tokio::spawn(self.abandoned(pipes, output));
                Err(refusal)
            }
            End::Lost => {
                // In the background, so that the connection is dropped here.
                tokio::spawn(self.abandoned(pipes, output));
                Ok(())
            }
        }
    }

    /// The moment before an end that is none: what is sent in it reaches the process, and then stdin ends.
    async fn too_early(&self, socket: &mut Socket, pipes: &Pipes) {
        let until = Instant::now() + EARLY;
        while let Ok(Some(Ok(frame))) = tokio::time::timeout_at(until, socket.next()).await {
            if matches!(frame, Message::Text(_) | Message::Binary(_)) {
                let _ = self.input(&frame.into_data(), pipes, &mut false);
            }
        }
        let _ = pipes.to_stdin.send(ToStdin::Close).await;
    }

    async fn relay(&self, socket: &mut Socket, pipes: &mut Pipes, output: &mut Output) -> End {
        let (mut drained, mut status, mut stdin_ended, mut stdin_closed) = (false, None, false, false);
        let mut client = Client::Here;
        let mut changed = self.agent.changed.subscribe();
        loop {
            let lost = matches!(client, Client::Lost(_));
            if !self.isolated && !self.task_runs() {
                // The executor ends with its task, and with it what it has exec'd, but nothing beneath.
                return End::Refused(Refusal::internal("plugin is shut down"));
            }
            if lost && drained && status.is_some() {
                return End::Lost;
            }
            if let Some(code) = status {
                let all_read = drained && pipes.held.is_empty();
                if self.isolated && (self.agent.options.truncated_tail || all_read) && !lost {
                    return End::Exited(code);
                }
                if !self.isolated && drained && stdin_ended && !lost {
                    return End::Exited(code);
                }
            }
            let deaf = self.agent.faults().exec_deaf;
            let room = pipes.to_stdin.capacity() > 0;
            let due = pipes.held.front().map(|(at, ..)| *at);
            tokio::select! {
                biased;
                _ = changed.changed() => {}
                ended = pipes.child.wait(), if status.is_none() => {
                    status = Some(ended.map_or(-2, |status| code_of(status).0));
                }
                frame = socket.next(), if !lost && !deaf && room => match frame {
                    Some(Ok(frame @ (Message::Text(_) | Message::Binary(_)))) => {
                        match self.input(&frame.into_data(), pipes, &mut stdin_closed) {
                            Ok(None) => {}
                            Ok(Some(refusal)) => client = Client::Lost(Some(refusal)),
                            Err(refusal) => return End::Refused(refusal),
                        }
                    }
                    Some(Ok(Message::Ping(_))) => self.log(|it| it.pings += 1),
                    Some(Ok(Message::Pong(_) | Message::Frame(_))) => {}
                    Some(Ok(Message::Close(_))) => {
                        // The close frame is answered, and nothing else comes of it.
                        let _ = socket.flush().await;
                        client = Client::Lost(None);
                    }
                    Some(Err(_)) | None => client = Client::Lost(None),
                },
                // Room for the next frame; nothing else comes of it.
                _ = pipes.to_stdin.reserve(), if !room && !pipes.to_stdin.is_closed() => {}
                _ = &mut pipes.stdin_ended, if !stdin_ended => stdin_ended = true,
                () = sleep_until(due), if due.is_some() && !deaf => {
                    let Some((_, stream, bytes)) = pipes.held.pop_front() else { continue };
                    if let Some(end) = self.send(socket, stream, &bytes, &mut client).await {
                        return end;
                    }
                }
                piece = output.recv(), if !drained && !deaf && pipes.held.len() < 4096 => match piece {
                    None => drained = true,
                    Some((stream, bytes)) if self.isolated => {
                        let lost = if self.agent.options.truncated_tail { LOST } else { Duration::ZERO };
                        pipes.held.push_back((Instant::now() + lost, stream, bytes));
                    }
                    Some((stream, bytes)) => {
                        if let Some(end) = self.send(socket, stream, &bytes, &mut client).await {
                            return end;
                        }
                    }
                },
            }
        }
    }

    /// Takes what the client has sent.
    ///
    /// What cannot be read is no error yet: it is told with the next output. What is too much, is.
    fn input(&self, frame: &[u8], pipes: &Pipes, closed: &mut bool) -> Result<Option<Refusal>, Refusal> {
        let input: Input = match serde_json::from_slice(frame) {
            Ok(input) => input,
            Err(error) => return Ok(Some(Refusal::internal(super::decode::syntax(frame, &error)))),
        };
        let Some(stdin) = input.stdin else {
            self.log(|it| it.heartbeats += u64::from(input.tty_size.is_none()));
            return Ok(None);
        };
        let bytes = match stdin.bytes() {
            Ok(bytes) => bytes,
            Err(text) => return Ok(Some(Refusal::internal(text))),
        };
        if bytes.len() > MOST && !self.isolated {
            let text = "rpc error: code = ResourceExhausted desc = grpc: received message larger than max";
            return Err(Refusal::internal(format!("{text} ({} vs. 4194304)", bytes.len() + 10)));
        }
        self.log(|it| {
            it.stdin_bytes += bytes.len() as u64;
            it.stdin_frames += 1;
            it.stdin_closed |= stdin.close;
        });
        if *closed {
            return Ok(None);
        }
        // What fails here, fails as the copier has ended; its stream is closed then, and nobody minds.
        match (bytes.is_empty(), stdin.close) {
            // The path of docker drops what comes along with the end.
            (false, true) if !self.isolated => {
                let _ = pipes.to_stdin.try_send(ToStdin::Data(bytes));
                let to_stdin = pipes.to_stdin.clone();
                tokio::spawn(async move { to_stdin.send(ToStdin::Close).await.is_ok() });
                *closed = true;
            }
            (_, true) => {
                let _ = pipes.to_stdin.try_send(ToStdin::Close);
                *closed = true;
            }
            (false, false) => {
                let _ = pipes.to_stdin.try_send(ToStdin::Data(bytes));
            }
            (true, false) => {}
        }
        Ok(None)
    }

    /// Sends output, if there is somebody to send it to.
    async fn send(
        &self,
        socket: &mut Socket,
        stream: Stream,
        bytes: &[u8],
        client: &mut Client,
    ) -> Option<End> {
        if let Client::Lost(refusal) = client {
            return Some(refusal.take().map_or(End::Lost, End::Refused));
        }
        let sent = lock(&self.agent.log).execs.get(self.number).map_or(0, |it| it.output_bytes);
        let (cut, ends) = {
            let faults = self.agent.faults();
            (faults.exec_cut, faults.exec_close.clone())
        };
        let limit = cut.or(ends.as_ref().map(|(after, ..)| *after));
        let left = limit.map_or(bytes.len(), |limit| {
            usize::try_from(limit.saturating_sub(sent)).unwrap_or(usize::MAX).min(bytes.len())
        });
        if left > 0 {
            self.log(|it| it.output_bytes += left as u64);
            if socket.send(stream.data(&bytes[..left])).await.is_err() {
                return Some(End::Lost);
            }
        }
        if limit.is_none_or(|limit| sent + left as u64 != limit && sent <= limit) {
            return None;
        }
        if let Some(frame) = ends.and_then(|(_, code, text)| close(code, &text)) {
            let _ = socket.send(frame).await;
        }
        Some(End::Lost)
    }

    /// Says that the command has ended. The connection is dropped afterwards, without a close frame.
    async fn exited(&self, socket: &mut Socket, code: i32) {
        let (drop, withheld) = {
            let faults = self.agent.faults();
            (faults.exec_drop_at_exit, faults.exec_no_exit)
        };
        for stream in [Stream::Stdout, Stream::Stderr] {
            let _ = socket.send(stream.close()).await;
        }
        if drop {
            return;
        }
        if withheld {
            while let Some(Ok(_)) = socket.next().await {}
            return;
        }
        self.log(|it| it.exit_code = Some(code));
        let _ = socket.send(exited(code)).await;
    }

    /// What is left of an exec whose client is gone.
    async fn abandoned(self, mut pipes: Pipes, output: Output) {
        let killed = !self.isolated && !self.agent.faults().execs_survive;
        if let Some(pid) = pipes.child.id().filter(|_| killed) {
            signal(pid, Signal::KILL);
        }
        let _ = pipes.child.wait().await;
        // Who keeps the pipes, the executor or docker, neither closes stdin nor reads output, until the task ends.
        let _output = output;
        let mut changed = self.agent.changed.subscribe();
        while self.task_runs() && changed.changed().await.is_ok() {}
    }

    fn task_runs(&self) -> bool {
        self.agent.read(|state| {
            let allocation = state.allocations.get(&self.allocation.id);
            allocation.and_then(|it| it.tasks.get(&self.task)).is_some_and(|it| it.state == "running")
        })
    }

    async fn not_in_container(&self, socket: &mut Socket, error: &std::io::Error) -> Result<(), Refusal> {
        let program = &self.command[0];
        let why = match error.kind() {
            std::io::ErrorKind::NotFound if program.contains('/') => {
                format!("stat {program}: no such file or directory")
            }
            std::io::ErrorKind::NotFound => "executable file not found in $PATH".to_owned(),
            _ => "permission denied".to_owned(),
        };
        let text = format!(
            "OCI runtime exec failed: exec failed: unable to start container process: exec: {program:?}: {why}: unknown\r\n"
        );
        let _ = socket.send(Stream::Stdout.data(text.as_bytes())).await;
        // As docker 20.10 has it, whatever the cause.
        self.exited(socket, 126).await;
        Ok(())
    }

    fn log(&self, change: impl FnOnce(&mut Exec)) {
        if let Some(exec) = lock(&self.agent.log).execs.get_mut(self.number) {
            change(exec);
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}
