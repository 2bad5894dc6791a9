//! `crabbox crew release`, and `stop --crew`.

use clap::Args;
use crabbox_protocol::LeaseId;
use crabbox_protocol::records::Claim;

use super::{Of, named};
use crate::commands::stop::free;
use crate::crew::connect::{Ended, Plan, connected_to, disconnect};
use crate::crew::{members, of_crew};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::{Host, Selection};
use crate::output::{self, foreign, say};
use crate::ssh::Carrier;
use crate::workflow::{Ending, Released, stop};

/// Release every member of a crew
#[derive(Debug, Clone, Args)]
pub(crate) struct ReleaseArgs {
    /// The crew
    #[arg(value_name = "CREW")]
    crew: String,

    #[command(flatten)]
    of: Of,

    /// End the runs that are on the members first
    #[arg(long)]
    force: bool,

    /// Delete them, also where their providers would only stop them
    #[arg(long)]
    delete: bool,
}

pub(super) async fn release(host: &Host, args: ReleaseArgs, selection: &Selection) -> Result<()> {
    let crew = named(&args.crew)?;
    let claims = members(host, &crew, args.of.provider.as_deref())?;
    let how = Ending { force: args.force, delete: args.delete };
    release_crew(host, &crew, &claims, how, selection).await
}

/// Ends what connects this machine to them, and releases these members, one after the other. One that fails is named,
/// and the rest is released all the same.
pub(crate) async fn release_crew(
    host: &Host,
    crew: &str,
    claims: &[Claim],
    how: Ending,
    selection: &Selection,
) -> Result<()> {
    if connected(host, crew, claims)? {
        match disconnect(host, crew).await {
            Ok(Ended::Connection) => say(format!("disconnected crew {crew}")),
            Ok(_) => {}
            // It ends by itself once a member is gone.
            Err(error) => output::error(&error),
        }
    }
    let (_, unread) = of_crew(host, crew)?;
    if claims.is_empty() && unread.is_empty() {
        say(format!("crew {crew} has no members"));
        return Ok(());
    }
    let leases = if claims.len() == 1 { "lease" } else { "leases" };
    say(format!("releasing crew {crew}: {} {leases}", claims.len()));
    // One that cannot be read may be a member, and costs what it costs.
    let mut first = (!unread.is_empty()).then_some(Exit::Failure);
    for claim in claims {
        let released = async {
            free(host, claim, how.force)?;
            let chosen = host.chosen_for_with(claim, selection).await?;
            stop(host, chosen, claim, how).await
        };
        match released.await {
            Ok(released) => {
                Carrier::clear(host, std::slice::from_ref(&claim.lease.id)).await;
                let verb = if matches!(released, Released::Stopped) { "stopped" } else { "released" };
                say(format!(
                    "{verb} {} slug={} provider={}",
                    claim.lease.id, claim.lease.slug, claim.provider
                ));
            }
            Err(error) if matches!(error.exit, Exit::Signal(_)) => return Err(error),
            Err(error) => {
                let message = format!("member {}: {}", foreign(&claim.lease.slug), error.message);
                first.get_or_insert(error.exit);
                output::error(&Error { message, ..error });
            }
        }
    }
    match first {
        None => Ok(()),
        Some(exit) => Err(Error::new(exit, format!("not every member of crew {crew} was released"))
            .hint(format!("`crabbox list --crew {crew}` shows what is left"))),
    }
}

/// Whether any of these may be connected, or nobody stays that could be.
fn connected(host: &Host, crew: &str, claims: &[Claim]) -> Result<bool> {
    let goes = |id: &LeaseId| claims.iter().any(|claim| claim.lease.id == *id);
    let (all, unread) = of_crew(host, crew)?;
    if unread.is_empty() && all.iter().all(|claim| goes(&claim.lease.id)) {
        return Ok(true);
    }
    Ok(match connected_to(&host.paths, crew) {
        Some(leases) => leases.iter().any(goes),
        None => !Plan::of(crew, claims, None).is_empty(),
    })
}
