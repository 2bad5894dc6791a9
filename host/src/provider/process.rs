//! Starting and ending a plugin's process.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::ProviderError;
use super::guard::Guard;
use super::stderr::Tail;
use super::trace::{Direction, Track};
use crate::fault::{Fault, pass};

/// How long a plugin may take to end after its input ended, and again after SIGTERM.
pub(crate) const STEP: Duration = Duration::from_secs(2);

/// How long output may still come after the process has ended.
pub(crate) const REAP: Duration = Duration::from_millis(250);

/// What to start.
#[derive(Debug)]
pub(crate) struct Spawn {
    /// The provider's name.
    pub(crate) provider: String,
    /// The executable.
    pub(crate) path: PathBuf,
    /// All of its environment.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// What its guard holds on to.
    pub(crate) locks: Locks,
}

/// Locks that stay locked for as long as a plugin may live.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    /// The lock of the lease that the plugin serves.
    pub(crate) lease: Option<File>,
    /// The lock of the run.
    pub(crate) run: Option<File>,
}

/// How a plugin is started.
fn plugin(spawn: &Spawn) -> Command {
    let mut command = Command::new(&spawn.path);
    command.arg("--stdio").current_dir("/");
    command
}

/// A plugin's process, its guard, and the pipes between.
#[derive(Debug)]
pub(crate) struct Process {
    /// The way to the plugin; gone once its input has ended.
    pub(crate) stdin: Option<ChildStdin>,
    /// What it writes.
    pub(crate) stdout: ChildStdout,
    /// What it says to people.
    pub(crate) stderr: Tail,
    /// The process itself.
    pub(crate) child: Child,
    /// Writes down what is said, where the user wants that.
    pub(super) track: Option<Track>,
    guard: Guard,
}

impl Process {
    /// Starts the guard, then the plugin in the guard's group. The plugin's directory is `/`.
    pub(super) fn spawn(spawn: &Spawn) -> Result<Self, ProviderError> {
        Self::tracked(plugin(spawn), spawn, Track::begin(&spawn.provider))
    }

    /// The same, and what is said is in no trace.
    pub(crate) fn untracked(spawn: &Spawn) -> Result<Self, ProviderError> {
        Self::start(plugin(spawn), spawn)
    }

    /// Starts the guard, then a command in the guard's group.
    pub(crate) fn start(command: Command, spawn: &Spawn) -> Result<Self, ProviderError> {
        Self::tracked(command, spawn, None)
    }

    fn tracked(mut command: Command, spawn: &Spawn, track: Option<Track>) -> Result<Self, ProviderError> {
        let provider = || spawn.provider.clone();
        let guard = Guard::spawn(&spawn.locks)
            .map_err(|source| ProviderError::Io { provider: provider(), source })?;
        let child = command
            .env_clear()
            .envs(spawn.env.iter().map(|(name, value)| (name, value)))
            .process_group(guard.group().as_raw_nonzero().get())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let failed = |source| ProviderError::Spawn { provider: provider(), path: spawn.path.clone(), source };
        let mut child = child.map_err(failed)?;
        pass(Fault::PluginStarted);
        let no_pipe = || failed(io::Error::other("a pipe is missing"));
        let stdout = child.stdout.take().ok_or_else(no_pipe)?;
        let stderr = Tail::drain(child.stderr.take().ok_or_else(no_pipe)?, track.clone());
        Ok(Self { stdin: child.stdin.take(), stdout, stderr, child, track, guard })
    }

    /// Writes down what is said, where the user wants that.
    pub(super) fn record(&self, dir: Direction, lines: &[u8]) {
        if let Some(track) = &self.track {
            track.record(dir, lines);
        }
    }

    /// The group that the plugin is in, with its guard.
    pub(crate) fn group(&self) -> i32 {
        self.guard.group().as_raw_nonzero().get()
    }

    /// Ends the plugin's input: it is to finish by itself.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends a signal to the plugin and everything in its group.
    pub(crate) fn signal(&self, signal: Signal) {
        self.guard.signal(signal);
    }

    /// Ends the process, gently first, and everything in its group.
    pub(crate) async fn end(mut self) {
        self.close_stdin();
        if timeout(STEP, self.child.wait()).await.is_err() {
            self.signal(Signal::TERM);
            if timeout(STEP, self.child.wait()).await.is_err() {
                self.signal(Signal::KILL);
                let _ = self.child.wait().await;
            }
        }
        self.guard.end().await;
        pass(Fault::PluginEnded);
    }
}
