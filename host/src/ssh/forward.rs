//! Ports of a lease on this machine, over a connection of their own: the lease's would end with its idle time, and
//! this one ends with us.
//!
//! It is a master without sessions, which is told of one port after the other. So the user's own configuration can
//! still be kept from forwarding anything, each port is confirmed, and one that is taken costs no new connection.

use std::fs;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::pin::pin;
use std::process::Stdio;
use std::task::{Context, Poll};
use std::time::Duration;

use crabbox_protocol::LeaseId;
use crabbox_protocol::records::Claim;
use rustix::process::Signal;
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use super::failure::{Failure, with_causes};
use super::place::Place;
use super::target::Target;
use crate::Exit;
use crate::error::{Error, Result};
use crate::host::{Chosen, Host};
use crate::output::foreign;
use crate::paths::{private_dir, read_end};
use crate::provider::{Guard, Locks};

/// How often it is looked whether the connection stands.
const POLL: Duration = Duration::from_millis(20);

/// How long connecting may take in all: a proxy may have to start something first.
const CONNECTING: Duration = Duration::from_secs(2 * 60);

/// How long ssh may take to say whether it forwards a port: nothing leaves this machine for that.
const ASKING: Duration = Duration::from_secs(10);

/// How long ssh and its proxy may take to end by themselves.
const CLOSING: Duration = Duration::from_secs(1);

/// Why a connection ends of which ssh says nothing: it has `ServerAliveInterval` and `ServerAliveCountMax`.
const SILENT: &str = "nothing was heard from it for a minute: the machine is gone, or the way there (see `crabbox doctor --crew NAME --bridge`)";

/// How much of what ssh said is read.
const LOG: u64 = 64 * 1024;

/// A connection that carries ports of a lease to this machine. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Carrier {
    target: Target,
    child: Child,
    // Before the directory: what is in that is in use until then.
    guard: Guard,
    directory: Directory,
}

/// What the connection keeps on disk, removed with it.
#[derive(Debug)]
struct Directory(Place);

impl Drop for Directory {
    fn drop(&mut self) {
        self.0.remove();
    }
}

impl Carrier {
    /// Opens the connection, once. Its guard holds `lock` for as long as anything of it lives.
    pub(crate) async fn open(host: &Host, chosen: &Chosen, claim: &Claim, lock: File) -> Result<Self> {
        let no_way = || Error::failure(format!("lease {} is not reached by SSH", claim.lease.slug));
        let ssh = claim.ssh.as_ref().ok_or_else(no_way)?;
        let target = Target::of(host, &chosen.name, &chosen.env, ssh)?;
        private_dir(&host.paths.known_hosts())?;
        let place = Place::of_ports(host, &claim.lease.id);
        // One that is there is of a process that was killed.
        place.close().await;
        place.make()?;
        let directory = Directory(place);
        let log = directory.0.log();
        let said = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&log);
        let said =
            said.map_err(|error| Error::failure(format!("cannot write `{}`", log.display())).cause(error))?;
        let guard = Guard::spawn(&Locks { lease: None, run: Some(lock) })
            .map_err(|error| Error::failure("cannot start a guard").cause(error))?;
        let mut options = vec!["ControlPersist=no".to_owned()];
        options.extend(stays(&target).await);
        let child = target
            .ssh()
            .args(["-M", "-N", "-S"])
            .arg(directory.0.socket())
            .args(target.to_connect(&options))
            .process_group(guard.group().as_raw_nonzero().get())
            .stderr(said)
            .spawn()
            .map_err(|error| Error::failure("cannot start ssh").cause(error))?;
        let mut carrier = Self { target, child, guard, directory };
        match timeout(CONNECTING, carrier.connected()).await {
            Ok(true) => Ok(carrier),
            Ok(false) => {
                let error = Failure::of(&carrier.target, &carrier.said()).error;
                carrier.close().await;
                Err(error)
            }
            Err(_) => {
                let after = humantime::format_duration(CONNECTING);
                let message = format!("{} did not answer within {after}", carrier.target.shown());
                let error = with_causes(Error::new(Exit::Unavailable, message), &carrier.said());
                carrier.close().await;
                Err(error)
            }
        }
    }

    /// Ends what is left of connections to these leases whose process was killed, and of connections to leases that
    /// are no more.
    pub(crate) async fn clear(host: &Host, ids: &[LeaseId]) {
        for id in ids {
            Place::of_ports(host, id).close().await;
        }
    }

    /// Waits until the connection stands, or ssh has ended.
    async fn connected(&mut self) -> bool {
        loop {
            if self.directory.0.answers() {
                return true;
            }
            tokio::select! {
                _ = self.child.wait() => return false,
                () = sleep(POLL) => {}
            }
        }
    }

    /// Has a port of this machine lead to one of the lease, both at 127.0.0.1. On success it does. The error is for
    /// whoever has no other port to try.
    pub(crate) async fn forward(&self, local: u16, remote: u16) -> Result<()> {
        let words = format!("127.0.0.1:{local}:127.0.0.1:{remote}");
        let asked = self
            .target
            .ssh()
            .args(self.target.over(&self.directory.0.socket(), &["-O", "forward", "-L", &words]))
            .process_group(self.guard.group().as_raw_nonzero().get())
            .kill_on_drop(true)
            .output();
        let failed = |why: String| {
            let shown = self.target.shown();
            let message = format!("cannot forward port {remote} of {shown} to port {local} of this machine");
            with_causes(Error::new(Exit::Transport, message).cause(why), &self.said())
        };
        match timeout(ASKING, asked).await {
            Ok(Ok(output)) if output.status.success() => Ok(()),
            Ok(Ok(output)) => Err(failed(foreign(String::from_utf8_lossy(&output.stderr).trim()))),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("ssh does not answer".to_owned())),
        }
    }

    /// Whether the connection has ended, and why.
    pub(crate) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Error> {
        let ended = pin!(self.child.wait()).poll(context);
        ended.map(|status| {
            let mut error = Failure::broken(&self.target, &self.said()).error;
            if error.causes.is_empty() {
                error.causes.push(match status {
                    // What it says of that is below the level of errors (clientloop.c, `server_alive_check`).
                    Ok(status) if status.code() == Some(255) => SILENT.to_owned(),
                    Ok(status) => format!("ssh ended with {status} and said nothing"),
                    Err(error) => error.to_string(),
                });
            }
            error
        })
    }

    /// Closes the connection, gently at first. On return nothing of it is left.
    pub(crate) async fn close(mut self) {
        self.guard.signal(Signal::TERM);
        let _ = timeout(CLOSING, self.child.wait()).await;
        self.guard.end().await;
        let _ = self.child.wait().await;
    }

    fn said(&self) -> String {
        read_end(&self.directory.0.log(), LOG)
    }
}

/// The option that keeps ssh from leaving its guard's group for the background, whatever the user's own configuration
/// says. `None` where ssh has none, and so does not do that: this came with OpenSSH 8.7, and one that is not known is
/// refused. `IgnoreUnknown` would help, and take the place of the user's.
pub(super) async fn stays(target: &Target) -> Option<String> {
    const OPTION: &str = "ForkAfterAuthentication=no";
    let known = target
        .ssh()
        .args(["-F", "none", "-G", "-o", OPTION, "--", "lease"])
        .process_group(0)
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    let known = timeout(ASKING, known).await.is_ok_and(|status| status.is_ok_and(|status| status.success()));
    known.then(|| OPTION.to_owned())
}
