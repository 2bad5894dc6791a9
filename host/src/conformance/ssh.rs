//! A lease without `run`: whether what it says leads there.

use std::time::{Duration, Instant};

use super::check::Check;
use super::lease::lease_of;
use super::ledger::{Finding, Verdict};
use super::rules;
use crate::provider::Locks;
use crate::ssh::{Connection, Place};

/// How long the machine may take to be reached.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// How long the connection may stand that nobody closes.
const IDLE: Duration = Duration::from_secs(60);

/// Tries both.
pub(super) async fn check(check: &mut Check<'_>) {
    check.rule(rules::SSH_SOUND, async |check| connection(check).map(drop)).await;
    check.rule(rules::SSH_REACHES, reaches).await;
}

/// The way there, if it is one.
fn connection(check: &Check<'_>) -> Result<Connection, Finding> {
    let lease = lease_of(check)?;
    let ssh = check.ssh.as_ref().ok_or_else(|| Finding::broken("the lease has no `ssh`"))?;
    let way = Connection::to(check.host, &check.name(), &check.env, &lease.id, ssh, IDLE);
    way.map_err(|error| match error.exit {
        crate::Exit::Auth => Finding::skipped(error.to_string()),
        _ => Finding::broken(error.to_string()),
    })
}

async fn reaches(check: &mut Check<'_>) -> Verdict {
    let connection = connection(check)?;
    let begun = Instant::now();
    let verdict = loop {
        let left = PATIENCE.saturating_sub(begun.elapsed());
        match connection.open(|| Ok(Locks::default()), left).await {
            Ok(()) => break Ok(()),
            Err(failure) if failure.is_final || begun.elapsed() + PAUSE > PATIENCE => {
                break Err(Finding::broken(failure.error.to_string()));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    };
    Place::of(check.host, &lease_of(check)?.id).close().await;
    verdict
}
