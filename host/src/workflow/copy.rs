//! `crabbox cp`: files to a lease and back, beside whatever runs there.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crabbox_protocol::records::Claim;
use crabbox_protocol::{CancelReason, Remote as End, RunId};

use super::aside::{Stop, Watched, aside};
use super::execute::cancel_exit;
use super::held::{AskError, Held};
use super::script::Said;
use super::sync::most;
use crate::copy::{
    Copy, Landing, Pack, Remote, Sending, Source, Stage, copy_error, receive_script, send_script,
    sweep_script, unpack,
};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::{Chosen, Host};
use crate::lease::{RunDir, file_at, new_run_id};
use crate::output::{foreign, human, say, warn};
use crate::progress::{Progress, shown_while};
use crate::provider::{Delivered, Interrupts, ProviderError, Relay};
use crate::sync::unwritable;

/// How long removing what a copy has staged may take.
const SWEEPING: Duration = Duration::from_secs(10);

/// How much is read at once.
const READ: usize = 256 * 1024;

/// Copies, and returns what to exit with. What can be checked here is checked before the lease hears of it.
pub(crate) async fn copy(host: &Host, chosen: Chosen, claim: &Claim, what: Copy) -> Result<u8> {
    let mut interrupts = Interrupts::listen()?;
    let done = match what {
        Copy::Up { from, to } => {
            let from = from.into_iter().map(Source::of).collect::<Vec<_>>();
            let pack = Pack::look(&from)?;
            let names = from.into_iter().map(|source| source.name).collect();
            up(host, chosen, claim, Parcel { pack, names, to }, &mut interrupts).await
        }
        Copy::In { to } => {
            let spool = RunDir::create(&host.paths, new_run_id()?)?;
            match standard_input(&spool, &mut interrupts).await {
                Ok(pack) => {
                    let parcel = Parcel { pack, names: vec![None], to };
                    up(host, chosen, claim, parcel, &mut interrupts).await
                }
                Err(error) => Err(error),
            }
        }
        Copy::Down { from, to } => {
            let landing = Landing::of(&to, from.len() > 1)?;
            let run = RunDir::create(&host.paths, new_run_id()?)?;
            run.owns(&landing.stage(run.id()))?;
            let stage = Stage::make(landing, run.id())?;
            down(host, chosen, claim, &from, stage, &mut interrupts).await
        }
        Copy::Out { from } => out(host, chosen, claim, &from, &mut interrupts).await,
    };
    done.map_err(|error| interrupts.blame(error))
}

/// What goes to the lease.
struct Parcel {
    pack: Pack,
    /// What its parts are called.
    names: Vec<Option<OsString>>,
    to: Remote,
}

/// Keeps standard input until it has ended: its size has to be known before it is sent.
async fn standard_input(spool: &RunDir, interrupts: &mut Interrupts) -> Result<Pack> {
    let path = spool.path().join("input");
    let to = path.clone();
    let work = move |stop: Stop| {
        let mut out = Watched::new(File::create(&to).map_err(unwritable)?, stop);
        let copied = io::copy(&mut io::stdin().lock(), &mut out);
        copied.map_err(|error| match out.failed {
            true => unwritable(error),
            false => copy_error("cannot read standard input").cause(error),
        })
    };
    let size = shown_while(&Progress::of("reading standard input"), aside(interrupts, work)).await?;
    Ok(Pack::of_file(path, size, 0o644))
}

/// The lease, ready, with nothing of dead hosts at work on it. Goes in beside the commands that run there.
async fn hold<'a>(
    host: &'a Host,
    chosen: Chosen,
    claim: &Claim,
    interrupts: &mut Interrupts,
) -> Result<Held<'a>> {
    let reused = tokio::select! {
        reused = Held::reuse(host, chosen, claim, None, true) => reused,
        number = interrupts.next() => Err(Error::new(Exit::Signal(number), "interrupted")),
    };
    let mut held = reused?;
    match held.kill_abandoned(true, interrupts).await {
        Ok(()) => Ok(held),
        Err(error) => {
            held.let_go().await;
            Err(error)
        }
    }
}

async fn up(
    host: &Host,
    chosen: Chosen,
    claim: &Claim,
    parcel: Parcel,
    interrupts: &mut Interrupts,
) -> Result<u8> {
    let (files, bytes) = (parcel.pack.files as u64, parcel.pack.bytes);
    let mut held = hold(host, chosen, claim, interrupts).await?;
    let said = held.receive(parcel, interrupts).await;
    held.let_go().await;
    let Said { code, output } = said?;
    if code != Some(0) || !output.stdout.ends_with(b"placed\n") {
        return Err(failed(code, &output.stderr));
    }
    sum_up(files, bytes);
    Ok(0)
}

