//! What clap has to say, in our words.

use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::config::nearest;
use crate::error::Error;

/// Flags of openclaw/crabbox that this program does not have, so that they are no typos.
const UPSTREAM_FLAGS: &[&str] = &[
    "--actions-runner",
    "--apply-local-patch",
    "--arch",
    "--artifact-glob",
    "--attest",
    "--attest-key",
    "--browser",
    "--cache-volume",
    "--capture-on-fail",
    "--capture-stderr",
    "--capture-stdout",
    "--checksum",
    "--class",
    "--code",
    "--debug",
    "--desktop",
    "--desktop-env",
    "--download",
    "--emit-proof",
    "--env-from-profile",
    "--env-helper",
    "--fail-on-test-failures",
    "--fresh-pr",
    "--fresh-sync",
    "--junit",
    "--lease-id",
    "--lease-output",
    "--market",
    "--network",
    "--no-hydrate",
    "--os",
    "--pond",
    "--pool",
    "--preflight",
    "--preflight-tools",
    "--preset",
    "--preset-var",
    "--profile",
    "--proof-template",
    "--require-artifact",
    "--require-artifact-schema",
    "--results-auto",
    "--scenario",
    "--script",
    "--script-stdin",
    "--stop-after",
    "--tailscale",
    "--target",
    "--timing-record",
    "--type",
    "--windows-mode",
];

/// Whether clap only wants something printed: help, or the version.
pub(super) fn is_help(error: &clap::Error) -> bool {
    matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
}

/// The flag that nobody knows, if that is the error.
pub(super) fn unknown_flag(error: &clap::Error) -> Option<&str> {
    match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(flag))) if flag.starts_with('-') => Some(flag),
        _ => None,
    }
}

/// An error of the command line as one of ours. `provider` is the one whose flags were known.
pub(super) fn ours(error: &clap::Error, command: &Command, words: &[OsString], provider: &str) -> Error {
    let (command, path) = named(command, words);
    if let Some(flag) = unknown_flag(error) {
        let name = flag.split('=').next().unwrap_or(flag);
        if UPSTREAM_FLAGS.contains(&name) {
            return Error::usage(format!("`{name}` is not supported for provider={provider}"))
                .hint("`crabbox run --help` shows what is");
        }
        let unknown = Error::usage(format!("there is no flag `{name}` with provider={provider}"));
        return match error.get(ContextKind::SuggestedArg) {
            Some(ContextValue::String(nearest)) => unknown.hint(format!("did you mean `{nearest}`?")),
            _ => unknown.hint(
                "if it belongs to the command, put two dashes before the command: `crabbox run -- COMMAND`",
            ),
        };
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Error::usage("no command was given").hint("`crabbox --help` shows the commands");
    }
    if let (ErrorKind::InvalidSubcommand, Some(ContextValue::String(given))) =
        (error.kind(), error.get(ContextKind::InvalidSubcommand))
    {
        return no_such_command(command, &path, given);
    }
    let text = error.render().to_string();
    let mut lines = text.lines();
    let message = lines.next().unwrap_or_default();
    let mut ours = Error::usage(message.strip_prefix("error: ").unwrap_or(message).replace('\'', "`"));
    for line in lines.map(str::trim).take_while(|line| !line.starts_with("Usage:")) {
        match line.strip_prefix("tip: ") {
            Some(tip) => ours.hints.push(tip.replace('\'', "`")),
            None if !line.is_empty() && !line.starts_with("For more") => {
                ours.causes.push(line.replace('\'', "`"))
            }
            None => {}
        }
    }
    if ours.hints.is_empty() {
        ours.hints.push(format!("`{path} --help` shows how it is used"));
    }
    ours
}

fn no_such_command(command: &Command, path: &str, given: &str) -> Error {
    let names = command.get_subcommands().flat_map(Command::get_name_and_visible_aliases);
    let unknown = Error::usage(format!("there is no command `{path} {given}`"));
    match nearest(given, names) {
        Some(meant) => unknown.hint(format!("did you mean `{path} {meant}`?")),
        None => unknown.hint(format!("`{path} --help` shows the commands")),
    }
}

/// The command that the words name, as deep as they do, and its words.
fn named<'a>(command: &'a Command, words: &[OsString]) -> (&'a Command, String) {
    let (mut command, mut path) = (command, command.get_name().to_owned());
    for word in words.iter().skip(1) {
        let Some(below) = command.find_subcommand(word) else { break };
        command = below;
        path = format!("{path} {}", word.to_string_lossy());
    }
    (command, path)
}
