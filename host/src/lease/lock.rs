//! Locks: who may touch a lease, and which run is alive.
//!
//! A lock is an advisory lock on a file in `locks/`. Every copy of the descriptor holds it, so a guard
//! that got one keeps it when the host dies. The file is removed only while it is held, and whoever locks
//! one makes sure afterwards that it is still the file of that name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crabbox_protocol::LeaseId;
use crabbox_protocol::records::Claim;

use crate::error::{Error, Result};
use crate::fault::{Fault, pass};
use crate::paths::{Paths, private_dir};

/// How often a lock that is held by another is tried again.
const POLL: Duration = Duration::from_millis(50);

/// A locked file.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: File,
    path: PathBuf,
}

impl LockFile {
    /// Locks `path`, exclusively or shared; `None` when another holds it.
    pub(crate) fn try_lock(path: &Path, exclusive: bool) -> io::Result<Option<Self>> {
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)?;
            let locked = if exclusive { file.try_lock() } else { file.try_lock_shared() };
            match locked {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            let lock = Self { file, path: path.to_owned() };
            // If not, it was removed between the open and the lock.
            if lock.is_in_place() {
                return Ok(Some(lock));
            }
        }
    }

    /// Whether it is still the file of that name.
    pub(crate) fn is_in_place(&self) -> bool {
        let id = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let (ours, there) = (self.file.metadata().map(id), self.path.metadata().map(id));
        ours.is_ok_and(|ours| there.is_ok_and(|there| ours == there))
    }

    /// Locks `path`, waiting as long as it takes. For locks that are held for a moment only.
    pub(super) fn lock(path: &Path) -> io::Result<Self> {
        loop {
            if let Some(lock) = Self::try_lock(path, true)? {
                return Ok(lock);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// A copy of the descriptor, for a guard.
    pub(crate) fn share_with_guard(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Removes the file and lets go.
    pub(crate) fn remove(self) {
        let _ = std::fs::remove_file(&self.path);
        pass(Fault::LockRemoved);
    }
}

/// The lock of a lease: exclusive for whoever changes it, shared while a command runs on it.
///
/// Before it there is a gate, which everybody passes who wants in. It stays closed while an exclusive
/// holder becomes a shared one: the conversion is not atomic, and another writer could slip in between.
#[derive(Debug)]
pub(crate) struct LeaseLock {
    lock: LockFile,
    gate: Option<LockFile>,
    gate_path: PathBuf,
}

impl LeaseLock {
    /// Takes the lock exclusively; `None` when another holds it.
    pub(crate) fn try_exclusive(paths: &Paths, id: &LeaseId) -> Result<Option<Self>> {
        private_dir(&paths.locks())?;
        let failed = |error| lock_failed(id, error);
        let Some(gate) = LockFile::try_lock(&gate_path(paths, id), true).map_err(failed)? else {
            return Ok(None);
        };
        let lock = LockFile::try_lock(&lock_path(paths, id), true).map_err(failed)?;
        pass(Fault::LeaseLocked);
        Ok(lock.map(|lock| Self { lock, gate: Some(gate), gate_path: gate_path(paths, id) }))
    }

    /// Takes the lock exclusively, waiting for whoever holds it. `waits` is called once if it has to wait.
    pub(crate) async fn exclusive(paths: &Paths, id: &LeaseId, waits: impl FnOnce()) -> Result<Self> {
        Self::enter(paths, id, true, waits).await
    }

    /// Goes in beside the commands that run, waiting for whoever changes the lease.
    pub(crate) async fn shared(paths: &Paths, id: &LeaseId, waits: impl FnOnce()) -> Result<Self> {
        Self::enter(paths, id, false, waits).await.map(|lock| Self { gate: None, ..lock })
    }

    async fn enter(paths: &Paths, id: &LeaseId, exclusive: bool, waits: impl FnOnce()) -> Result<Self> {
        private_dir(&paths.locks())?;
        let failed = |error| lock_failed(id, error);
        let mut waits = Some(waits);
        let mut gate = None;
        loop {
            if gate.is_none() {
                gate = LockFile::try_lock(&gate_path(paths, id), true).map_err(failed)?;
            }
            if gate.is_some()
                && let Some(lock) = LockFile::try_lock(&lock_path(paths, id), exclusive).map_err(failed)?
            {
                pass(Fault::LeaseLocked);
                return Ok(Self { lock, gate, gate_path: gate_path(paths, id) });
            }
            if let Some(waits) = waits.take() {
                waits();
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether nobody else is in.
    pub(crate) fn is_exclusive(&self) -> bool {
        self.gate.is_some()
    }

    /// Becomes the only one who is in, waiting for all others. Lets go first, so that two who want this do not
    /// wait for each other: whoever comes between may change the lease. `false` when the lease is no more.
    pub(crate) async fn exclude(&mut self, waits: impl FnOnce()) -> Result<bool> {
        let failed = |error| Error::failure("cannot lock the lease").cause(error);
        if self.is_exclusive() {
            return Ok(true);
        }
        self.lock.file.unlock().map_err(failed)?;
        let mut waits = Some(waits);
        let mut gate = None;
        loop {
            if gate.is_none() {
                gate = LockFile::try_lock(&self.gate_path, true).map_err(failed)?;
            }
            if gate.is_some() {
                match self.lock.file.try_lock() {
                    Ok(()) => {
                        self.gate = gate;
                        return Ok(self.lock.is_in_place());
                    }
                    Err(TryLockError::WouldBlock) => {}
                    Err(TryLockError::Error(error)) => return Err(failed(error)),
                }
            }
            if let Some(waits) = waits.take() {
                waits();
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Lets others run beside, and nobody change anything.
    pub(crate) fn share(&mut self) -> Result<()> {
        self.lock
            .file
            .lock_shared()
            .map_err(|error| Error::failure("cannot share the lock of the lease").cause(error))?;
        self.gate = None;
        Ok(())
    }

    /// A copy of the descriptor, for a guard.
    pub(crate) fn for_guard(&self) -> Result<File> {
        self.lock
            .share_with_guard()
            .map_err(|error| Error::failure("cannot hand the lock of the lease over").cause(error))
    }

    /// Removes the lock of a lease that is no more.
    pub(crate) fn remove(self) {
        // A gate that somebody waits behind is theirs to remove.
        let gate = self.gate.or_else(|| LockFile::try_lock(&self.gate_path, true).ok().flatten());
        self.lock.remove();
        if let Some(gate) = gate {
            gate.remove();
        }
    }
}

/// Removes the lock files of leases that have no claim and that nobody holds.
pub(crate) fn remove_stale_locks(paths: &Paths, claims: &[Claim]) {
    let entries = std::fs::read_dir(paths.locks()).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        let id =
            path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<LeaseId>().ok());
        if id.is_some_and(|id| claims.iter().all(|claim| claim.lease.id != id))
            && let Ok(Some(lock)) = LockFile::try_lock(&path, true)
        {
            lock.remove();
        }
    }
}

fn lock_path(paths: &Paths, id: &LeaseId) -> PathBuf {
    paths.locks().join(format!("{id}.lock"))
}

fn gate_path(paths: &Paths, id: &LeaseId) -> PathBuf {
    paths.locks().join(format!("{id}.gate"))
}

fn lock_failed(id: &LeaseId, error: io::Error) -> Error {
    Error::failure(format!("cannot lock the lease {id}"))
        .cause(error)
        .hint("crabbox keeps its locks in its state directory; make it writable, or set XDG_STATE_HOME")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(directory: &Path) -> Paths {
        let path = |name: &str| directory.join(name);
        Paths { state: path("state"), cache: path("cache"), config: path("config") }
    }

    #[tokio::test]
    async fn one_writer_or_many_readers() {
        let directory = tempfile::tempdir().unwrap();
        let paths = paths(directory.path());
        let id = LeaseId::from_bytes([1; 6]);
        let mut first = LeaseLock::try_exclusive(&paths, &id).unwrap().unwrap();
        assert!(LeaseLock::try_exclusive(&paths, &id).unwrap().is_none());
        first.share().unwrap();
        assert!(LeaseLock::try_exclusive(&paths, &id).unwrap().is_none());
        let beside = LeaseLock::shared(&paths, &id, || panic!("a reader waits for nobody who reads")).await;
        drop(beside.unwrap());
        let guard = first.for_guard().unwrap();
        drop(first);
        assert!(LeaseLock::try_exclusive(&paths, &id).unwrap().is_none(), "the guard's copy holds it");
        drop(guard);
        LeaseLock::try_exclusive(&paths, &id).unwrap().unwrap().remove();
        assert!(std::fs::read_dir(paths.locks()).unwrap().next().is_none());
    }

    #[tokio::test]
    async fn two_who_want_to_be_alone_do_not_wait_for_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let paths = paths(directory.path());
        let id = LeaseId::from_bytes([1; 6]);
        let enter = || LeaseLock::shared(&paths, &id, || panic!("readers do not wait"));
        let (mut one, mut two) = (enter().await.unwrap(), enter().await.unwrap());
        let alone = |mut lock: LeaseLock| async move {
            assert!(lock.exclude(|| ()).await.unwrap());
            assert!(lock.is_exclusive());
            tokio::time::sleep(POLL).await;
            drop(lock);
        };
        let others = async {
            assert!(two.exclude(|| ()).await.unwrap());
            assert!(LeaseLock::try_exclusive(&paths, &id).unwrap().is_none());
            drop(two);
        };
        tokio::join!(alone(enter().await.unwrap()), others, async {
            assert!(one.exclude(|| ()).await.unwrap());
            drop(one);
        });
        let mut last = enter().await.unwrap();
        std::fs::remove_file(paths.locks().join(format!("{id}.lock"))).unwrap();
        assert!(!last.exclude(|| ()).await.unwrap(), "the lease is no more");
    }

    #[test]
    fn a_lock_whose_file_was_removed_is_no_lock() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let held = LockFile::try_lock(&path, true).unwrap().unwrap();
        std::fs::remove_file(&path).unwrap();
        let other = LockFile::try_lock(&path, true).unwrap();
        assert!(other.is_some());
        drop(held);
        assert!(LockFile::try_lock(&path, true).unwrap().is_none());
    }
}
