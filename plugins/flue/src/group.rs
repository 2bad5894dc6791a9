//! The process group of a run: Flue, what Flue starts, the command and its children.
//!
//! It is led by a copy of this plugin that does nothing but wait for the end of a pipe which only the plugin
//! holds, and then kills the group: so a plugin that was killed leaves nothing of a run behind. The leader
//! starts first and is reaped last, so the group's number is the run's for as long as it is used.

use std::io::{self, Read as _};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use crabbox_provider_kit::processes::ProcessInfo;
use crabbox_provider_kit::protocol::RunId;
use crabbox_provider_kit::{Error, Result, processes};
use rustix::process::{Pid, Signal, getpgrp, getpid, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

/// The argument that makes the plugin the leader of a group.
pub(crate) const LEADER_ARGUMENT: &str = "__lead";

/// The variable that every process of a run has in its environment.
pub(crate) const RUN_ID: &str = "CRABBOX_RUN_ID";

/// How long it may take until the death of a killed process shows.
const CONFIRM: Duration = Duration::from_secs(3);

/// The group of one run. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Group {
    leader: Child,
    id: Pid,
    /// What every process of the run has in its environment.
    mark: Vec<u8>,
    /// When it began, in the system's ticks.
    since: u64,
}

impl Group {
    /// Starts a leader.
    pub(crate) fn start(run: &RunId) -> Result<Self> {
        let failed = |error: io::Error| Error::internal("cannot start the leader of a group").cause(error);
        let program = match cfg!(target_os = "linux") {
            true => "/proc/self/exe".into(),
            false => std::env::current_exe().map_err(failed)?,
        };
        let leader = Command::new(program)
            .arg(LEADER_ARGUMENT)
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let id = leader.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let id = id.ok_or_else(|| failed(io::Error::other("it has no process id")))?;
        let found = processes::find(id.as_raw_nonzero().get()).map_err(failed)?;
        let since = found.and_then(|leader| leader.start.parse().ok()).unwrap_or(0);
        Ok(Self { leader, id, mark: format!("{RUN_ID}={run}").into_bytes(), since })
    }

    /// The number to start processes with, so that they are in it.
    pub(crate) fn number(&self) -> i32 {
        self.id.as_raw_nonzero().get()
    }

    /// Ends everything in it: SIGTERM, and after `grace` SIGKILL. Says which of them it took.
    ///
    /// # Errors
    ///
    /// `cancelled` when something is still alive.
    pub(crate) async fn end(&mut self, grace: impl Future<Output = ()>) -> Result<Signal> {
        self.signal(Signal::TERM);
        let took = tokio::select! {
            () = self.dead() => Signal::TERM,
            () = grace => Signal::KILL,
        };
        self.kill().await.map(|()| took)
    }

    /// Kills everything in it, the leader with the rest.
    ///
    /// # Errors
    ///
    /// `cancelled` when something is still alive.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        let killed = timeout(CONFIRM, async {
            loop {
                self.signal(Signal::KILL);
                if self.is_dead() {
                    break;
                }
                sleep(Duration::from_millis(10)).await;
            }
        });
        if killed.await.is_err() {
            let number = self.number();
            return Err(Error::cancelled(format!("process group {number} was killed and still lives")));
        }
        let _ = self.leader.wait().await;
        Ok(())
    }

    /// Waits until nothing of the run is alive.
    async fn dead(&self) {
        let mut pause = Duration::from_millis(5);
        while !self.is_dead() {
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Where it cannot be told, it is not dead.
    fn is_dead(&self) -> bool {
        self.members().is_ok_and(|members| members.is_empty())
    }

    fn signal(&self, signal: Signal) {
        // What is gone by now is what was wanted.
        let _ = kill_process_group(self.id, signal);
        let members = self.members().unwrap_or_default();
        let strays = members.iter().filter(|process| process.group != self.number());
        for pid in strays.filter_map(|process| Pid::from_raw(process.pid)) {
            let _ = kill_process(pid, signal);
        }
    }

    /// The run's processes that are alive, without the leader: those of the group, and on Linux those that
    /// left it and have the run's number in their environment.
    fn members(&self) -> io::Result<Vec<ProcessInfo>> {
        let number = self.number();
        let is_member = |process: &ProcessInfo| {
            let later = process.start.parse::<u64>().is_ok_and(|start| start >= self.since);
            process.alive
                && process.pid != number
                && (process.group == number || later && self.is_marked(process.pid))
        };
        Ok(processes::all()?.into_iter().filter(is_member).collect())
    }

    fn is_marked(&self, pid: i32) -> bool {
        let environment = processes::environment(pid).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == self.mark)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Reaped, its number may be somebody else's.
        if self.leader.id().is_some() {
            self.signal(Signal::KILL);
        }
    }
}

/// What the leader does.
pub(crate) fn leader_main() -> ExitCode {
    if getpgrp() != getpid() {
        return ExitCode::FAILURE;
    }
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    // What is sent to the group is meant for the others: with a handler in place it goes on.
    let _handlers = runtime.block_on(async {
        [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()]
            .map(|kind| signal(kind).ok())
    });
    let mut byte = [0];
    let mut stdin = io::stdin().lock();
    while let Err(io::ErrorKind::Interrupted) | Ok(1..) = stdin.read(&mut byte).map_err(|error| error.kind())
    {
    }
    let _ = kill_process_group(getpgrp(), Signal::KILL);
    ExitCode::SUCCESS
}
