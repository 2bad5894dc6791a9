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

impl Coder {
    /// Answers `release`.
    pub(crate) async fn end(&self, params: &ReleaseParams, context: &Context) -> Result<ReleaseResult> {
        let (action, sought) = (params.action, Sought::of(&params.lease, &self.settings)?);
        let begun = Instant::now();
        let (mut done, mut told): (Option<Instant>, _) = (None, false);
        loop {
            let workspace = match self.cli.find(&sought, &self.settings).await? {
                Found::One(workspace) => *workspace,
                Found::Absent | Found::Unseen if done.is_some() => {
                    return outcome(ReleaseOutcome::Released, None);
                }
                Found::Absent | Found::Unseen => return self.prove_absence(&sought, action, context).await,
                // Ours is gone, and this one is not touched.
                Found::Replaced => return outcome(ReleaseOutcome::Absent, None),
                Found::Several(all) => return Err(several(&sought, &all)),
            };
            if action == ReleaseAction::Stop && workspace.is_stopped() {
                return outcome(
                    ReleaseOutcome::Released,
                    Some(format!("workspace {} is stopped", workspace.reference())),
                );
            }
            match done {
                // The list may be behind.
                Some(done) if done.elapsed() < SHOWN => {}
                Some(_) => {
                    return pending(format!(
                        "workspace {} is still {}",
                        workspace.reference(),
                        workspace.latest_build.status
                    ));
                }
                None if workspace.is_busy() => {
                    if begun.elapsed() > BUSY {
                        return pending(busy(&workspace));
                    }
                    if !told {
                        context.progress(format!("waiting: {}", busy(&workspace))).await?;
                        told = true;
                    }
                }
                None => match self.act(&workspace.reference(), action, context).await {
                    Ok(()) => {
                        done = Some(Instant::now());
                        continue;
                    }
                    // What is there now, the next look shows.
                    Err(Failed::Refused(Refusal { reason: Reason::Busy | Reason::Absent, .. }))
                        if begun.elapsed() < BUSY => {}
                    Err(failed) => return Err(failed.into()),
                },
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
    ) -> Result<ReleaseResult> {
        match self.act(&sought.reference, action, context).await {
            Ok(()) => outcome(ReleaseOutcome::Released, None),
            Err(Failed::Refused(Refusal { reason: Reason::Absent, .. })) => {
                outcome(ReleaseOutcome::Absent, None)
            }
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
