//! Using a lease that is there already.

use std::path::Path;
use std::time::Duration;

use crabbox_protocol::records::{Claim, ClaimState, Owner};
use crabbox_protocol::{Intent, LeaseState, Method, ResolveParams};
use jiff::Timestamp;
use tokio::time::Instant;

use super::held::{Held, believed};
use super::on_lease::THERE;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::{Chosen, Host};
use crate::lease::{LeaseLock, RunDir};
use crate::output::{foreign, say};

/// How long a lease that is starting is waited for.
const STARTING: Duration = Duration::from_secs(5 * 60);

impl<'a> Held<'a> {
    /// Takes the lease for a run and makes it ready. A run that changes something waits for all others; one
    /// that changes nothing goes in `beside` them, and waits only for whoever changes something.
    pub(crate) async fn reuse(
        host: &'a Host,
        chosen: Chosen,
        claim: &Claim,
        run: Option<RunDir>,
        beside: bool,
    ) -> Result<Self> {
        let id = &claim.lease.id;
        let waits = || waits(host, claim);
        let lock = match beside {
            true => LeaseLock::shared(&host.paths, id, waits).await?,
            false => LeaseLock::exclusive(&host.paths, id, waits).await?,
        };
        let Some(claim) = host.claims().load(id)? else {
            lock.remove();
            return Err(gone(claim));
        };
        let mut held = Self::new(host, chosen, lock, claim);
        held.run = run;
        usable(&held.claim)?;
        held.make_ready().await
    }

    /// Asks the provider for the lease until it can be used.
    async fn make_ready(mut self) -> Result<Self> {
        // A lease that something stands to is there. Its plugin still has to say that this is its place.
        if self.is_by_ssh() && self.claim.ssh.is_some() && self.connection()?.is_alive().await {
            self.session().await?;
            return Ok(self);
        }
        if !self.has(Method::Resolve) {
            self.connect(THERE, &mut None).await?;
            return Ok(self);
        }
        let begun = Instant::now();
        loop {
            let params = ResolveParams { lease: self.claim.lease.clone(), intent: Intent::Use };
            let result = self.ask_plainly(&params).await?;
            if let Some(report) = &result.lease {
                self.record(report, false)?;
            }
            let said = result.message.as_deref().map(foreign);
            match believed(result.state, &self.claim, &self.configured) {
                LeaseState::Ready => {
                    self.connect(THERE, &mut None).await?;
                    self.started()?;
                    return Ok(self);
                }
                LeaseState::Starting | LeaseState::Stopped if begun.elapsed() < STARTING => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                LeaseState::Missing => {
                    let error = gone(&self.claim);
                    self.forget().await?;
                    return Err(error);
                }
                state => {
                    let exit = match state {
                        LeaseState::Ambiguous => Exit::NotFound,
                        _ => Exit::Unavailable,
                    };
                    let mut error = Error::new(
                        exit,
                        format!(
                            "lease {} cannot be used: provider `{}` says `{}`",
                            self.claim.lease.slug,
                            self.claim.provider,
                            state.name()
                        ),
                    );
                    error.causes.extend(said);
                    let stop = self.stop_command();
                    self.let_go().await;
                    return Err(error.hint(format!("`{stop}` ends it")));
                }
            }
        }
    }
}

impl Held<'_> {
    /// Notes that a lease which was stopped runs again.
    fn started(&mut self) -> Result<()> {
        if self.claim.stopped_at.is_some() {
            self.claim = self.host.claims().update(&self.claim.lease.id, true, |claim| {
                claim.stopped_at = None;
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Waits until nothing else runs on the lease, because it has to be changed. Another may have ended it
    /// meanwhile.
    pub(super) async fn exclude(&mut self) -> Result<()> {
        if self.lock.is_exclusive() {
            return Ok(());
        }
        let (host, claim) = (self.host, self.claim.clone());
        if !self.lock.exclude(|| waits(host, &claim)).await? {
            return Err(gone(&claim));
        }
        self.claim = host.claims().load(&claim.lease.id)?.ok_or_else(|| gone(&claim))?;
        usable(&self.claim)
    }
}

/// Says whom a lease is waited for.
fn waits(host: &Host, claim: &Claim) {
    let mut runs = claim.runs.keys().filter(|run| RunDir::is_alive(&host.paths, run));
    let slug = &claim.lease.slug;
    match runs.next() {
        Some(run) => say(format!("waiting for lease {slug}: run {run} is on it")),
        None => say(format!("waiting for lease {slug}: another crabbox is changing it")),
    }
}

/// Whether the claim lets the lease be used.
pub(crate) fn usable(claim: &Claim) -> Result<()> {
    let refused = |why: &str| {
        Err(Error::new(Exit::NotFound, format!("lease {} cannot be used: {why}", claim.lease.slug)))
    };
    match (claim.state, claim.owner) {
        (ClaimState::Acquiring, _) => refused("making it was never finished")
            .map_err(|error| error.hint("`crabbox cleanup` finds out what became of it")),
        (ClaimState::Releasing, _) => {
            refused("it is being released").map_err(|error| error.hint("`crabbox cleanup` finishes that"))
        }
        (ClaimState::Leased, Owner::Run) => refused("it belongs to a run, which releases it at its end")
            .map_err(|error| error.hint("make one to share with `crabbox warmup`, or `crabbox run --keep`")),
        (ClaimState::Leased, Owner::User) => Ok(()),
    }
}

/// A lease that is used by another repository has to be reclaimed.
pub(crate) fn check_repository(claim: &Claim, root: Option<&Path>, reclaim: bool) -> Result<()> {
    let (Some(theirs), Some(ours)) = (&claim.repo_root, root) else { return Ok(()) };
    if reclaim || Path::new(theirs) == ours {
        return Ok(());
    }
    Err(Error::usage(format!(
        "lease {} belongs to the repository `{}`, and this is `{}`",
        claim.lease.slug,
        foreign(theirs),
        ours.display()
    ))
    .hint("use `--reclaim` to bring this repository's files over the other's"))
}

/// Records that this repository uses the lease now.
pub(crate) fn claim_for(held: &mut Held<'_>, root: Option<&Path>) -> Result<()> {
    let root = root.map(|root| root.to_string_lossy().into_owned());
    held.claim = held.host.claims().update(&held.claim.lease.id, false, |claim| {
        claim.last_used_at = Timestamp::now();
        if root.is_some() {
            claim.repo_root = root;
        }
        Ok(())
    })?;
    Ok(())
}

fn gone(claim: &Claim) -> Error {
    Error::new(Exit::NotFound, format!("lease {} of provider `{}` is gone", claim.lease.slug, claim.provider))
        .hint("`crabbox warmup` makes a new one")
}
