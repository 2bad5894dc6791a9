//! A provider's keys as flags of the command line.

use std::collections::BTreeMap;

use clap::builder::PossibleValuesParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};

use super::names;
use super::schema::{Key, Kind, Schema, plain};
use crate::output::foreign;

/// What was given on the command line, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FlagValues(BTreeMap<String, Vec<String>>);

impl FlagValues {
    /// What was given for a key.
    pub(crate) fn get(&self, key: &str) -> Option<&[String]> {
        self.0.get(key).map(Vec::as_slice)
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &[&str]); N]> for FlagValues {
    fn from(values: [(&str, &[&str]); N]) -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self(values.into_iter().map(|(key, texts)| (key.to_owned(), owned(texts))).collect())
    }
}

/// The flags of a provider, with all that there is to know about them in their help.
pub(crate) fn args(provider: &str, schema: &Schema) -> Vec<Arg> {
    schema.keys.iter().filter(|key| !key.secret).map(|key| arg(provider, key)).collect()
}

/// What was given to them.
pub(crate) fn values(provider: &str, schema: &Schema, matches: &ArgMatches) -> FlagValues {
    let given = |key: &&Key| {
        !key.secret && matches.value_source(&id(provider, key)) == Some(ValueSource::CommandLine)
    };
    let texts = |key: &Key| {
        let texts = matches.get_many::<String>(&id(provider, key)).into_iter().flatten();
        (key.name.clone(), texts.cloned().collect())
    };
    FlagValues(schema.keys.iter().filter(given).map(texts).collect())
}

/// For the end of the help: what is set by the environment only.
pub(crate) fn secrets_help(provider: &str, schema: &Schema) -> Option<String> {
    let line = |key: &Key| {
        let names: Vec<_> = key.variables(provider).into_iter().map(|variable| variable.name).collect();
        let description = key.description.as_deref().map(foreign).unwrap_or_default();
        format!("  {}  {description}", names.join(", ")).trim_end().to_owned()
    };
    let lines: Vec<_> = schema.keys.iter().filter(|key| key.secret).map(line).collect();
    if lines.is_empty() {
        return None;
    }
    Some(format!("Secrets of provider {provider}, set in the environment only:\n{}", lines.join("\n")))
}

fn id(provider: &str, key: &Key) -> String {
    format!("{provider}.{}", key.name)
}

fn arg(provider: &str, key: &Key) -> Arg {
    let arg = Arg::new(id(provider, key))
        .long(names::flag(provider, &key.name))
        .help(help(provider, key))
        .help_heading(format!("Options of provider {provider}"))
        .value_name(value_name(&key.kind))
        .action(ArgAction::Set);
    match &key.kind {
        Kind::Boolean => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::List(item) => match &**item {
            Kind::Enum(values) => one_of(arg, values).action(ArgAction::Append),
            _ => arg.action(ArgAction::Append),
        },
        Kind::Map(_) => arg.action(ArgAction::Append),
        Kind::Enum(values) => one_of(arg, values),
        Kind::Integer | Kind::Number => arg.allow_negative_numbers(true),
        _ => arg,
    }
}

fn one_of(arg: Arg, values: &[serde_json::Value]) -> Arg {
    arg.value_parser(PossibleValuesParser::new(values.iter().map(plain).collect::<Vec<_>>()))
}

fn value_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::String | Kind::Enum(_) => "VALUE",
        Kind::Integer | Kind::Number => "NUMBER",
        Kind::Boolean => "BOOLEAN",
        Kind::Duration => "DURATION",
        Kind::Path => "PATH",
        Kind::List(item) => value_name(item),
        Kind::Map(_) => "NAME=VALUE",
        Kind::Any => "JSON",
    }
}

fn help(provider: &str, key: &Key) -> String {
    let mut help = key.description.as_deref().map(foreign).unwrap_or_default();
    if let Some(default) = &key.default {
        help += &format!(" [default: {}]", foreign(&plain(&key.show(default))));
    }
    if matches!(key.kind, Kind::List(_) | Kind::Map(_)) {
        help += " [can be repeated]";
    }
    let names: Vec<_> = key.variables(provider).into_iter().map(|variable| variable.name).collect();
    help += &format!(" [env: {}]", names.join(", "));
    let whose = if key.user_only { " in your own file" } else { "" };
    help += &format!(" [config: {provider}.{}{whose}]", key.name);
    help.trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use clap::Command;
    use serde_json::json;

    use super::*;

    fn schema() -> Schema {
        let schema = json!({"properties": {
            "address": {"type": "string", "description": "Where\nit is.", "default": "here",
                        "x-crabbox": {"env": "NIMBO_ADDR", "userOnly": true}},
            "caCert": {"type": ["string", "null"], "x-crabbox": {"path": true}},
            "wait": {"type": "integer", "default": 300_000, "x-crabbox": {"duration": true}},
            "fast": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "mode": {"enum": ["on", "off"]},
            "size": {"type": "integer"},
            "token": {"type": "string", "description": "The key.", "x-crabbox": {"secret": true, "env": "TOK"}},
        }});
        Schema::parse(Some(&schema)).unwrap()
    }

    fn command() -> Command {
        Command::new("run").no_binary_name(true).args(args("nimbo", &schema()))
    }

    fn parse(words: &[&str]) -> Result<FlagValues, String> {
        let matches = command().try_get_matches_from(words).map_err(|error| error.to_string())?;
        Ok(values("nimbo", &schema(), &matches))
    }

    #[test]
    fn flags_are_read_back() {
        let words = [
            "--nimbo-ca-cert",
            "x",
            "--nimbo-fast",
            "--nimbo-tags=a,b",
            "--nimbo-tags",
            "c",
            "--nimbo-size",
            "-1",
        ];
        let given = FlagValues::from([
            ("caCert", &["x"][..]),
            ("fast", &["true"][..]),
            ("tags", &["a,b", "c"][..]),
            ("size", &["-1"][..]),
        ]);
        assert_eq!(parse(&words), Ok(given));
        assert_eq!(parse(&["--nimbo-fast=false"]), Ok(FlagValues::from([("fast", &["false"][..])])));
        assert_eq!(parse(&[]), Ok(FlagValues::default()));
        assert!(parse(&["--nimbo-token", "x"]).is_err(), "a secret has no flag");
        assert!(parse(&["--nimbo-mode", "up"]).unwrap_err().contains("[possible values: on, off]"));
        assert!(parse(&["--nimbo-adress", "x"]).unwrap_err().contains("--nimbo-address"));
    }

    #[test]
    fn help_says_where_else() {
        let help = command().render_long_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "Options of provider nimbo:",
            "--nimbo-address <VALUE> Where it is. [default: here]",
            "[default: here]",
            "[env: CRABBOX_NIMBO_ADDRESS, NIMBO_ADDR]",
            "[config: nimbo.address in your own file]",
            "--nimbo-wait <DURATION>",
            "[default: 5m]",
            "--nimbo-fast[=<BOOLEAN>]",
            "[can be repeated]",
        ] {
            assert!(help.contains(part), "{part} is not in {help}");
        }
        assert!(!help.contains("TOK"));
        let secrets = secrets_help("nimbo", &schema()).unwrap();
        assert!(secrets.ends_with("\n  CRABBOX_NIMBO_TOKEN, TOK  The key."), "{secrets}");
    }
}
