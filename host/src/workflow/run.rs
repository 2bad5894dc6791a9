//! `crabbox run`: from the working tree to an exit code, with nothing left behind.

use std::path::PathBuf;
use std::time::Instant;

use crabbox_protocol::records::{Claim, Owner};
use crabbox_protocol::{CancelReason, Lifecycle, Method, ReleaseReason};

use super::acquire::Wish;
use super::execute::{Job, Ran, cancel_exit};
use super::held::Held;
use super::make::make;
use super::release::Released;
use super::reuse::{check_repository, claim_for};
use super::sync::Outgoing;
use super::timing::Clock;
use super::{ms, one_shot, shown};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::{Chosen, Host, Selection};
use crate::lease::{RunDir, new_run_id};
use crate::output::{self, foreign, say, warn};
use crate::provider::Interrupts;
use crate::sync::{Apply, Bases, Filter, Guard, Tree, a_few, warn_of_protected};

/// A run whose every flag has been checked.
#[derive(Debug)]
pub(crate) struct RunPlan {
    /// The provider, as the user chose it.
    pub(crate) selection: Selection,
    /// The provider, with its configuration.
    pub(crate) chosen: Chosen,
    /// The lease.
    pub(crate) lease: LeasePlan,
    /// The repository to bring over; absent with `--no-sync`.
    pub(crate) repository: Option<PathBuf>,
    /// Which of its files.
    pub(crate) filter: Filter,
    /// How large they may be.
    pub(crate) guard: Guard,
    /// What becomes of the rest on the lease.
    pub(crate) apply: Apply,
    /// The command; absent with `--sync-only`.
    pub(crate) job: Option<Job>,
    /// Whether to keep a new lease when something fails.
    pub(crate) keep_on_failure: bool,
    /// Whether another repository's lease may be used.
    pub(crate) reclaim: bool,
    /// What the user calls the run.
    pub(crate) label: Option<String>,
    /// Whether to print the timing record.
    pub(crate) timing_json: bool,
}

/// Which lease to run on.
#[derive(Debug)]
pub(crate) enum LeasePlan {
    /// One that is there.
    Existing(Box<Claim>),
    /// A new one.
    New(Box<Wish>),
}

/// Runs the plan and returns what to exit with. Errors after the lease is there are printed here, because
/// the lease is released after them.
pub(crate) async fn run(host: &Host, plan: RunPlan) -> Result<u8> {
    let mut interrupts = Interrupts::listen()?;
    let run = RunDir::create(&host.paths, new_run_id()?)?;
    let mut clock = Clock::start(&plan.chosen.name, run.id());
    clock.record.label = plan.label.clone();
    clock.record.repo_path = plan.repository.as_ref().map(|root| root.to_string_lossy().into_owned());

    let reading = Instant::now();
    let tree = plan.repository.as_deref().map(|root| Tree::read(root, &plan.filter)).transpose()?;
    if let Some(tree) = &tree {
        warn_of_left_out(tree);
        warn_of_protected(tree);
        plan.guard.check(tree)?;
    }
    if plan.chosen.manifest.lifecycle == Lifecycle::OneShot {
        return one_shot::run(host, plan, tree, run, clock, &mut interrupts).await;
    }
    let outgoing = match tree {
        Some(tree) => Some(outgoing(host, &plan, tree, reading, &mut interrupts).await?),
        None => None,
    };

    if let Some(exit) = interrupts.exit_now() {
        return Err(Error::new(exit, "interrupted"));
    }

    let leasing = Instant::now();
    let (mut held, new) = match &plan.lease {
        LeasePlan::Existing(claim) => {
            check_repository(claim, plan.repository.as_deref(), plan.reclaim)?;
            let beside = outgoing.as_ref().is_none_or(Outgoing::is_up_to_date);
            let reused = tokio::select! {
                reused = Held::reuse(host, plan.chosen.clone(), claim, Some(run), beside) => reused,
                number = interrupts.next() => Err(Error::new(Exit::Signal(number), "interrupted")),
            };
            let mut held = reused?;
            claim_for(&mut held, plan.repository.as_deref())?;
            (held, false)
        }
        LeasePlan::New(wish) => {
            let root = plan.repository.clone();
            let chosen = plan.chosen.clone();
            let made = make(host, &plan.selection, chosen, wish, root, Some(run), &mut interrupts).await;
            let held = made.map_err(|error| interrupts.blame(error))?;
            clock.record.lease_ms = Some(ms(leasing.elapsed()));
            (held, true)
        }
    };
    let lease = held.claim().lease.clone();
    let verb = if new { "leased" } else { "using" };
    say(format!("{verb} {} slug={} provider={}", lease.id, lease.slug, held.claim().provider));
    (clock.record.lease_id, clock.record.slug) = (Some(lease.id.clone()), Some(lease.slug.clone()));

    let outcome = work(&mut held, &plan, outgoing, &mut clock, &mut interrupts).await;
    let (mut code, failed) = conclude(outcome, &mut clock, &interrupts, new);
    let keeps = !new || held.claim().owner == Owner::User || (plan.keep_on_failure && failed);
    if keeps {
        keep(held, new, failed, &mut clock).await;
    } else if let Some(error) = release(held, &mut clock, &mut interrupts).await {
        output::error(&error);
        if code == 0 {
            code =
                if matches!(error.exit, Exit::Signal(_)) { error.exit.code() } else { Exit::Failure.code() };
            clock.record.exit_code = code.into();
        }
    }
    clock.print(plan.timing_json)?;
    Ok(code)
}

