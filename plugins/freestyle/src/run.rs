//! `run`: executes a command on the machine. Freestyle has no execution that streams, so the command writes into two
//! files there, and these are read from where they were read last, for as long as it runs and once more after it.

use std::time::Duration;

use crabbox_provider_kit::http::{Bytes, one_line};
use crabbox_provider_kit::protocol::{Lease, Remote, RunParams, RunResult, Stream};
use crabbox_provider_kit::{Context, Doing as _, Error, Result};
use tokio::sync::watch;

use crate::api::{Command, Executed, Standing};
use crate::machine::Identity;
use crate::output::Output;
use crate::provider::Freestyle;
use crate::shell::{Input, NOT_STARTED, running};
use crate::source::Source;

/// How much longer than the host wants to wait a command may take, so that it is the host who ends it.
const GRACE: Duration = Duration::from_secs(60);

/// A command that is ready to be ordered.
struct Ready {
    vm: String,
    line: String,
    stdin: Bytes,
}

impl Freestyle {
    /// Answers `run`.
    pub(crate) async fn execute(&self, params: &RunParams, context: &Context) -> Result<RunResult> {
        let never = |error: Error| error.remote(Remote::Absent);
        let lease = params.lease.as_ref().ok_or_else(|| never(Error::internal("a run without a lease")))?;
        let place = format!("/tmp/.crabbox-{}", params.run_id);
        let ready = tokio::select! {
            ready = self.ready(lease, &place, params, context) => ready.map_err(never)?,
            _ = context.cancel().cancelled() => return Err(never(cancelled())),
        };
        let sink = |stream, path: &Option<_>| context.sink(stream, path.as_ref()).map_err(never);
        let stdout = Output::new(format!("{place}/out"), sink(Stream::Stdout, &params.stdout)?);
        let stderr = Output::new(format!("{place}/err"), sink(Stream::Stderr, &params.stderr)?);
        let limit = params.timeout_ms.map_or(Duration::MAX, |ms| Duration::from_millis(ms) + GRACE);
        let (line, user, stdin) = (&ready.line, self.settings.linux_user.as_str(), ready.stdin);
        let command = Command { line, user, stdin, limit };
        // Each stream goes on by itself: a reader who takes his time with one does not hold up the other.
        let (over, ended) = watch::channel(false);
        let order = async {
            let executed = self.api.execute(&ready.vm, &command).await;
            over.send_replace(true);
            executed
        };
        let follow = async {
            let out = stdout.follow(&self.api, &ready.vm, ended.clone());
            tokio::try_join!(order, out, stderr.follow(&self.api, &ready.vm, ended))
        };
        let (executed, (), ()) = tokio::select! {
            biased;
            followed = follow => followed?,
            // There is no way to take an order back: the host ends the command by another.
            _ = context.cancel().cancelled() => return Err(cancelled().remote(Remote::Unknown)),
        };
        self.result(&ready.vm, &place, &executed).await
    }

    /// What the end of a command means.
    async fn result(&self, vm: &str, place: &str, executed: &Executed) -> Result<RunResult> {
        if executed.stderr.contains(NOT_STARTED) {
            let said = executed.stderr.replace(NOT_STARTED, "");
            let error = Error::prerequisite(format!("cannot use {} on the machine", self.settings.directory));
            return Err(error.cause(one_line(&said)).remote(Remote::Absent));
        }
        // Nobody needs them any more; that they stay is not worth a word.
        _ = self.api.remove(vm, place).await;
        match executed.status {
            Some(code) => Ok(RunResult { exit_code: Some(code), ..RunResult::default() }),
            None => Err(Error::deadline("Freestyle ended the command because it took too long")
                .hint(format!("it may take {} s", executed.limit.as_secs()))
                .remote(Remote::Unknown)),
        }
    }

    /// Gets everything onto a machine that runs, short of the order.
    async fn ready(
        &self,
        lease: &Lease,
        place: &str,
        params: &RunParams,
        context: &Context,
    ) -> Result<Ready> {
        let mut machine = self.expect(lease).await?;
        if machine.standing == Standing::Asleep {
            // Not every version wakes a machine for a command.
            let identity = Identity::of(lease).at(&machine);
            machine = self.running(&identity, machine, context).await?;
        }
        let line = |input: Input<'_>| running(&self.settings.directory, place, &params.argv, input);
        let Some(file) = &params.stdin else {
            return Ok(Ready { vm: machine.id, line: line(Input::Nothing), stdin: Bytes::new() });
        };
        if file.size <= self.api.longest_stdin() {
            let bytes = tokio::fs::read(&file.path).await.doing(|| format!("read `{}`", file.path))?;
            return Ok(Ready { vm: machine.id, line: line(Input::Given), stdin: bytes.into() });
        }
        let mut source = Source::open(&file.path, file.size, &file.sha256).await?;
        let input = format!("{place}.in");
        self.place(&machine.id, &mut source, &input, 0o600, context).await?;
        Ok(Ready { vm: machine.id, line: line(Input::File(&input)), stdin: Bytes::new() })
    }
}

fn cancelled() -> Error {
    Error::cancelled("the command was told to end")
}
