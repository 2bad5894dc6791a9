//! Syncing a lease: what the engine asks for goes over on the standard input of a `run`, or by `put` where it
//! is larger than the provider takes there.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crabbox_protocol::records::Phase;
use crabbox_protocol::{FileRef, Limits, Method, PutParams, RunId, feature};

use super::aside::{Stop, Watched, aside};
use super::held::{AskError, Held, show_warnings};
use super::ms;
use super::script::Said;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Chosen;
use crate::lease::{RunDir, file_at, new_run_id};
use crate::output::{human, say};
use crate::paths::Paths;
use crate::progress::{Progress, shown_while};
use crate::provider::{Ask, Event, Interrupts};
use crate::sync::{
    Apply, Bases, Bundle, Difference, Engine, Heard, Tree, Way, finish_script, manifest_of, unwritable,
};

/// How long a sync may take, however small the tree.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// The slowest way to a lease that is put up with, in bytes per second: it gives larger trees more time.
const SLOWEST: u64 = 128 * 1024;

/// More than the script has, whatever the provider's paths.
const SCRIPT: u64 = 64 * 1024;

/// A tree that was read, for the lease that it goes to.
#[derive(Debug)]
pub(crate) struct Outgoing {
    engine: Arc<Engine>,
    /// How long reading took.
    took: Duration,
}

/// Where the time of a sync went, and what it sent.
#[derive(Debug, Default)]
pub(crate) struct Synced {
    /// All of it.
    pub(crate) took: Duration,
    /// Its parts.
    pub(crate) phases: Vec<Phase>,
    /// The files that were sent.
    pub(crate) files: usize,
    /// Their bytes.
    pub(crate) bytes: u64,
}

impl Outgoing {
    /// Reads what is not known of the tree, whose reading began then.
    pub(crate) async fn read(
        tree: Tree,
        paths: &Paths,
        how: Apply,
        bases: Option<Bases>,
        begun: Instant,
        interrupts: &mut Interrupts,
    ) -> Result<Self> {
        let count = tree.files.len();
        let files = if count == 1 { "file" } else { "files" };
        say(format!("sync candidate: {count} {files}, {}", human(tree.size())));
        let paths = paths.clone();
        let work = move |_: Stop| {
            let manifest = manifest_of(&tree, &paths)?;
            Ok(Engine::new(tree, manifest, how, bases))
        };
        let engine = shown_while(&Progress::of("reading the tree"), aside(interrupts, work)).await?;
        Ok(Self { engine: Arc::new(engine), took: begun.elapsed() })
    }

    /// Whether the lease is thought to have the tree already.
    pub(crate) fn is_up_to_date(&self) -> bool {
        self.engine.is_up_to_date()
    }

    /// Whether the provider takes what the first request sends. Nothing has been created yet.
    pub(crate) async fn check_size(&mut self, chosen: &Chosen, interrupts: &mut Interrupts) -> Result<()> {
        let manifest = &chosen.manifest;
        if manifest.feature(feature::NEARBY) {
            self.engine()?.uncompressed();
        }
        let limits = most(&manifest.limits, manifest.has(Method::Put));
        let Some(bundle) = self.engine.bundle() else { return Ok(()) };
        if check_size(bundle.size, limits).is_ok() || !bundle.is_compressed() {
            return check_size(bundle.size, limits);
        }
        // It may be small enough once it is compressed: that has to be tried.
        let engine = self.engine.clone();
        let work = move |stop: Stop| {
            let mut sink = Watched::new(io::sink(), stop);
            engine.write(&bundle, &mut sink, &mut |_| ()).map(|()| sink.written)
        };
        let size = shown_while(&Progress::of("measuring the bundle"), aside(interrupts, work)).await?;
        check_size(size, limits)
    }

    /// From now on the lease's tree can be told.
    pub(crate) fn remember_in(&mut self, bases: Bases) -> Result<()> {
        self.engine()?.remember_in(bases);
        Ok(())
    }

    /// The engine, which nothing else uses now.
    fn engine(&mut self) -> Result<&mut Engine> {
        Arc::get_mut(&mut self.engine).ok_or_else(|| Error::failure("the tree is still being packed"))
    }
}

