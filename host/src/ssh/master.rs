//! The connection to a lease: a multiplexing master of OpenSSH's, which stands for the lease's idle time and over
//! which everything goes. It outlives crabbox, so that the next run finds it; before the lease is released it is
//! closed.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crabbox_protocol::records::Claim;
use crabbox_protocol::{LeaseId, Ssh};
use tokio::time::{sleep, timeout};

use super::failure::Failure;
use super::place::Place;
use super::target::Target;
use crate::Exit;
use crate::error::{Error, Result};
use crate::host::{Chosen, Host};
use crate::lease::LockFile;
use crate::output::foreign;
use crate::paths::private_dir;
use crate::provider::{Guard, Locks};

/// How often a connection that another opens is looked at.
const POLL: Duration = Duration::from_millis(20);

/// How long a connection stands that nobody uses, where the lease has no idle time.
const IDLE: Duration = Duration::from_secs(30 * 60);

/// How long the machine may take to be ready, once it can be reached.
const READY: Duration = Duration::from_secs(60);

/// How long a connection is believed to stand after it was used.
const FRESH: Duration = Duration::from_secs(30);

/// How long the machine may take to show that it does.
const PROBE: Duration = Duration::from_secs(10);

/// How much of what ssh said is read.
const LOG: u64 = 64 * 1024;

/// A way to a lease, and the connection along it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) provider: String,
    pub(super) target: Target,
    pub(super) place: Place,
    idle: Duration,
    known_hosts: PathBuf,
}

impl Connection {
    /// The way that the claim names. Opens nothing.
    pub(crate) fn of(host: &Host, chosen: &Chosen, claim: &Claim) -> Result<Self> {
        let ssh = claim.ssh.as_ref().ok_or_else(|| {
            let message = format!(
                "provider `{}` has no `run`, and does not say how lease {} is reached by SSH",
                chosen.name, claim.lease.slug
            );
            Error::failure(message).hint(format!("this is a fault of crabbox-provider-{}", chosen.name))
        })?;
        let idle = claim.idle_timeout_ms.map_or(IDLE, Duration::from_millis);
        Self::to(host, &chosen.name, &chosen.env, &claim.lease.id, ssh, idle)
    }

    /// The way that a provider names. `env` is all of the environment that ssh gets.
    pub(crate) fn to(
        host: &Host,
        provider: &str,
        env: &[(OsString, OsString)],
        id: &LeaseId,
        ssh: &Ssh,
        idle: Duration,
    ) -> Result<Self> {
        let target = Target::of(host, provider, env, ssh)?;
        let (place, known_hosts) = (Place::of(host, id), host.paths.known_hosts());
        Ok(Self { provider: provider.to_owned(), target, place, idle, known_hosts })
    }

    /// Where it leads.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Whether it is open, leads where the claim says now, and the machine was ready.
    pub(crate) fn is_open(&self) -> bool {
        self.place.is_ready() && self.stands()
    }

    /// Whether a master answers that leads where the claim says now.
    fn stands(&self) -> bool {
        self.place.is_ours() && self.place.leads(&self.target.fingerprint()) && self.place.answers()
    }

    /// Whether it is open, and somebody is at its other end. That is asked where it was not used for a while: a machine
    /// that slept, or a network that changed, leaves connections that nobody hears of for long.
    pub(crate) async fn is_alive(&self) -> bool {
        if !self.is_open() {
            return false;
        }
        if self.place.used().is_some_and(|ago| ago < FRESH) {
            return true;
        }
        self.revive().await
    }

    /// Asks whether somebody is at the other end. If not, the connection takes nothing new from here on, and what still
    /// goes over it may end.
    pub(crate) async fn revive(&self) -> bool {
        if !self.is_open() {
            return false;
        }
        let nothing = crate::remote::Script::default().finish();
        match self.say(Locks::default(), &nothing, PROBE).await {
            Ok(_) => true,
            // It is there, and has as many sessions as it takes.
            Err(failure) if failure.is_full => true,
            Err(_) => {
                self.place.retire().await;
                false
            }
        }
    }

    /// Opens it, unless it is open, and makes sure that the machine is ready. Dropped halfway, nothing of it stays.
    pub(crate) async fn open(
        &self,
        locks: impl Fn() -> Result<Locks>,
        limit: Duration,
    ) -> Result<(), Failure> {
        if self.is_open() {
            return Ok(());
        }
        self.place.make().map_err(Failure::lasting)?;
        private_dir(&self.known_hosts).map_err(Failure::lasting)?;
        let late =
            |_| Failure::passing(Error::new(Exit::Unavailable, "another crabbox is connecting to the lease"));
        let _lock = timeout(limit, self.lock()).await.map_err(late)??;
        if !self.stands() {
            // One that leads elsewhere, or the socket of one that is gone.
            self.place.retire().await;
            self.dial(locks().map_err(Failure::lasting)?, limit).await?;
            self.place.note(&self.target.fingerprint()).map_err(Failure::lasting)?;
        }
        if !self.place.is_ready() {
            self.make_ready(locks().map_err(Failure::lasting)?).await?;
            self.place.note_ready().map_err(Failure::lasting)?;
        }
        Ok(())
    }

