//! Leases as the host records them: names, claims, locks, and the directories of runs.

mod lock;
mod names;
mod run_dir;
mod store;

pub(crate) use lock::{LeaseLock, LockFile, remove_stale_locks};
pub(crate) use names::{new_lease_id, new_run_id, normalise, normalise_slug, remote_name};
pub(crate) use run_dir::{RunDir, abandoned_runs, file_at};
pub(crate) use store::{BadClaim, Claims};
