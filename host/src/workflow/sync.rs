//! Syncing a lease: the bundle goes over on the standard input of a `run`.

use std::time::{Duration, Instant};

use crabbox_protocol::records::Phase;

use super::held::Held;
use super::ms;
use super::script::Said;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::lease::RunDir;
use crate::output::{foreign, say};
use crate::provider::Interrupts;
use crate::sync::{Tree, apply_script, write_bundle};

/// A tree, packed before anything was created.
#[derive(Debug)]
pub(crate) struct Bundle {
    path: std::path::PathBuf,
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
    pub(crate) fn pack(tree: &Tree, run: &RunDir, most: Option<u64>) -> Result<Self> {
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
        if let Some(most) = most.filter(|most| file.size > *most) {
            return Err(Error::new(
                Exit::Sync,
                format!(
                    "the working tree makes a bundle of {}, and the provider takes at most {}",
                    human(file.size),
                    human(most)
                ),
            )
            .hint("have git ignore what the command does not need"));
        }
        Ok(Self { path: file.path.into(), took: begun.elapsed() })
    }
}

impl Held<'_> {
    /// Makes the lease's workspace the tree. With `full`, everything else in it goes.
    pub(super) async fn sync(
        &mut self,
        bundle: Bundle,
        full: bool,
        interrupts: &mut Interrupts,
    ) -> Result<Synced> {
        let begun = Instant::now();
        let script = apply_script(self.claim.lease.root.as_deref(), full);
        let said = self
            .script(Some(interrupts), |out| {
                out.write_all(&script)?;
                std::io::copy(&mut std::fs::File::open(&bundle.path)?, out).map(drop)
            })
            .await;
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
