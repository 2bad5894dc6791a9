//! The command line: from words to a command, with the flags of the provider in use among ours.

mod errors;
mod provider_flags;

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use crate::commands::{
    self, CleanupArgs, ConnectArgs, CpArgs, CrewCommand, DoctorArgs, LeaseArgs, ListArgs, ProviderArgs,
    RunArgs, SshArgs, StatusArgs, StopArgs, SyncPlanArgs, WarmupArgs,
};
use crate::config::{self, Env, HostFlags, ShowArgs};
use crate::conformance::{self, CheckArgs};
use crate::error::Result;
use crate::host::Host;
use crate::output::warn;
use crate::plugins::{self, DescribeArgs, ListArgs as PluginsListArgs, NewArgs, PinArgs};
use crate::provider::trace;
use crate::replay::{self, ReplayArgs};

/// Runs a command on your working tree, somewhere else, and leaves nothing behind
#[derive(Debug, Parser)]
#[command(name = "crabbox", version, disable_help_subcommand = false, arg_required_else_help = true)]
#[command(max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(RunArgs),
    Warmup(WarmupArgs),
    List(ListArgs),
    Status(StatusArgs),
    #[command(visible_alias = "release")]
    Stop(StopArgs),
    Ssh(SshArgs),
    Connect(ConnectArgs),
    SyncPlan(SyncPlanArgs),
    Cp(CpArgs),
    Cleanup(CleanupArgs),
    /// Look at a crew of leases, connect to it, and end it
    #[command(subcommand, visible_alias = "pond")]
    Crew(CrewCommand),
    Doctor(DoctorArgs),
    /// Look at the providers that are installed
    #[command(subcommand)]
    Plugins(PluginsCommand),
    /// List the providers that are installed
    #[command(hide = true)]
    Providers(PluginsListArgs),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
enum PluginsCommand {
    /// List the providers that are installed
    List(PluginsListArgs),
    /// Say what a provider can do and how it is configured
    Describe(DescribeArgs),
    /// Write a provider that works, to start from
    New(NewArgs),
    /// Start a plugin only while it is the executable that it is now
    Pin(PinArgs),
    /// Start a plugin whatever it becomes, as one that was never pinned
    Unpin(PinArgs),
    Check(CheckArgs),
    /// Play the host's side of a trace again, and compare the answers
    Replay(ReplayArgs),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Show every setting and where it comes from
    Show(ShowArgs),
}

/// The argument that has the words after it parsed, and nothing done. The documents are tested by it.
const PARSE_ARGUMENT: &str = "__parse";

/// Parses the words and does what they say. Returns what to exit with.
pub(crate) async fn run(mut words: Vec<OsString>) -> Result<u8> {
    let parse_only = words.get(1).is_some_and(|word| word == PARSE_ARGUMENT);
    if parse_only {
        words.remove(1);
    }
    let mut host = Host::open(Env::current()?)?;
    trace::begin(&host.env);
    let Some(parsed) = provider_flags::parse(&words, &mut host).await? else { return Ok(0) };
    if parse_only {
        return Ok(0);
    }
    host.warnings().iter().for_each(warn);
    let selection = parsed.selection(&host);
    match parsed.cli.command {
        Command::Run(args) => {
            host.apply(&flags(&args.provider, Some(&args.lease)))?;
            commands::run(&host, args, selection).await
        }
        Command::Warmup(args) => {
            host.apply(&flags(&args.provider, Some(&args.lease)))?;
            commands::warmup(&host, args, selection).await.map(|()| 0)
        }
        Command::List(args) => commands::list(&host, args).await.map(|()| 0),
        Command::Status(args) => commands::status(&host, args, selection).await,
        Command::Stop(args) => commands::stop(&host, args, selection).await.map(|()| 0),
        Command::Ssh(args) => commands::ssh(&host, args, selection).await.map(|()| 0),
        Command::Connect(args) => commands::connect(&host, args, selection).await,
        Command::SyncPlan(args) => commands::sync_plan(&host, &args, &selection).await.map(|()| 0),
        Command::Cp(args) => commands::cp(&host, args, selection).await,
        Command::Cleanup(args) => commands::cleanup(&host, args).await,
        Command::Crew(command) => commands::crew(&host, command, selection).await,
        Command::Doctor(args) => commands::doctor(&host, args, selection).await,
        Command::Plugins(PluginsCommand::List(args)) | Command::Providers(args) => {
            plugins::list(&host.plugins, &args).await.map(|()| 0)
        }
        Command::Plugins(PluginsCommand::Describe(args)) => {
            plugins::describe(&host.plugins, &args).await.map(|()| 0)
        }
        Command::Plugins(PluginsCommand::New(args)) => {
            plugins::new(&host.plugins, host.env.cwd(), &args).map(|()| 0)
        }
        Command::Plugins(PluginsCommand::Pin(args)) => plugins::pin(&host.plugins, &args).map(|()| 0),
        Command::Plugins(PluginsCommand::Unpin(args)) => plugins::unpin(&host.plugins, &args).map(|()| 0),
        Command::Plugins(PluginsCommand::Check(args)) => conformance::check(&host, &args).await,
        Command::Plugins(PluginsCommand::Replay(args)) => replay::replay(&host, &args).await,
        Command::Config(ConfigCommand::Show(args)) => {
            config::show(&args, &host.env, &host.paths, &host.files).await.map(|()| 0)
        }
    }
}

/// The flags among the host's settings.
fn flags(provider: &ProviderArgs, lease: Option<&LeaseArgs>) -> HostFlags {
    HostFlags {
        provider: provider.provider.clone(),
        ttl: lease.and_then(|lease| lease.ttl),
        idle_timeout: lease.and_then(|lease| lease.idle_timeout),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn long_flags(command: &clap::Command, flags: &mut Vec<String>) {
        flags.extend(command.get_arguments().filter_map(|argument| argument.get_long()).map(str::to_owned));
        command.get_subcommands().for_each(|sub| long_flags(sub, flags));
    }

    #[test]
    fn no_provider_can_have_a_flag_of_ours() {
        let mut flags = Vec::new();
        long_flags(&Cli::command(), &mut flags);
        assert!(flags.len() > 20);
        for flag in flags {
            assert!(
                plugins::HOST_FLAGS.contains(&flag.as_str()),
                "--{flag} is missing in plugins::HOST_FLAGS"
            );
        }
    }

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }
}
