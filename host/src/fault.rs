//! Places at which a test may end the host, as SIGKILL does: between each pair of steps after which something
//! is on disk, on its way, or running that was not before.
//!
//! There are none in a release build. In a debug build, `CRABBOX_FAULT_AT=N` ends the host at the Nth place that
//! it passes, and `CRABBOX_FAULT_LOG=FILE` gets the name of each; `crabbox __faults` prints all names.

use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use crabbox_protocol::Method;
use rustix::process::{Signal, getpid, kill_process};

/// The argument that makes crabbox print the names of all places.
pub(crate) const FAULTS_ARGUMENT: &str = "__faults";

/// A place, named by what has just been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The directory of a run is there, and locked.
    RunMade,
    /// The directory of a run that is over is empty, but for its lock.
    RunEmptied,
    /// A file for a plugin to read is written.
    InputWritten,
    /// A lease's lock is held.
    LeaseLocked,
    /// The lock of something that is no more is gone.
    LockRemoved,
    /// There is a guard, and no plugin yet.
    GuardStarted,
    /// The plugin runs, and was asked nothing.
    PluginStarted,
    /// The plugin and its group are gone.
    PluginEnded,
    /// A file is written that is not in its place yet.
    FileStaged,
    /// It is in its place.
    FileReplaced,
    /// A new claim is on disk.
    ClaimCreated,
    /// A claim says something else.
    ClaimChanged,
    /// The plugin has told of a lease before it answered.
    LeaseHeard,
    /// A claim is gone.
    ClaimRemoved,
    /// A request has been sent.
    Sent(Method),
    /// It was answered, and nobody has looked at the answer.
    Answered(Method),
}

impl Fault {
    /// Those that are not about a request.
    const PLAIN: [Self; 14] = [
        Self::RunMade,
        Self::RunEmptied,
        Self::InputWritten,
        Self::LeaseLocked,
        Self::LockRemoved,
        Self::GuardStarted,
        Self::PluginStarted,
        Self::PluginEnded,
        Self::FileStaged,
        Self::FileReplaced,
        Self::ClaimCreated,
        Self::ClaimChanged,
        Self::LeaseHeard,
        Self::ClaimRemoved,
    ];

    /// The requests in the life of a lease.
    const METHODS: [Method; 7] = [
        Method::Initialize,
        Method::Configure,
        Method::Acquire,
        Method::Resolve,
        Method::Run,
        Method::Kill,
        Method::Release,
    ];

    fn name(self) -> String {
        match self {
            Self::Sent(method) => format!("{method} sent"),
            Self::Answered(method) => format!("{method} answered"),
            plain => format!("{plain:?}"),
        }
    }
}

/// The names of all places, in a debug build.
pub(crate) fn names() -> Option<String> {
    let requests =
        Fault::METHODS.into_iter().flat_map(|method| [Fault::Sent(method), Fault::Answered(method)]);
    let names = Fault::PLAIN.into_iter().chain(requests).map(|fault| fault.name() + "\n");
    cfg!(debug_assertions).then(|| names.collect())
}

/// Passes a place. In a release build this is nothing.
pub(crate) fn pass(fault: Fault) {
    static PASSED: AtomicUsize = AtomicUsize::new(1);
    if !cfg!(debug_assertions) {
        return;
    }
    if let Some(log) = std::env::var_os("CRABBOX_FAULT_LOG") {
        let log = File::options().create(true).append(true).open(log);
        let _ = log.and_then(|mut log| log.write_all((fault.name() + "\n").as_bytes()));
    }
    let at = std::env::var("CRABBOX_FAULT_AT").ok().and_then(|at| at.parse().ok());
    if at == Some(PASSED.fetch_add(1, Ordering::Relaxed)) {
        let _ = kill_process(getpid(), Signal::KILL);
    }
}
