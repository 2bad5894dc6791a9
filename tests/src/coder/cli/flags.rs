//! The flags of each command, the variables that stand for them, and the version that brought them.

use std::collections::BTreeMap;

use super::output::Failure;
use crate::coder::deployment::Deployment;

/// What the CLI was told.
pub(super) struct Flags {
    pub(super) command: String,
    pub(super) arguments: Vec<String>,
    values: BTreeMap<&'static str, Vec<String>>,
}

/// What a flag takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Text,
    /// One value with each use, in which commas separate several.
    List,
}

/// A flag: its commands, its names, its variable, what it takes, and since which version 2 there is one.
struct Flag {
    commands: &'static [&'static str],
    name: &'static str,
    short: Option<char>,
    variable: &'static str,
    takes: Takes,
    since: u32,
}

const fn flag(
    commands: &'static [&'static str],
    name: &'static str,
    variable: &'static str,
    takes: Takes,
) -> Flag {
    Flag { commands, name, short: None, variable, takes, since: 0 }
}

impl Flag {
    const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    const fn since(mut self, minor: u32) -> Self {
        self.since = minor;
        self
    }
}

const ALL: &[&str] = &["version", "whoami", "list", "create", "start", "stop", "delete", "ssh"];
const PROMPTS: &[&str] = &["create", "start", "stop", "delete"];
const BUILDS: &[&str] = &["create", "start"];

use Takes::{List, Nothing, Text};

const FLAGS: &[Flag] = &[
    flag(ALL, "url", "CODER_URL", Text),
    flag(ALL, "token", "CODER_SESSION_TOKEN", Text),
    flag(ALL, "global-config", "CODER_CONFIG_DIR", Text),
    flag(ALL, "no-version-warning", "CODER_NO_VERSION_WARNING", Nothing),
    flag(ALL, "no-feature-warning", "CODER_NO_FEATURE_WARNING", Nothing),
    flag(ALL, "header", "CODER_HEADER", List),
    flag(ALL, "header-command", "CODER_HEADER_COMMAND", Text),
    flag(ALL, "verbose", "CODER_VERBOSE", Nothing).short('v'),
    flag(ALL, "force-tty", "CODER_FORCE_TTY", Nothing),
    flag(ALL, "disable-direct-connections", "CODER_DISABLE_DIRECT_CONNECTIONS", Nothing),
    flag(ALL, "use-keyring", "CODER_USE_KEYRING", Nothing).since(29),
    flag(&["version", "whoami", "list"], "output", "", Text).short('o'),
    flag(&["list"], "all", "", Nothing).short('a'),
    flag(&["list"], "search", "", Text),
    flag(&["list"], "column", "", List).short('c'),
    flag(PROMPTS, "yes", "", Nothing).short('y'),
    flag(&["create"], "template", "CODER_TEMPLATE_NAME", Text).short('t'),
    flag(&["create"], "template-version", "CODER_TEMPLATE_VERSION", Text).since(12),
    flag(&["create"], "preset", "CODER_PRESET_NAME", Text).since(25),
    flag(&["create"], "start-at", "CODER_WORKSPACE_START_AT", Text),
    flag(&["create"], "stop-after", "CODER_WORKSPACE_STOP_AFTER", Text),
    flag(&["create"], "automatic-updates", "CODER_WORKSPACE_AUTOMATIC_UPDATES", Text),
    flag(&["create"], "copy-parameters-from", "CODER_WORKSPACE_COPY_PARAMETERS_FROM", Text),
    flag(&["create"], "no-wait", "CODER_CREATE_NO_WAIT", Nothing).since(32),
    flag(&["create"], "org", "CODER_ORGANIZATION", Text).short('O').since(10),
    flag(&["start"], "no-wait", "", Nothing).since(21),
    flag(&["start", "stop", "delete"], "provisioner-log-debug", "", Nothing),
    flag(BUILDS, "parameter", "CODER_RICH_PARAMETER", List),
    flag(BUILDS, "rich-parameter-file", "CODER_RICH_PARAMETER_FILE", Text),
    flag(BUILDS, "parameter-default", "CODER_RICH_PARAMETER_DEFAULT", List).since(6),
    flag(BUILDS, "use-parameter-defaults", "CODER_WORKSPACE_USE_PARAMETER_DEFAULTS", Nothing).since(30),
    flag(&["start"], "always-prompt", "", Nothing),
    flag(&["delete"], "orphan", "", Nothing),
    flag(&["ssh"], "stdio", "CODER_SSH_STDIO", Nothing),
    flag(&["ssh"], "wait", "CODER_SSH_WAIT", Text),
    flag(&["ssh"], "no-wait", "CODER_SSH_NO_WAIT", Nothing),
    flag(&["ssh"], "disable-autostart", "CODER_SSH_DISABLE_AUTOSTART", Nothing).since(5),
    flag(&["ssh"], "log-dir", "CODER_SSH_LOG_DIR", Text).short('l'),
    flag(&["ssh"], "ssh-host-prefix", "CODER_SSH_SSH_HOST_PREFIX", Text).since(17),
    flag(&["ssh"], "hostname-suffix", "CODER_SSH_HOSTNAME_SUFFIX", Text).since(21),
    flag(&["ssh"], "forward-agent", "CODER_SSH_FORWARD_AGENT", Nothing).short('A'),
    flag(&["ssh"], "identity-agent", "CODER_SSH_IDENTITY_AGENT", Text),
    flag(&["ssh"], "usage-app", "CODER_SSH_USAGE_APP", Text).since(17),
];

