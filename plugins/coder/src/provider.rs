//! The verbs of the protocol, each a line or two.

use std::time::Duration;

use crabbox_provider_kit::protocol::{
    AcquireParams, AcquireResult, Deadlines, DoctorParams, DoctorResult, Limits, ListParams, ListResult,
    Method, ReleaseParams, ReleaseResult, ResolveParams, ResolveResult, Transport,
};
use crabbox_provider_kit::{About, Configured, Context, Error, Provider, Result, Secrets, problem};

use crate::cli::Cli;
use crate::config::Config;
use crate::release::BUSY;
use crate::settings::{Settings, deployment};

/// How long a workspace whose creation was not answered may take to be listed. The CLI plans before it creates, and it
/// does not outlive the provider.
const SETTLE_MS: u64 = 60_000;

/// How long a lease of the user's may stand after its time is over before `cleanup` ends it: 12 h, as upstream's does.
const GRACE_MS: u64 = 12 * 60 * 60 * 1000;

/// Where the CLI looks for a session token.
const TOKEN: &str = "CODER_SESSION_TOKEN";

/// What all the questions about a workspace may take besides its builds.
const QUESTIONS: Duration = Duration::from_secs(120);

/// The provider of a Coder deployment.
#[derive(Debug)]
pub(crate) struct Coder {
    pub(crate) settings: Settings,
    pub(crate) cli: Cli,
}

impl Provider for Coder {
    type Config = Config;

    fn about() -> About {
        About::new("coder", env!("CARGO_PKG_VERSION"))
            .summary("workspaces of Coder, by the local coder CLI and SSH")
            .targets(["linux"])
            .without(Method::Run)
            .methods([Method::Resolve, Method::List])
            .env(["CODER_*", "CRABBOX_CODER_*"])
            .limits(Limits {
                create_settle_ms: Some(SETTLE_MS),
                cleanup_grace_ms: Some(GRACE_MS),
                ..Limits::default()
            })
            .transports([Transport::Ssh])
    }

    fn configure(config: Config, secrets: &Secrets) -> Configured<Self> {
        let settings = match Settings::new(config) {
            Ok(settings) => settings,
            Err(problems) => return Configured::invalid(problems),
        };
        let ms = |time: Duration| Some(u64::try_from((time + QUESTIONS).as_millis()).unwrap_or(u64::MAX));
        let up = ms(settings.build * 2 + settings.ready);
        let deadlines = Deadlines {
            acquire_ms: up,
            resolve_ms: up,
            release_ms: ms(BUSY + settings.build),
            ..Deadlines::default()
        };
        let (scope, release) = (settings.scope(deployment().as_deref()), settings.release);
        let cli = Cli::new(&settings);
        let configured = Configured::new(Self { settings, cli });
        let configured = configured.scope(scope).deadlines(deadlines).release(release);
        match secrets.variable("sessionToken") {
            None | Some(TOKEN) => configured,
            Some(other) => configured.problem(problem(
                "sessionToken",
                format!("the coder CLI does not read {other}; it reads {TOKEN}"),
            )),
        }
    }

    async fn doctor(&self, params: DoctorParams, _: &Context) -> Result<DoctorResult> {
        Ok(DoctorResult { checks: self.checks(params.lease.as_ref()).await })
    }

    async fn acquire(&self, params: AcquireParams, context: &Context) -> Result<AcquireResult> {
        tokio::select! {
            made = self.make(&params, context) => Ok(AcquireResult { lease: made? }),
            // What has become of the workspace, the host finds out.
            _ = context.cancel().cancelled() => Err(Error::cancelled("making the lease was cancelled")),
        }
    }

    async fn resolve(&self, params: ResolveParams, context: &Context) -> Result<ResolveResult> {
        tokio::select! {
            standing = self.stand(&params, context) => standing,
            _ = context.cancel().cancelled() => Err(Error::cancelled("waiting for the workspace was cancelled")),
        }
    }

    async fn release(&self, params: ReleaseParams, context: &Context) -> Result<ReleaseResult> {
        self.end(&params, context).await
    }

    async fn list(&self, _: ListParams, _: &Context) -> Result<ListResult> {
        self.listed().await
    }
}
