//! Making a lease, for a run or to stay.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crabbox_protocol::records::{Claim, ClaimState};
use crabbox_protocol::{ConfigureResult, Lease, LeaseId, Limits, ReleaseAction, ReleaseReason};
use jiff::Timestamp;

use super::acquire::Wish;
use super::held::Held;
use super::{patiently, shown};
use crate::crew::{MAYBE_WRITTEN, admit};
use crate::error::{Error, Result};
use crate::host::{Chosen, Host, Selection};
use crate::lease::{LeaseLock, RunDir, new_lease_id};
use crate::output::{self, say};
use crate::provider::{Interrupts, Locks, Session};

/// `crabbox warmup`: a lease that stays.
pub(crate) async fn warm_up(
    host: &Host,
    selection: &Selection,
    chosen: Chosen,
    wish: &Wish,
    root: Option<PathBuf>,
) -> Result<()> {
    let begun = Instant::now();
    let mut interrupts = Interrupts::listen()?;
    let made = make(host, selection, chosen, wish, root, None, &mut interrupts).await;
    let held = made.map_err(|error| interrupts.blame(error))?;
    let (claim, stop) = (held.claim().clone(), held.stop_command());
    if let Some(exit) = interrupts.exit() {
        held.release_watched(claim.release, ReleaseReason::User, &mut interrupts).await?;
        return Err(Error::new(exit, "interrupted"));
    }
    held.let_go().await;
    let told = output::data(&format!(
        "leased {} slug={} provider={}\n",
        claim.lease.id, claim.lease.slug, claim.provider
    ));
    say(format!("warmup complete total={}", shown(begun.elapsed())));
    say(format!("use it: crabbox run --id {} -- COMMAND; end it: {}", claim.lease.slug, stop));
    told.map_err(|error| error.hint(format!("lease {} is there: `{stop}` ends it", claim.lease.id)))
}

/// Makes a lease: lock, plugin, claim, and only then the request.
pub(super) async fn make<'a>(
    host: &'a Host,
    selection: &Selection,
    chosen: Chosen,
    wish: &Wish,
    repo_root: Option<PathBuf>,
    run: Option<RunDir>,
    interrupts: &mut Interrupts,
) -> Result<Held<'a>> {
    let id = new_lease_id()?;
    let lock = LeaseLock::exclusive(&host.paths, &id, || ()).await?;
    let made = prepare(host, selection, chosen, wish, repo_root, &lock, run.as_ref(), id).await;
    let (chosen, session, claim) = match made {
        Ok(made) => made,
        Err(error) => {
            lock.remove();
            return Err(error);
        }
    };
    if let Err(error) = admitted(host, wish, interrupts).await {
        session.close().await;
        host.claims().remove(&claim.lease.id)?;
        lock.remove();
        return Err(error);
    }
    let mut held = Held::new(host, chosen, lock, claim);
    (held.session, held.run) = (Some(session), run);
    held.acquire(interrupts).await
}

/// The last check of all, because it may write what belongs to others too: whether the lease may join its crew.
async fn admitted(host: &Host, wish: &Wish, interrupts: &mut Interrupts) -> Result<()> {
    let interrupted = || Error::failure("interrupted");
    if interrupts.exit_now().is_some() {
        return Err(interrupted());
    }
    let (Some(tailscale), Some(crew)) = (&wish.tailscale, &wish.crew) else { return Ok(()) };
    let Some(tag) = tailscale.tags.first() else { return Ok(()) };
    let writing = AtomicBool::new(false);
    let admit = admit(&host.env, crew, tag, &writing);
    tokio::select! {
        admitted = patiently("asking for the tailnet's policy", admit) => admitted,
        _ = interrupts.next() => Err(match writing.load(Ordering::Relaxed) {
            true => interrupted().hint(MAYBE_WRITTEN),
            false => interrupted(),
        }),
    }
}

/// Starts and configures the plugin, and writes the claim. Nothing exists at the provider yet.
#[expect(clippy::too_many_arguments, reason = "a step of `make`, apart for its error path")]
async fn prepare(
    host: &Host,
    selection: &Selection,
    chosen: Chosen,
    wish: &Wish,
    repo_root: Option<PathBuf>,
    lock: &LeaseLock,
    run: Option<&RunDir>,
    id: LeaseId,
) -> Result<(Chosen, Session, Claim)> {
    let locks = || -> Result<Locks> {
        Ok(Locks { lease: Some(lock.for_guard()?), run: run.map(RunDir::for_guard).transpose()?.flatten() })
    };
    let (chosen, session, configured) = selection.connect(host, chosen, locks).await?;
    if let Err(error) = wish.fits(host, &chosen) {
        session.close().await;
        return Err(error);
    }
    let mut claim = new_claim(&chosen, &configured, wish, repo_root, id);
    match host.claims().create(&mut claim, wish.slug.as_deref()) {
        Ok(()) => Ok((chosen, session, claim)),
        Err(error) => {
            session.close().await;
            Err(error)
        }
    }
}

/// How late a lease may appear that nobody waited for: what the plugin says. In a debug build
/// `CRABBOX_CREATE_SETTLE=SECONDS` says it for a test, where nothing may appear later than that.
fn create_settle_ms(limits: &Limits) -> u64 {
    let test = std::env::var("CRABBOX_CREATE_SETTLE").ok().filter(|_| cfg!(debug_assertions));
    let test = test.and_then(|seconds| seconds.parse::<u64>().ok());
    let said = test.map(|seconds| seconds.saturating_mul(1000)).or(limits.create_settle_ms);
    said.unwrap_or(Limits::CREATE_SETTLE_MS)
}

fn new_claim(
    chosen: &Chosen,
    configured: &ConfigureResult,
    wish: &Wish,
    repo_root: Option<PathBuf>,
    id: LeaseId,
) -> Claim {
    let now = Timestamp::now();
    let limits = &chosen.manifest.limits;
    Claim {
        version: 1,
        lease: Lease {
            id,
            slug: String::new(),
            name: String::new(),
            labels: wish.labels.clone(),
            crew: wish.crew.clone(),
            r#ref: None,
            state: None,
            root: None,
        },
        provider_labels: BTreeSet::new(),
        revision: String::new(),
        state: ClaimState::Acquiring,
        owner: wish.owner,
        provider: chosen.name.clone(),
        plugin: chosen.plugin.clone(),
        scope: configured.scope.clone(),
        credential: configured.credential.clone(),
        config: chosen.params.config.clone(),
        secrets: chosen.params.secrets.clone(),
        release: configured.release.unwrap_or(ReleaseAction::Delete),
        repo_root: repo_root.map(|root| root.to_string_lossy().into_owned()),
        target: chosen.manifest.targets.first().cloned(),
        ssh: None,
        expose: wish.expose.clone(),
        tailscale: wish.tailscale.clone(),
        endpoints: Vec::new(),
        created_at: now,
        last_used_at: now,
        idle_timeout_ms: Some(wish.idle_timeout_ms),
        ttl_ms: Some(wish.ttl_ms),
        expires_at: None,
        create_settle_ms: create_settle_ms(limits),
        cleanup_grace_ms: limits.cleanup_grace_ms.unwrap_or(0),
        missing_since: None,
        stopped_at: None,
        runs: Default::default(),
    }
}
