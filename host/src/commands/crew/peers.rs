//! `crabbox crew peers`

use std::time::Duration;

use clap::Args;
use crabbox_protocol::records::{CrewPeers, PeerBridge};

use super::{Of, named};
use crate::commands::duration;
use crate::crew::{Share, members, peers as ask_peers, render};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::output;
use crate::workflow::ms;

/// Say how each member of a crew is reached
#[derive(Debug, Clone, Args)]
pub(crate) struct PeersArgs {
    /// The crew
    #[arg(value_name = "CREW", required_unless_present = "crew", conflicts_with = "crew")]
    name: Option<String>,

    /// The crew
    #[arg(long, alias = "pond", value_name = "NAME")]
    crew: Option<String>,

    #[command(flatten)]
    of: Of,

    /// Publish this port of every member; without it nothing is changed anywhere
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    share_port: Option<u16>,

    /// How long a port stays published
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "24h", requires = "share_port")]
    share_ttl: Duration,

    /// Ask the providers, also about what is known from before
    #[arg(long)]
    refresh: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn peers(host: &Host, args: PeersArgs) -> Result<()> {
    let crew = named(args.name.or(args.crew).as_deref().unwrap_or_default())?;
    let claims = members(host, &crew, args.of.provider.as_deref())?;
    let share = args.share_port.map(|port| Share { port, ttl_ms: ms(args.share_ttl) });
    let members = ask_peers(host, &crew, &claims, share, args.refresh).await;
    let failed = members.iter().filter(|peer| peer.bridge_state == Some(PeerBridge::Error)).count();
    // One that fails costs its own lines, unless those are all that was asked for, or something was to be done.
    let is_error = failed > 0 && (share.is_some() || args.of.provider.is_some() || failed == members.len());
    match args.json {
        true => output::json(&CrewPeers { members })?,
        false => output::data(&render(&members))?,
    }
    match is_error {
        false => Ok(()),
        true => {
            let members = if failed == 1 { "1 member".to_owned() } else { format!("{failed} members") };
            Err(Error::failure(format!("{members} of crew {crew} could not be asked: the notes say why")))
        }
    }
}
