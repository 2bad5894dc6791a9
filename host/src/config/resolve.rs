//! The configuration of a provider: every key's value, where it comes from, and all that is wrong with it.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use crabbox_protocol::SecretSource;
use crabbox_protocol::records::ConfigValue;
use jsonschema::error::{ValidationError, ValidationErrorKind};
use serde_json::{Map, Value};

use super::env_forward::is_variable_name;
use super::redact::has_password;
use super::schema::{Key, Kind, Schema, Variable, plain};
use super::value::Reader;
use super::{Env, Files, FlagValues, Source, Sourced, keys, nearest, redact};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::output::foreign;

/// A provider's configuration, valid under its schema.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resolved {
    /// What `configure` gets: no secrets, defaults filled in.
    pub(crate) config: Map<String, Value>,
    /// Where the secrets are that are set.
    pub(crate) secrets: BTreeMap<String, SecretSource>,
    /// The variables that the plugin needs because of it: those with its secrets.
    pub(crate) pass: BTreeSet<String>,
    /// Every value with its source, fit to be shown.
    pub(crate) values: Vec<ConfigValue>,
    /// What was ignored, and why.
    pub(crate) warnings: Vec<String>,
    /// The words to repeat in a printed stop command.
    pub(crate) release_flags: Vec<String>,
}

/// Finds the configuration of a provider: flag, variable, repository's file, user's file, default.
///
/// The manifest may come from the cache, so the caller asks the plugin once more before it believes an
/// error of this.
pub(crate) fn resolve(
    provider: &str,
    schema: &Schema,
    env: &Env,
    files: &Files,
    flags: &FlagValues,
) -> Result<Resolved> {
    let mut search = Search::new(provider, schema, env);
    search.unknown_keys(files);
    for key in schema.keys.iter().filter(|key| !key.secret) {
        let found =
            search.flag(key, flags).or_else(|| search.variable(key)).or_else(|| search.files(key, files));
        search.take(key, found);
    }
    search.warn_of_secrets(files);
    search.warn_of_repository(files);
    search.finish()
}

/// The configuration of a lease that exists: what was recorded with it, and explicit flags on top. Today's
/// files and variables have no say, but for the secrets, which are in the environment, and for how the lease ends.
pub(crate) fn override_recorded(
    provider: &str,
    schema: &Schema,
    recorded: &Map<String, Value>,
    env: &Env,
    files: &Files,
    flags: &FlagValues,
) -> Result<Resolved> {
    let mut search = Search::new(provider, schema, env);
    for key in schema.keys.iter().filter(|key| !key.secret) {
        let mut found = search.flag(key, flags);
        if key.release {
            // Not set is an answer, too: the recorded one may be harsher than what is wanted now.
            found = found.or_else(|| search.variable(key)).or_else(|| search.files(key, files));
        } else {
            let recorded = || Some(Ok(Sourced::new(recorded.get(&key.name)?.clone(), Source::Lease)));
            found = found.or_else(recorded);
        }
        search.take(key, found);
    }
    for key in recorded.keys().filter(|key| schema.key(key).is_none()) {
        search
            .warnings
            .push(format!("the lease was made with `{provider}.{key}`, which this plugin does not know"));
    }
    search.finish()
}

/// A value and its source, or what is wrong with it.
type Found = Result<Sourced<Value>, String>;

struct Search<'a> {
    provider: &'a str,
    schema: &'a Schema,
    env: &'a Env,
    found: BTreeMap<&'a str, Sourced<Value>>,
    /// What a repository's files set although they may not.
    refused: BTreeSet<&'a str>,
    problems: Vec<String>,
    warnings: Vec<String>,
    /// Whether a password is among what is wrong.
    password: Cell<bool>,
}

impl<'a> Search<'a> {
    fn new(provider: &'a str, schema: &'a Schema, env: &'a Env) -> Self {
        Self {
            provider,
            schema,
            env,
            found: BTreeMap::new(),
            refused: BTreeSet::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            password: Cell::default(),
        }
    }

    fn take(&mut self, key: &'a Key, found: Option<Found>) {
        match found.or_else(|| self.default(key)) {
            Some(Ok(value)) => {
                self.found.insert(&key.name, value);
            }
            Some(Err(problem)) => self.problems.push(problem),
            None => {}
        }
    }

