//! Syncing a lease: the bundle goes over on the standard input of a `run`.

use std::time::{Duration, Instant};

use crabbox_protocol::Limits;
use crabbox_protocol::records::Phase;

use super::held::Held;
use super::script::Said;
use super::{ms, patiently};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::lease::RunDir;
use crate::output::{foreign, say};
use crate::provider::Interrupts;
use crate::sync::{Apply, Tree, apply_script, write_bundle};

/// How long a sync may take, however small the tree.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// The slowest way to a lease that is put up with, in bytes per second: it gives larger trees more time.
const SLOWEST: u64 = 128 * 1024;

/// A tree, packed before anything was created.
#[derive(Debug)]
pub(crate) struct Bundle {
    path: std::path::PathBuf,
    /// Its size in bytes.
    size: u64,
    /// How long packing took.
    took: Duration,
}

/// Where the time of a sync went.
#[derive(Debug, Default)]
pub(crate) struct Synced {
    /// All of it.
    pub(crate) took: Duration,
    /// Its parts.
    pub(crate) phases: Vec<Phase>,
}

impl Bundle {
    /// Packs the tree into the run's directory, and checks its size.
    pub(crate) fn pack(tree: &Tree, run: &RunDir, limits: &Limits) -> Result<Self> {
        let begun = Instant::now();
        say(format!("sync candidate: {} files, {}", tree.files.len(), human(tree.size())));
        let mut failure = None;
        let file = run.file("bundle", |out| {
            write_bundle(tree, out).map_err(|error| {
                failure = Some(error);
                std::io::Error::other("the bundle failed")
            })
        });
        if let Some(failure) = failure {
            return Err(failure);
        }
        let file = file.map_err(|error| Error { exit: Exit::Sync, ..error })?;
        check_size(file.size, limits)?;
        Ok(Self { path: file.path.into(), size: file.size, took: begun.elapsed() })
    }
}

impl Held<'_> {
    /// Makes the lease's workspace the tree. `how` says what becomes of the rest.
    pub(super) async fn sync(
        &mut self,
        bundle: Bundle,
        how: Apply,
        interrupts: &mut Interrupts,
    ) -> Result<Synced> {
        let begun = Instant::now();
        let script = apply_script(self.claim.lease.root.as_deref(), how);
        let deadline = LONGEST + Duration::from_secs(bundle.size / SLOWEST);
        let what = format!("bringing {} over", human(bundle.size));
        let said = self.script(deadline, interrupts, |out| {
            out.write_all(&script)?;
            std::io::copy(&mut std::fs::File::open(&bundle.path)?, out).map(drop)
        });
        let said = patiently(&what, said).await;
        let _ = std::fs::remove_file(&bundle.path);
        let Said { code, output } = said.map_err(|error| Error { exit: sync_exit(error.exit), ..error })?;
        if code != Some(0) || !output.stdout.ends_with(b"applied\n") {
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            let code = code.map_or("a signal".to_owned(), |code| format!("code {code}"));
            return Err(Error::new(Exit::Sync, format!("the sync failed on the lease with {code}"))
                .cause(foreign(&said)));
        }
        let phase = |name: &str, took: Duration| Phase {
            name: name.into(),
            ms: Some(ms(took)),
            skipped: false,
            reason: None,
        };
        let phases = vec![phase("bundle", bundle.took), phase("apply", begun.elapsed())];
        Ok(Synced { took: bundle.took + begun.elapsed(), phases })
    }
}

/// Whether the provider takes a bundle of this size.
pub(super) fn check_size(size: u64, limits: &Limits) -> Result<()> {
    let most = [limits.bundle_max, limits.stdin_max].into_iter().flatten().min();
    let Some(most) = most.filter(|most| size > *most) else { return Ok(()) };
    let (size, most) = (human(size), human(most));
    Err(Error::new(
        Exit::Sync,
        format!("the working tree makes a bundle of {size}, and the provider takes at most {most}"),
    )
    .hint("have git ignore what the command does not need"))
}

/// Everything that fails in sync is a failure of sync, but for what says more.
fn sync_exit(exit: Exit) -> Exit {
    match exit {
        Exit::Failure | Exit::Transport | Exit::Unavailable => Exit::Sync,
        exit => exit,
    }
}

/// A number of bytes for people.
pub(crate) fn human(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}
