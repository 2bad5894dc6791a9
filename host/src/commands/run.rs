//! `crabbox run`

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use clap::Args;
use crabbox_protocol::Lifecycle;
use crabbox_protocol::records::Owner;

use super::{LeaseArgs, ProviderArgs, duration};
use crate::config::Source;
use crate::error::{Error, Result};
use crate::host::{Host, Selection};
use crate::output::{say, warn};
use crate::remote::UserCommand;
use crate::sync::{Apply, Filter, Guard, find_root};
use crate::workflow::{Job, LeasePlan, RunPlan, check_manifest, run as run_plan, usable};

/// Run a command on your working tree, somewhere else
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) provider: ProviderArgs,

    /// Use this lease, by id or slug, and leave it as it is afterwards
    #[arg(long, value_name = "LEASE")]
    pub(crate) id: Option<String>,

    #[command(flatten)]
    pub(crate) lease: LeaseArgs,

    /// Keep the new lease
    #[arg(long)]
    pub(crate) keep: bool,

    /// Keep the new lease if the command, or something before it, fails
    #[arg(long)]
    pub(crate) keep_on_failure: bool,

    /// Do not bring any files over
    #[arg(long, conflicts_with_all = ["sync_only", "full_resync"])]
    pub(crate) no_sync: bool,

    /// Bring the files over and run nothing
    #[arg(long)]
    pub(crate) sync_only: bool,

    /// Replace the whole tree on the lease, what builds left there included
    #[arg(long)]
    pub(crate) full_resync: bool,

    /// Bring the files over however many and large they are
    #[arg(long)]
    pub(crate) force_sync_large: bool,

    /// Give the words, joined by blanks, to a login shell
    #[arg(long)]
    pub(crate) shell: bool,

    /// Pass this environment variable on: a name, or a prefix and `*`; repeat it, or use commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) allow_env: Vec<String>,

    /// End the command after this time and exit with 124
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,

    /// Use a lease that belongs to another repository
    #[arg(long)]
    pub(crate) reclaim: bool,

    /// Call the run this in the timing record
    #[arg(long, value_name = "TEXT")]
    pub(crate) label: Option<String>,

    /// Print where the time went, as a line of JSON on stderr
    #[arg(long)]
    pub(crate) timing_json: bool,

    /// The command and its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    pub(crate) command: Vec<OsString>,
}

/// Checks everything that can be checked, then runs.
pub(crate) async fn run(host: &Host, args: RunArgs, mut selection: Selection) -> Result<u8> {
    let command = command(&args)?;
    let wish = args.lease.wish(host, if args.keep { Owner::User } else { Owner::Run })?;
    if let (Some(_), Some(flag)) = (&args.id, args.lease.given()) {
        return Err(Error::usage(format!(
            "`{flag}` is about a new lease, and `--id` uses one that is there"
        )));
    }
    selection.lend(wish.tailscale.as_ref());
    let found = args.id.as_deref().map(|id| host.claims().find(id, selection.explicit())).transpose();
    let claim = match found {
        Ok(claim) => claim,
        // Under a provider without leases that is the reason, not the lease's name.
        Err(error) => {
            if let Ok(chosen) = selection.choose(host).await
                && chosen.manifest.lifecycle == Lifecycle::OneShot
            {
                refuse_for_one_shot(&args, &chosen.name)?;
            }
            return Err(error);
        }
    };
    let chosen = match &claim {
        Some(claim) => {
            usable(claim)?;
            host.chosen_for_with(claim, &selection).await?
        }
        None => selection.choose(host).await?,
    };
    check_manifest(&chosen)?;
    if chosen.manifest.lifecycle == Lifecycle::OneShot {
        refuse_for_one_shot(&args, &chosen.name)?;
    }
    wish.fits(host, &chosen)?;
    let repository = if args.no_sync { None } else { Some(find_root(host.env.cwd())?) };
    let (exclude, include) = (&host.settings.sync_exclude.value, &host.settings.sync_include.value);
    let filter = match &repository {
        Some(root) => Filter::of(root, exclude, include)?,
        None => Filter::default(),
    };
    let forwarded = host.forward(&chosen, &args.allow_env)?;
    forwarded.warnings.iter().for_each(warn);
    if claim.is_none() && *selection.source() == Source::Default {
        say(format!(
            "using provider {}: none is configured (`--provider NAME`, CRABBOX_PROVIDER, or `provider: NAME` in crabbox.yaml)",
            chosen.name
        ));
    }
    if let Some(summary) = &forwarded.summary {
        say(summary);
    }
    let job = command.map(|command| Job { command, env: forwarded.vars, timeout: args.timeout });
    let lease = match claim {
        Some(claim) => LeasePlan::Existing(Box::new(claim)),
        None => LeasePlan::New(Box::new(wish)),
    };
    let plan = RunPlan {
        selection,
        chosen,
        lease,
        repository,
        filter,
        guard: Guard::of(&host.settings, args.force_sync_large),
        apply: match (args.full_resync, host.settings.sync_delete.value) {
            (true, _) => Apply::Replace,
            (false, true) => Apply::Update,
            (false, false) => Apply::Add,
        },
        job,
        keep_on_failure: args.keep_on_failure,
        reclaim: args.reclaim,
        label: args.label,
        timing_json: args.timing_json,
    };
    run_plan(host, plan).await
}