/// Reads what the files contain, and checks how much is to be sent. `reading` is when that began.
async fn outgoing(
    host: &Host,
    plan: &RunPlan,
    tree: Tree,
    reading: Instant,
    interrupts: &mut Interrupts,
) -> Result<Outgoing> {
    let bases = match &plan.lease {
        LeasePlan::Existing(claim) => Some(Bases::of(&host.paths, &claim.lease.id)),
        LeasePlan::New(_) => None,
    };
    let mut outgoing = Outgoing::read(tree, &host.paths, plan.apply, bases, reading, interrupts).await?;
    outgoing.check_size(&plan.chosen, interrupts).await?;
    Ok(outgoing)
}

/// Names what is not brought over although git names it.
fn warn_of_left_out(tree: &Tree) {
    let names: Vec<_> = tree.left_out.iter().map(|path| foreign(&format!("`{}`", path.display()))).collect();
    if !names.is_empty() {
        let names = a_few(&names);
        warn(format!("not brought over, because they are repositories of their own or no files: {names}"));
    }
}

/// What the lease is for: sync, then the command.
async fn work(
    held: &mut Held<'_>,
    plan: &RunPlan,
    outgoing: Option<Outgoing>,
    clock: &mut Clock,
    interrupts: &mut Interrupts,
) -> Result<Option<Ran>> {
    let interrupted = |interrupts: &mut Interrupts| match interrupts.exit_now() {
        Some(exit) => Err(Error::new(exit, "interrupted")),
        None => Ok(()),
    };
    interrupted(interrupts)?;
    held.kill_abandoned(true, interrupts).await?;
    match outgoing {
        Some(mut outgoing) => {
            if held.stays() || plan.keep_on_failure {
                outgoing.remember_in(Bases::of(&held.host.paths, &held.claim().lease.id))?;
            }
            let synced = held.sync(outgoing, interrupts).await;
            interrupted(interrupts)?;
            clock.synced(synced?);
        }
        None => clock.sync_skipped(),
    }
    let Some(job) = &plan.job else {
        output::data(&format!("synced {}\n", held.workspace()))?;
        return Ok(None);
    };
    held.lock.share()?;
    held.execute(job, interrupts).await.map(Some)
}

/// Turns what happened into an exit code, and prints what went wrong. Says whether anything failed.
fn conclude(
    outcome: Result<Option<Ran>>,
    clock: &mut Clock,
    interrupts: &Interrupts,
    new: bool,
) -> (u8, bool) {
    match outcome {
        Ok(None) => (0, false),
        Ok(Some(ran)) => {
            clock.record.command_ms = ms(ran.took);
            let code = match ran.cancelled {
                Some(CancelReason::User) => interrupts.exit().unwrap_or(Exit::Signal(2)).code(),
                Some(reason) => cancel_exit(reason).code(),
                None => ran.code,
            };
            if ran.cancelled == Some(CancelReason::Deadline) {
                output::error(&Error::new(
                    Exit::Timeout,
                    format!("the command was ended after {}: its time was over", shown(ran.took)),
                ));
            }
            clock.ended(code, ran.cancelled, true);
            (code, code != 0)
        }
        Err(error) => {
            // A command that may still run on a lease which stays is worse than an interrupt.
            let unproven = !new && error.exit == Exit::Transport;
            let code = interrupts.exit().filter(|_| !unproven).unwrap_or(error.exit).code();
            output::error(&error);
            clock.ended(code, interrupts.exit().map(|_| CancelReason::User), false);
            (code, true)
        }
    }
}

/// Leaves the lease as it is, the user's from now on.
async fn keep(mut held: Held<'_>, new: bool, failed: bool, clock: &mut Clock) {
    let stop = held.stop_command();
    clock.record.stop_command = Some(stop.clone());
    if new {
        if let Err(error) = held.give_to_user() {
            warn(format!("{error}; `crabbox cleanup` will take the lease for one that a run left"));
        }
        let slug = &held.claim().lease.slug;
        let why = if failed { "kept for you to look at" } else { "kept" };
        say(format!("lease {slug} is {why}: crabbox run --id {slug} -- COMMAND uses it, {stop} ends it"));
    }
    held.let_go().await;
}

/// Releases the run's own lease.
async fn release(held: Held<'_>, clock: &mut Clock, interrupts: &mut Interrupts) -> Option<Error> {
    let (begun, stop, action) = (Instant::now(), held.stop_command(), held.claim().release);
    let error = match held.release_watched(action, ReleaseReason::End, interrupts).await {
        Ok(Released::Gone | Released::Stopped) => {
            clock.record.lease_released = true;
            None
        }
        Ok(Released::Later(_)) => Some(
            Error::failure("the provider has not confirmed the release")
                .hint("`crabbox cleanup --wait` finishes it"),
        ),
        Err(error) => Some(error),
    };
    clock.record.release_ms = Some(ms(begun.elapsed()));
    if let Some(error) = &error {
        clock.record.release_error = Some(error.to_string());
        clock.record.stop_command = Some(stop);
    }
    error
}

/// Refuses what cannot be done, from the manifest alone.
pub(crate) fn check_manifest(chosen: &Chosen) -> Result<()> {
    match chosen.manifest.has(Method::Run) {
        true => Ok(()),
        false => crate::ssh::program(&chosen.name, &chosen.env).map(drop),
    }
}
