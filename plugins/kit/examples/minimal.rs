//! A whole provider: a lease is a directory of this machine.

use std::{io::ErrorKind, path::PathBuf, process::ExitCode};

use crabbox_provider_kit::{protocol::*, *};

/// The configuration: `--minimal-root`, `CRABBOX_MINIMAL_ROOT`, or `root` in the YAML block `minimal`.
#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Config {
    /// The directory that holds the leases.
    #[schemars(extend("x-crabbox" = {"userOnly": true, "path": true}))]
    root: PathBuf,
}

struct Minimal(Config);

impl Provider for Minimal {
    type Config = Config;

    fn about() -> About {
        About::new("minimal", env!("CARGO_PKG_VERSION")).feature("outputPaths")
    }

    fn configure(config: Config, _: &Secrets) -> Configured<Self> {
        Configured::new(Self(config))
    }

    async fn acquire(&self, params: AcquireParams, _: &Context) -> Result<AcquireResult> {
        let directory = self.0.root.join(params.lease.id.as_str());
        std::fs::create_dir_all(&directory).doing(|| format!("make `{}`", directory.display()))?;
        Ok(AcquireResult::default())
    }

    async fn run(&self, params: RunParams, context: &Context) -> Result<RunResult> {
        let ([program, arguments @ ..], Some(lease)) = (&*params.argv, &params.lease) else {
            return Err(Error::internal("a run without a program or a lease"));
        };
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).current_dir(self.0.root.join(lease.id.as_str()));
        Process::spawn(context, command, &params)?.finish(context, GRACE).await
    }

    async fn release(&self, params: ReleaseParams, _: &Context) -> Result<ReleaseResult> {
        let outcome = match std::fs::remove_dir_all(self.0.root.join(params.lease.id.as_str())) {
            Ok(()) => ReleaseOutcome::Released,
            Err(error) if error.kind() == ErrorKind::NotFound => ReleaseOutcome::Absent,
            Err(error) => return Err(error.into()),
        };
        Ok(ReleaseResult { outcome, retry_after_ms: None, message: None })
    }
}

fn main() -> ExitCode {
    serve::<Minimal>()
}