async fn down(
    host: &Host,
    chosen: Chosen,
    claim: &Claim,
    from: &[Remote],
    stage: Stage,
    interrupts: &mut Interrupts,
) -> Result<u8> {
    let stage = Arc::new(stage);
    let mut held = hold(host, chosen, claim, interrupts).await?;
    let mut parts = Vec::new();
    let mut outcome = Ok(());
    for (n, from) in from.iter().enumerate() {
        let part = OsString::from(n.to_string());
        match held.fetch(from, &stage, part.clone(), interrupts).await {
            Ok(unpacked) => parts.push((part, from.spot().name, unpacked)),
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    held.let_go().await;
    outcome?;
    let (files, bytes) = parts
        .iter()
        .fold((0, 0), |(files, bytes), (_, _, unpacked)| (files + unpacked.files, bytes + unpacked.bytes));
    stage.check(&parts)?;
    let stage = Arc::try_unwrap(stage).map_err(|_| Error::failure("what came is still being written"))?;
    stage.commit(&parts)?;
    sum_up(files, bytes);
    Ok(0)
}

async fn out(
    host: &Host,
    chosen: Chosen,
    claim: &Claim,
    from: &Remote,
    interrupts: &mut Interrupts,
) -> Result<u8> {
    let mut held = hold(host, chosen, claim, interrupts).await?;
    let (code, output) = held.send(from, Sending::Bytes, Relay::half_live, interrupts).await;
    held.let_go().await;
    match (output.broken, output.failure) {
        (true, None) => Ok(cancel_exit(CancelReason::Hangup).code()),
        (_, Some(error)) => Err(copy_error("cannot write to standard output").cause(error)),
        (false, None) => {
            let code = code?;
            if code == Some(0) { Ok(0) } else { Err(failed(code, &output.stderr)) }
        }
    }
}

impl Held<'_> {
    /// Has the lease place what is packed.
    async fn receive(&mut self, parcel: Parcel, interrupts: &mut Interrupts) -> Result<Said> {
        let Parcel { pack, names, to } = parcel;
        let directory = RunDir::create(&self.host.paths, new_run_id()?)?;
        let run = directory.id().clone();
        let root = self.claim.lease.root.clone();
        let apart = self.goes_apart(pack.size());
        let file = apart.then(|| format!(".crabbox/cp/{run}"));
        let script = receive_script(root.as_deref(), &run, &to, &names, &pack.late, file.as_deref());
        let first = if apart { Vec::new() } else { script.clone() };
        let path = directory.path().join("archive");
        let progress = Arc::new(Progress::of_bytes("packing", pack.bytes));
        let seen = progress.clone();
        let work = move |stop: Stop| {
            let mut failure = None;
            let written = file_at(&path, |out| {
                let mut out = Watched::new(out, stop);
                out.write_all(&first)?;
                pack.write(&mut out, &mut |done| seen.done(done)).map_err(|error| {
                    failure = Some(error);
                    io::Error::other("the archive failed")
                })
            });
            failure.map_or(written.map_err(unwritable), Err)
        };
        let packed = shown_while(&progress, aside(interrupts, work)).await?;
        let manifest = &self.chosen.manifest;
        let limit = most(&manifest.limits, apart);
        if let Some(most) = limit.filter(|most| packed.size > *most) {
            let (size, most) = (human(packed.size), human(most));
            return Err(copy_error(format!(
                "what is to be copied makes an archive of {size}, and the provider takes at most {most}"
            )));
        }
        let to = file.map(|file| root.map_or(file.clone(), |root| format!("{root}/{file}")));
        let what = format!("bringing {} over", human(packed.size));
        self.note_run(&run, false)?;
        let beat = self.heartbeat();
        let said = {
            let work = self.deliver(&directory, packed, script, to, what, interrupts);
            tokio::select! {
                said = work => said,
                () = beat => Err(AskError::Host(Error::failure("the heartbeat ended"))),
            }
        };
        let by_itself = matches!(&said, Ok(Said { code: Some(0 | 1), .. }) | Err(AskError::Host(_)));
        let said = self.ended(&run, said, interrupts).await;
        // It may have had no time to remove what it staged. While it may be at work, that is left to the next copy.
        if !by_itself && !self.claim.runs.contains_key(&run) {
            let _ = self.sweep(interrupts).await;
        }
        said
    }

    /// Removes what killed copies have staged on the lease.
    async fn sweep(&mut self, interrupts: &mut Interrupts) -> Result<()> {
        // A session that was told to cancel may be over.
        self.restart().await;
        let directory = RunDir::create(&self.host.paths, new_run_id()?)?;
        let script = sweep_script(self.claim.lease.root.as_deref());
        let script = directory.file("script", |out| out.write_all(&script))?;
        self.script(&directory, script, SWEEPING, interrupts, &mut |_| ()).await?;
        Ok(())
    }

    /// Fetches what is at a path into a part of the stage.
    async fn fetch(
        &mut self,
        from: &Remote,
        stage: &Arc<Stage>,
        part: OsString,
        interrupts: &mut Interrupts,
    ) -> Result<crate::copy::Unpacked> {
        let how = Sending::of(from);
        let name = from.spot().name.filter(|_| how == Sending::Whole);
        let (reader, writer) =
            io::pipe().map_err(|error| Error::failure("cannot make a pipe").cause(error))?;
        let progress = Arc::new(Progress::of("fetching"));
        let (seen, stage) = (progress.clone(), stage.clone());
        let unpacking = tokio::task::spawn_blocking(move || {
            let reader = BufReader::with_capacity(READ, reader);
            unpack(reader, &stage, &part, name.as_deref(), &mut |bytes| seen.done(bytes))
        });
        let relay = move |directory: Option<&Path>| Relay::into_pipe(directory, writer.into());
        let (code, output) = shown_while(&progress, self.send(from, how, relay, interrupts)).await;
        let unpacked = unpacking.await;
        let unpacked = unpacked.unwrap_or_else(|error| Err(copy_error("unpacking ended badly").cause(error)));
        // What broke the pipe was not the lease.
        if output.broken && unpacked.is_err() {
            return unpacked;
        }
        let code = code?;
        check_sent(code, &output.stderr)?;
        unpacked
    }

    /// Has the lease send what is at a path.
    async fn send(
        &mut self,
        from: &Remote,
        how: Sending,
        relay: impl FnOnce(Option<&Path>) -> Result<Relay>,
        interrupts: &mut Interrupts,
    ) -> (Result<Option<i32>>, Delivered) {
        let ready = async {
            let directory = RunDir::create(&self.host.paths, new_run_id()?)?;
            let run = directory.id().clone();
            let script = send_script(self.claim.lease.root.as_deref(), &run, from, how);
            let script = directory.file("script", |out| out.write_all(&script))?;
            self.note_run(&run, false)?;
            Ok::<_, Error>((directory, run, script))
        };
        let (directory, run, script) = match ready.await {
            Ok(ready) => ready,
            Err(error) => return (Err(error), Delivered::default()),
        };
        let (beat, mut events) = (self.heartbeat(), |_| ());
        let (code, output) = {
            let work = self.script_into(&directory, script, relay, None, interrupts, &mut events);
            tokio::select! {
                said = work => said,
                () = beat => (
                    Err(AskError::Host(Error::failure("the heartbeat ended"))), Delivered::default()
                ),
            }
        };
        let code = self.ended(&run, code, interrupts).await.and_then(|code| match output.given_up {
            true => Err(copy_error("interrupted before everything was written")),
            false => Ok(code),
        });
        (code, output)
    }

    /// Makes sure that nothing of a copy is at work on the lease any more.
    async fn ended<T>(
        &mut self,
        run: &RunId,
        outcome: Result<T, AskError>,
        interrupts: &mut Interrupts,
    ) -> Result<T> {
        if let Err(AskError::Provider(error)) = &outcome
            && !is_over(error)
        {
            // A session that was told to cancel may still be at it.
            self.restart().await;
            if let Err(kill) = self.kill(run, interrupts).await {
                let error = outcome.map_or_else(Error::from, |_| Error::failure("the copy failed"));
                return Err(
                    error.cause(format!("whether the copy has ended on the lease is not known: {kill}"))
                );
            }
        }
        self.forget_run(run)?;
        Ok(outcome?)
    }
}

/// Whether what failed on the lease is known to have ended there.
fn is_over(error: &ProviderError) -> bool {
    match error {
        ProviderError::Cancelled { remote, .. } => *remote != End::Unknown,
        ProviderError::Refused { error, .. } => {
            error.data.as_ref().and_then(|data| data.remote).is_some_and(|remote| remote != End::Unknown)
        }
        _ => false,
    }
}

/// Whether the lease has sent everything. A file that grew while it was read came as it was when that began.
fn check_sent(code: Option<i32>, stderr: &[u8]) -> Result<()> {
    let said = lines(stderr);
    let grew = || !said.is_empty() && said.iter().all(|line| line.ends_with(": file changed as we read it"));
    if code == Some(0) || (code == Some(1) && grew()) {
        said.iter().take(MOST).for_each(|line| warn(format!("the lease says: {line}")));
        return Ok(());
    }
    Err(failed(code, stderr))
}

/// What failed on the lease.
fn failed(code: Option<i32>, stderr: &[u8]) -> Error {
    let said = lines(stderr);
    match (code, &said[..]) {
        (Some(1), [only]) => copy_error(only),
        (Some(_), [_, ..]) => {
            said.iter().take(MOST).fold(copy_error("the copy failed on the lease"), Error::cause)
        }
        (Some(code), []) => copy_error(format!("the copy failed on the lease with code {code}")),
        (None, _) => copy_error("the copy was ended on the lease by a signal"),
    }
}

/// How many lines of what a lease says are passed on.
const MOST: usize = 5;

/// The lines that were printed, safe to print.
fn lines(printed: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(printed);
    text.lines().filter(|line| !line.trim().is_empty()).map(foreign).collect()
}

fn sum_up(files: u64, bytes: u64) {
    let what = if files == 1 { "file" } else { "files" };
    say(format!("copied {files} {what}, {}", human(bytes)));
}