impl Flags {
    /// Takes the arguments and the environment apart.
    pub(super) fn parse(argv: &[String], deployment: &Deployment) -> Result<Self, Failure> {
        // The command is found before its flags are known, so the values of flags are skipped by their names.
        let any = |it: &&Flag| deployment.since(it.since);
        let command = words(argv, &FLAGS.iter().filter(any).collect::<Vec<_>>())
            .ok()
            .and_then(|(words, _)| words.first().cloned())
            .or_else(|| argv.iter().find(|it| !it.starts_with('-')).cloned())
            .unwrap_or_default();
        let command = match command.as_str() {
            "ls" => "list",
            "rm" => "delete",
            known if ALL.contains(&known) => known,
            other => return Err(Failure::text(&format!("unrecognized subcommand \"{other}\""))),
        };
        let own: Vec<&Flag> = FLAGS.iter().filter(any).filter(|it| it.commands.contains(&command)).collect();
        let mut values: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        for flag in &own {
            if let Some(value) =
                (!flag.variable.is_empty()).then(|| std::env::var(flag.variable).ok()).flatten()
                && !value.is_empty()
            {
                let list = if flag.takes == List { fields(&value).unwrap_or_default() } else { vec![value] };
                values.insert(flag.name, list);
            }
        }
        let (words, given) = words(argv, &own).map_err(|why| {
            Failure::text(&format!("parsing flags ([{}]) for \"coder {command}\": {why}", argv.join(" ")))
        })?;
        let mut first = std::collections::BTreeSet::new();
        for (flag, value) in given {
            // A flag takes the place of its variable, and adds to itself.
            if first.insert(flag.name) || flag.takes != List {
                values.remove(flag.name);
            }
            let list = match flag.takes {
                List => fields(&value).map_err(|why| {
                    Failure::text(&format!(
                        "parsing flags ([{}]) for \"coder {command}\": invalid argument \"{value}\" for \"--{}\" \
                         flag: {why}",
                        argv.join(" "),
                        flag.name
                    ))
                })?,
                _ => vec![value],
            };
            values.entry(flag.name).or_default().extend(list);
        }
        Ok(Self { command: command.to_owned(), arguments: words.into_iter().skip(1).collect(), values })
    }

