//! Which provider's flags belong on the command line, before the command line is parsed.
//!
//! The provider is guessed from the words and parsed with. A flag that is not known then is asked about:
//! the cached manifest may be of yesterday.

use std::ffi::OsString;

use clap::{ArgMatches, Command as Clap, CommandFactory, FromArgMatches};

use super::{Cli, errors};
use crate::config::{HostFlags, Schema, flag_args, flag_values, secrets_help};
use crate::copy::lease_in;
use crate::error::Result;
use crate::host::{Host, Selection};
use crate::output;

/// The commands that take a provider's flags.
const WITH_FLAGS: &[&str] = &["run", "warmup", "status", "stop", "release", "cp", "doctor"];

/// Words that were understood.
pub(super) struct Parsed {
    pub(super) cli: Cli,
    matches: ArgMatches,
    provider: String,
    schema: Schema,
}

impl Parsed {
    /// The provider, and what was said to it.
    pub(super) fn selection(&self, host: &Host) -> Selection {
        let flags = match self.matches.subcommand() {
            Some((name, matches)) if WITH_FLAGS.contains(&name) => {
                flag_values(&self.provider, &self.schema, matches)
            }
            _ => Default::default(),
        };
        Selection::new(host, &self.provider, flags)
    }
}

/// Parses the words. `None`: help or the version was asked for, and has been printed.
pub(super) async fn parse(words: &[OsString], host: &mut Host) -> Result<Option<Parsed>> {
    let guess = Guess::of(words);
    host.apply(&HostFlags { provider: guess.provider.clone(), ..HostFlags::default() })?;
    let provider = guess.resolve(host);
    if !guess.takes_flags {
        return finish(Cli::command(), words, &provider, Schema::default());
    }
    let found = host.plugins.find(&provider);
    let manifest = match &found {
        Ok(found) => host.plugins.manifest(found).await,
        Err(error) => Err(error.clone()),
    };
    let schema = manifest.as_ref().map(|known| Schema::of(&known.manifest)).unwrap_or_default();
    let command = with_flags(host, &provider, &schema, guess.wants_help);
    match command.clone().try_get_matches_from(words) {
        Err(error) if errors::unknown_flag(&error).is_some() => {
            // Of a plugin that cannot be used no flag is known, and why is what the user has to hear.
            manifest?;
            let schema = Schema::of(&host.plugins.refresh(&found?).await?.manifest);
            finish(with_flags(host, &provider, &schema, false), words, &provider, schema)
        }
        _ => finish(command, words, &provider, schema),
    }
}

fn finish(mut command: Clap, words: &[OsString], provider: &str, schema: Schema) -> Result<Option<Parsed>> {
    let matches = command.try_get_matches_from_mut(words);
    let ours = |error: &clap::Error| errors::ours(error, &command, words, provider);
    match matches {
        Ok(matches) => {
            let cli = Cli::from_arg_matches(&matches).map_err(|error| ours(&error))?;
            Ok(Some(Parsed { cli, matches, provider: provider.to_owned(), schema }))
        }
        Err(error) if errors::is_help(&error) => {
            output::help(&error.render())?;
            Ok(None)
        }
        Err(error) => Err(ours(&error)),
    }
}

/// The command tree with the flags of a provider in it.
fn with_flags(host: &Host, provider: &str, schema: &Schema, help: bool) -> Clap {
    let mut command = Cli::command();
    for name in WITH_FLAGS.iter().filter(|name| **name != "release") {
        command = command.mut_subcommand(name, |mut sub| {
            sub = sub.args(flag_args(provider, schema));
            if let Some(secrets) = secrets_help(provider, schema) {
                sub = sub.after_help(secrets);
            }
            if help {
                let installed: Vec<_> = host.plugins.installed().into_iter().map(|(name, _)| name).collect();
                let installed = installed.join(", ");
                let text = format!("Use this provider [installed: {installed}]");
                sub = sub.mut_arg("provider", |argument| argument.help(text));
            }
            sub
        });
    }
    command
}

/// What can be told from the words without knowing every flag.
#[derive(Debug, Default, PartialEq)]
struct Guess {
    takes_flags: bool,
    wants_help: bool,
    provider: Option<String>,
    id: Option<String>,
}

impl Guess {
    fn of(words: &[OsString]) -> Self {
        let words: Vec<_> = words.iter().skip(1).map(|word| word.to_string_lossy()).collect();
        let ours = || words.iter().take_while(|word| *word != "--").map(|word| word.as_ref());
        let mut rest = ours().filter(|word| *word != "help");
        let command = rest.find(|word| !word.starts_with('-')).unwrap_or_default();
        let value = |flag: &str| {
            let mut words = ours();
            while let Some(word) = words.next() {
                match word.strip_prefix(flag) {
                    Some("") => return words.next().map(str::to_owned),
                    Some(value) if value.starts_with('=') => return Some(value[1..].to_owned()),
                    _ => {}
                }
            }
            None
        };
        let names_a_lease = ["status", "stop", "release"].contains(&command);
        let positional = match command {
            // The flags with their values come first, and a value may have a colon, too.
            "cp" => rest.filter_map(lease_before_colon).last(),
            _ => rest.find(|word| names_a_lease && !word.starts_with('-')).map(str::to_owned),
        };
        Self {
            takes_flags: WITH_FLAGS.contains(&command),
            wants_help: ours().any(|word| ["--help", "-h", "help"].contains(&word)),
            provider: value("--provider"),
            id: value("--id").or(positional),
        }
    }

    /// The flag's provider, else that of the lease which is named, else the configured one.
    fn resolve(&self, host: &Host) -> String {
        let configured = || host.settings.provider.value.clone();
        match (&self.provider, &self.id) {
            (None, Some(id)) => {
                host.claims().find(id, None).map_or_else(|_| configured(), |claim| claim.provider)
            }
            _ => configured(),
        }
    }
}

/// The lease in `LEASE:PATH`.
fn lease_before_colon(word: &str) -> Option<String> {
    let lease = lease_in(word.as_ref())?;
    std::str::from_utf8(lease).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(line: &str) -> Guess {
        Guess::of(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_provider_and_the_lease_are_seen_before_the_command() {
        let run = guess("crabbox run --provider=nimbo -- x --provider other --help");
        assert_eq!((run.takes_flags, run.wants_help, run.provider.as_deref()), (true, false, Some("nimbo")));
        assert_eq!(guess("crabbox run --provider nimbo --id x").id.as_deref(), Some("x"));
        assert_eq!(guess("crabbox stop blue-crab").id.as_deref(), Some("blue-crab"));
        assert_eq!(guess("crabbox cp --x http://y:1 ./a:b blue-crab:c:d").id.as_deref(), Some("blue-crab"));
        assert_eq!(guess("crabbox run ls").id, None);
        assert!(guess("crabbox help run").takes_flags);
        assert!(guess("crabbox warmup -h").wants_help);
        assert!(!guess("crabbox plugins list").takes_flags);
    }
}
