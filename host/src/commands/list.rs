//! `crabbox list`

use clap::Args;
use crabbox_protocol::records::{Claim, LeaseRow, LeaseRows};
use crabbox_protocol::{LeaseState, ListParams, ListResult, Method};

use super::ProviderArgs;
use crate::error::{Error, Result};
use crate::host::{Chosen, Host};
use crate::join::join;
use crate::lease::RunDir;
use crate::output::{self, foreign, table, warn};
use crate::plugins::AT_ONCE;
use crate::provider::{Ask, Locks};
use crate::workflow::{after, stop_command};

/// List your leases
#[derive(Debug, Clone, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) provider: ProviderArgs,

    /// Only the members of this crew
    #[arg(long, alias = "pond", value_name = "NAME")]
    pub(crate) crew: Option<String>,

    /// Ask the providers what they hold, too
    #[arg(long)]
    pub(crate) refresh: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn list(host: &Host, args: ListArgs) -> Result<()> {
    let provider = args.provider.provider.as_deref();
    let crew = args.crew.as_deref().map(super::crew::named).transpose()?;
    let (claims, bad) = host.claims().list()?;
    for bad in &bad {
        warn(bad.say());
    }
    let claims: Vec<Claim> =
        claims.into_iter().filter(|claim| provider.is_none_or(|name| claim.provider == name)).collect();
    let mut rows: Vec<LeaseRow> = claims.iter().map(|claim| row(host, claim)).collect();
    if args.refresh {
        refresh(host, provider, &mut rows).await?;
    }
    if let Some(crew) = crew {
        rows.retain(|row| row.crew.as_deref() == Some(&crew));
    }
    if args.json {
        return output::json(&LeaseRows(rows));
    }
    if !rows.is_empty() {
        output::data(&render(&rows))?;
    }
    Ok(())
}

/// A lease as its claim has it.
pub(crate) fn row(host: &Host, claim: &Claim) -> LeaseRow {
    let ends = [
        claim.ttl_ms.map(|ttl| after(claim.created_at, ttl)),
        claim.idle_timeout_ms.map(|idle| after(claim.last_used_at, idle)),
        claim.expires_at,
    ];
    LeaseRow {
        id: Some(claim.lease.id.to_string()),
        slug: Some(claim.lease.slug.clone()),
        name: claim.lease.name.clone(),
        provider: claim.provider.clone(),
        r#ref: claim.lease.r#ref.clone(),
        claim: Some(claim.state),
        state: claim.stopped_at.map(|_| LeaseState::Stopped),
        owner: Some(claim.owner),
        crew: claim.lease.crew.clone(),
        labels: claim.lease.labels.clone(),
        repo_root: claim.repo_root.clone(),
        running: claim.runs.keys().filter(|run| RunDir::is_alive(&host.paths, run)).count(),
        created_at: Some(claim.created_at),
        last_used_at: Some(claim.last_used_at),
        expires_at: ends.into_iter().flatten().min().filter(|_| claim.stopped_at.is_none()),
        problem: None,
        stop_command: Some(stop_command(claim)),
    }
}

/// Asks the providers, several at once; one that fails is a warning, and costs only its own rows.
async fn refresh(host: &Host, provider: Option<&str>, rows: &mut Vec<LeaseRow>) -> Result<()> {
    let plugins = host.usable_plugins(provider).await?;
    let plugins: Vec<_> = plugins.iter().filter(|plugin| plugin.manifest.has(Method::List)).collect();
    let ask = async |plugin: &Chosen| {
        let (mut session, _) = plugin.connect(host, Locks::default()).await?;
        let listed = session.call(&ListParams {}, Ask::default()).await.map_err(Error::from);
        session.close().await;
        listed
    };
    let answers = join(AT_ONCE, plugins.iter().map(|plugin| ask(plugin))).await;
    for (plugin, answer) in plugins.into_iter().zip(answers) {
        match answer {
            Ok(listed) => merge(rows, &plugin.name, listed),
            Err(error) => warn(format!("provider `{}` was not asked: {error}", plugin.name)),
        }
    }
    Ok(())
}

/// Puts what a provider holds beside the claims.
fn merge(rows: &mut Vec<LeaseRow>, provider: &str, listed: ListResult) {
    for lease in listed.leases {
        let ours =
            rows.iter_mut().find(|row| row.provider == provider && row.id.is_some() && row.id == lease.id);
        match ours {
            Some(row) => row.state = Some(lease.state),
            None => rows.push(LeaseRow {
                id: lease.id,
                slug: lease.slug,
                name: lease.name,
                provider: provider.to_owned(),
                r#ref: Some(lease.r#ref),
                claim: None,
                state: Some(lease.state),
                owner: None,
                crew: None,
                labels: lease.labels,
                repo_root: None,
                running: 0,
                created_at: lease.created_at,
                last_used_at: None,
                expires_at: lease.expires_at,
                problem: Some("no claim on this machine".to_owned()),
                stop_command: None,
            }),
        }
    }
}

fn render(rows: &[LeaseRow]) -> String {
    let header =
        ["ID", "SLUG", "PROVIDER", "STATE", "RUNS", "LAST USED", "UNTIL"].map(str::to_owned).to_vec();
    let time = |at: Option<jiff::Timestamp>| {
        at.and_then(|at| at.round(jiff::Unit::Second).ok()).map_or("-".to_owned(), |at| at.to_string())
    };
    let line = |row: &LeaseRow| {
        let state = row.state.map(|state| state.name()).or(row.claim.map(|state| state.name()));
        vec![
            foreign(row.id.as_deref().unwrap_or("-")),
            foreign(row.slug.as_deref().unwrap_or(&row.name)),
            foreign(&row.provider),
            state.unwrap_or("-").to_owned(),
            row.running.to_string(),
            time(row.last_used_at.or(row.created_at)),
            time(row.expires_at),
        ]
    };
    table(&[header].into_iter().chain(rows.iter().map(line)).collect::<Vec<_>>())
}
