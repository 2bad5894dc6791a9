//! The verbs of the protocol, each a few lines.

use std::time::{Duration, SystemTime};

use crabbox_provider_kit::protocol::{
    AcquireParams, AcquireResult, BridgeParams, BridgeResult, BridgeState, BridgeTarget, DoctorParams,
    DoctorResult, KillParams, KillResult, LeaseState, Limits, ListParams, ListResult, Listed, Method,
    PutParams, PutResult, ReleaseAction, ReleaseOutcome, ReleaseParams, ReleaseResult, ResolveParams,
    ResolveResult, RunParams, RunResult, TouchParams, TouchResult, Transport, feature,
};
use crabbox_provider_kit::{About, Configured, Context, Doing as _, Error, Provider, Result, Secrets};

use crate::config::Config;
use crate::store::{Found, Store};
use crate::{doctor, execute, marker, put, runs};

/// How long runs have to end by themselves before their lease is released.
const GRACE: Duration = Duration::from_secs(2);

/// The operating system of this machine, as the protocol names it.
const TARGET: &str = std::env::consts::OS;

/// The provider of this machine.
#[derive(Debug)]
pub(crate) struct Local {
    store: Store,
}

impl Provider for Local {
    type Config = Config;

    fn about() -> About {
        About::new("local", env!("CARGO_PKG_VERSION"))
            .summary("directories on this machine")
            .targets([TARGET])
            .methods([
                Method::Resolve,
                Method::Put,
                Method::Kill,
                Method::Touch,
                Method::List,
                Method::Bridge,
            ])
            .feature(feature::OUTPUT_PATHS)
            .feature(feature::NEARBY)
            .feature(feature::CONCURRENT)
            .limits(Limits { create_settle_ms: Some(0), ..Limits::default() })
            .transports([Transport::Url])
    }

    fn configure(config: Config, _: &Secrets) -> Configured<Self> {
        match config.root() {
            Ok(root) => {
                let scope = format!("local:{}", root.display());
                Configured::new(Self { store: Store::new(root) }).scope(scope)
            }
            Err(problem) => Configured::invalid([problem]),
        }
    }

    async fn doctor(&self, params: DoctorParams, _: &Context) -> Result<DoctorResult> {
        Ok(DoctorResult { checks: doctor::checks(&self.store, params.lease.as_ref()) })
    }

    async fn acquire(&self, params: AcquireParams, _: &Context) -> Result<AcquireResult> {
        if let Some(target) = params.target.filter(|target| target != TARGET) {
            return Err(Error::unsupported(format!("this machine runs {TARGET}, not `{target}`"))
                .hint("leave out the target, or choose another provider")
                .created(false));
        }
        self.store.acquire(&params.lease)?;
        Ok(AcquireResult { lease: self.store.report(&params.lease, &params.lease.id) })
    }

    async fn resolve(&self, params: ResolveParams, _: &Context) -> Result<ResolveResult> {
        let Some(id) = Store::id_of(&params.lease) else {
            let message = "no lease of this provider has such a reference".to_owned();
            return Ok(resolved(LeaseState::Missing, Some(message)));
        };
        let (state, message) = standing(&self.store.find(&id)?);
        let lease = (state != LeaseState::Missing).then(|| self.store.report(&params.lease, &id));
        Ok(ResolveResult { lease, ..resolved(state, message.map(str::to_owned)) })
    }

    async fn run(&self, params: RunParams, context: &Context) -> Result<RunResult> {
        execute::run(&self.store, params, context).await
    }

    async fn put(&self, params: PutParams, _: &Context) -> Result<PutResult> {
        let directory = self.store.expect(&params.lease)?;
        aside(move || put::put(&directory, &params)).await.map(|()| PutResult {})
    }

    async fn kill(&self, params: KillParams, _: &Context) -> Result<KillResult> {
        execute::kill(&self.store, params).await
    }

