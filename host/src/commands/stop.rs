//! `crabbox stop`

use clap::Args;
use crabbox_protocol::RunId;

use super::{ProviderArgs, WhichLease};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::{Host, Selection};
use crate::lease::RunDir;
use crate::output::say;
use crate::workflow::{Released, stop as stop_lease};

/// Release a lease
#[derive(Debug, Clone, Args)]
pub(crate) struct StopArgs {
    #[command(flatten)]
    pub(crate) lease: WhichLease,

    #[command(flatten)]
    pub(crate) provider: ProviderArgs,

    /// End the runs that are on it first
    #[arg(long)]
    pub(crate) force: bool,
}

pub(crate) async fn stop(host: &Host, args: StopArgs, selection: Selection) -> Result<()> {
    let claim = host.claims().find(args.lease.name()?, selection.explicit())?;
    let alive: Vec<&RunId> = claim.runs.keys().filter(|run| RunDir::is_alive(&host.paths, run)).collect();
    if let (Some(run), false) = (alive.first(), args.force) {
        return Err(Error::new(Exit::NotFound, format!("run {run} is on lease {}", claim.lease.slug))
            .hint(format!("wait for it, or end both with `crabbox stop {} --force`", claim.lease.id)));
    }
    let chosen = host.chosen_for_with(&claim, &selection).await?;
    let verb = match stop_lease(host, chosen, &claim, args.force).await? {
        Released::Stopped => "stopped",
        _ => "released",
    };
    say(format!("{verb} {} slug={} provider={}", claim.lease.id, claim.lease.slug, claim.provider));
    Ok(())
}
