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

/// How long a plugin may take to end after its input ended, and again after SIGTERM.
pub(super) const STEP: Duration = Duration::from_secs(2);

/// How long output may still come after the process has ended.
pub(super) const REAP: Duration = Duration::from_millis(250);

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

/// A plugin's process, its guard, and the pipes between.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: Tail,
    pub(super) child: Child,
    guard: Guard,
}

impl Process {
    /// Starts the guard, then the plugin in the guard's group. The plugin's directory is `/`.
    pub(super) fn spawn(spawn: &Spawn) -> Result<Self, ProviderError> {
        let provider = || spawn.provider.clone();
        let guard = Guard::spawn(&spawn.locks)
            .map_err(|source| ProviderError::Io { provider: provider(), source })?;
        let child = Command::new(&spawn.path)
            .arg("--stdio")
            .env_clear()
            .envs(spawn.env.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .process_group(guard.group().as_raw_nonzero().get())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let failed = |source| ProviderError::Spawn { provider: provider(), path: spawn.path.clone(), source };
        let mut child = child.map_err(failed)?;
        let no_pipe = || failed(io::Error::other("a pipe is missing"));
        let stdout = child.stdout.take().ok_or_else(no_pipe)?;
        let stderr = Tail::drain(child.stderr.take().ok_or_else(no_pipe)?);
        Ok(Self { stdin: child.stdin.take(), stdout, stderr, child, guard })
    }

    /// Ends the plugin's input: it is to finish by itself.
    pub(super) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends a signal to the plugin and everything in its group.
    pub(super) fn signal(&self, signal: Signal) {
        self.guard.signal(signal);
    }

    /// Ends the process, gently first, and everything in its group.
    pub(super) async fn end(mut self) {
        self.close_stdin();
        if timeout(STEP, self.child.wait()).await.is_err() {
            self.signal(Signal::TERM);
            if timeout(STEP, self.child.wait()).await.is_err() {
                self.signal(Signal::KILL);
                let _ = self.child.wait().await;
            }
        }
        self.guard.end().await;
    }
}
