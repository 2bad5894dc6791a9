//! `list`: the user's workspaces whose names begin with the configured prefix.

use crabbox_provider_kit::Result;
use crabbox_provider_kit::protocol::{LeaseState, ListResult, Listed};

use crate::cli::Workspace;
use crate::provider::Coder;
use crate::settings::Settings;
use crate::standing::{Standing, standing};

impl Coder {
    /// Answers `list`. The CLI lists all at once. Which lease a workspace is of, its name does not say.
    pub(crate) async fn listed(&self) -> Result<ListResult> {
        let mine = self.cli.list(false).await?;
        let is_ours =
            |workspace: &Workspace| workspace.name.to_lowercase().starts_with(&self.settings.prefix);
        let ours = mine.into_iter().filter(is_ours);
        Ok(ListResult {
            leases: ours.map(|workspace| listed(&workspace, &self.settings)).collect(),
            complete: true,
        })
    }
}

fn listed(workspace: &Workspace, settings: &Settings) -> Listed {
    let state = match standing(workspace, settings) {
        Ok(Standing::Ready(..)) => LeaseState::Ready,
        Ok(Standing::Starting(_)) => LeaseState::Starting,
        Ok(Standing::Stopped(_)) => LeaseState::Stopped,
        Ok(Standing::Failed(_) | Standing::Leaving(_)) | Err(_) => LeaseState::Failed,
    };
    Listed {
        id: None,
        slug: None,
        name: workspace.name.clone(),
        r#ref: workspace.reference().to_string(),
        state,
        labels: [("template".to_owned(), workspace.template_name.clone())].into(),
        created_at: workspace.created_at,
        expires_at: None,
    }
}
