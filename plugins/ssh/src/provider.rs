//! The verbs of the protocol, each a line or two.

use crabbox_provider_kit::protocol::{
    AcquireParams, AcquireResult, DoctorParams, DoctorResult, Limits, ListParams, ListResult, Method,
    ReleaseParams, ReleaseResult, ResolveParams, ResolveResult, Transport,
};
use crabbox_provider_kit::{About, Configured, Context, Error, Provider, Result, Secrets};

use crate::config::Config;
use crate::destination::Destination;
use crate::settings::Settings;

/// How long a script whose answer was lost may go on: it has arrived whole or not at all, and takes no time.
const SETTLE_MS: u64 = 5_000;

/// A machine that is there already.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) settings: Settings,
    pub(crate) destination: Destination,
}

impl Provider for Machine {
    type Config = Config;

    fn about() -> About {
        About::new("ssh", env!("CARGO_PKG_VERSION"))
            .summary("directories on a machine of yours, by SSH")
            .without(Method::Run)
            .methods([Method::Resolve, Method::List])
            // What ssh needs to log in: an agent, or Kerberos.
            .env(["SSH_AUTH_SOCK", "SSH_AGENT_PID", "KRB5CCNAME", "KRB5_CONFIG"])
            .limits(Limits { create_settle_ms: Some(SETTLE_MS), ..Limits::default() })
            .transports([Transport::Ssh])
    }

    fn configure(config: Config, _: &Secrets) -> Configured<Self> {
        let settings = match Settings::new(config) {
            Ok(settings) => settings,
            Err(problems) => return Configured::invalid(problems),
        };
        match Destination::find(&settings) {
            Ok(destination) => {
                let scope = destination.scope();
                Configured::new(Self { settings, destination }).scope(scope)
            }
            Err(problem) => Configured::invalid([problem]),
        }
    }

    async fn doctor(&self, params: DoctorParams, _: &Context) -> Result<DoctorResult> {
        Ok(DoctorResult { checks: self.checks(params.lease.as_ref()).await })
    }

    async fn acquire(&self, params: AcquireParams, context: &Context) -> Result<AcquireResult> {
        tokio::select! {
            made = self.make(&params) => Ok(AcquireResult { lease: made? }),
            // What has become of the directory, the host finds out.
            _ = context.cancel().cancelled() => Err(Error::cancelled("making the lease was cancelled")),
        }
    }

    async fn resolve(&self, params: ResolveParams, _: &Context) -> Result<ResolveResult> {
        self.stand(&params).await
    }

    async fn release(&self, params: ReleaseParams, _: &Context) -> Result<ReleaseResult> {
        self.end(&params).await
    }

    async fn list(&self, _: ListParams, _: &Context) -> Result<ListResult> {
        self.listed().await
    }
}
