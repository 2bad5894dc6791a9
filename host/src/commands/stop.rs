//! `crabbox stop`

use clap::Args;
use crabbox_protocol::RunId;
use crabbox_protocol::records::Claim;

use super::{ProviderArgs, WhichLease};
use crate::crew::members;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::{Host, Selection};
use crate::lease::RunDir;
use crate::output::say;
use crate::ssh::Carrier;
use crate::workflow::{Ending, Released, stop as stop_lease};

/// Release a lease
#[derive(Debug, Clone, Args)]
pub(crate) struct StopArgs {
    #[command(flatten)]
    pub(crate) lease: WhichLease,

    /// Release every member of this crew
    #[arg(long, alias = "pond", value_name = "NAME", conflicts_with_all = ["lease", "id"])]
    pub(crate) crew: Option<String>,

    #[command(flatten)]
    pub(crate) provider: ProviderArgs,

    /// End the runs that are on it first
    #[arg(long)]
    pub(crate) force: bool,

    /// Delete it, also where its provider would only stop it
    #[arg(long)]
    pub(crate) delete: bool,
}

pub(crate) async fn stop(host: &Host, args: StopArgs, selection: Selection) -> Result<()> {
    let how = Ending { force: args.force, delete: args.delete };
    if let Some(crew) = &args.crew {
        let crew = super::crew::named(crew)?;
        let claims = members(host, &crew, args.provider.provider.as_deref())?;
        return super::crew::release_crew(host, &crew, &claims, how, &selection).await;
    }
    let claim = host.claims().find(args.lease.name()?, selection.explicit())?;
    free(host, &claim, args.force)?;
    let chosen = host.chosen_for_with(&claim, &selection).await?;
    let released = stop_lease(host, chosen, &claim, how).await?;
    Carrier::clear(host, std::slice::from_ref(&claim.lease.id)).await;
    let verb = match released {
        Released::Stopped => "stopped",
        _ => "released",
    };
    say(format!("{verb} {} slug={} provider={}", claim.lease.id, claim.lease.slug, claim.provider));
    Ok(())
}

/// A lease with a run on it is not released, unless that is what is wanted.
pub(in crate::commands) fn free(host: &Host, claim: &Claim, force: bool) -> Result<()> {
    let alive: Vec<&RunId> = claim.runs.keys().filter(|run| RunDir::is_alive(&host.paths, run)).collect();
    match alive.first() {
        Some(run) if !force => {
            Err(Error::new(Exit::NotFound, format!("run {run} is on lease {}", claim.lease.slug))
                .hint(format!("wait for it, or end both with `crabbox stop {} --force`", claim.lease.id)))
        }
        _ => Ok(()),
    }
}
