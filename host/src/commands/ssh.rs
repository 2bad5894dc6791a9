//! `crabbox ssh` and `crabbox connect`: for leases that are reached by SSH.

use clap::Args;
use crabbox_protocol::Method;
use crabbox_protocol::records::Claim;

use super::{ProviderArgs, WhichLease};
use crate::error::{Error, Result};
use crate::host::{Chosen, Host, Selection};
use crate::output;
use crate::ssh::{Connection, line};
use crate::workflow::connect as connect_to;

/// Print the ssh command that reaches a lease
#[derive(Debug, Clone, Args)]
pub(crate) struct SshArgs {
    #[command(flatten)]
    pub(crate) lease: WhichLease,

    #[command(flatten)]
    pub(crate) provider: ProviderArgs,
}

/// Open a shell on a lease that is reached by SSH
#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectArgs {
    #[command(flatten)]
    pub(crate) lease: WhichLease,

    #[command(flatten)]
    pub(crate) provider: ProviderArgs,
}

pub(crate) async fn ssh(host: &Host, args: SshArgs, selection: Selection) -> Result<()> {
    let (claim, chosen) = reached_by_ssh(host, &args.lease, &selection).await?;
    let words = Connection::of(host, &chosen, &claim)?.target().for_people();
    output::data(&(line(&words) + "\n"))
}

pub(crate) async fn connect(host: &Host, args: ConnectArgs, selection: Selection) -> Result<u8> {
    let (claim, chosen) = reached_by_ssh(host, &args.lease, &selection).await?;
    connect_to(host, chosen, &claim).await
}

async fn reached_by_ssh(host: &Host, lease: &WhichLease, selection: &Selection) -> Result<(Claim, Chosen)> {
    let claim = host.claims().find(lease.name()?, selection.explicit())?;
    let chosen = host.chosen_for_with(&claim, selection).await?;
    if !chosen.manifest.has(Method::Run) {
        return Ok((claim, chosen));
    }
    let slug = &claim.lease.slug;
    Err(Error::usage(format!(
        "lease {slug} is not reached by SSH: provider `{}` runs commands itself",
        chosen.name
    ))
    .hint(format!("use `crabbox run --id {slug} -- COMMAND`")))
}
