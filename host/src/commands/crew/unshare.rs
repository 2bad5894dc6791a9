//! `crabbox crew unshare`

use clap::Args;

use super::{Of, named};
use crate::crew::{members, unshare as take_back};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::output::{self, say};

/// Take back the ports that `crew peers --share-port` published
#[derive(Debug, Clone, Args)]
pub(crate) struct UnshareArgs {
    /// The crew
    #[arg(value_name = "CREW")]
    crew: String,

    /// Only this port
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,

    #[command(flatten)]
    of: Of,
}

/// One that fails is named, and the rest is taken back all the same.
pub(super) async fn unshare(host: &Host, args: UnshareArgs) -> Result<()> {
    let crew = named(&args.crew)?;
    let claims = members(host, &crew, args.of.provider.as_deref())?;
    let (mut closed, mut first) = (0, None);
    for (claim, outcome) in claims.iter().zip(take_back(host, &claims, args.port).await) {
        match outcome {
            Ok(true) => {
                closed += 1;
                say(format!("taken back: slug={} provider={}", claim.lease.slug, claim.provider));
            }
            Ok(false) => {}
            Err(error) => {
                first.get_or_insert(error.exit);
                output::error(
                    &error.cause(format!("lease {}, provider {}", claim.lease.slug, claim.provider)),
                );
            }
        }
    }
    match first {
        None if closed == 0 => say(format!("crew {crew} has nothing published")),
        None => {}
        Some(exit) => {
            return Err(Error::new(exit, format!("not everything of crew {crew} was taken back"))
                .hint(format!("try `crabbox crew unshare {crew}` again")));
        }
    }
    Ok(())
}
