//! The verbs of the protocol, each a line or two.

use crabbox_provider_kit::protocol::{Deadlines, DoctorParams, DoctorResult, RunParams, RunResult, feature};
use crabbox_provider_kit::{About, Configured, Context, Provider, Result, Secrets};

use crate::config::Config;
use crate::doctor::checks;
use crate::run::run;
use crate::settings::Settings;

/// How long `doctor` may take: it asks Flue twice, each time for as long as [`PATIENCE`](crate::cli::PATIENCE).
const DOCTOR_MS: u64 = 130_000;

/// The provider of a local Flue project.
#[derive(Debug)]
pub(crate) struct Flue {
    settings: Settings,
}

impl Provider for Flue {
    type Config = Config;

    fn about() -> About {
        About::new("flue", env!("CARGO_PKG_VERSION"))
            .summary("workflows of a local Flue project")
            .one_shot()
            .targets(["linux", "macos"])
            .feature(feature::OUTPUT_PATHS)
            // The command itself writes to these paths. There is no other way out for what it prints.
            .requires(feature::OUTPUT_PATHS)
    }

    fn configure(config: Config, _: &Secrets) -> Configured<Self> {
        match Settings::new(config) {
            Ok(settings) => {
                let scope = format!("flue:{}", settings.root.display());
                let deadlines = Deadlines { doctor_ms: Some(DOCTOR_MS), ..Deadlines::default() };
                Configured::new(Self { settings }).scope(scope).deadlines(deadlines)
            }
            Err(problems) => Configured::invalid(problems),
        }
    }

    async fn doctor(&self, _: DoctorParams, _: &Context) -> Result<DoctorResult> {
        Ok(DoctorResult { checks: checks(&self.settings).await })
    }

    async fn run(&self, params: RunParams, context: &Context) -> Result<RunResult> {
        run(&self.settings, params, context).await
    }
}
