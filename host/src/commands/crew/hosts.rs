//! `crabbox crew hosts`

use std::time::Duration;

use clap::Args;
use crabbox_protocol::Method;
use crabbox_protocol::records::{Claim, ClaimState};

use super::{Of, named};
use crate::Exit;
use crate::crew::{AT_ONCE, guest, members, tag};
use crate::error::{Error, Result};
use crate::host::{Host, Selection};
use crate::join::join;
use crate::output::{self, foreign, say};
use crate::workflow::tell;

/// How long a member may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Give the members names on the machines in the tailnet
#[derive(Debug, Clone, Args)]
pub(crate) struct HostsArgs {
    /// The crew
    #[arg(value_name = "CREW")]
    crew: String,

    #[command(flatten)]
    of: Of,

    /// Print the script, for a timer or cron of a machine, and do nothing
    #[arg(long)]
    print: bool,
}

pub(super) async fn hosts(host: &Host, args: HostsArgs, selection: &Selection) -> Result<()> {
    let crew = named(&args.crew)?;
    let tag = tag(host, &crew)?;
    if args.print {
        return output::data(&guest::printed(&tag));
    }
    let claims = members(host, &crew, args.of.provider.as_deref())?;
    if claims.is_empty() {
        say(format!("crew {crew} has no members"));
        return Ok(());
    }
    let script = guest::sent(&tag);
    let told = join(AT_ONCE, claims.iter().map(|claim| one(host, claim, selection, &script))).await;
    let (mut rows, mut first) = (String::new(), None);
    for (claim, told) in claims.iter().zip(told) {
        let (word, text) = match told {
            Ok(Done::Written(text)) => ("ok", text),
            Ok(Done::Skipped(why)) => ("skip", why),
            Err(error) => {
                first.get_or_insert(error.exit);
                ("FAIL", error.to_string())
            }
        };
        let (slug, provider) = (foreign(&claim.lease.slug), foreign(&claim.provider));
        rows += &format!("{slug}\tlease={}\tprovider={provider}\t{word}\t{text}\n", claim.lease.id);
    }
    output::data(&rows)?;
    match first {
        None => Ok(()),
        Some(exit) => Err(Error::new(exit, format!("not every member of crew {crew} has the names"))
            .hint("`crabbox ssh LEASE` prints how to look for yourself")),
    }
}

/// What was done on a member.
enum Done {
    Written(String),
    Skipped(String),
}

async fn one(host: &Host, claim: &Claim, selection: &Selection, script: &[u8]) -> Result<Done> {
    if claim.stopped_at.is_some() || claim.state != ClaimState::Leased {
        return Ok(Done::Skipped("it does not run".to_owned()));
    }
    let chosen = host.chosen_for_with(claim, selection).await?;
    if chosen.manifest.has(Method::Run) {
        return Ok(Done::Skipped("it is not reached by SSH".to_owned()));
    }
    let answer = tell(host, chosen, claim, script, PATIENCE).await?;
    let last = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        foreign(text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default())
    };
    match answer.code {
        0 => Ok(Done::Written(last(&answer.stdout))),
        _ => Err(Error::new(Exit::Failure, last(&answer.stderr))),
    }
}
