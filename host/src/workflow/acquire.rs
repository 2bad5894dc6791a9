//! Getting a new lease, and undoing what a failed attempt may have left.

use std::collections::BTreeMap;

use crabbox_protocol::records::{Claim, ClaimState, Owner};
use crabbox_protocol::{
    AcquireParams, Intent, LeaseReport, LeaseState, Method, ReleaseReason, ResolveParams, Tailscale, feature,
};
use jiff::Timestamp;

use super::held::{AskError, Held, believed, check_id, merge, show_progress};
use super::on_lease::NEW;
use super::release::{Released, Watch};
use super::{after, patiently, shown};
use crate::crew::check_policy;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::fault::{Fault, pass};
use crate::host::{Chosen, Host};
use crate::output::{foreign, hide, say};
use crate::provider::{Ask, Event, Interrupts, ProviderError};

/// What a new lease is to be.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// The slug that the user asked for.
    pub(crate) slug: Option<String>,
    /// Who is to end it.
    pub(crate) owner: Owner,
    /// How long it may live, in milliseconds.
    pub(crate) ttl_ms: u64,
    /// How long it may stand unused, in milliseconds.
    pub(crate) idle_timeout_ms: u64,
    /// The crew that it joins.
    pub(crate) crew: Option<String>,
    /// What else the user says of it.
    pub(crate) labels: BTreeMap<String, String>,
    /// The ports that others will want to reach.
    pub(crate) expose: Vec<u16>,
    /// How it joins a tailnet. Its name there comes with its slug; its crew's tag is the first.
    pub(crate) tailscale: Option<Tailscale>,
}

impl Wish {
    /// Whether the provider can make it, and has what it needs for it.
    pub(crate) fn fits(&self, host: &Host, chosen: &Chosen) -> Result<()> {
        let Some(tailscale) = &self.tailscale else { return Ok(()) };
        if !chosen.manifest.feature(feature::TAILSCALE) {
            let message = format!("`--tailscale` is not supported for provider={}", chosen.name);
            return Err(Error::usage(message)
                .hint("leave it out; `crabbox plugins list --feature tailscale` shows who can"));
        }
        let name = &tailscale.auth_key_env;
        let key = host.env.get(name).ok_or_else(|| {
            Error::new(Exit::Auth, format!("`--tailscale` needs an auth key, and {name} is not set"))
                .hint(format!("set {name}, or name another variable with `--tailscale-auth-key-env`"))
        })?;
        hide(&key.to_string_lossy());
        if self.crew.is_some() { check_policy(&host.env) } else { Ok(()) }
    }
}

