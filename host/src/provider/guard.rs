//! The guard: a copy of crabbox that leads the plugin's process group and outlives the host.
//!
//! It starts before the plugin, so that there is no moment at which the host's death leaves a plugin
//! behind. Its standard input is a pipe that only the host holds; its standard output and error are the
//! locks of the lease and of the run. When the pipe ends, the plugin gets two seconds, then the whole
//! group is killed, the guard with it: the locks are free only once the group has been sent SIGKILL.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, getpgrp, kill_process_group};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::process::Locks;
use crate::fault::{Fault, pass};

/// The argument that makes crabbox a guard.
pub(crate) const GUARD_ARGUMENT: &str = "__guard";

/// How long a plugin may take to see the end of its input once the host is gone.
const GRACE: Duration = Duration::from_secs(2);

/// This very program, also when the file that it was started from is another by now.
pub(crate) fn own_program() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { std::env::current_exe() }
}

/// A running guard, seen from the host.
#[derive(Debug)]
pub(crate) struct Guard {
    child: Child,
    group: Pid,
}

impl Guard {
    /// Starts a guard as the leader of a new group.
    pub(crate) fn spawn(locks: &Locks) -> io::Result<Self> {
        let stdio = |lock: &Option<File>| -> io::Result<Stdio> {
            lock.as_ref().map_or_else(|| Ok(Stdio::null()), |file| file.try_clone().map(Stdio::from))
        };
        let child = Command::new(own_program()?)
            .arg(GUARD_ARGUMENT)
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(stdio(&locks.lease)?)
            .stderr(stdio(&locks.run)?)
            .spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let group = id.ok_or_else(|| io::Error::other("the guard has no process id"))?;
        pass(Fault::GuardStarted);
        Ok(Self { child, group })
    }

    /// The group that the plugin joins. It is valid for as long as the guard is not reaped.
    pub(crate) fn group(&self) -> Pid {
        self.group
    }

    /// Sends a signal to the whole group.
    pub(crate) fn signal(&self, signal: Signal) {
        // A group with only zombies in it is as good as signalled.
        let _ = kill_process_group(self.group, signal);
    }

    /// Kills what is left of the group and reaps the guard.
    pub(crate) async fn end(mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait().await;
    }

    /// Ends the guard alone: from now on nobody ends what is left of the group.
    pub(crate) async fn let_go(mut self) {
        let _ = self.child.kill().await;
    }
}

impl Drop for Guard {
    /// A session that is dropped half way takes its group along.
    fn drop(&mut self) {
        if self.child.id().is_some() {
            self.signal(Signal::KILL);
        }
    }
}

/// What `crabbox __guard` does.
pub(crate) fn guard_main() -> ExitCode {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    // What is sent to the group is not meant for the guard: with a handler in place it goes on.
    let _handlers = runtime.block_on(async {
        [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()]
            .map(|kind| signal(kind).ok())
    });
    let mut byte = [0u8; 16];
    let mut stdin = io::stdin().lock();
    loop {
        match stdin.read(&mut byte) {
            Ok(0) => break,
            Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
            _ => {}
        }
    }
    std::thread::sleep(GRACE);
    let _ = kill_process_group(getpgrp(), Signal::KILL);
    ExitCode::SUCCESS
}
