//! `run` and `kill`: processes in the lease's directory.

use std::env;
use std::path::Path;
use std::time::Duration;

use crabbox_provider_kit::protocol::{KillParams, KillResult, Remote, RunId, RunParams, RunResult};
use crabbox_provider_kit::{Context, Error, GRACE, Process, Result};
use tokio::process::Command;
use tokio::time::sleep;

use crate::runs::{self, RUN_ID, Runs};
use crate::store::{Found, Store};

/// What a command gets of the plugin's environment, besides `LC_*`.
const ENVIRONMENT: &[&str] = &["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR"];

/// Where programs are where the plugin has no PATH.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// How long a run has between SIGTERM and SIGKILL when the session ends.
const HURRY: Duration = Duration::from_millis(700);

/// Answers `run`.
pub(crate) async fn run(store: &Store, params: RunParams, context: &Context) -> Result<RunResult> {
    let never = |error: Error| error.remote(Remote::Absent);
    let lease = params.lease.as_ref().ok_or_else(|| never(Error::internal("a run without a lease")))?;
    let directory = store.expect(lease).map_err(never)?;
    let mut process = Process::spawn(context, command(&directory, &params).map_err(never)?, &params)?;
    let group = runs::group_of(process.group())?;
    runs::note(&directory, &params.run_id, &group)?;
    let cancel = context.cancel();
    tokio::select! {
        biased;
        ended = process.ended() => {
            ended?;
            return process.wait().await;
        }
        _ = cancel.cancelled() => {}
    }
    // Not waited for yet, so that its number, and with it its group, stays its own.
    let runs = Runs::from([(params.run_id.to_string(), vec![group])]);
    let hurry = async {
        cancel.closing().await;
        sleep(HURRY).await;
    };
    let ended = runs::end(&runs, GRACE, hurry).await?;
    if !ended.alive.is_empty() {
        let alive = list(&ended.alive);
        return Err(Error::cancelled(format!("run `{}` was killed and still lives: {alive}", params.run_id))
            .remote(Remote::Unknown));
    }
    runs::forget(&directory, &params.run_id);
    process.wait().await
}

/// Answers `kill`.
pub(crate) async fn kill(store: &Store, params: KillParams) -> Result<KillResult> {
    let id = Store::id_of(&params.lease);
    let run = &params.run_id;
    let directory = match &id {
        Some(id) => matches!(store.find(id)?, Found::Lease(_)).then(|| store.directory(id)),
        None => None,
    };
    // Without the directory there is no record; processes may be there all the same.
    let (runs, recorded) = match &directory {
        Some(directory) => runs::one(directory, run)?,
        None => (Runs::from([(run.to_string(), Vec::new())]), false),
    };
    let ended = runs::end(&runs, Duration::from_millis(params.grace_ms), std::future::pending()).await?;
    if !ended.alive.is_empty() || !ended.doubtful.is_empty() {
        return Ok(KillResult { remote: Remote::Unknown });
    }
    if let Some(directory) = &directory {
        runs::forget(directory, run);
    }
    Ok(KillResult { remote: if recorded || ended.found { Remote::Dead } else { Remote::Absent } })
}

/// Names processes for a message.
pub(crate) fn list(pids: &[i32]) -> String {
    let pids: Vec<_> = pids.iter().map(i32::to_string).collect();
    format!("process {}", pids.join(", "))
}

fn command(directory: &Path, params: &RunParams) -> Result<Command> {
    let [program, arguments @ ..] = params.argv.as_slice() else {
        return Err(Error::internal("a run without a program: `argv` is empty"));
    };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).env_clear().envs(environment(&params.run_id));
    Ok(command)
}

/// A small environment: what names the user, the place and the language, and nothing else.
fn environment(run: &RunId) -> impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)> {
    let inherited = env::vars_os().filter(|(name, _)| {
        name.to_str().is_some_and(|name| ENVIRONMENT.contains(&name) || name.starts_with("LC_"))
    });
    let path = ("PATH".into(), PATH.into());
    [path].into_iter().chain(inherited).chain([(RUN_ID.into(), run.to_string().into())])
}
