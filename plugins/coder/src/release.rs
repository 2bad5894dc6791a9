//! `release`: stops or deletes the workspace, whichever was asked for, after a look at it, and confirms that it is so.

use crabbox_provider_kit::protocol::{ReleaseAction, ReleaseOutcome, ReleaseParams, ReleaseResult};
use crabbox_provider_kit::{Context, Error, Result};
use tokio::time::{Duration, Instant, sleep};

use crate::cli::{Failed, Reason, Refusal, Workspace};
use crate::find::{Found, Sought};
use crate::name::Reference;
use crate::provider::Coder;

/// How long another build of the workspace is waited for before the host is told to ask again.
pub(crate) const BUSY: Duration = Duration::from_secs(240);

/// How long the list may be behind what was done.
const SHOWN: Duration = Duration::from_secs(20);

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// When to ask again.
const AGAIN_MS: u64 = 5_000;

/// What was done, and what the CLI said of it.
#[derive(Debug)]
struct Tried {
    at: Instant,
    failed: Option<Refusal>,
}

impl Coder {
    /// Answers `release`.
    pub(crate) async fn end(&self, params: &ReleaseParams, context: &Context) -> Result<ReleaseResult> {
        let (action, sought) = (params.action, Sought::of(&params.lease, &self.settings)?);
        let begun = Instant::now();
        let (mut tried, mut told) = (None::<Tried>, false);
        loop {
            let workspace = match self.cli.find(&sought, &self.settings).await? {
                Found::One(workspace) => *workspace,
                Found::Absent | Found::Unseen => {
                    let is_proven = tried.as_ref().is_some_and(|tried| tried.failed.is_none());
                    let absent = match is_proven {
                        true => ReleaseOutcome::Released,
                        false => self.prove_absence(&sought, action, context).await?,
                    };
                    // Also what was done while the CLI said that it failed, is done.
                    return outcome(if tried.is_some() { ReleaseOutcome::Released } else { absent }, None);
                }
                // Ours is gone, and this one is not touched.
                Found::Replaced => return outcome(ReleaseOutcome::Absent, None),
                Found::Several(all) => return Err(several(&sought, &all)),
            };
            if action == ReleaseAction::Stop && workspace.is_stopped() {
                let message = format!("workspace {} is stopped", workspace.reference());
                return outcome(ReleaseOutcome::Released, Some(message));
            }
            if workspace.is_busy() {
                if begun.elapsed() > BUSY {
                    return pending(busy(&workspace));
                }
                if !told {
                    context.progress(format!("waiting: {}", busy(&workspace))).await?;
                    told = true;
                }
            } else {
                match tried {
                    None => match self.act(&workspace.reference(), action, context).await {
                        Ok(()) => {
                            tried = Some(Tried { at: Instant::now(), failed: None });
                            continue;
                        }
                        // What is there now, the next look shows.
                        Err(Failed::Refused(Refusal { reason: Reason::Busy | Reason::Absent, .. }))
                            if begun.elapsed() < BUSY => {}
                        // The CLI only watches: the build may go on without it, and may be through.
                        Err(Failed::Refused(
                            refusal @ Refusal { reason: Reason::Other | Reason::Unreachable, .. },
                        )) => {
                            tried = Some(Tried { at: Instant::now(), failed: Some(refusal) });
                            continue;
                        }
                        Err(failed) => return Err(failed.into()),
                    },
                    Some(Tried { failed: Some(refusal), .. }) => return Err(refusal.error()),
                    Some(Tried { at, failed: None }) if at.elapsed() < SHOWN => {}
                    Some(Tried { failed: None, .. }) => {
                        let (reference, status) = (workspace.reference(), &workspace.latest_build.status);
                        return pending(format!("the workspace {reference} is still {status}"));
                    }
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// What is not listed is asked for by its name as well: only both together are proof.
    async fn prove_absence(
        &self,
        sought: &Sought,
        action: ReleaseAction,
        context: &Context,
    ) -> Result<ReleaseOutcome> {
        match self.act(&sought.reference, action, context).await {
            Ok(()) => Ok(ReleaseOutcome::Released),
            Err(Failed::Refused(Refusal { reason: Reason::Absent, .. })) => Ok(ReleaseOutcome::Absent),
            Err(failed) => Err(failed.into()),
        }
    }

    /// Exactly what was asked for.
    async fn act(
        &self,
        workspace: &Reference,
        action: ReleaseAction,
        context: &Context,
    ) -> Result<(), Failed> {
        match action {
            ReleaseAction::Stop => self.cli.stop(workspace, &self.settings, context).await,
            ReleaseAction::Delete => self.cli.delete(workspace, &self.settings, context).await,
        }
    }
}

impl Workspace {
    fn is_stopped(&self) -> bool {
        self.latest_build.transition == "stop" && self.latest_build.status == "stopped"
    }
}

fn busy(workspace: &Workspace) -> String {
    format!(
        "a build of workspace {} is under way: it is {}",
        workspace.reference(),
        workspace.latest_build.status
    )
}

fn several(sought: &Sought, all: &[Reference]) -> Error {
    let names: Vec<_> = all.iter().map(Reference::to_string).collect();
    Error::ambiguous(format!("{} is the name of several workspaces: {}", sought.reference, names.join(", ")))
        .hint("say OWNER/NAME")
}

fn outcome(outcome: ReleaseOutcome, message: Option<String>) -> Result<ReleaseResult> {
    Ok(ReleaseResult { outcome, retry_after_ms: None, message })
}

fn pending(message: String) -> Result<ReleaseResult> {
    Ok(ReleaseResult {
        outcome: ReleaseOutcome::Pending,
        retry_after_ms: Some(AGAIN_MS),
        message: Some(message),
    })
}
