//! A run on a provider without leases: it brings its workspace and leaves nothing.
//!
//! There is no claim. What the run needs on this machine is in its directory, which `cleanup` finds.

use std::collections::BTreeMap;
use std::path::Path;

use crabbox_protocol::{CancelReason, Remote, Workspace, feature};

use super::execute::{cancel_exit, exit_code};
use super::run::RunPlan;
use super::script::run_params;
use super::sync::check_size;
use super::timing::Clock;
use super::{ms, shown};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::lease::RunDir;
use crate::output::{self, warn};
use crate::paths::private_dir;
use crate::provider::{Ask, Interrupts, Locks, ProviderError, Relay};
use crate::remote::UserCommand;
use crate::sync::{Tree, pack_workspace};

/// Runs the plan on a one-shot provider.
pub(super) async fn run(
    host: &Host,
    plan: RunPlan,
    tree: Option<Tree>,
    run: RunDir,
    mut clock: Clock,
    interrupts: &mut Interrupts,
) -> Result<u8> {
    let Some(job) = &plan.job else {
        return Err(Error::usage(format!(
            "`--sync-only` needs a lease, and provider `{}` has none",
            plan.chosen.name
        )));
    };
    let tree = tree.ok_or_else(|| {
        Error::usage(format!(
            "`--no-sync` needs a lease that has your files, and provider `{}` has none",
            plan.chosen.name
        ))
    })?;
    let workspace = pack(&tree, &run)?;
    check_size(workspace.size, plan.chosen.manifest.limits.bundle_max)?;
    let scratch = run.path().join("scratch");
    private_dir(&scratch)?;
    let locks = || Ok(Locks { lease: None, run: run.for_guard()? });
    let (chosen, mut session, _) = plan.selection.connect(host, plan.chosen.clone(), locks).await?;
    let by_path = session.feature(feature::OUTPUT_PATHS);
    let mut relay = Relay::live(by_path.then_some(run.path()))?;
    let mut params = run_params(None, run.id().clone(), None, &relay);
    params.argv = argv(&job.command)?;
    params.timeout_ms = job.timeout.map(ms);
    params.env = env(&job.env)?;
    params.env.insert("CRABBOX_RUN_ID".to_owned(), run.id().to_string());
    params.workspace = Some(workspace);
    params.scratch = Some(text(&scratch)?);
    let begun = std::time::Instant::now();
    let ask =
        Ask { deadline: job.timeout, interrupts: Some(interrupts), relay: Some(&mut relay), events: None };
    let answer = session.call(&params, ask).await;
    let cancelled = session.cancelled();
    let delivered = relay.finish(async { _ = interrupts.next().await }).await;
    let cancelled = cancelled.or(delivered.given_up.then_some(CancelReason::User));
    if delivered.dropped > 0 && !delivered.broken {
        warn(format!("{} bytes of output were dropped: nobody read them", delivered.dropped));
    }
    let took = begun.elapsed();
    clock.record.command_ms = ms(took);
    session.close().await;
    if let Some(error) = delivered.failure {
        return Err(Error::failure("cannot write to standard output, so the command was ended").cause(error));
    }
    let cancelled = if delivered.broken { Some(CancelReason::Hangup) } else { cancelled };
    let code = match (&answer, cancelled) {
        (_, Some(CancelReason::User)) => interrupts.exit().unwrap_or(Exit::Signal(2)).code(),
        (_, Some(reason)) => cancel_exit(reason).code(),
        (Ok(result), None) => exit_code(&chosen.name, result)?,
        (Err(error), None) => error.exit().code(),
    };
    let command = answer.is_ok();
    match answer {
        Err(ProviderError::Cancelled { remote: Remote::Unknown, .. }) => {
            warn(format!("provider `{}` does not say whether the command has ended", chosen.name));
        }
        Err(ProviderError::Cancelled { .. }) | Ok(_) => {}
        Err(error) => output::error(&error.into()),
    }
    if cancelled == Some(CancelReason::Deadline) {
        let message = format!("the command was ended after {}: its time was over", shown(took));
        output::error(&Error::new(Exit::Timeout, message));
    }
    clock.ended(code, cancelled, command);
    clock.print(plan.timing_json)?;
    Ok(code)
}

fn pack(tree: &Tree, run: &RunDir) -> Result<Workspace> {
    let mut failure = None;
    let file = run.file("workspace.tar", |out| {
        pack_workspace(tree, out).map_err(|error| {
            failure = Some(error);
            std::io::Error::other("packing failed")
        })
    });
    match (file, failure) {
        (_, Some(failure)) => Err(failure),
        (Err(error), None) => Err(Error { exit: Exit::Sync, ..error }),
        (Ok(file), None) => {
            Ok(Workspace { path: file.path, format: "tar".to_owned(), size: file.size, sha256: file.sha256 })
        }
    }
}

/// The user's words. Here they travel as text.
fn argv(command: &UserCommand) -> Result<Vec<String>> {
    let words = match command {
        UserCommand::Argv(words) => words.clone(),
        UserCommand::Shell(line) => {
            const EITHER: &str =
                "if command -v bash >/dev/null 2>&1; then exec bash -lc \"$0\"; else exec sh -lc \"$0\"; fi";
            vec!["sh".into(), "-c".into(), EITHER.into(), line.clone()]
        }
    };
    let word = |word: std::ffi::OsString| {
        word.into_string().map_err(|_| {
            Error::usage("a word of the command is not UTF-8, and this provider takes only text")
        })
    };
    words.into_iter().map(word).collect()
}

fn env(env: &BTreeMap<String, std::ffi::OsString>) -> Result<BTreeMap<String, String>> {
    let pair = |(name, value): (&String, &std::ffi::OsString)| {
        let value = value.clone().into_string();
        value.map(|value| (name.clone(), value)).map_err(|_| {
            Error::usage(format!("the variable `{name}` is not UTF-8, and this provider takes only text"))
        })
    };
    env.iter().map(pair).collect()
}

fn text(path: &Path) -> Result<String> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Error::failure(format!("`{}` is not UTF-8", path.display())))
}
