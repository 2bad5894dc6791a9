//! `crabbox crew disconnect`

use clap::Args;

use super::named;
use crate::crew::connect::{Ended, disconnect as end};
use crate::error::Result;
use crate::host::Host;
use crate::output::{foreign, say};
use crate::workflow::patiently;

/// End what `crew connect` brought here
#[derive(Debug, Clone, Args)]
pub(crate) struct DisconnectArgs {
    /// The crew
    #[arg(value_name = "CREW")]
    crew: String,
}

pub(super) async fn disconnect(host: &Host, args: DisconnectArgs) -> Result<()> {
    let crew = named(&args.crew)?;
    match patiently(&format!("disconnecting crew {crew}"), end(host, &crew)).await? {
        Ended::Connection => say(format!("disconnected crew {crew}")),
        Ended::Leftovers => say(format!("cleared away what a dead connection of crew {crew} had left")),
        Ended::Nothing(said) => {
            say(format!("crew {crew} is not connected"));
            if let Some(said) = said {
                say("its last connection ended by itself:");
                said.lines().for_each(|line| say(foreign(line)));
            }
        }
    }
    Ok(())
}
