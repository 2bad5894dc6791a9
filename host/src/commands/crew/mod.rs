//! `crabbox crew`: what is done with all members of a crew.

mod connect;
mod disconnect;
mod hosts;
mod peers;
mod release;
mod unshare;

use clap::{Args, Subcommand};

use self::connect::{ConnectArgs, HoldArgs};
use self::disconnect::DisconnectArgs;
use self::hosts::HostsArgs;
use self::peers::PeersArgs;
use self::release::ReleaseArgs;
pub(crate) use self::release::release_crew;
use self::unshare::UnshareArgs;
use crate::crew::crew_name;
use crate::error::{Error, Result};
use crate::host::{Host, Selection};

/// What `connect` starts in the background.
const HOLD: &str = "__hold";

/// Look at a crew, connect to it, and end it
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum CrewCommand {
    Peers(PeersArgs),
    Unshare(UnshareArgs),
    Connect(ConnectArgs),
    Disconnect(DisconnectArgs),
    #[command(name = HOLD, hide = true)]
    Hold(HoldArgs),
    Hosts(HostsArgs),
    Release(ReleaseArgs),
}

pub(crate) async fn crew(host: &Host, command: CrewCommand, selection: Selection) -> Result<u8> {
    match command {
        CrewCommand::Peers(args) => peers::peers(host, args).await.map(|()| 0),
        CrewCommand::Connect(args) => connect::connect(host, args).await,
        CrewCommand::Disconnect(args) => disconnect::disconnect(host, args).await.map(|()| 0),
        CrewCommand::Hold(args) => connect::hold_forwards(host, args).await,
        CrewCommand::Hosts(args) => hosts::hosts(host, args, &selection).await.map(|()| 0),
        CrewCommand::Release(args) => release::release(host, args, &selection).await.map(|()| 0),
        CrewCommand::Unshare(args) => unshare::unshare(host, args).await.map(|()| 0),
    }
}

/// Which members.
#[derive(Debug, Clone, Args)]
pub(crate) struct Of {
    /// Only the members of this provider
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
}

/// A crew's name that is one.
pub(crate) fn named(text: &str) -> Result<String> {
    crew_name(text)?.ok_or_else(|| Error::usage("the crew's name is empty"))
}
