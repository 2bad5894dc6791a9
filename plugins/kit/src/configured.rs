//! `configure`: from the wire to a provider, or to every problem at once.

use std::collections::BTreeMap;

use crabbox_protocol::{
    ConfigureParams, ConfigureResult, Deadlines, ErrorKind, Problem, ReleaseAction, Secret, SecretSource,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// The secrets that the user has set. They come in the environment; the host names the variables.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    sources: BTreeMap<String, SecretSource>,
}

impl Secrets {
    /// The secret of the configuration key `key`, if it is set and text.
    pub fn get(&self, key: &str) -> Option<Secret<String>> {
        std::env::var(&self.sources.get(key)?.env).ok().map(Secret::new)
    }

    /// The name of the variable that holds the secret of `key`, for messages.
    pub fn variable(&self, key: &str) -> Option<&str> {
        self.sources.get(key).map(|source| source.env.as_str())
    }
}

/// What a provider makes of its configuration: itself, or what is wrong.
#[derive(Debug)]
pub struct Configured<P> {
    pub(crate) provider: Option<P>,
    pub(crate) result: ConfigureResult,
}

impl<P> Configured<P> {
    /// The configuration is good. The scope is a hash of all of it unless [`scope`](Self::scope) says
    /// better.
    pub fn new(provider: P) -> Self {
        Self { provider: Some(provider), result: ConfigureResult::default() }
    }

    /// The configuration is wrong: every problem at once. The host stops, except for `doctor`, which
    /// shows them.
    pub fn invalid(problems: impl IntoIterator<Item = Problem>) -> Self {
        let problems = problems.into_iter().collect();
        Self { provider: None, result: ConfigureResult { problems, ..ConfigureResult::default() } }
    }

    /// Adds a problem. A provider that is there nevertheless gets `doctor`, and nothing else.
    pub fn problem(mut self, problem: Problem) -> Self {
        self.result.problems.push(problem);
        self
    }

    /// Where leases are made and as whom: endpoint, namespace, account; nothing secret. A lease is
    /// looked for only under the scope that it was made in, so leave out whatever does not change where
    /// it is.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.result.scope = scope.into();
        self
    }

    /// A keyed fingerprint of the credential, never the credential.
    pub fn credential(mut self, fingerprint: impl Into<String>) -> Self {
        self.result.credential = Some(fingerprint.into());
        self
    }

    /// A feature of the manifest that does not work under this configuration.
    pub fn withdraw(mut self, feature: impl Into<String>) -> Self {
        self.result.withdrawn.push(feature.into());
        self
    }

    /// Deadlines that have to be longer than the host's.
    pub fn deadlines(mut self, deadlines: Deadlines) -> Self {
        self.result.deadlines = deadlines;
        self
    }

    /// How a lease ends under this configuration. The default is to delete it.
    pub fn release(mut self, action: ReleaseAction) -> Self {
        self.result.release = Some(action);
        self
    }
}

/// Makes a problem with the configuration key `key` (empty: the whole). Set `hint` and `kind` where they
/// help.
pub fn problem(key: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem { key: key.into(), message: message.into(), hint: None, kind: None }
}

/// Reads the configuration and lets the provider look at it.
pub(crate) fn configure<C: DeserializeOwned, P>(
    name: &str,
    params: ConfigureParams,
    provider: impl FnOnce(C, &Secrets) -> Configured<P>,
) -> Configured<P> {
    let scope = scope_of(name, &params.config);
    let secrets = Secrets { sources: params.secrets };
    let mut configured = match read(params.config) {
        Ok(config) => provider(config, &secrets),
        Err(problems) => Configured::invalid(problems),
    };
    if configured.result.scope.is_empty() {
        configured.result.scope = scope;
    }
    configured
}

/// Reads the typed configuration; what does not fit is named by its key.
fn read<C: DeserializeOwned>(config: Map<String, Value>) -> Result<C, Vec<Problem>> {
    let whole =
        match from(Value::Object(config.clone())).or_else(|error| from(Value::Null).map_err(|_| error)) {
            Ok(config) => return Ok(config),
            Err(error) => error,
        };
    let wrong = config.into_iter().filter_map(|(key, value)| {
        let alone = Value::Object(Map::from_iter([(key.clone(), value)]));
        let message = from::<C>(alone).err()?;
        // Alone, a good key fails for want of the others.
        (!message.starts_with("missing field")).then(|| invalid(key, message))
    });
    let wrong: Vec<_> = wrong.collect();
    Err(if wrong.is_empty() { vec![invalid(String::new(), whole)] } else { wrong })
}

fn from<C: DeserializeOwned>(value: Value) -> Result<C, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn invalid(key: String, message: String) -> Problem {
    Problem { kind: Some(ErrorKind::ConfigInvalid), ..problem(key, message) }
}

/// The scope of a provider that names none: two configurations share it only if they are equal.
fn scope_of(name: &str, config: &Map<String, Value>) -> String {
    let mut text = String::new();
    canonical(&Value::Object(config.clone()), &mut text);
    let hash = Sha256::digest(text.as_bytes());
    let hex: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{name}:{hex}")
}

/// Writes a value with its keys sorted, whatever order the map keeps.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            text.push('{');
            for (key, value) in entries {
                text.push_str(&format!("{}:", Value::String(key.clone())));
                canonical(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code)]
    struct Config {
        port: u16,
        name: String,
        #[serde(default)]
        tags: Vec<String>,
    }

    fn map(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    fn keys(config: Value) -> Vec<String> {
        let problems = read::<Config>(map(config)).unwrap_err();
        problems.into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn every_wrong_key_is_named_at_once() {
        assert!(read::<Config>(map(json!({"port": 1, "name": "n", "other": 1}))).is_ok());
        assert_eq!(keys(json!({"port": "x", "name": "n", "tags": 3})), ["port", "tags"]);
        assert_eq!(keys(json!({"port": 1})), [""]);
        assert!(read::<()>(Map::new()).is_ok(), "no configuration at all");
    }

    #[test]
    fn the_default_scope_depends_on_the_values_alone() {
        let one = scope_of("x", &map(json!({"a": {"c": 1, "b": [2]}, "d": null})));
        assert_eq!(one, scope_of("x", &map(json!({"d": null, "a": {"b": [2], "c": 1}}))));
        assert_ne!(one, scope_of("x", &map(json!({"a": {"c": 2, "b": [2]}, "d": null}))));
        assert_ne!(one, scope_of("y", &map(json!({"a": {"c": 1, "b": [2]}, "d": null}))));
        assert!(one.starts_with("x:") && one.len() == 34, "{one}");
    }
}
