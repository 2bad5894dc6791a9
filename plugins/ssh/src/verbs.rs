//! The life of a lease: a directory on the machine.

use std::time::Duration;

use crabbox_provider_kit::protocol::{
    AcquireParams, Lease, LeaseId, LeaseReport, LeaseState, ListResult, Listed, ReleaseAction,
    ReleaseOutcome, ReleaseParams, ReleaseResult, ResolveParams, ResolveResult,
};
use crabbox_provider_kit::{Error, Result};

use crate::answer::{Answer, Found};
use crate::provider::Machine;
use crate::script::Verb;

/// How long a look may take, the connection included.
pub(crate) const LOOK: Duration = Duration::from_secs(50);

/// How long removing a tree may take.
const REMOVE: Duration = Duration::from_secs(280);

impl Machine {
    /// Answers `acquire`.
    pub(crate) async fn make(&self, params: &AcquireParams) -> Result<LeaseReport> {
        let lease = &params.lease;
        let answer = self.talk(Verb::Acquire, Some((lease.id.as_str(), lease)), LOOK).await?;
        match answer.found() {
            Some(Found::Lease) => {
                let message = format!("a directory on {}", self.destination.shown());
                Ok(LeaseReport { message: Some(message), ..self.report(lease.id.as_str(), &answer)? })
            }
            _ => Err(odd(&answer)),
        }
    }

    /// Answers `resolve`. A lease is `missing` only when the machine was reached and its directory is not there.
    pub(crate) async fn stand(&self, params: &ResolveParams) -> Result<ResolveResult> {
        let result = |state, lease, message: Option<&str>| {
            Ok(ResolveResult { state, lease, message: message.map(str::to_owned), candidates: Vec::new() })
        };
        let Some(id) = id_of(&params.lease) else {
            return result(LeaseState::Missing, None, Some("a lease's `ref` is its id here"));
        };
        let answer = self.talk(Verb::Look, Some((id.as_str(), &params.lease)), LOOK).await?;
        match answer.found() {
            Some(Found::Lease) => result(LeaseState::Ready, Some(self.report(id.as_str(), &answer)?), None),
            Some(Found::Acquiring) => result(LeaseState::Failed, None, Some("making it was interrupted")),
            Some(Found::Releasing) => result(LeaseState::Failed, None, Some("removing it was interrupted")),
            Some(Found::Absent) => result(LeaseState::Missing, None, Some("its directory is not there")),
            Some(Found::Released) | None => Err(odd(&answer)),
        }
    }

    /// Answers `release`: removes the lease's directory, which says that it is the lease's, and nothing else.
    pub(crate) async fn end(&self, params: &ReleaseParams) -> Result<ReleaseResult> {
        if params.action == ReleaseAction::Stop {
            return Err(
                Error::unsupported("a machine of yours is not stopped").hint("delete the lease instead")
            );
        }
        let done = |outcome| Ok(ReleaseResult { outcome, retry_after_ms: None, message: None });
        let Some(id) = id_of(&params.lease) else { return done(ReleaseOutcome::Absent) };
        let answer = self.talk(Verb::Release, Some((id.as_str(), &params.lease)), REMOVE).await?;
        match answer.found() {
            Some(Found::Released) => done(ReleaseOutcome::Released),
            Some(Found::Absent) => done(ReleaseOutcome::Absent),
            _ => Err(odd(&answer)),
        }
    }

    /// Answers `list`.
    pub(crate) async fn listed(&self) -> Result<ListResult> {
        // Within the 30 s that the host waits.
        let answer = self.talk(Verb::List, None, Duration::from_secs(25)).await?;
        let leases = answer.entries().into_iter().map(|entry| Listed {
            name: entry.name.unwrap_or_else(|| entry.id.to_string()),
            r#ref: entry.id.to_string(),
            id: Some(entry.id.to_string()),
            slug: entry.slug,
            state: if entry.found == Found::Lease { LeaseState::Ready } else { LeaseState::Failed },
            labels: Default::default(),
            created_at: entry.created,
            expires_at: None,
        });
        Ok(ListResult { leases: leases.collect(), complete: true })
    }

    /// What the host is told about a lease that is there.
    fn report(&self, id: &str, answer: &Answer) -> Result<LeaseReport> {
        let root = answer.get("root").filter(|root| root.starts_with('/')).ok_or_else(|| odd(answer))?;
        let directory = format!("{}/{id}", root.trim_end_matches('/'));
        Ok(LeaseReport {
            r#ref: Some(id.to_owned()),
            root: Some(directory.clone()),
            labels: [("host".to_owned(), self.destination.name().to_owned())].into(),
            ssh: Some(self.destination.ssh(&directory)),
            ..LeaseReport::default()
        })
    }
}

/// The id under which a lease is kept: the `ref`, which for an adopted lease is another than the host's id. `None` for
/// a `ref` that is none of ours.
fn id_of(lease: &Lease) -> Option<LeaseId> {
    match &lease.r#ref {
        Some(reference) => reference.parse().ok(),
        None => Some(lease.id.clone()),
    }
}

fn odd(answer: &Answer) -> Error {
    Error::internal("the script on the machine answered what nobody asked").cause(format!("{answer:?}"))
}
