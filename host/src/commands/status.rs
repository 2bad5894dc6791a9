//! `crabbox status`

use std::time::Duration;

use clap::Args;
use crabbox_protocol::records::StatusRow;
use crabbox_protocol::{Intent, LeaseState, Method, ResolveParams};
use tokio::time::Instant;

use super::{ProviderArgs, WhichLease, duration, list};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::{Host, Selection};
use crate::output::{self, foreign};
use crate::provider::{Ask, Locks};
use crate::workflow::{believed, same_scope, stop_command};

/// How often a lease that is not ready is asked about.
const POLL: Duration = Duration::from_secs(2);

/// Say how a lease stands
#[derive(Debug, Clone, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) lease: WhichLease,

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
    let claim = host.claims().find(args.lease.name()?, selection.explicit())?;
    let chosen = host.chosen_for_with(&claim, &selection).await?;
    let mut row = StatusRow { lease: list::row(host, &claim), ready: false, message: None };
    if !chosen.manifest.has(Method::Resolve) {
        row.lease.state = Some(LeaseState::Unknown);
        row.message = Some(format!("provider `{}` cannot tell", claim.provider));
        print(&row, args.json)?;
        return Ok(0);
    }
    let begun = Instant::now();
    let (mut session, configured) = chosen.connect(host, Locks::default()).await?;
    let asked = async {
        same_scope(&claim, &configured.scope)?;
        loop {
            let params = ResolveParams { lease: claim.lease.clone(), intent: Intent::Observe };
            let result = session.call(&params, Ask::default()).await?;
            let waits = args.wait && matches!(result.state, LeaseState::Starting | LeaseState::Unknown);
            if !waits || begun.elapsed() > args.wait_timeout {
                return Ok::<_, Error>(result);
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let result = asked.await;
    session.close().await;
    let mut result = result?;
    result.state = believed(result.state, &claim, &configured);
    row.lease.state = Some(result.state);
    row.ready = result.state == LeaseState::Ready;
    row.message = result.message.as_deref().map(foreign);
    print(&row, args.json)?;
    match result.state {
        LeaseState::Missing => Err(Error::new(Exit::NotFound, format!("lease {} is gone", claim.lease.slug))
            .hint(format!("`{}` makes crabbox forget it", stop_command(&claim)))),
        state if args.wait && state != LeaseState::Ready => Err(Error::new(
            Exit::Unavailable,
            format!("lease {} is not ready: it is {}", claim.lease.slug, state.name()),
        )),
        _ => Ok(0),
    }
}

fn print(row: &StatusRow, json: bool) -> Result<()> {
    if json {
        return output::json(row);
    }
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
    output::data(&(line + "\n"))
}