    fn reader(&self) -> Reader<'a> {
        Reader { env: self.env, base: self.env.cwd() }
    }

    fn flag(&self, key: &Key, flags: &FlagValues) -> Option<Found> {
        let texts = flags.get(&key.name)?;
        let flag = key.flag(self.provider)?;
        let value = self.reader().flag(&key.kind, texts);
        Some(self.sourced(key, value, Source::Flag(flag)))
    }

    fn variable(&self, key: &Key) -> Option<Found> {
        let (variable, text) = self.set_variable(key)?;
        let value = text.and_then(|text| self.reader().variable(&key.kind, &variable, text));
        Some(self.sourced(key, value, Source::Variable(variable.name)))
    }

    /// The first of a key's variables that is set.
    fn set_variable(&self, key: &Key) -> Option<(Variable, Result<&'a str, String>)> {
        key.variables(self.provider).into_iter().find_map(|variable| {
            let text = self.env.text(&variable.name).transpose()?;
            Some((variable, text))
        })
    }

    fn files(&mut self, key: &'a Key, files: &Files) -> Option<Found> {
        for file in files.iter() {
            let Some(value) = file.get(&[self.provider, &key.name]) else { continue };
            if key.user_only && !file.trusted {
                self.refused.insert(&key.name);
                continue;
            }
            let value = Reader { env: self.env, base: file.directory() }.yaml(&key.kind, value);
            return Some(self.sourced(key, value, Source::File(file.path.clone())));
        }
        None
    }

    fn default(&self, key: &Key) -> Option<Found> {
        let default = key.default.as_ref()?;
        let value = match &key.kind {
            Kind::Path | Kind::List(_) => self.reader().yaml(&key.kind, default),
            _ => Ok(default.clone()),
        };
        Some(self.sourced(key, value, Source::Default))
    }

    fn sourced(&self, key: &Key, value: Result<Value, String>, source: Source) -> Found {
        let value = value.and_then(|value| match value.as_str() {
            Some(name) if key.env_name && !is_variable_name(name) => {
                Err(format!("`{name}` is not the name of a variable"))
            }
            // The claim records it, and the plugin gets it in a message. A default is no secret.
            _ if source != Source::Default && has_password(&value) => {
                self.password.set(true);
                Err("there is a password in the URL, and this is no place for a secret".to_owned())
            }
            _ => Ok(value),
        });
        match value {
            Ok(value) => Ok(Sourced::new(value, source)),
            Err(problem) => Err(self.problem(&key.name, &source, foreign(&problem))),
        }
    }

    fn problem(&self, key: &str, source: &Source, problem: impl Display) -> String {
        format!("`{}.{key}`: {problem} (from {source})", self.provider)
    }

    fn unknown_keys(&mut self, files: &Files) {
        for file in files.iter() {
            let path = file.path.display();
            let block = match file.get(&[self.provider]) {
                None => continue,
                Some(Value::Object(block)) => block,
                Some(_) => {
                    self.problems.push(format!("`{}` in {path} has to be a mapping", self.provider));
                    continue;
                }
            };
            for name in block.keys().filter(|name| self.schema.key(name).is_none()) {
                let known = self.schema.keys.iter().map(|key| key.name.as_str());
                let meant = match nearest(name, known) {
                    Some(meant) => format!("; did you mean `{}.{meant}`?", self.provider),
                    None => format!("; `crabbox plugins describe {}` shows all", self.provider),
                };
                let text = format!("`{}.{}` in {path}: there is no such key", self.provider, foreign(name));
                match keys::is_upstream_block(self.provider) {
                    true => self.warnings.push(text + ", it is ignored"),
                    false => self.problems.push(text + &meant),
                }
            }
        }
    }

    fn warn_of_secrets(&mut self, files: &Files) {
        for key in self.schema.keys.iter().filter(|key| key.secret) {
            for file in files.iter().filter(|file| file.get(&[self.provider, &key.name]).is_some()) {
                self.warnings.push(format!(
                    "`{}.{}` in {} is ignored: a secret is set in the environment, by {}; remove it from the file",
                    self.provider,
                    key.name,
                    file.path.display(),
                    self.variable_names(key),
                ));
            }
        }
    }

    fn warn_of_repository(&mut self, files: &Files) {
        if self.refused.is_empty() {
            return;
        }
        let each = |write: &dyn Fn(&Key) -> String| {
            let keys = self.refused.iter().filter_map(|name| self.schema.key(name));
            keys.map(write).collect::<Vec<_>>().join(", ")
        };
        let names = each(&|key| format!("`{}.{}`", self.provider, key.name));
        let flags = each(&|key| key.flag(self.provider).unwrap_or_default());
        self.warnings.push(format!(
            "the repository's {names} is ignored: only you may set it, by {flags}, or in {}",
            files.user_file().display()
        ));
    }

    fn variable_names(&self, key: &Key) -> String {
        let names = key.variables(self.provider).into_iter().map(|variable| variable.name);
        names.collect::<Vec<_>>().join(" or ")
    }

    /// What to say when nobody set a key that has to be set.
    fn missing(&self, name: &str) -> String {
        let Some(key) = self.schema.key(name) else {
            return format!("`{}.{name}` is not set", self.provider);
        };
        let flag = key.flag(self.provider).unwrap_or_default();
        let place = if key.user_only { "your configuration file" } else { "crabbox.yaml" };
        format!(
            "`{provider}.{name}` is not set: use {flag}, {}, or `{provider}.{name}` in {place}",
            self.variable_names(key),
            provider = self.provider
        )
    }

    fn validate(&mut self, config: &Map<String, Value>) -> Result<()> {
        let validator = jsonschema::validator_for(&self.schema.wire).map_err(|error| {
            Error::failure(format!("the configuration schema of provider `{}` is not valid", self.provider))
                .cause(foreign(&error.to_string()))
                .hint("this is a fault of the plugin, not of your configuration")
        })?;
        let config = Value::Object(config.clone());
        for error in validator.iter_errors(&config) {
            let problem = self.explain(&error);
            self.problems.extend(problem);
        }
        Ok(())
    }

    fn explain(&self, error: &ValidationError<'_>) -> Option<String> {
        let path = error.instance_path().as_str();
        let key = path.split('/').nth(1).unwrap_or_default();
        let value = error.instance();
        let text = if redact(value) == **value { error.to_string() } else { error.masked().to_string() };
        let text = foreign(&text);
        match (error.kind(), self.found.get(key)) {
            (ValidationErrorKind::Required { property }, _) if path.is_empty() => {
                let name = plain(property);
                // It is set, but to something that could not be read, which is a problem of its own.
                let prefix = format!("`{}.{name}`:", self.provider);
                let known = self.problems.iter().any(|problem| problem.starts_with(&prefix));
                (!known).then(|| self.missing(&name))
            }
            (_, Some(found)) => {
                let is_duration = self.schema.key(key).is_some_and(|key| key.kind == Kind::Duration);
                let unit = if is_duration { ", in milliseconds" } else { "" };
                Some(self.problem(key, &found.source, text + unit))
            }
            (_, None) => Some(format!("`{}`: {text}", self.provider)),
        }
    }

    fn finish(mut self) -> Result<Resolved> {
        let config: Map<String, Value> =
            self.found.iter().map(|(name, found)| ((*name).to_owned(), found.value.clone())).collect();
        self.validate(&config)?;
        let mut resolved =
            Resolved { config, warnings: std::mem::take(&mut self.warnings), ..Default::default() };
        let mut absent = Vec::new();
        for key in &self.schema.keys {
            let name = format!("{}.{}", self.provider, key.name);
            if key.secret {
                let set = self.set_variable(key);
                let (value, source) = match set {
                    Some((variable, _)) => {
                        resolved.pass.insert(variable.name.clone());
                        resolved
                            .secrets
                            .insert(key.name.clone(), SecretSource { env: variable.name.clone() });
                        ("configured", Source::Variable(variable.name))
                    }
                    None => {
                        if key.required {
                            let names = self.variable_names(key);
                            absent.push(format!("`{name}` is not set: it is a secret, set {names}"));
                        }
                        ("missing", Source::Default)
                    }
                };
                resolved.values.push(ConfigValue {
                    key: name,
                    value: value.into(),
                    source: source.to_string(),
                });
            } else if let Some(found) = self.found.get(key.name.as_str()) {
                if key.env_name {
                    resolved.pass.extend(found.value.as_str().map(str::to_owned));
                }
                if key.release && found.source != Source::Default {
                    resolved.release_flags.extend(flag_words(self.provider, key, &found.value));
                }
                let (value, source) = (redact(&key.show(&found.value)), found.source.to_string());
                resolved.values.push(ConfigValue { key: name, value, source });
            }
        }
        let exit = if self.problems.is_empty() { Exit::Auth } else { Exit::Usage };
        self.problems.extend(absent);
        let mut error = match self.problems.len() {
            0 => return Ok(resolved),
            1 => Error::new(exit, self.problems.remove(0)),
            count => {
                let message =
                    format!("the configuration of provider `{}` has {count} problems", self.provider);
                std::mem::take(&mut self.problems).into_iter().fold(Error::new(exit, message), Error::cause)
            }
        };
        error.hints.extend(self.password.get().then(|| self.place_of_secrets()));
        Err(error.hint(format!(
            "`crabbox plugins describe {}` shows every key and where it can be set",
            self.provider
        )))
    }

    /// Where a password belongs.
    fn place_of_secrets(&self) -> String {
        let secrets = self.schema.keys.iter().filter(|key| key.secret);
        let names: Vec<_> = secrets.map(|key| self.variable_names(key)).collect();
        match names.is_empty() {
            true => format!("take it out; provider `{}` has no variable for a secret", self.provider),
            false => format!("take it out, and set the secret in the environment: {}", names.join(", ")),
        }
    }
}

/// The words that give a key the same value again.
fn flag_words(provider: &str, key: &Key, value: &Value) -> Vec<String> {
    let Some(flag) = key.flag(provider) else { return Vec::new() };
    let word = |value: &Value| format!("{flag}={}", plain(&key.show(value)));
    match value {
        Value::Array(items) => items.iter().map(word).collect(),
        Value::Object(entries) => {
            entries.iter().map(|(name, value)| format!("{flag}={name}={}", plain(value))).collect()
        }
        value => vec![word(value)],
    }
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