/// What to run: nothing with `--sync-only`, a shell line, or words as they are.
fn command(args: &RunArgs) -> Result<Option<UserCommand>> {
    match (args.sync_only, args.command.as_slice()) {
        (true, []) => Ok(None),
        (true, _) => Err(Error::usage("`--sync-only` runs nothing, and a command was given")),
        (false, []) => {
            Err(Error::usage("no command was given")
                .hint("put it after two dashes: `crabbox run -- COMMAND`"))
        }
        (false, words) if args.shell || needs_shell(words) => Ok(Some(UserCommand::Shell(join(words)))),
        (false, words) => Ok(Some(UserCommand::Argv(words.to_vec()))),
    }
}

/// Whether the words mean something only to a shell: one word that is a whole line, an assignment before
/// the program, or an operator that stands alone.
fn needs_shell(words: &[OsString]) -> bool {
    const SPECIAL: &[u8] = b" \t\n&|;<>*$\\`()";
    const OPERATORS: &[&[u8]] = &[b"&&", b"||", b";", b"|", b">", b">>", b"<", b"2>", b"2>>"];
    match words {
        [line] => line.as_bytes().iter().any(|byte| SPECIAL.contains(byte)),
        [first, rest @ ..] => {
            is_assignment(first) || rest.iter().any(|word| OPERATORS.contains(&word.as_bytes()))
        }
        [] => false,
    }
}

fn is_assignment(word: &OsStr) -> bool {
    let bytes = word.as_bytes();
    let Some(end) = bytes.iter().position(|byte| *byte == b'=') else { return false };
    let name = &bytes[..end];
    name.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

fn join(words: &[OsString]) -> OsString {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    OsString::from_vec(words.join(&b' '))
}

/// A provider without leases cannot do what is about one.
fn refuse_for_one_shot(args: &RunArgs, provider: &str) -> Result<()> {
    let flags = [
        ("--id", args.id.is_some()),
        ("--keep", args.keep),
        ("--keep-on-failure", args.keep_on_failure),
        ("--no-sync", args.no_sync),
        ("--sync-only", args.sync_only),
        ("--full-resync", args.full_resync),
    ];
    let given = flags.iter().find_map(|(flag, given)| given.then_some(*flag));
    match given.or(args.lease.given()) {
        Some(flag) => {
            Err(Error::usage(format!("`{flag}` is not supported for provider={provider}: it has no leases, each run brings its own files"))
                .hint(format!("leave `{flag}` out, or choose a provider with leases (`crabbox plugins list`)")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(words: &[&str]) -> bool {
        needs_shell(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn a_shell_is_used_only_where_the_words_need_one() {
        for words in [
            &["make test"][..],
            &["a|b"],
            &["$HOME/x"],
            &["FOO=1", "make"],
            &["a", "&&", "b"],
            &["a", "2>", "f"],
        ] {
            assert!(shell(words), "{words:?}");
        }
        for words in [
            &["make"][..],
            &["sh", "-c", "exit 7; echo"],
            &["echo", "a b"],
            &["1A=b", "x"],
            &["a", "b=c"],
            &["grep", "a|b"],
        ] {
            assert!(!shell(words), "{words:?}");
        }
    }
}