    /// Two that open the same connection would get two.
    async fn lock(&self) -> Result<LockFile, Failure> {
        loop {
            match LockFile::try_lock(&self.place.lock(), true) {
                Ok(Some(lock)) => return Ok(lock),
                Ok(None) => sleep(POLL).await,
                Err(error) => {
                    let path = self.place.lock();
                    let error = Error::failure(format!("cannot lock `{}`", path.display())).cause(error);
                    return Err(Failure::lasting(error));
                }
            }
        }
    }

    /// Starts the master. It goes into the background once it is let in; until then the guard ends it with us.
    async fn dial(&self, locks: Locks, limit: Duration) -> Result<(), Failure> {
        let failed = |what: &str, error: std::io::Error| {
            Failure::lasting(Error::failure(format!("cannot {what}")).cause(error))
        };
        let path = self.place.log();
        // A file, because a proxy that writes to a pipe whose reader is gone is ended for it.
        let log = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let log = log.map_err(|error| failure_at(&path, error))?;
        let guard = Guard::spawn(&locks).map_err(|error| failed("start a guard", error))?;
        let persist = [format!("ControlPersist={}", self.idle.as_secs().max(1))];
        let child = self
            .target
            .ssh()
            .args(["-M", "-N", "-f", "-S"])
            .arg(self.place.socket())
            .args(self.target.to_connect(&persist))
            .process_group(guard.group().as_raw_nonzero().get())
            .stderr(log)
            .spawn();
        let mut child = child.map_err(|error| failed("start ssh", error))?;
        let status = timeout(limit, child.wait()).await;
        let said = || crate::paths::read_end(&path, LOG);
        match status {
            Ok(Ok(status)) if status.success() && self.place.answers() => {
                // From here on it stands by itself, and its proxy with it.
                guard.let_go().await;
                Ok(())
            }
            Ok(Ok(status)) => Err(self.refused(status, &said())),
            Ok(Err(error)) => Err(failed("wait for ssh", error)),
            Err(_) => {
                let message = format!(
                    "{} did not answer within {}",
                    self.target.shown(),
                    humantime::format_duration(limit)
                );
                let error = super::failure::with_causes(Error::new(Exit::Unavailable, message), &said());
                Err(Failure::passing(error))
            }
        }
    }

    fn refused(&self, status: ExitStatus, said: &str) -> Failure {
        let mut failure = Failure::of(&self.target, said);
        if failure.error.causes.is_empty() {
            failure.error.causes.push(format!("ssh ended with {status} and said nothing"));
        }
        failure
    }

    /// Makes the lease's directory, and asks whether the machine is ready.
    async fn make_ready(&self, locks: Locks) -> Result<(), Failure> {
        const SAYS: &[u8] = b"crabbox-ready\n";
        let answer = self.say(locks, &ready_script(&self.target), READY).await?;
        let shown = self.target.shown();
        let told = foreign(String::from_utf8_lossy(&answer.stderr).trim());
        match (answer.code, answer.stdout.as_slice()) {
            (0, SAYS) => Ok(()),
            (0, said) if said.ends_with(SAYS) => {
                let noise = &said[..said.len() - SAYS.len()];
                Err(Failure::lasting(
                    Error::new(Exit::Auth, format!("the shell of {shown} says something before every command"))
                        .cause(format!("it said `{}`", foreign(&String::from_utf8_lossy(noise))))
                        .hint("it would be in the output of every command: have ~/.bashrc and the like print only where a person looks"),
                ))
            }
            (NOT_READY, _) => {
                Err(Failure::passing(Error::new(Exit::Unavailable, format!("{shown} is not ready yet"))))
            }
            (code, _) => {
                let error =
                    Error::new(Exit::Auth, format!("cannot use `{}` on {shown}", foreign(&self.target.root)));
                let error = match told.is_empty() {
                    true => error.cause(format!("the shell there ended with code {code}")),
                    false => error.cause(told),
                };
                Err(Failure::lasting(
                    error.hint("it needs a POSIX shell, and a directory that it may write to"),
                ))
            }
        }
    }
}

/// What the script ends with while the machine is not ready.
const NOT_READY: i32 = 75;

fn ready_script(target: &Target) -> Vec<u8> {
    use std::ffi::OsStr;
    let mut script = crate::remote::Script::default();
    script.words("umask 077; mkdir -p --", [OsStr::new(&target.root)]);
    script.line("[ $? = 0 ] || exit 73");
    script.words("cd", [OsStr::new(&target.root)]);
    script.line("[ $? = 0 ] || exit 73");
    if let Some(ready) = &target.ready {
        script.words("sh -c", [OsStr::new(ready)]);
        script.line(&format!("[ $? = 0 ] || exit {NOT_READY}"));
    }
    script.line("echo crabbox-ready");
    script.finish()
}

fn failure_at(path: &std::path::Path, error: std::io::Error) -> Failure {
    Failure::lasting(Error::failure(format!("cannot write `{}`", path.display())).cause(error))
}
