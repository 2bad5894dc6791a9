//! `crabbox crew`: what is done with all members of a crew.

use std::time::Duration;

use clap::{Args, Subcommand};
use crabbox_protocol::records::{Claim, CrewPeers};

use super::{ProviderArgs, duration};
use crate::crew::{Share, crew_name, members, peers as ask_peers, render};
use crate::error::{Error, Result};
use crate::host::{Host, Selection};
use crate::output::{self, say};
use crate::workflow::{Ending, Released, ms, stop};

/// Look at a crew, and end it
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum CrewCommand {
    Peers(PeersArgs),
    Release(ReleaseArgs),
}

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

/// Release every member of a crew
#[derive(Debug, Clone, Args)]
pub(crate) struct ReleaseArgs {
    /// The crew
    #[arg(value_name = "CREW")]
    crew: String,

    #[command(flatten)]
    pub(crate) provider: ProviderArgs,

    /// End the runs that are on the members first
    #[arg(long)]
    force: bool,

    /// Delete them, also where their providers would only stop them
    #[arg(long)]
    delete: bool,
}

/// A crew's name that is one.
pub(crate) fn named(text: &str) -> Result<String> {
    crew_name(text)?.ok_or_else(|| Error::usage("the crew's name is empty"))
}

pub(crate) async fn crew(host: &Host, command: CrewCommand, selection: Selection) -> Result<u8> {
    match command {
        CrewCommand::Peers(args) => peers(host, args).await.map(|()| 0),
        CrewCommand::Release(args) => {
            let crew = named(&args.crew)?;
            let claims = members(host, &crew, args.provider.provider.as_deref())?;
            let how = Ending { force: args.force, delete: args.delete };
            release_crew(host, &crew, &claims, how, &selection).await.map(|()| 0)
        }
    }
}

async fn peers(host: &Host, args: PeersArgs) -> Result<()> {
    let crew = named(&args.crew)?;
    let claims = members(host, &crew, args.provider.provider.as_deref())?;
    let share = args.share_port.map(|port| Share { port, ttl_ms: ms(args.share_ttl) });
    let members = ask_peers(host, &crew, &claims, share).await;
    match args.json {
        true => output::json(&CrewPeers { members }),
        false => output::data(&render(&members)),
    }
}

/// Releases every member, one after the other. One that fails is named, and the rest is released all the same.
pub(crate) async fn release_crew(
    host: &Host,
    crew: &str,
    claims: &[Claim],
    how: Ending,
    selection: &Selection,
) -> Result<()> {
    if claims.is_empty() {
        say(format!("crew {crew} has no members"));
        return Ok(());
    }
    let leases = if claims.len() == 1 { "lease" } else { "leases" };
    say(format!("releasing crew {crew}: {} {leases}", claims.len()));
    let mut first = None;
    for claim in claims {
        let released = async {
            super::stop::free(host, claim, how.force)?;
            let chosen = host.chosen_for_with(claim, selection).await?;
            stop(host, chosen, claim, how).await
        };
        match released.await {
            Ok(released) => {
                let verb = if matches!(released, Released::Stopped) { "stopped" } else { "released" };
                say(format!(
                    "{verb} {} slug={} provider={}",
                    claim.lease.id, claim.lease.slug, claim.provider
                ));
            }
            Err(error) if matches!(error.exit, crate::Exit::Signal(_)) => return Err(error),
            Err(error) => {
                output::error(&error);
                first.get_or_insert(error.exit);
            }
        }
    }
    match first {
        None => Ok(()),
        Some(exit) => Err(Error::new(exit, format!("not every member of crew {crew} was released"))
            .hint(format!("`crabbox list --crew {crew}` shows what is left"))),
    }
}