    /// The value of a flag that takes one.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.last().map(String::as_str)
    }

    /// Whether a flag is set.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| ["true", "1", "t", "TRUE", "True", "T"].contains(&value))
    }

    /// The values of a flag that takes several.
    pub(super) fn all(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// The only argument.
    pub(super) fn only(&self) -> Result<&str, Failure> {
        match self.arguments.as_slice() {
            [one] => Ok(one),
            other => {
                Err(Failure::text(&format!("wanted 1 args but got {} [{}]", other.len(), other.join(" "))))
            }
        }
    }

    /// That there is no argument.
    pub(super) fn none(&self) -> Result<(), Failure> {
        match self.arguments.as_slice() {
            [] => Ok(()),
            other => {
                Err(Failure::text(&format!("wanted 0 args but got {} [{}]", other.len(), other.join(" "))))
            }
        }
    }
}

type Given<'a> = Vec<(&'a Flag, String)>;

/// The words that are no flags, and the flags with their values.
fn words<'a>(argv: &[String], flags: &[&'a Flag]) -> Result<(Vec<String>, Given<'a>), String> {
    let (mut words, mut given) = (Vec::new(), Vec::new());
    let mut rest = argv.iter();
    while let Some(word) = rest.next() {
        if word == "--" {
            words.extend(rest.cloned());
            break;
        }
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) =
                long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
            let flag =
                flags.iter().find(|it| it.name == name).ok_or_else(|| format!("unknown flag: --{name}"))?;
            let value = match (flag.takes, value) {
                (_, Some(value)) => value.to_owned(),
                (Nothing, None) => "true".to_owned(),
                (_, None) => {
                    rest.next().cloned().ok_or_else(|| format!("flag needs an argument: --{name}"))?
                }
            };
            given.push((*flag, value));
        } else if let Some(short) = word.strip_prefix('-').filter(|it| !it.is_empty()) {
            for (at, letter) in short.char_indices() {
                let flag = flags.iter().find(|it| it.short == Some(letter));
                let flag =
                    flag.ok_or_else(|| format!("unknown shorthand flag: '{letter}' in -{}", &short[at..]))?;
                if flag.takes == Nothing {
                    given.push((*flag, "true".to_owned()));
                    continue;
                }
                let attached = short[at + letter.len_utf8()..].trim_start_matches('=');
                let value = match attached {
                    "" => rest.next().cloned(),
                    value => Some(value.to_owned()),
                };
                let value = value.ok_or_else(|| format!("flag needs an argument: '{letter}' in -{short}"))?;
                given.push((*flag, value));
                break;
            }
        } else {
            words.push(word.clone());
        }
    }
    Ok((words, given))
}

/// A line of comma-separated values, as Go reads one.
fn fields(line: &str) -> Result<Vec<String>, String> {
    let (mut all, mut field) = (Vec::new(), String::new());
    let mut letters = line.chars().enumerate().peekable();
    let mut quoted = false;
    let mut fresh = true;
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' if fresh => quoted = true,
            '"' if quoted && letters.peek().is_some_and(|(_, next)| *next == '"') => {
                letters.next();
                field.push('"');
            }
            '"' if quoted => {
                quoted = false;
                if letters.peek().is_some_and(|(_, next)| *next != ',') {
                    return Err(format!(
                        "parse error on line 1, column {}: extraneous or missing \" in quoted-field",
                        at + 2
                    ));
                }
            }
            '"' => {
                return Err(format!("parse error on line 1, column {}: bare \" in non-quoted field", at + 1));
            }
            ',' if !quoted => {
                all.push(std::mem::take(&mut field));
                fresh = true;
                continue;
            }
            letter => field.push(letter),
        }
        fresh = false;
    }
    if quoted {
        return Err(format!(
            "parse error on line 1, column {}: extraneous or missing \" in quoted-field",
            line.len() + 1
        ));
    }
    all.push(field);
    Ok(all)
}
