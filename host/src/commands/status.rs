//! `crabbox status`

use std::time::Duration;

use clap::Args;
use crabbox_protocol::records::{Claim, StatusRow, StatusRows};
use crabbox_protocol::{Intent, LeaseState, Method, ResolveParams};
use tokio::time::{Instant, timeout};

use super::{ProviderArgs, WhichLease, duration, list};
use crate::crew::{AT_ONCE, members};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::{Host, Selection};
use crate::join::join;
use crate::output::{self, foreign, say};
use crate::provider::{Ask, Locks};
use crate::workflow::{believed, same_scope, stop_command};

/// How often a lease that is not ready is asked about.
const POLL: Duration = Duration::from_secs(2);

/// How long a provider may take for a member of a crew, on top of what is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Say how a lease stands
#[derive(Debug, Clone, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) lease: WhichLease,

    /// Say how every member of this crew stands
    #[arg(long, alias = "pond", value_name = "NAME", conflicts_with_all = ["lease", "id"])]
    pub(crate) crew: Option<String>,

    #[command(flatten)]
    pub(crate) provider: ProviderArgs,

    /// Wait until the lease is ready
    #[arg(long)]
    pub(crate) wait: bool,

    /// How long to wait
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5m")]
    pub(crate) wait_timeout: Duration,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn status(host: &Host, args: StatusArgs, selection: Selection) -> Result<u8> {
    let patience = args.wait.then_some(args.wait_timeout);
    if let Some(crew) = &args.crew {
        let crew = super::crew::named(crew)?;
        let claims = members(host, &crew, args.provider.provider.as_deref())?;
        return crew_status(host, &crew, &claims, &selection, patience, args.json).await;
    }
    let claim = host.claims().find(args.lease.name()?, selection.explicit())?;
    let (row, waits) = ask(host, &claim, &selection, patience).await?;
    match args.json {
        true => output::json(&row)?,
        false => output::data(&line(&row))?,
    }
    verdict(&row, &claim, waits).map(|()| 0)
}

/// Every member of a crew, all of them asked at once. One that cannot be asked is a row that says why.
async fn crew_status(
    host: &Host,
    crew: &str,
    claims: &[Claim],
    selection: &Selection,
    patience: Option<Duration>,
    json: bool,
) -> Result<u8> {
    let late = |claim: &Claim| {
        let after = humantime::format_duration(PATIENCE);
        Error::new(Exit::Unavailable, format!("provider `{}` did not answer within {after}", claim.provider))
    };
    let one = async |claim: &Claim| {
        let limit = patience.unwrap_or_default() + PATIENCE;
        let asked = timeout(limit, ask(host, claim, selection, patience)).await;
        asked.unwrap_or_else(|_| Err(late(claim)))
    };
    let asked = join(AT_ONCE, claims.iter().map(one)).await;
    let (mut rows, mut first) = (Vec::new(), None);
    for (claim, asked) in claims.iter().zip(asked) {
        let (row, verdict) = match asked {
            Ok((row, waits)) => {
                let verdict = verdict(&row, claim, waits);
                (row, verdict)
            }
            Err(error) => {
                let mut row = StatusRow { lease: list::row(host, claim), ready: false, message: None };
                row.lease.state = Some(LeaseState::Unknown);
                row.message = Some(error.to_string());
                (row, Err(error))
            }
        };
        rows.push(row);
        if let Err(error) = verdict {
            output::error(&error);
            first.get_or_insert(error.exit);
        }
    }
    match json {
        true => output::json(&StatusRows(rows))?,
        false if rows.is_empty() => say(format!("crew {crew} has no members")),
        false => output::data(&rows.iter().map(line).collect::<String>())?,
    }
    Ok(first.map_or(0, Exit::code))
}

/// Asks how a lease stands; with patience, again until that is certain. Says also whether that was waited for, which it
/// is not with a provider that can never tell.
async fn ask(
    host: &Host,
    claim: &Claim,
    selection: &Selection,
    patience: Option<Duration>,
) -> Result<(StatusRow, bool)> {
    let chosen = host.chosen_for_with(claim, selection).await?;
    let mut row = StatusRow { lease: list::row(host, claim), ready: false, message: None };
    if !chosen.manifest.has(Method::Resolve) {
        row.lease.state = Some(LeaseState::Unknown);
        row.message = Some(format!("provider `{}` cannot tell", claim.provider));
        return Ok((row, false));
    }
    let begun = Instant::now();
    let (mut session, configured) = chosen.connect(host, Locks::default()).await?;
    let asked = async {
        same_scope(claim, &configured.scope)?;
        loop {
            let params = ResolveParams { lease: claim.lease.clone(), intent: Intent::Observe };
            let result = session.call(&params, Ask::default()).await?;
            let waits = matches!(result.state, LeaseState::Starting | LeaseState::Unknown);
            if !waits || patience.is_none_or(|patience| begun.elapsed() > patience) {
                return Ok::<_, Error>(result);
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let result = asked.await;
    session.close().await;
    let result = result?;
    let state = believed(result.state, claim, &configured);
    row.lease.state = Some(state);
    row.ready = state == LeaseState::Ready;
    row.message = result.message.as_deref().map(foreign);
    Ok((row, patience.is_some()))
}

/// A lease that is gone is an error, and where it was to be ready, so is one that is not.
fn verdict(row: &StatusRow, claim: &Claim, waits: bool) -> Result<()> {
    match row.lease.state {
        Some(LeaseState::Missing) => {
            Err(Error::new(Exit::NotFound, format!("lease {} is gone", claim.lease.slug))
                .hint(format!("`{}` makes crabbox forget it", stop_command(claim))))
        }
        Some(state) if waits && !row.ready => Err(Error::new(
            Exit::Unavailable,
            format!("lease {} is not ready: it is {}", claim.lease.slug, state.name()),
        )),
        _ => Ok(()),
    }
}

/// A row for people.
fn line(row: &StatusRow) -> String {
    let lease = &row.lease;
    let text = |value: &Option<String>| foreign(value.as_deref().unwrap_or("-"));
    let time = |at: Option<jiff::Timestamp>| {
        at.and_then(|at| at.round(jiff::Unit::Second).ok()).map_or("-".to_owned(), |at| at.to_string())
    };
    let mut line = format!(
        "{} slug={} provider={} state={} ready={} runs={} last_used={} expires={}",
        text(&lease.id),
        text(&lease.slug),
        foreign(&lease.provider),
        lease.state.map_or("-", LeaseState::name),
        row.ready,
        lease.running,
        time(lease.last_used_at),
        time(lease.expires_at),
    );
    if let Some(message) = &row.message {
        line.push_str(&format!(" message={message:?}"));
    }
    line + "\n"
}
