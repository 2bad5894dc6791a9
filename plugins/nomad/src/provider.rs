//! The verbs of the protocol, each a line or two, and what they share.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crabbox_provider_kit::protocol::{
    AcquireParams, AcquireResult, BridgeParams, BridgeResult, Deadlines, DoctorParams, DoctorResult, Limits,
    ListParams, ListResult, Method, ReleaseParams, ReleaseResult, ResolveParams, ResolveResult, RunParams,
    RunResult, Transport, feature,
};
use crabbox_provider_kit::{About, Configured, Context, Error, Provider, Result, Secrets};

use crate::allocations::Place;
use crate::api::{Api, Job};
use crate::config::Config;
use crate::job::Identity;
use crate::settings::Settings;

/// How long a registration whose answer was lost may take to appear. Nomad has it as soon as its servers agree,
/// or never; what takes longer is a connection that was cut before the request had arrived.
const SETTLE_MS: u64 = 15_000;

/// The provider of a Nomad cluster.
#[derive(Debug)]
pub(crate) struct Nomad {
    pub(crate) settings: Settings,
    pub(crate) api: Api,
    /// Where this session's leases are: whose they are was verified when that was found out.
    places: Mutex<HashMap<String, Place>>,
}

/// What there is under a lease's job id.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing: the status was 404.
    Absent,
    /// The lease's job, with the name of the group that its task is in.
    Ours(String),
    /// The lease's job, which somebody stopped.
    Stopped,
}

impl Provider for Nomad {
    type Config = Config;

    fn about() -> About {
        About::new("nomad", env!("CARGO_PKG_VERSION"))
            .summary("allocations on a HashiCorp Nomad cluster")
            .targets(["linux"])
            .methods([Method::Resolve, Method::List, Method::Bridge])
            .feature(feature::OUTPUT_PATHS)
            .feature(feature::LIFELINE)
            .feature(feature::CONCURRENT)
            .env(["NOMAD_*", "CRABBOX_NOMAD_*"])
            .limits(Limits { create_settle_ms: Some(SETTLE_MS), ..Limits::default() })
            .transports([Transport::Url, Transport::None])
    }

    fn configure(config: Config, _: &Secrets) -> Configured<Self> {
        let settings = match Settings::new(config, |name| std::env::var(name).ok()) {
            Ok(settings) => settings,
            Err(problems) => return Configured::invalid(problems),
        };
        let waiting = settings.eval_timeout + settings.alloc_ready_timeout;
        let acquire = u64::try_from(waiting.as_millis()).unwrap_or(u64::MAX).saturating_add(60_000);
        let deadlines = Deadlines { acquire_ms: Some(acquire), ..Deadlines::default() };
        let (scope, credential) = (settings.scope(), settings.fingerprint());
        let api = Api::new(&settings);
        let configured = Configured::new(Self { settings, api, places: Mutex::default() });
        let configured = configured.scope(scope).deadlines(deadlines);
        match credential {
            Some(fingerprint) => configured.credential(fingerprint),
            None => configured,
        }
    }

    async fn doctor(&self, params: DoctorParams, _: &Context) -> Result<DoctorResult> {
        Ok(DoctorResult { checks: self.checks(params.lease.as_ref()).await })
    }

    async fn acquire(&self, params: AcquireParams, context: &Context) -> Result<AcquireResult> {
        tokio::select! {
            made = self.make(&params, context) => Ok(AcquireResult { lease: made? }),
            // What has become of the job, the host finds out.
            _ = context.cancel().cancelled() => Err(Error::cancelled("making the lease was cancelled")),
        }
    }

    async fn resolve(&self, params: ResolveParams, _: &Context) -> Result<ResolveResult> {
        self.look(&params).await
    }

    async fn run(&self, params: RunParams, context: &Context) -> Result<RunResult> {
        self.execute(&params, context).await
    }

    async fn release(&self, params: ReleaseParams, _: &Context) -> Result<ReleaseResult> {
        self.end(&params).await
    }

    async fn list(&self, _: ListParams, _: &Context) -> Result<ListResult> {
        self.listed().await
    }

    async fn bridge(&self, params: BridgeParams, _: &Context) -> Result<BridgeResult> {
        self.reachable(&params).await
    }
}

impl Nomad {
    /// Looks for a lease's job and verifies that it is the lease's.
    pub(crate) async fn find(&self, identity: &Identity) -> Result<Found> {
        let Some(job): Option<Job> = self.api.find(&job_path(identity), "job not found").await? else {
            return Ok(Found::Absent);
        };
        let group = identity.verify(&job, &self.settings.task)?.to_owned();
        Ok(if job.stop { Found::Stopped } else { Found::Ours(group) })
    }

    /// Notes where a lease is, so that the next command of this session need not ask.
    pub(crate) fn remember(&self, identity: &Identity, place: &Place) {
        self.places().insert(identity.job_id.clone(), place.clone());
    }

    /// Where a lease is, as far as this session knows.
    pub(crate) fn known(&self, identity: &Identity) -> Option<Place> {
        self.places().get(&identity.job_id).cloned()
    }

    /// Forgets where a lease is.
    pub(crate) fn forget(&self, identity: &Identity) {
        self.places().remove(&identity.job_id);
    }

    fn places(&self) -> std::sync::MutexGuard<'_, HashMap<String, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The path of a lease's job in the API.
pub(crate) fn job_path(identity: &Identity) -> String {
    format!("/v1/job/{}", identity.job_id)
}
