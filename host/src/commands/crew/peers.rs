//! `crabbox crew peers`

use std::time::Duration;

use clap::Args;
use crabbox_protocol::records::CrewPeers;

use super::named;
use crate::commands::{ProviderArgs, duration};
use crate::crew::{Share, members, peers as ask_peers, render};
use crate::error::Result;
use crate::host::Host;
use crate::output;
use crate::workflow::ms;

/// Say how each member of a crew is reached
#[derive(Debug, Clone, Args)]
pub(crate) struct PeersArgs {
    /// The crew
    #[arg(long, alias = "pond", value_name = "NAME")]
    crew: String,

    #[command(flatten)]
    pub(crate) provider: ProviderArgs,

    /// Publish this port of every member; without it nothing is changed anywhere
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    share_port: Option<u16>,

    /// How long a port stays published
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "24h", requires = "share_port")]
    share_ttl: Duration,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn peers(host: &Host, args: PeersArgs) -> Result<()> {
    let crew = named(&args.crew)?;
    let claims = members(host, &crew, args.provider.provider.as_deref())?;
    let share = args.share_port.map(|port| Share { port, ttl_ms: ms(args.share_ttl) });
    let members = ask_peers(host, &crew, &claims, share).await;
    match args.json {
        true => output::json(&CrewPeers { members }),
        false => output::data(&render(&members)),
    }
}
