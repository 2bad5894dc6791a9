//! The verbs of the protocol, each a line or two, and what they share.

use std::sync::atomic::AtomicBool;

use crabbox_provider_kit::protocol::{
    AcquireParams, AcquireResult, BridgeParams, BridgeResult, DoctorParams, DoctorResult, Lease, Limits,
    ListParams, ListResult, Method, PutParams, PutResult, ReleaseParams, ReleaseResult, ResolveParams,
    ResolveResult, RunParams, RunResult, Transport, UnbridgeParams, UnbridgeResult, feature,
};
use crabbox_provider_kit::{About, Configured, Context, Error, Provider, Result, Secrets};

use crate::api::{Api, Found, Machine};
use crate::config::Config;
use crate::machine::Identity;
use crate::settings::Settings;

/// How long a creation whose answer was lost may take to appear.
const SETTLE_MS: u64 = 300_000;

/// The provider of Freestyle.
#[derive(Debug)]
pub(crate) struct Freestyle {
    pub(crate) settings: Settings,
    pub(crate) api: Api,
    /// Whether it was said that files go the slow way.
    pub(crate) warned: AtomicBool,
}

impl Provider for Freestyle {
    type Config = Config;

    fn about() -> About {
        About::new("freestyle", env!("CARGO_PKG_VERSION"))
            .summary("virtual machines of freestyle.sh")
            .targets(["linux"])
            .methods([Method::Resolve, Method::List, Method::Put, Method::Bridge, Method::Unbridge])
            .feature(feature::OUTPUT_PATHS)
            .feature(feature::CONCURRENT)
            .env(["FREESTYLE_*", "CRABBOX_FREESTYLE_*"])
            .limits(Limits { create_settle_ms: Some(SETTLE_MS), ..Limits::default() })
            .transports([Transport::Url, Transport::None])
    }

    fn configure(config: Config, secrets: &Secrets) -> Configured<Self> {
        match Settings::new(&config, secrets.get("apiKey")) {
            Ok(settings) => {
                let (scope, fingerprint) = (settings.scope(), settings.fingerprint());
                let api = Api::new(&settings);
                let provider = Self { settings, api, warned: AtomicBool::new(false) };
                Configured::new(provider).scope(scope).credential(fingerprint)
            }
            Err(problems) => Configured::invalid(problems),
        }
    }

    async fn doctor(&self, params: DoctorParams, _: &Context) -> Result<DoctorResult> {
        Ok(DoctorResult { checks: self.checks(params.lease.as_ref()).await })
    }

    async fn acquire(&self, params: AcquireParams, context: &Context) -> Result<AcquireResult> {
        tokio::select! {
            made = self.make(&params, context) => Ok(AcquireResult { lease: made? }),
            // What has become of the machine, the host finds out.
            _ = context.cancel().cancelled() => Err(Error::cancelled("making the lease was cancelled")),
        }
    }

    async fn resolve(&self, params: ResolveParams, _: &Context) -> Result<ResolveResult> {
        self.look(&params).await
    }

    async fn run(&self, params: RunParams, context: &Context) -> Result<RunResult> {
        self.execute(&params, context).await
    }

    async fn put(&self, params: PutParams, context: &Context) -> Result<PutResult> {
        self.put_file(&params, context).await
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

    async fn unbridge(&self, params: UnbridgeParams, _: &Context) -> Result<UnbridgeResult> {
        self.unpublish(&params).await
    }
}

impl Freestyle {
    /// The lease's machine, which has to be there.
    pub(crate) async fn expect(&self, lease: &Lease) -> Result<Machine> {
        let identity = Identity::of(lease);
        match self.api.find(&identity).await? {
            Found::Machine(machine) => Ok(machine),
            Found::Absent => Err(Error::not_found(format!("there is no machine {}", identity.name))),
            Found::Several(machines) => Err(Error::ambiguous(several(&identity, &machines))),
            Found::Unknown(why) => {
                Err(Error::ambiguous(format!("which machine is {} cannot be told", identity.name)).cause(why))
            }
        }
    }
}

/// That several machines bear a lease's name.
pub(crate) fn several(identity: &Identity, machines: &[Machine]) -> String {
    format!("{} machines bear the name {}", machines.len(), identity.name)
}