impl Held<'_> {
    /// Makes the lease's workspace the tree. Waits until it is alone on the lease if it has to change anything.
    pub(super) async fn sync(
        &mut self,
        mut outgoing: Outgoing,
        interrupts: &mut Interrupts,
    ) -> Result<Synced> {
        let mut synced = Synced { took: outgoing.took, ..Synced::default() };
        synced.phase("read", outgoing.took);
        if self.session().await?.feature(feature::NEARBY) {
            outgoing.engine()?.uncompressed();
        }
        loop {
            if !outgoing.engine.is_up_to_date() {
                self.exclude().await?;
            }
            let said = self.request(&outgoing.engine, &mut synced, interrupts).await.map_err(in_sync)?;
            let (stdout, stderr) = (&said.output.stdout, &said.output.stderr);
            match outgoing.engine()?.heard(said.code, stdout, stderr)? {
                Heard::Done => return Ok(synced),
                Heard::Again => self.exclude().await?,
            }
        }
    }

    /// One request of the engine's. Until the lease has answered, the claim says that a sync may be under way.
    async fn request(
        &mut self,
        engine: &Arc<Engine>,
        synced: &mut Synced,
        interrupts: &mut Interrupts,
    ) -> Result<Said> {
        let directory = RunDir::create(&self.host.paths, new_run_id()?)?;
        let run = directory.id().clone();
        let root = self.claim.lease.root.clone();
        let begun = Instant::now();
        let bundle = engine.bundle();
        let apart = bundle.as_ref().is_some_and(|bundle| self.goes_apart(bundle.size));
        let way = Way { alone: self.lock.is_exclusive(), file: apart.then(|| format!("{run}.bundle")) };
        let script = engine.script(root.as_deref(), &run, &way, bundle.as_ref());
        let to = way.file.map(|name| match &root {
            Some(root) => format!("{root}/.crabbox/sync/{name}"),
            None => format!(".crabbox/sync/{name}"),
        });
        let sends = bundle.is_some();
        if let Some(bundle) = &bundle {
            synced.files += bundle.count();
            synced.bytes += bundle.content;
        }
        let first = if apart { Vec::new() } else { script.clone() };
        let packed = pack(engine.clone(), bundle, directory.path().join("bundle"), first, interrupts).await?;
        if sends {
            synced.phase("bundle", begun.elapsed());
        }
        let sending = Instant::now();
        self.begin_sync(&run)?;
        engine.announce();
        let what = match packed.size < SCRIPT {
            true => "checking the lease's files".to_owned(),
            false => format!("bringing {} over", human(packed.size)),
        };
        let work = self.deliver(&directory, packed, script, to, what, interrupts);
        let said = match work.await {
            Ok(said) => said,
            Err(error) => return Err(self.ended_badly(&run, error, interrupts).await),
        };
        if said.code == Some(0) {
            self.forget_run(&run)?;
        }
        synced.phase(if sends { "apply" } else { "check" }, sending.elapsed());
        synced.took += begun.elapsed();
        Ok(said)
    }

    /// Gets a request to the lease: all of it on standard input, or the bundle before by `put`. `what` is shown
    /// meanwhile.
    pub(super) async fn deliver(
        &mut self,
        directory: &RunDir,
        packed: FileRef,
        script: Vec<u8>,
        to: Option<String>,
        what: String,
        interrupts: &mut Interrupts,
    ) -> Result<Said, AskError> {
        let deadline = LONGEST + Duration::from_secs(packed.size / SLOWEST);
        let progress = Arc::new(Progress::of(what));
        let seen = progress.clone();
        let mut events = move |event: Event| {
            show_warnings(&event);
            if let Event::Progress(event) = event
                && event.unit.as_deref() == Some("bytes")
                && let (Some(done), Some(total)) = (event.done, event.total)
            {
                seen.done_of(done, total);
            }
        };
        let work = async {
            let Some(to) = to else {
                return self.script(directory, packed, deadline, interrupts, &mut events).await;
            };
            let FileRef { path, size, sha256 } = packed;
            let params = PutParams { lease: self.claim.lease.clone(), path, to, size, sha256, mode: 0o600 };
            let ask = Ask {
                deadline: Some(deadline),
                interrupts: Some(&mut *interrupts),
                relay: None,
                events: Some(&mut events),
            };
            self.ask(&params, ask).await?;
            let script = directory.file("script", |out| out.write_all(&script)).map_err(AskError::Host)?;
            self.script(directory, script, deadline, interrupts, &mut events).await
        };
        shown_while(&progress, work).await
    }

    /// Whether a bundle goes by `put`, because standard input does not take it.
    pub(super) fn goes_apart(&self, size: u64) -> bool {
        let most = self.chosen.manifest.limits.stdin_max;
        self.has(Method::Put) && most.is_some_and(|most| size + SCRIPT > most)
    }

    /// Notes in the claim that a sync may be under way from now on.
    fn begin_sync(&mut self, run: &RunId) -> Result<()> {
        self.note_run(run, true)
    }

    /// The lease did not answer. Nothing may be at work on it when it is used next; what was begun is finished
    /// then, because the claim still has the run.
    async fn ended_badly(&mut self, run: &RunId, error: AskError, interrupts: &mut Interrupts) -> Error {
        let sent = matches!(error, AskError::Provider(_));
        let mut error = Error::from(error);
        if sent && self.stays() {
            self.restart().await;
            if let Err(kill) = self.kill(run, interrupts).await {
                error = error.cause(format!("whether the sync has ended on the lease is not known: {kill}"));
            }
        }
        error
    }

    /// Asks what the lease holds, and changes nothing there.
    pub(super) async fn compare(
        &mut self,
        engine: &mut Engine,
        interrupts: &mut Interrupts,
    ) -> Result<Difference> {
        loop {
            let directory = RunDir::create(&self.host.paths, new_run_id()?)?;
            let script = engine.question(self.claim.lease.root.as_deref(), directory.id());
            let script = directory.file("script", |out| out.write_all(&script))?;
            let said = self.script(&directory, script, LONGEST, interrupts, &mut |_| ()).await;
            let Said { code, output } = said.map_err(|error| in_sync(error.into()))?;
            if let Some(difference) = engine.answered(code, &output.stdout, &output.stderr)? {
                return Ok(difference);
            }
        }
    }

    /// Finishes a sync that was begun and whose host died, before anything else is done with the lease.
    pub(super) async fn finish_sync(&mut self, interrupts: &mut Interrupts) -> Result<()> {
        let directory = RunDir::create(&self.host.paths, new_run_id()?)?;
        let run = directory.id().clone();
        self.begin_sync(&run)?;
        let script = finish_script(self.claim.lease.root.as_deref(), &run);
        let script = directory.file("script", |out| out.write_all(&script))?;
        let said = self.script(&directory, script, LONGEST, interrupts, &mut |_| ()).await;
        let said = said.map_err(|error| in_sync(error.into()))?;
        if said.code != Some(0) || !said.output.stdout.starts_with(b"applied\n") {
            return Err(crate::sync::failed(said.code, &said.output.stdout, &said.output.stderr));
        }
        self.forget_run(&run)
    }
}

