//! `crabbox warmup`

use clap::Args;
use crabbox_protocol::Lifecycle;
use crabbox_protocol::records::Owner;

use super::{LeaseArgs, ProviderArgs};
use crate::error::{Error, Result};
use crate::host::{Host, Selection};
use crate::sync::find_root;
use crate::workflow::{check_manifest, warm_up};

/// Make a lease that stays, for `run --id`
#[derive(Debug, Clone, Args)]
pub(crate) struct WarmupArgs {
    #[command(flatten)]
    pub(crate) provider: ProviderArgs,

    #[command(flatten)]
    pub(crate) lease: LeaseArgs,
}

pub(crate) async fn warmup(host: &Host, args: WarmupArgs, mut selection: Selection) -> Result<()> {
    let wish = args.lease.wish(host, Owner::User)?;
    selection.lend(wish.tailscale.as_ref());
    let chosen = selection.choose(host).await?;
    check_manifest(&chosen)?;
    if chosen.manifest.lifecycle == Lifecycle::OneShot {
        return Err(Error::usage(format!(
            "`warmup` is not supported for provider={}: it has no leases",
            chosen.name
        ))
        .hint("use `crabbox run`, which brings everything that it needs"));
    }
    wish.fits(host, &chosen)?;
    // Outside a repository a lease belongs to none until one uses it.
    let root = find_root(host.env.cwd()).ok();
    warm_up(host, &selection, chosen, &wish, root).await
}