    async fn release(&self, params: ReleaseParams, context: &Context) -> Result<ReleaseResult> {
        let done = |outcome, message| ReleaseResult { outcome, retry_after_ms: None, message };
        let Some(id) = Store::id_of(&params.lease) else { return Ok(done(ReleaseOutcome::Absent, None)) };
        let found = self.store.find(&id)?;
        let mut message = None;
        match found {
            Found::Absent => return Ok(done(ReleaseOutcome::Absent, None)),
            Found::Acquiring | Found::Releasing => {}
            Found::Lease(_) => {
                let runs = runs::every(&self.store.directory(&id))?;
                let ended = runs::end(&runs, GRACE, context.cancel().closing()).await?;
                if !ended.alive.is_empty() {
                    let alive = execute::list(&ended.alive);
                    let message = Some(format!("{alive} of the lease was killed and still lives"));
                    let retry_after_ms = Some(1000);
                    return Ok(ReleaseResult { outcome: ReleaseOutcome::Pending, retry_after_ms, message });
                }
                if !ended.doubtful.is_empty() {
                    let left = execute::list(&ended.doubtful);
                    message = Some(format!("{left} may have been of the lease and was left alone"));
                }
                // A directory costs nothing: what stops is what runs in it.
                if params.action == ReleaseAction::Stop {
                    return Ok(done(ReleaseOutcome::Released, message));
                }
            }
        }
        let store = self.store.clone();
        aside(move || store.delete(&id, &found)).await?;
        Ok(done(ReleaseOutcome::Released, message))
    }

    async fn touch(&self, params: TouchParams, _: &Context) -> Result<TouchResult> {
        // Nothing here ends by itself; the time is for people who look.
        let path = self.store.expect(&params.lease)?.join(marker::FILE);
        let file = std::fs::File::options().append(true).open(&path);
        file.and_then(|file| file.set_modified(SystemTime::now()))
            .doing(|| format!("touch `{}`", path.display()))?;
        Ok(TouchResult::default())
    }

    /// What listens here is reached here, and nowhere else: there is nothing to publish.
    async fn bridge(&self, params: BridgeParams, _: &Context) -> Result<BridgeResult> {
        self.store.expect(&params.lease)?;
        let port = params.port.map(|port| format!(":{port}")).unwrap_or_default();
        let url = format!("http://127.0.0.1{port}");
        let target = |port| BridgeTarget { port, url: url.clone(), id: port.to_string(), expires_at: None };
        Ok(BridgeResult {
            state: BridgeState::Ready,
            transport: Transport::Url,
            targets: params.port.map(target).into_iter().collect(),
            endpoint: Some(url),
            message: Some("on this machine only".to_owned()),
        })
    }

    async fn list(&self, _: ListParams, _: &Context) -> Result<ListResult> {
        let (found, complete) = self.store.list()?;
        let leases = found.into_iter().map(|(id, found)| {
            let (state, _) = standing(&found);
            let row = Listed {
                id: Some(id.to_string()),
                slug: None,
                name: id.to_string(),
                r#ref: id.to_string(),
                state,
                labels: Default::default(),
                created_at: None,
                expires_at: None,
            };
            match found {
                Found::Lease(marker) => Listed {
                    slug: Some(marker.slug),
                    name: marker.name,
                    labels: marker.labels,
                    created_at: Some(marker.created_at),
                    ..row
                },
                _ => row,
            }
        });
        Ok(ListResult { leases: leases.collect(), complete })
    }
}

fn resolved(state: LeaseState, message: Option<String>) -> ResolveResult {
    ResolveResult { state, lease: None, message, candidates: Vec::new() }
}

/// How a lease stands that was found so, and why it is not ready.
fn standing(found: &Found) -> (LeaseState, Option<&'static str>) {
    match found {
        Found::Lease(_) => (LeaseState::Ready, None),
        Found::Acquiring => (LeaseState::Failed, Some("making it was interrupted; release it")),
        Found::Releasing => (LeaseState::Failed, Some("deleting it was interrupted; release it again")),
        Found::Absent => (LeaseState::Missing, None),
    }
}

/// Does what may take long on a thread of its own, so that a `cancel` is still heard.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::internal("the work was interrupted").cause(error)))
}
