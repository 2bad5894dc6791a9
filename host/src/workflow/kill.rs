//! Ending a run for certain: by the plugin's `kill`, or by a script of ours, whichever way the lease is reached.

use std::time::Duration;

use crabbox_protocol::records::Claim;
use crabbox_protocol::{KillParams, Method, Remote, RunId};

use super::held::{AFTER_DEATH, Held, same_scope};
use super::on_lease::THERE;
use super::script::script_by;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::{Chosen, Host};
use crate::lease::RunDir;
use crate::output::say;
use crate::provider::{Ask, Interrupts, Locks, Session};
use crate::remote;
use crate::ssh::{Connection, Failure};

/// How long a run may take to end by itself after SIGTERM.
const KILL_GRACE_MS: u64 = 5_000;

impl Held<'_> {
    /// Ends a run of another host, whose lock on the lease stays its own.
    pub(super) async fn kill_of_another(
        host: &Host,
        chosen: &Chosen,
        claim: &Claim,
        run: &RunId,
    ) -> Result<()> {
        let (mut session, configured) = chosen.connect(host, Locks::default()).await?;
        let killed = async {
            same_scope(claim, &configured.scope)?;
            kill(host, chosen, claim, &mut session, run, None).await.map_err(Killing::into_error)
        };
        let killed = killed.await;
        session.close().await;
        killed
    }

    /// Ends a run, all of it, from a process that had nothing to do with it.
    pub(super) async fn kill(&mut self, run: &RunId, interrupts: &mut Interrupts) -> Result<()> {
        let (host, chosen, claim) = (self.host, self.chosen.clone(), self.claim.clone());
        match kill(host, &chosen, &claim, self.session().await?, run, Some(interrupts)).await {
            Err(Killing::Session(error)) => {
                if let Some(session) = self.session.take() {
                    session.abandon().await;
                }
                Err(error)
            }
            Err(Killing::Unproven(error)) => Err(error),
            Ok(()) => Ok(()),
        }
    }

    /// Ends the runs whose hosts died, before anything else is done with the lease. With `finish` a sync that was
    /// begun is finished, too.
    pub(super) async fn kill_abandoned(&mut self, finish: bool, interrupts: &mut Interrupts) -> Result<()> {
        let abandoned = |held: &Self| -> Vec<(RunId, bool)> {
            let runs = held.claim.runs.iter().filter(|(run, _)| !RunDir::is_alive(&held.host.paths, run));
            runs.map(|(run, about)| (run.clone(), about.sync)).collect()
        };
        let mut runs = abandoned(self);
        if runs.iter().any(|(_, sync)| *sync) && !self.lock.is_exclusive() {
            self.exclude().await?;
            runs = abandoned(self);
        }
        for (run, sync) in &runs {
            tokio::time::sleep(AFTER_DEATH).await;
            match sync {
                true => say(format!("ending sync {run}, which was not finished")),
                false => say(format!("ending run {run}, whose host died")),
            }
            self.kill(run, interrupts).await?;
        }
        if finish && runs.iter().any(|(_, sync)| *sync) {
            self.finish_sync(interrupts).await?;
        }
        for (run, _) in runs {
            self.forget_run(&run)?;
            drop(RunDir::take_over(&self.host.paths, run)?);
        }
        Ok(())
    }
}

/// Why a run may still be alive.
enum Killing {
    /// The plugin could not be asked.
    Session(Error),
    /// The plugin cannot tell.
    Unproven(Error),
}

impl Killing {
    fn into_error(self) -> Error {
        match self {
            Self::Session(error) | Self::Unproven(error) => error,
        }
    }
}

/// How long a kill may take that goes by a script of ours.
const KILLING: Duration = Duration::from_secs(60);

/// Ends a run by the plugin's `kill`, or by a script of ours where it has none.
async fn kill(
    host: &Host,
    chosen: &Chosen,
    claim: &Claim,
    session: &mut Session,
    run: &RunId,
    mut interrupts: Option<&mut Interrupts>,
) -> Result<(), Killing> {
    let manifest = session.manifest();
    let remote = if manifest.has(Method::Kill) {
        let params = KillParams { lease: claim.lease.clone(), run_id: run.clone(), grace_ms: KILL_GRACE_MS };
        let ask = Ask { interrupts, ..Ask::default() };
        session.call(&params, ask).await.map_err(|error| Killing::Session(error.into()))?.remote
    } else {
        let script = remote::kill_script(claim.lease.root.as_deref(), run, KILL_GRACE_MS);
        let said = if manifest.has(Method::Run) {
            let ask = Ask { deadline: Some(KILLING), interrupts, ..Ask::default() };
            let said = script_by(host, session, &claim.lease, &script, ask).await;
            said.map_err(Killing::Session)?.output.stdout
        } else {
            tokio::select! {
                said = kill_by_ssh(host, chosen, claim, &script) => said?,
                number = Interrupts::next_of(&mut interrupts) => {
                    return Err(Killing::Unproven(Error::new(Exit::Signal(number), "interrupted")));
                }
            }
        };
        match said.trim_ascii() {
            b"dead" => Remote::Dead,
            b"absent" => Remote::Absent,
            _ => Remote::Unknown,
        }
    };
    match remote {
        Remote::Dead | Remote::Absent => Ok(()),
        Remote::Unknown => {
            let message = format!("run {run} on lease {} may still be alive", claim.lease.id);
            Err(Killing::Unproven(Error::new(Exit::Transport, message)))
        }
    }
}

async fn kill_by_ssh(host: &Host, chosen: &Chosen, claim: &Claim, script: &[u8]) -> Result<Vec<u8>, Killing> {
    let failed = |failure: Failure| Killing::Unproven(failure.error);
    let connection = Connection::of(host, chosen, claim).map_err(Killing::Unproven)?;
    // What the command went over may be gone without a word.
    connection.revive().await;
    connection.open(|| Ok(Locks::default()), THERE).await.map_err(failed)?;
    let answer = connection.say(Locks::default(), script, KILLING).await.map_err(failed)?;
    Ok(answer.stdout)
}