impl Held<'_> {
    /// Asks for the lease whose claim says `acquiring`. On an error there is nothing left, or the claim
    /// stays and the error says what to do.
    pub(crate) async fn acquire(mut self, interrupts: &mut Interrupts) -> Result<Self> {
        let params = acquire_params(&self.claim);
        let (claims, id) = (self.host.claims(), self.claim.lease.id.clone());
        let base = self.claim.clone();
        let mut early = None;
        let mut events = |event: Event| match event {
            Event::Lease(event) if check_id(&base, &event.lease).is_ok() => {
                let recorded = claims.update(&id, true, |claim| {
                    merge(claim, &event.lease);
                    Ok(())
                });
                early = recorded.ok().or(early.take());
                pass(Fault::LeaseHeard);
            }
            event => show_progress(event),
        };
        let ask = Ask { interrupts: Some(interrupts), events: Some(&mut events), ..Ask::default() };
        let what = format!("waiting for provider {} to make the lease", base.provider);
        let answer = patiently(&what, self.ask(&params, ask)).await;
        if let Some(claim) = early {
            self.claim = claim;
        }
        let error = match answer {
            Ok(result) => match self.acquired(&result.lease) {
                Ok(()) => match self.connect(NEW, &mut Some(&mut *interrupts)).await {
                    Ok(()) => return Ok(self),
                    Err(error) => error,
                },
                Err(error) => error,
            },
            // Nothing was sent, or certainly nothing was made.
            Err(AskError::Host(error)) => {
                self.forget().await?;
                return Err(error);
            }
            Err(AskError::Provider(error)) if created_nothing(&error) => {
                self.forget().await?;
                return Err(error.into());
            }
            Err(AskError::Provider(error)) => error.into(),
        };
        Err(self.undo(error, interrupts).await)
    }

    /// The lease is there: the claim says so, with what the plugin said about it.
    fn acquired(&mut self, report: &LeaseReport) -> Result<()> {
        check_id(&self.claim, report)?;
        if let Some(message) = &report.message {
            say(foreign(message));
        }
        self.claim = self.host.claims().update(&self.claim.lease.id, true, |claim| {
            merge(claim, report);
            claim.state = ClaimState::Leased;
            Ok(())
        })?;
        Ok(())
    }

    /// Looks for what a failed `acquire` may have left, and releases it.
    async fn undo(self, error: Error, interrupts: &mut Interrupts) -> Error {
        let (id, watch) = (self.claim.lease.id.clone(), Watch::of(&self));
        match watch.over(self.settle(ReleaseReason::Rollback), interrupts).await {
            Ok(Released::Gone) => error,
            Ok(Released::Stopped) => error.hint(format!("lease {id} is stopped, not deleted")),
            Ok(Released::Later(at)) => error.hint(format!(
                "lease {id} may still appear; `crabbox cleanup --wait` makes sure of it ({} from now)",
                shown((at - Timestamp::now()).try_into().unwrap_or_default())
            )),
            Err(undo) => {
                let mut error = error.cause(format!("undoing it failed: {undo}"));
                error.hints.extend(undo.hints);
                error.hint("`crabbox cleanup` tries it again")
            }
        }
    }

    /// Finds out whether a lease that may or may not have been made is there, and releases it if it is.
    ///
    /// Creates land late. The claim goes only when two looks, the settling time apart, found nothing, or
    /// when something was found and released.
    pub(super) async fn settle(mut self, reason: ReleaseReason) -> Result<Released> {
        let settle = self.claim.create_settle_ms;
        loop {
            if self.is_there(reason).await? {
                let action = self.claim.release;
                return self.release(action, reason).await;
            }
            let now = Timestamp::now();
            let first = self.claim.missing_since;
            if first.is_some_and(|first| after(first, settle) <= now) {
                return self.forget().await;
            }
            if first.is_none() {
                let claims = self.host.claims();
                self.claim = claims.update(&self.claim.lease.id, true, |claim| {
                    claim.missing_since = Some(now);
                    Ok(())
                })?;
            }
            let again = after(first.unwrap_or(now), settle);
            if again > now {
                self.let_go().await;
                return Ok(Released::Later(again));
            }
        }
    }

    /// Whether the lease is there, under the scope of the claim. Without `resolve`, a release that answers
    /// `absent` is a look.
    async fn is_there(&mut self, reason: ReleaseReason) -> Result<bool> {
        if !self.has(Method::Resolve) {
            return self.release_and_look(reason).await;
        }
        let params = ResolveParams { lease: self.claim.lease.clone(), intent: Intent::Release };
        let result = self.ask_plainly(&params).await?;
        match believed(result.state, &self.claim, &self.configured) {
            LeaseState::Missing => Ok(false),
            LeaseState::Unknown | LeaseState::Ambiguous => Err(Error::new(
                Exit::NotFound,
                format!(
                    "provider `{}` cannot tell whether lease {} exists",
                    self.claim.provider, self.claim.lease.id
                ),
            )
            .cause(foreign(result.message.as_deref().unwrap_or(result.state.name())))),
            _ => {
                if let Some(report) = &result.lease {
                    // It is there, and that weighs more than whether it can be written down.
                    let _ = self.record(report, true);
                }
                Ok(true)
            }
        }
    }
}

/// Whether a failed `acquire` certainly made nothing.
fn created_nothing(error: &ProviderError) -> bool {
    match error {
        ProviderError::Refused { error, .. } => {
            error.data.as_ref().is_some_and(|data| data.created == Some(false))
                || error.code == crabbox_protocol::ErrorObject::METHOD_NOT_FOUND
        }
        _ => false,
    }
}

fn acquire_params(claim: &Claim) -> AcquireParams {
    AcquireParams {
        lease: claim.lease.clone(),
        target: claim.target.clone(),
        keep: claim.owner == Owner::User,
        ttl_ms: claim.ttl_ms,
        idle_timeout_ms: claim.idle_timeout_ms,
        expires_at: claim.ttl_ms.map(|ttl| after(claim.created_at, ttl)),
        expose: claim.expose.clone(),
        tailscale: claim.tailscale.clone(),
    }
}
