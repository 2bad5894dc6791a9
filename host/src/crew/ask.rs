//! Asking providers how their leases are reached: all providers at once, each by few processes and within its time.
//!
//! A provider's leases are asked about one after the other, by one process for each configuration that they were made
//! with. While that takes long, further processes help, so that one lease that is waited for in vain does not cost the
//! answers of the others.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use crabbox_protocol::records::Claim;
use crabbox_protocol::{BridgeParams, BridgeResult, Method};
use tokio::time::{sleep, timeout};

use super::peers::Share;
use crate::error::{Error, Result};
use crate::host::{Chosen, Host};
use crate::join::{join, several};
use crate::lease::LeaseLock;
use crate::provider::{Ask, Locks, Session};
use crate::workflow::same_scope;

/// How long a provider may take, for all of its leases together.
const PATIENCE: Duration = Duration::from_secs(10);

/// After this long another process helps.
const HELP: Duration = Duration::from_millis(500);

/// How many processes of a provider there may be.
const PROCESSES: usize = 8;

/// How many providers are asked at once.
pub(crate) const AT_ONCE: usize = 16;

/// What is known of a lease now: what its provider answered, or `None` where it has no `bridge`.
pub(super) type Answer = Result<Option<Vec<BridgeResult>>>;

/// Asks the provider of each claim, and returns the answers in the order of the claims. Without `share` nothing is
/// changed anywhere.
pub(super) async fn ask(host: &Host, claims: &[&Claim], share: Option<Share>) -> Vec<Answer> {
    let mut providers: BTreeMap<&str, Vec<(usize, &Claim)>> = BTreeMap::new();
    for (at, claim) in claims.iter().enumerate() {
        providers.entry(&claim.provider).or_default().push((at, claim));
    }
    let providers = providers.into_iter().map(|(name, claims)| provider(host, name, claims, share));
    let mut answers: Vec<_> = join(AT_ONCE, providers).await.into_iter().flatten().collect();
    answers.sort_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// Asks one provider about its leases.
async fn provider(
    host: &Host,
    name: &str,
    claims: Vec<(usize, &Claim)>,
    share: Option<Share>,
) -> Vec<(usize, Answer)> {
    let asked = Asked { host, share, open: RefCell::default(), answers: RefCell::default() };
    let all = async {
        let configured = configured(host, &claims).await;
        for (chosen, claims) in configured {
            match chosen {
                Ok(chosen) if chosen.manifest.has(Method::Bridge) => {
                    let chosen = Rc::new(chosen);
                    let open =
                        claims.iter().map(|(at, claim)| Open { at: *at, chosen: chosen.clone(), claim });
                    asked.open.borrow_mut().extend(open);
                }
                Ok(_) => claims.iter().for_each(|(at, _)| asked.answered(*at, Ok(None))),
                Err(error) => claims.iter().for_each(|(at, _)| asked.answered(*at, Err(error.clone()))),
            }
        }
        let more = || !asked.open.borrow().is_empty();
        several(PROCESSES, || sleep(HELP), more, || asked.process()).await;
    };
    // What is under way then ends with its process.
    _ = timeout(PATIENCE, all).await;
    let mut answers = asked.answers.into_inner();
    let late = || {
        let after = humantime::format_duration(PATIENCE);
        format!("provider `{name}` did not answer within {after}")
    };
    let late = |claim: &Claim| {
        let open = share.map(|Share { port, .. }| {
            let crew = claim.lease.crew.as_deref().unwrap_or_default();
            format!("; port {port} may be open by now: `crabbox crew unshare {crew} --port {port}` closes it")
        });
        Err(Error::failure(late() + &open.unwrap_or_default()))
    };
    claims.iter().map(|(at, claim)| (*at, answers.remove(at).unwrap_or_else(|| late(claim)))).collect()
}

/// The claims, by the configuration that they were made with.
async fn configured<'a>(
    host: &Host,
    claims: &[(usize, &'a Claim)],
) -> Vec<(Result<Chosen>, Vec<(usize, &'a Claim)>)> {
    let mut found: Vec<(_, Vec<(usize, &Claim)>)> = Vec::new();
    for (at, claim) in claims {
        match found.iter_mut().find(|(_, claims)| claims[0].1.config == claim.config) {
            Some((_, claims)) => claims.push((*at, claim)),
            None => found.push((host.chosen_for(claim).await, vec![(*at, claim)])),
        }
    }
    found
}

/// A lease that is still to be asked about.
struct Open<'a> {
    at: usize,
    chosen: Rc<Chosen>,
    claim: &'a Claim,
}

/// What one provider is asked, and what it answered so far.
struct Asked<'a> {
    host: &'a Host,
    share: Option<Share>,
    open: RefCell<VecDeque<Open<'a>>>,
    answers: RefCell<BTreeMap<usize, Answer>>,
}

impl<'a> Asked<'a> {
    fn answered(&self, at: usize, answer: Answer) {
        self.answers.borrow_mut().insert(at, answer);
    }

    fn next(&self) -> Option<Open<'a>> {
        self.open.borrow_mut().pop_front()
    }

    /// Asks about one lease after the other, until none is left.
    async fn process(&self) {
        let mut standing: Option<(Session, String, Rc<Chosen>)> = None;
        while let Some(Open { at, chosen, claim }) = self.next() {
            // A process that changes a lease serves that lease only.
            let serves = self.share.is_none()
                && standing.as_ref().is_some_and(|(_, _, other)| Rc::ptr_eq(other, &chosen));
            if !serves && let Some((session, ..)) = standing.take() {
                session.close().await;
            }
            let (mut session, scope) = match standing.take() {
                Some((session, scope, _)) => (session, scope),
                None => match self.connect(&chosen, claim).await {
                    Ok(connected) => connected,
                    // That may be about the one lease, which is locked for it.
                    Err(error) if self.share.is_some() => {
                        self.answered(at, Err(error));
                        continue;
                    }
                    Err(error) => {
                        self.without(&chosen, at, &error);
                        continue;
                    }
                },
            };
            let (answer, alive) = bridge(&mut session, &scope, claim, self.share).await;
            self.answered(at, answer.map(Some));
            match alive {
                true => standing = Some((session, scope, chosen)),
                false => session.abandon().await,
            }
        }
        if let Some((session, ..)) = standing {
            session.close().await;
        }
    }

    /// Starts the plugin. What is published is published beside what runs on the lease, and not while somebody ends it.
    async fn connect(&self, chosen: &Chosen, claim: &Claim) -> Result<(Session, String)> {
        let mut locks = Locks::default();
        if self.share.is_some() {
            let lock = LeaseLock::shared(&self.host.paths, &claim.lease.id, || ()).await?;
            locks.lease = Some(lock.for_guard()?);
        }
        let (session, configured) = chosen.connect(self.host, locks).await?;
        Ok((session, configured.scope))
    }

    /// A plugin that cannot be talked to under a configuration is not tried again with each lease.
    fn without(&self, chosen: &Rc<Chosen>, at: usize, error: &Error) {
        self.answered(at, Err(error.clone()));
        let same = |open: &Open<'_>| Rc::ptr_eq(&open.chosen, chosen);
        let (same, other): (VecDeque<_>, _) = self.open.take().into_iter().partition(same);
        self.open.replace(other);
        same.iter().for_each(|open| self.answered(open.at, Err(error.clone())));
    }
}

/// Asks about the port to be shared, else about each that was promised, else about the lease. Says, too, whether the
/// plugin can be asked more.
async fn bridge(
    session: &mut Session,
    scope: &str,
    claim: &Claim,
    share: Option<Share>,
) -> (Result<Vec<BridgeResult>>, bool) {
    if let Err(error) = same_scope(claim, scope) {
        return (Err(error), true);
    }
    let mut ports: Vec<Option<u16>> = match share {
        Some(share) => vec![Some(share.port)],
        None => claim.expose.iter().copied().map(Some).collect(),
    };
    if ports.is_empty() {
        ports.push(None);
    }
    let mut answers = Vec::new();
    for port in ports {
        let params = BridgeParams {
            lease: claim.lease.clone(),
            port,
            publish: share.is_some(),
            ttl_ms: share.map(|share| share.ttl_ms),
        };
        match session.call(&params, Ask::default()).await {
            Ok(answer) => answers.push(answer),
            Err(error) => {
                let alive = error.answered();
                return (Err(error.into()), alive);
            }
        }
    }
    (Ok(answers), true)
}