impl Synced {
    fn phase(&mut self, name: &str, took: Duration) {
        let (ms, skipped, reason) = (Some(ms(took)), false, None);
        self.phases.push(Phase { name: name.to_owned(), ms, skipped, reason });
    }
}

/// Writes what a request sends to a file: the script, if it goes first, and the bundle.
async fn pack(
    engine: Arc<Engine>,
    bundle: Option<Bundle>,
    path: PathBuf,
    script: Vec<u8>,
    interrupts: &mut Interrupts,
) -> Result<FileRef> {
    let bytes = bundle.as_ref().map_or(0, |bundle| bundle.content);
    let progress = Arc::new(Progress::of_bytes("packing the tree", bytes));
    let seen = progress.clone();
    let work = move |stop: Stop| {
        let named = |error| Error { message: format!("cannot write `{}`", path.display()), ..error };
        let mut failure = None;
        let file = file_at(&path, |out| {
            let mut out = Watched::new(out, stop);
            out.write_all(&script)?;
            let Some(bundle) = &bundle else { return Ok(()) };
            engine.write(bundle, &mut out, &mut |done| seen.done(done)).map_err(|error| {
                failure = Some(if out.failed { named(error) } else { error });
                io::Error::other("the bundle failed")
            })
        });
        match failure {
            Some(failure) => Err(failure),
            None => file.map_err(|error| named(unwritable(error))),
        }
    };
    shown_while(&progress, aside(interrupts, work)).await
}

/// The largest bundle that the provider takes.
pub(super) fn most(limits: &Limits, puts: bool) -> Option<u64> {
    let stdin = limits.stdin_max.filter(|_| !puts).map(|most| most.saturating_sub(SCRIPT));
    [limits.bundle_max, stdin].into_iter().flatten().min()
}

/// Whether the provider takes a bundle of this size.
pub(super) fn check_size(size: u64, most: Option<u64>) -> Result<()> {
    let Some(most) = most.filter(|most| size > *most) else { return Ok(()) };
    let (size, most) = (human(size), human(most));
    Err(Error::new(
        Exit::Sync,
        format!("the working tree makes a bundle of {size}, and the provider takes at most {most}"),
    )
    .hint("leave out what the command does not need: `.gitignore`, or `sync.exclude` in crabbox.yaml"))
}

/// Everything that fails in sync is a failure of sync, but for what says more.
fn in_sync(error: Error) -> Error {
    let exit = match error.exit {
        Exit::Failure | Exit::Transport | Exit::Unavailable => Exit::Sync,
        exit => exit,
    };
    Error { exit, ..error }
}
