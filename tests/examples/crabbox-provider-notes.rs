//! A provider for benches, made with the kit, whose output goes by notification: what is measured is the
//! kit and the host.

use std::process::ExitCode;

use crabbox_provider_kit::{protocol::*, *};

struct Notes;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Nothing {}

impl Provider for Notes {
    type Config = Nothing;

    fn about() -> About {
        About::new("notes", "1").limits(Limits { create_settle_ms: Some(0), ..Limits::default() })
    }

    fn configure(_: Nothing, _: &Secrets) -> Configured<Self> {
        Configured::new(Self)
    }

    async fn acquire(&self, _: AcquireParams, _: &Context) -> Result<AcquireResult> {
        Ok(AcquireResult::default())
    }

    async fn run(&self, params: RunParams, context: &Context) -> Result<RunResult> {
        let mut command = tokio::process::Command::new(&params.argv[0]);
        command.args(&params.argv[1..]).current_dir(std::env::temp_dir());
        Process::spawn(context, command, &params)?.finish(context, GRACE).await
    }

    async fn release(&self, _: ReleaseParams, _: &Context) -> Result<ReleaseResult> {
        Ok(ReleaseResult { outcome: ReleaseOutcome::Released, retry_after_ms: None, message: None })
    }
}

fn main() -> ExitCode {
    serve::<Notes>()
}
