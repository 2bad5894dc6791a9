//! One process at a time forwards the ports of a crew: the one that has the seat.
//!
//! In the crew's directory there are two locks. `lock` is held by that process and by the guards of its connections,
//! so that it is free only once everything is gone. `holder` is a record lock of that process alone: of such a lock
//! the system itself says whose it is, so nobody is ever sent a signal by a number that a file has. It may also say
//! that it is no process of this machine's (0, or less, for the lock of an open file or of another machine): then
//! nobody is sent one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crabbox_protocol::LeaseId;
use crabbox_protocol::records::CrewConnection;
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::{Flock, FlockType, Pid, Signal, fcntl_getlk, kill_process};
use tokio::time::sleep;

use super::files::Files;
use crate::crew::of_crew;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::lease::LockFile;
use crate::paths::{Paths, private_dir, sweep};
use crate::ssh::Carrier;

/// How often it is looked whether the seat is free.
const POLL: Duration = Duration::from_millis(50);

/// How long what is left of a dead process may take to go: its guards wait for two seconds.
const DYING: Duration = Duration::from_secs(10);

/// How long a process may take to close its connections before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);

const LOCK: &str = "lock";
const HOLDER: &str = "holder";

/// The right to forward the ports of a crew. Dropped, it is free, and nothing is left in the directory but a log.
#[derive(Debug)]
pub(crate) struct Seat {
    directory: PathBuf,
    lock: Option<LockFile>,
    keeps_log: bool,
    /// Whose connections a dead process left.
    left: Vec<LeaseId>,
    /// Not opened a second time: closing any copy of a record lock's file ends the lock.
    _holder: File,
}

/// Whose the seat is.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It is ours now.
    Ours(Seat),
    /// It is this process's.
    By(Pid),
}

impl Seat {
    /// Takes the seat, and clears away what a dead process left.
    pub(crate) async fn take(paths: &Paths, crew: &str) -> Result<Taken> {
        let directory = directory(paths, crew);
        let failed = |error| cannot_lock(&directory, error);
        let begun = Instant::now();
        loop {
            private_dir(&directory)?;
            match LockFile::try_lock(&directory.join(LOCK), true) {
                Ok(Some(lock)) => {
                    let left = leases(&directory);
                    clear(&directory);
                    let holder = open_holder(&directory).map_err(failed)?;
                    fcntl_lock(&holder, FlockOperation::NonBlockingLockExclusive)
                        .map_err(|error| failed(error.into()))?;
                    return Ok(Taken::Ours(Self {
                        directory,
                        lock: Some(lock),
                        keeps_log: false,
                        left,
                        _holder: holder,
                    }));
                }
                Ok(None) => match holder(&directory) {
                    Holder::Process(pid) => return Ok(Taken::By(pid)),
                    Holder::Elsewhere => return Err(stuck(&directory)),
                    Holder::Nobody => {}
                },
                // The directory was removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
            if begun.elapsed() > DYING {
                return Err(stuck(&directory));
            }
            sleep(POLL).await;
        }
    }

    /// The crew's directory.
    pub(super) fn files(&self) -> Files {
        Files::of(&self.directory)
    }

    /// A copy of the lock, for a guard.
    pub(super) fn for_guard(&self) -> Result<File> {
        let lock = self.lock.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
        lock.and_then(LockFile::share_with_guard).map_err(|error| cannot_lock(&self.directory, error))
    }

    /// The leases that a dead process was connected to. What it left of that may still be there.
    pub(super) fn left(&self) -> &[LeaseId] {
        &self.left
    }

    /// What was said stays, for whoever asks next.
    pub(super) fn keep_log(&mut self) {
        self.keeps_log = true;
    }

    /// Whether the directory is still there. Without it nobody would find us.
    pub(super) fn is_known(&self) -> bool {
        self.lock.as_ref().is_some_and(LockFile::is_in_place)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.files().withdraw();
        if !self.keeps_log {
            let _ = fs::remove_file(self.files().log());
        }
        let _ = fs::remove_file(self.directory.join(HOLDER));
        if let Some(lock) = self.lock.take() {
            lock.remove();
        }
        let _ = fs::remove_dir(&self.directory);
    }
}

/// What stands for a crew, if anything does. The process is alive at this moment.
pub(crate) fn standing(paths: &Paths, crew: &str) -> Option<(Pid, Option<CrewConnection>)> {
    let directory = directory(paths, crew);
    match holder(&directory) {
        Holder::Process(pid) => Some((pid, Files::of(&directory).read())),
        Holder::Nobody | Holder::Elsewhere => None,
    }
}

/// What there was to be ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Nothing, and what the last process in the background said before it failed.
    Nothing(Option<String>),
    /// What a dead process left.
    Leftovers,
    /// A connection that stood.
    Connection,
}

