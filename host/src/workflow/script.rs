//! Executing a script of ours on a lease: what it says is for the host, not for the user.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use crabbox_protocol::{FileRef, Lease, RunParams, feature};

use super::held::{AskError, Held};
use crate::error::Result;
use crate::host::Host;
use crate::lease::{RunDir, new_run_id};
use crate::provider::{Ask, Delivered, Event, Interrupts, Relay, Session};
use crate::remote;

/// What a script of ours came to.
#[derive(Debug)]
pub(super) struct Said {
    /// Its exit code; absent when a signal ended it.
    pub(super) code: Option<i32>,
    /// What it printed.
    pub(super) output: Delivered,
}

/// A script on its way: its input on disk, its output kept.
struct Errand {
    directory: RunDir,
    relay: Relay,
    params: RunParams,
}

impl Errand {
    fn new(
        host: &Host,
        session: &Session,
        lease: &Lease,
        input: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Self> {
        let directory = RunDir::create(&host.paths, new_run_id()?)?;
        let stdin = directory.file("script", input)?;
        let by_path = session.feature(feature::OUTPUT_PATHS);
        let relay = Relay::capture(by_path.then(|| directory.path()))?;
        let params = run_params(Some(lease.clone()), directory.id().clone(), Some(stdin), &relay);
        Ok(Self { directory, relay, params })
    }
}

/// A request to execute the loader, with its input and output in place.
pub(super) fn run_params(
    lease: Option<Lease>,
    run_id: crabbox_protocol::RunId,
    stdin: Option<crabbox_protocol::FileRef>,
    relay: &Relay,
) -> RunParams {
    let [stdout, stderr] = relay.paths().map_or([None, None], |paths| paths.map(Some));
    RunParams {
        lease,
        run_id,
        argv: remote::argv(),
        stdin,
        lifeline_ms: None,
        stdout,
        stderr,
        timeout_ms: None,
        env: Default::default(),
        workspace: None,
        scratch: None,
    }
}

impl Held<'_> {
    /// Executes a script of ours on the lease, within a time, as the run that the directory is of. `stdin` is the
    /// script and its input.
    pub(super) async fn script(
        &mut self,
        directory: &RunDir,
        stdin: FileRef,
        deadline: Duration,
        interrupts: &mut Interrupts,
        events: &mut (dyn FnMut(Event) + Send),
    ) -> Result<Said, AskError> {
        let (code, output) =
            self.script_into(directory, stdin, Relay::capture, Some(deadline), interrupts, events).await;
        Ok(Said { code: code?, output })
    }

    /// The same, with its output where `relay` has it, given the directory to make FIFOs in if the plugin writes
    /// to paths. Says how the script ended, and what became of its output whether it did or not.
    pub(super) async fn script_into(
        &mut self,
        directory: &RunDir,
        stdin: FileRef,
        relay: impl FnOnce(Option<&Path>) -> Result<Relay>,
        deadline: Option<Duration>,
        interrupts: &mut Interrupts,
        events: &mut (dyn FnMut(Event) + Send),
    ) -> (Result<Option<i32>, AskError>, Delivered) {
        let ready = async {
            let by_path = self.way().await?.by_path;
            relay(by_path.then(|| directory.path()))
        };
        let mut relay = match ready.await {
            Ok(relay) => relay,
            Err(error) => return (Err(AskError::Host(error)), Delivered::default()),
        };
        let params = run_params(Some(self.claim.lease.clone()), directory.id().clone(), Some(stdin), &relay);
        let ask = Ask {
            deadline,
            interrupts: Some(&mut *interrupts),
            relay: Some(&mut relay),
            events: Some(events),
        };
        let result = self.run_there(&params, ask).await;
        let output = relay.finish(async { _ = interrupts.next().await }).await;
        (result.map(|result| result.exit_code), output)
    }
}

/// Executes a script of ours by a session that serves no lease of this process.
pub(super) async fn script_by(
    host: &Host,
    session: &mut Session,
    lease: &Lease,
    script: &[u8],
    ask: Ask<'_>,
) -> Result<Said> {
    let Errand { directory: _directory, mut relay, params } =
        Errand::new(host, session, lease, |out| out.write_all(script))?;
    let Ask { deadline, interrupts, .. } = ask;
    let ask = Ask { deadline, interrupts, relay: Some(&mut relay), events: None };
    let result = session.call(&params, ask).await;
    let output = relay.finish(std::future::pending()).await;
    Ok(Said { code: result?.exit_code, output })
}
