//! What a copy asks of a lease: that it places what comes, or sends what is there.

use std::ffi::OsString;
use std::io::{self, BufReader, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crabbox_protocol::Remote as End;
use crabbox_protocol::RunId;

use super::check_sent;
use crate::copy::{
    Pack, Remote, Sending, Stage, Unpacked, copy_error, receive_script, send_script, sweep_script, unpack,
};
use crate::error::{Error, Result};
use crate::lease::{RunDir, file_at, new_run_id};
use crate::output::human;
use crate::progress::{Progress, shown_while};
use crate::provider::{Delivered, Interrupts, ProviderError, Relay};
use crate::sync::unwritable;
use crate::workflow::aside::{Stop, Watched, aside};
use crate::workflow::held::{AskError, Held};
use crate::workflow::script::Said;
use crate::workflow::sync::most;

/// How long removing what a copy has staged may take.
const SWEEPING: Duration = Duration::from_secs(10);

/// How much is read at once.
const READ: usize = 256 * 1024;

/// What goes to the lease.
pub(super) struct Parcel {
    pub(super) pack: Pack,
    /// What its parts are called.
    pub(super) names: Vec<Option<OsString>>,
    pub(super) to: Remote,
}

impl Held<'_> {
    /// Has the lease place what is packed.
    pub(super) async fn receive(&mut self, parcel: Parcel, interrupts: &mut Interrupts) -> Result<Said> {
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
    pub(super) async fn fetch(
        &mut self,
        from: &Remote,
        stage: &Arc<Stage>,
        part: OsString,
        interrupts: &mut Interrupts,
    ) -> Result<Unpacked> {
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
    pub(super) async fn send(
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
