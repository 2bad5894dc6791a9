//! `acquire`: makes the workspace, unless it is there, and waits until its agent is.

use crabbox_provider_kit::protocol::{AcquireParams, LeaseReport};
use crabbox_provider_kit::{Context, Error, Result};
use tokio::time::{Duration, Instant, sleep};

use crate::cli::{Failed, Reason, Refusal, Workspace};
use crate::find::{Found, Sought};
use crate::provider::Coder;
use crate::reach::report;
use crate::standing::{Standing, standing};

/// How long the list may be behind what was done: made, or started.
const BEHIND: Duration = Duration::from_secs(30);

/// Between two looks at a workspace that is on its way.
const PAUSE: Duration = Duration::from_secs(1);

impl Coder {
    /// Answers `acquire`.
    pub(crate) async fn make(&self, params: &AcquireParams, context: &Context) -> Result<LeaseReport> {
        if let Some(target) = params.target.as_deref().filter(|target| *target != "linux") {
            return Err(Error::unsupported(format!("there are no `{target}` workspaces here"))
                .hint("leave out the target")
                .created(false));
        }
        let nothing_yet = |error: Error| error.created(false);
        if self.settings.template.is_none() {
            return Err(nothing_yet(
                Error::config_invalid("no template is configured, and a workspace is made from one").hint(
                    "set `--coder-template`, CRABBOX_CODER_TEMPLATE, or `template` in the block `coder`; `coder templates list` shows them",
                ),
            ));
        }
        let me = self.cli.me().await.map_err(nothing_yet)?;
        let sought = Sought::of(&params.lease, &self.settings).map_err(nothing_yet)?.of_owner(me);
        // From here on it can be found and ended, whatever happens to whom.
        context.lease(sought.announcement()).await?;
        let workspace = match self.cli.look(&sought, &self.settings).await.map_err(nothing_yet)? {
            Found::One(workspace) => *workspace,
            Found::Absent => self.create(&sought, context).await?,
            Found::Several(_) | Found::Replaced | Found::Unseen => {
                return Err(nothing_yet(Error::conflict(format!(
                    "the workspace {} is not this lease's",
                    sought.reference
                ))));
            }
        };
        context.lease(report(&workspace, None, &self.cli.path()?, &self.settings)?).await?;
        let (report, warning) = self.bring_up(&sought, workspace, context).await?;
        let template = self.settings.template.as_deref().unwrap_or_default();
        let mut message =
            format!("workspace {} of template {template}", report.r#ref.as_deref().unwrap_or_default());
        message.extend(warning.map(|warning| format!("; {warning}")));
        Ok(LeaseReport { message: Some(message), ..report })
    }

    /// Makes the workspace. A build that failed leaves one, which the host ends as it ends any.
    async fn create(&self, sought: &Sought, context: &Context) -> Result<Workspace> {
        match self.cli.create(&sought.reference.name, &self.settings, context).await {
            Ok(()) => {}
            // An earlier attempt of this lease, whose answer was lost and whose workspace was not listed yet.
            Err(Failed::Refused(Refusal { reason: Reason::Exists, .. })) => {}
            Err(Failed::Refused(refusal)) => return Err(nothing_made(&refusal)),
            Err(Failed::Unknown(error)) => return Err(error),
        }
        let until = Instant::now() + BEHIND;
        loop {
            match self.cli.look(sought, &self.settings).await? {
                Found::One(workspace) => return Ok(*workspace),
                _ if Instant::now() >= until => {
                    let message =
                        format!("the workspace {} was made, and Coder does not list it", sought.reference);
                    return Err(Error::provider(message));
                }
                _ => sleep(PAUSE).await,
            }
        }
    }

    /// Waits until a connection to the workspace can succeed. One that does not run is started, once.
    pub(crate) async fn bring_up(
        &self,
        sought: &Sought,
        mut workspace: Workspace,
        context: &Context,
    ) -> Result<(LeaseReport, Option<String>)> {
        let (mut started, mut told) = (None::<Instant>, String::new());
        let (mut limit, mut begun, mut built) = (self.settings.build, Instant::now(), false);
        loop {
            let waiting = match standing(&workspace, &self.settings)? {
                Standing::Ready(agent, warning) => {
                    let report = report(&workspace, Some(agent), &self.cli.path()?, &self.settings)?;
                    return Ok((report, warning));
                }
                Standing::Starting(why) => why,
                // On its way down: it can be started when it is there.
                Standing::Stopped(why) if workspace.is_busy() => why,
                Standing::Stopped(_) | Standing::Failed(_) if started.is_none() && !workspace.is_busy() => {
                    context.progress(format!("starting workspace {}", workspace.reference())).await?;
                    match self.cli.start(&workspace.reference(), &self.settings, context).await {
                        Ok(()) => started = Some(Instant::now()),
                        // Somebody else does something with it; what, the next look shows.
                        Err(Failed::Refused(Refusal { reason: Reason::Busy, .. })) => {}
                        Err(failed) => return Err(failed.into()),
                    }
                    "the workspace was started".to_owned()
                }
                Standing::Failed(why) if workspace.is_busy() => why,
                Standing::Stopped(why) | Standing::Failed(why)
                    if started.is_some_and(|started| started.elapsed() < BEHIND) =>
                {
                    why
                }
                Standing::Stopped(why) | Standing::Failed(why) | Standing::Leaving(why) => {
                    return Err(Error::unavailable(format!(
                        "the workspace {} does not run",
                        workspace.reference()
                    ))
                    .cause(why)
                    .hint(format!("`coder show {}` shows it", workspace.reference())));
                }
            };
            if workspace.is_running() && !built {
                (limit, begun, built) = (self.settings.ready, Instant::now(), true);
            }
            if begun.elapsed() > limit {
                let (seconds, key) = (limit.as_secs(), if built { "readyTimeout" } else { "buildTimeout" });
                let message =
                    format!("the workspace {} is not ready after {seconds} s", workspace.reference());
                return Err(Error::deadline(message)
                    .cause(waiting)
                    .hint(format!("`{key}` in the block `coder` says how long to wait, and `wait: no` not to wait for startup scripts")));
            }
            if waiting != told {
                context.progress(format!("waiting: {waiting}")).await?;
                told = waiting;
            }
            sleep(PAUSE).await;
            workspace = match self.cli.find(sought, &self.settings).await? {
                Found::One(workspace) => *workspace,
                _ => return Err(Error::not_found(format!("the workspace {} is gone", sought.reference))),
            };
        }
    }
}

impl Workspace {
    /// Whether a build is under way.
    pub(crate) fn is_busy(&self) -> bool {
        let under_way = ["pending", "starting", "stopping", "canceling", "deleting"];
        under_way.contains(&self.latest_build.status.as_str())
    }

    /// Whether it was built; its agent may not be there yet.
    pub(crate) fn is_running(&self) -> bool {
        self.latest_build.status == "running"
    }
}

/// A refusal to make a workspace, with `created: false` where it came before anything was made. Of any other the host
/// finds out what there is, and ends it.
fn nothing_made(refusal: &Refusal) -> Error {
    let error = refusal.error();
    if refusal.is_early() { error.created(false) } else { error }
}