/// The leases that a crew is connected to, or was by a dead process. `None` while that is not known.
pub(crate) fn connected_to(paths: &Paths, crew: &str) -> Option<Vec<LeaseId>> {
    Files::of(&directory(paths, crew)).read().map(of_record)
}

/// Refuses a crew whose directory no record could name.
pub(crate) fn nameable(paths: &Paths, crew: &str) -> Result<()> {
    let directory = directory(paths, crew);
    match directory.to_str() {
        Some(_) => Ok(()),
        None => Err(Error::usage(format!("`{}` is not UTF-8", directory.display()))
            .cause("whoever connects is told the names of files in it")
            .hint("set XDG_STATE_HOME to another place")),
    }
}

/// Ends what stands for a crew. On return all of it is gone.
pub(crate) async fn disconnect(host: &Host, crew: &str) -> Result<Ended> {
    let close = async |mut left: Vec<LeaseId>| {
        // One that was killed while it was connecting has no record.
        let (members, _) = of_crew(host, crew).unwrap_or_default();
        left.extend(members.into_iter().map(|claim| claim.lease.id));
        Carrier::clear(host, &left).await;
    };
    end(&host.paths, crew, close).await
}

/// The same. `close` ends what a killed process left, given the leases that it was connected to as far as they are known.
async fn end(paths: &Paths, crew: &str, close: impl AsyncFnOnce(Vec<LeaseId>)) -> Result<Ended> {
    let directory = directory(paths, crew);
    let (mut told, mut begun): (Option<Pid>, _) = (None, Instant::now());
    let mut killed = false;
    loop {
        if !directory.exists() {
            let ended = if told.is_some() { Ended::Connection } else { Ended::Nothing(None) };
            return Ok(ended);
        }
        match LockFile::try_lock(&directory.join(LOCK), true) {
            Ok(Some(lock)) => {
                let said = crate::paths::read_end(&Files::of(&directory).log(), 4096);
                close(leases(&directory)).await;
                let had = clear(&directory);
                lock.remove();
                let _ = fs::remove_dir(&directory);
                let ended = match (told, had) {
                    (Some(_), _) => Ended::Connection,
                    (None, true) => Ended::Leftovers,
                    (None, false) => Ended::Nothing(Some(said).filter(|said| !said.trim().is_empty())),
                };
                return Ok(ended);
            }
            Ok(None) => match holder(&directory) {
                Holder::Elsewhere => return Err(stuck(&directory)),
                Holder::Process(pid) if told != Some(pid) => {
                    let _ = kill_process(pid, Signal::TERM);
                    (told, begun, killed) = (Some(pid), Instant::now(), false);
                }
                Holder::Process(pid) if begun.elapsed() > PATIENCE && !killed => {
                    let _ = kill_process(pid, Signal::KILL);
                    (begun, killed) = (Instant::now(), true);
                }
                _ => {}
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(cannot_lock(&directory, error)),
        }
        if begun.elapsed() > PATIENCE + DYING {
            return Err(stuck(&directory));
        }
        sleep(POLL).await;
    }
}

fn directory(paths: &Paths, crew: &str) -> PathBuf {
    paths.crews().join(crew)
}

/// The leases that the record in a directory names.
fn leases(directory: &Path) -> Vec<LeaseId> {
    Files::of(directory).read().map(of_record).unwrap_or_default()
}

fn of_record(record: CrewConnection) -> Vec<LeaseId> {
    record.forwards.into_iter().map(|forward| forward.lease_id).collect()
}

/// Clears away what is in a directory that is locked. Returns whether a connection was among it.
fn clear(directory: &Path) -> bool {
    let files = Files::of(directory);
    let had = directory.join(HOLDER).exists();
    files.withdraw();
    let _ = fs::remove_file(files.log());
    let _ = fs::remove_file(directory.join(HOLDER));
    sweep(directory);
    had
}

fn open_holder(directory: &Path) -> io::Result<File> {
    let path = directory.join(HOLDER);
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Who has the seat: the system says so.
#[derive(Debug)]
enum Holder {
    /// Nobody, at this moment.
    Nobody,
    /// A process that can be sent a signal.
    Process(Pid),
    /// Somebody who is no process of this machine that the system has a number for.
    Elsewhere,
}

fn holder(directory: &Path) -> Holder {
    let file = OpenOptions::new().read(true).write(true).open(directory.join(HOLDER));
    let lock = file.and_then(|file| Ok(fcntl_getlk(&file, &Flock::from(FlockType::WriteLock))?));
    match lock {
        Ok(Some(Flock { pid, .. })) => {
            // A signal to -1 is one to everybody, and 1 is nobody's crabbox.
            let pid = pid.filter(|pid| pid.as_raw_nonzero().get() > 1);
            pid.map_or(Holder::Elsewhere, Holder::Process)
        }
        Ok(None) | Err(_) => Holder::Nobody,
    }
}

fn cannot_lock(directory: &Path, error: io::Error) -> Error {
    Error::failure(format!("cannot lock `{}`", directory.display()))
        .cause(error)
        .hint("make the state directory writable, or set XDG_STATE_HOME to another place")
}

fn stuck(directory: &Path) -> Error {
    Error::failure(format!("`{}` is locked, and nobody is there whose lock it is", directory.display())).hint(
        "something that a crew's connection started may still run, or it is another machine's: end it there",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(directory: &Path) -> Paths {
        let path = |name: &str| directory.join(name);
        Paths { state: path("state"), cache: path("cache"), config: path("config") }
    }

    async fn nothing(_: Vec<LeaseId>) {}

    #[tokio::test]
    async fn the_seat_is_one_and_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths(home.path());
        let Ok(Taken::Ours(seat)) = Seat::take(&paths, "shop").await else { panic!("it is free") };
        assert!(seat.is_known());
        assert!(LockFile::try_lock(&directory(&paths, "shop").join(LOCK), true).unwrap().is_none());
        drop(seat);
        assert!(!directory(&paths, "shop").exists());
        assert!(matches!(end(&paths, "shop", nothing).await, Ok(Ended::Nothing(None))));
    }

    #[tokio::test]
    async fn what_a_dead_process_left_is_cleared_away() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths(home.path());
        let directory = directory(&paths, "shop");
        let leave = || {
            private_dir(&directory).unwrap();
            for name in [LOCK, HOLDER, "hosts", "env", "connection.json", ".new-x"] {
                fs::write(directory.join(name), "{}").unwrap();
            }
        };
        leave();
        assert!(matches!(end(&paths, "shop", nothing).await, Ok(Ended::Leftovers)));
        assert!(!directory.exists());
        leave();
        let Ok(Taken::Ours(seat)) = Seat::take(&paths, "shop").await else { panic!("it is free") };
        let mut left: Vec<_> =
            fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [HOLDER, LOCK]);
        drop(seat);
    }

    #[tokio::test]
    async fn what_failed_in_the_background_is_told_once() {
        let home = tempfile::tempdir().unwrap();
        let paths = paths(home.path());
        let Ok(Taken::Ours(mut seat)) = Seat::take(&paths, "shop").await else { panic!("it is free") };
        seat.keep_log();
        fs::write(seat.files().log(), "it broke\n").unwrap();
        drop(seat);
        assert!(
            matches!(end(&paths, "shop", nothing).await, Ok(Ended::Nothing(Some(said))) if said == "it broke\n")
        );
        assert!(matches!(end(&paths, "shop", nothing).await, Ok(Ended::Nothing(None))));
    }
}
