//! `resolve`: how a lease stands. With the intent to use it, one that does not run is started.

use crabbox_provider_kit::protocol::{Intent, LeaseReport, LeaseState, ResolveParams, ResolveResult};
use crabbox_provider_kit::{Context, Result};

use crate::find::{Found, Sought};
use crate::name::Reference;
use crate::provider::Coder;
use crate::reach::report;
use crate::standing::{Standing, standing};

impl Coder {
    /// Answers `resolve`. A workspace is `missing` only when the deployment lists all that it may be among.
    pub(crate) async fn stand(&self, params: &ResolveParams, context: &Context) -> Result<ResolveResult> {
        let sought = Sought::of(&params.lease, &self.settings)?;
        let reference = &sought.reference;
        let none = |state, message: String| {
            Ok(ResolveResult { state, lease: None, message: Some(message), candidates: Vec::new() })
        };
        let workspace = match self.cli.find(&sought, &self.settings).await? {
            Found::One(workspace) => *workspace,
            Found::Absent => return none(LeaseState::Missing, format!("there is no workspace {reference}")),
            Found::Replaced => {
                return none(LeaseState::Missing, format!("{reference} is another workspace by now"));
            }
            Found::Unseen => {
                let message = format!("{reference} is not among the workspaces that this user sees");
                return none(LeaseState::Unknown, message);
            }
            Found::Several(all) => {
                let (state, message) =
                    (LeaseState::Ambiguous, Some(format!("{reference} is the name of several")));
                let candidates = all.iter().map(Reference::to_string).collect();
                return Ok(ResolveResult { state, lease: None, message, candidates });
            }
        };
        if params.intent == Intent::Use {
            let (report, warning) = self.bring_up(&sought, workspace, context).await?;
            return answer(LeaseState::Ready, report, warning);
        }
        let bare = report(&workspace, None, &self.cli.path()?, &self.settings)?;
        match standing(&workspace, &self.settings) {
            Ok(Standing::Ready(agent, warning)) => answer(
                LeaseState::Ready,
                report(&workspace, Some(agent), &self.cli.path()?, &self.settings)?,
                warning,
            ),
            Ok(Standing::Starting(why)) => answer(LeaseState::Starting, bare, Some(why)),
            Ok(Standing::Stopped(why)) => answer(LeaseState::Stopped, bare, Some(why)),
            Ok(Standing::Failed(why) | Standing::Leaving(why)) => answer(LeaseState::Failed, bare, Some(why)),
            // It is there, and nobody can say which of its agents is meant: it can be ended all the same.
            Err(error) => answer(LeaseState::Failed, bare, Some(error.to_string())),
        }
    }
}

fn answer(state: LeaseState, lease: LeaseReport, message: Option<String>) -> Result<ResolveResult> {
    Ok(ResolveResult { state, lease: Some(lease), message, candidates: Vec::new() })
}
