//! A provider's configuration, key by key, as its JSON Schema describes it.
//!
//! The shapes that generators write are understood: `$ref` into `$defs`, `type` with `null`, `anyOf` with
//! `null`, an enumeration by `enum` or by `oneOf` of constants.

use crabbox_protocol::Manifest;
use serde_json::{Map, Value};

use super::{duration, names};

/// The annotations of ours on a property.
const ANNOTATIONS: &str = "x-crabbox";

/// How deep references may lead.
const DEEPEST: usize = 16;

/// A provider's configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Schema {
    /// The keys.
    pub(crate) keys: Vec<Key>,
    /// The schema of what goes over the wire: that of the manifest without its secrets.
    pub(crate) wire: Value,
}

/// A key of a provider's configuration.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    /// The key.
    pub(crate) name: String,
    /// What its values are.
    pub(crate) kind: Kind,
    /// Whether it has to be set.
    pub(crate) required: bool,
    /// The value when nobody sets it.
    pub(crate) default: Option<Value>,
    /// What it means, from the plugin.
    pub(crate) description: Option<String>,
    /// Variables of other programs that set it as well, the first that is set wins.
    pub(crate) env: Vec<Variable>,
    /// It comes from the environment only and is never shown.
    pub(crate) secret: bool,
    /// A repository's file does not set it.
    pub(crate) user_only: bool,
    /// Its value is the name of a variable that the plugin gets.
    pub(crate) env_name: bool,
    /// It is repeated in printed stop commands.
    pub(crate) release: bool,
}

/// A variable that sets a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    /// Its name.
    pub(crate) name: String,
    /// Milliseconds per unit, where it holds a bare number for a duration.
    pub(crate) unit_ms: Option<u64>,
}

/// What the values of a key are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// One of these.
    Enum(Vec<Value>),
    /// A span of time, in milliseconds on the wire.
    Duration,
    /// A path on this machine, absolute on the wire.
    Path,
    /// Any number of them.
    List(Box<Kind>),
    /// Names with values.
    Map(Box<Kind>),
    /// Something that only JSON can write.
    Any,
}

impl Kind {
    /// The kind in words.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::String => "string".to_owned(),
            Self::Integer => "integer".to_owned(),
            Self::Number => "number".to_owned(),
            Self::Boolean => "boolean".to_owned(),
            Self::Enum(values) => {
                format!("one of {}", values.iter().map(plain).collect::<Vec<_>>().join(", "))
            }
            Self::Duration => "duration".to_owned(),
            Self::Path => "path".to_owned(),
            Self::List(item) => format!("list of {}", item.describe()),
            Self::Map(value) => format!("map of {}", value.describe()),
            Self::Any => "JSON".to_owned(),
        }
    }
}

impl Key {
    /// The variables that set it, ours first.
    pub(crate) fn variables(&self, provider: &str) -> Vec<Variable> {
        let own = Variable { name: names::variable(provider, &self.name), unit_ms: None };
        std::iter::once(own).chain(self.env.iter().cloned()).collect()
    }

    /// Its flag with dashes; a secret has none.
    pub(crate) fn flag(&self, provider: &str) -> Option<String> {
        (!self.secret).then(|| format!("--{}", names::flag(provider, &self.name)))
    }

    /// A value as a person would write it.
    pub(crate) fn show(&self, value: &Value) -> Value {
        match (&self.kind, value.as_u64()) {
            (Kind::Duration, Some(ms)) => duration::format(std::time::Duration::from_millis(ms)).into(),
            _ => value.clone(),
        }
    }
}

impl Schema {
    /// The configuration of a plugin whose manifest has been checked.
    pub(crate) fn of(manifest: &Manifest) -> Self {
        Self::parse(manifest.config.as_ref()).unwrap_or_default()
    }

    /// Reads a schema, or says what is wrong with it.
    pub(crate) fn parse(schema: Option<&Value>) -> Result<Self, String> {
        let Some(schema) = schema else { return Ok(Self { keys: Vec::new(), wire: Value::Bool(true) }) };
        let Value::Object(root) = schema else { return Err("it is not an object".to_owned()) };
        match root.get("type") {
            None => {}
            Some(Value::String(kind)) if kind == "object" => {}
            Some(other) => return Err(format!("it describes {other}, not an object")),
        }
        let empty = Map::new();
        let properties = match root.get("properties") {
            None => &empty,
            Some(Value::Object(properties)) => properties,
            Some(_) => return Err("`properties` is not an object".to_owned()),
        };
        let required: Vec<&str> = root
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut keys = Vec::new();
        for (name, property) in properties {
            let key = read_key(schema, name, property, required.contains(&name.as_str()));
            keys.push(key.map_err(|problem| format!("key `{name}`: {problem}"))?);
        }
        let wire = without_secrets(root.clone(), &keys);
        Ok(Self { keys, wire })
    }

    /// The key of that name.
    pub(crate) fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// The first paragraph of a text, in one line.
fn one_line(text: &str) -> String {
    let paragraph = text.trim().split("\n\n").next().unwrap_or_default();
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A value without the quotes of JSON.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn without_secrets(mut root: Map<String, Value>, keys: &[Key]) -> Value {
    let is_secret = |name: &str| keys.iter().any(|key| key.secret && key.name == name);
    if let Some(Value::Object(properties)) = root.get_mut("properties") {
        properties.retain(|name, _| !is_secret(name));
    }
    if let Some(Value::Array(required)) = root.get_mut("required") {
        required.retain(|name| !name.as_str().is_some_and(is_secret));
    }
    Value::Object(root)
}

fn read_key(root: &Value, name: &str, property: &Value, required: bool) -> Result<Key, String> {
    let legal =
        name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(|c| c.is_ascii_alphanumeric());
    if !legal {
        return Err("a key is `[a-z][A-Za-z0-9]*`".to_owned());
    }
    let view = flatten(root, property);
    let none = Map::new();
    let ours = match view.get(ANNOTATIONS) {
        None => &none,
        Some(Value::Object(ours)) => ours,
        Some(_) => return Err(format!("`{ANNOTATIONS}` is not an object")),
    };
    let is = |name: &str| ours.get(name) == Some(&Value::Bool(true));
    let kind = refine(kind(root, &view, 0), is("duration"), is("path"))?;
    let mut default = view.get("default").filter(|value| !value.is_null()).cloned();
    if let (Kind::Duration, Some(Value::String(text))) = (&kind, &default) {
        default = Some(duration::to_ms(duration::parse(text)?).into());
    }
    let (secret, env_name) = (is("secret"), is("envName"));
    Ok(Key {
        name: name.to_owned(),
        kind,
        required: required && default.is_none(),
        default: default.filter(|_| !secret),
        description: view.get("description").and_then(Value::as_str).map(one_line),
        env: variables(ours.get("env"))?,
        secret,
        user_only: is("userOnly") || env_name,
        env_name,
        release: is("release") && !secret,
    })
}

fn refine(kind: Kind, duration: bool, path: bool) -> Result<Kind, String> {
    match kind {
        Kind::Integer if duration => Ok(Kind::Duration),
        _ if duration => Err("`duration` is for integers, which are milliseconds".to_owned()),
        Kind::String if path => Ok(Kind::Path),
        Kind::List(item) if path && *item == Kind::String => Ok(Kind::List(Box::new(Kind::Path))),
        _ if path => Err("`path` is for strings and lists of strings".to_owned()),
        kind => Ok(kind),
    }
}

fn variables(env: Option<&Value>) -> Result<Vec<Variable>, String> {
    let items = match env {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) => items.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    let read = |item: &Value| {
        let name = item.as_str().or_else(|| item.get("name")?.as_str());
        let name = name.filter(|name| super::env_forward::is_variable_name(name));
        let name = name.ok_or_else(|| format!("`env` has {item}, which is no variable's name"))?;
        let unit_ms = match item.get("unit") {
            None => None,
            Some(unit) => {
                let ms = unit.as_str().and_then(duration::unit_ms);
                Some(ms.ok_or_else(|| format!("the unit {unit} is none of ms, s, m, h"))?)
            }
        };
        Ok(Variable { name: name.to_owned(), unit_ms })
    };
    items.iter().map(read).collect()
}

/// The property with references followed and the alternatives to `null` taken. What stands nearer wins.
fn flatten(root: &Value, property: &Value) -> Map<String, Value> {
    let mut view = property.as_object().cloned().unwrap_or_default();
    for _ in 0..DEEPEST {
        let Some(below) = only_alternative(root, &mut view) else { break };
        for (key, value) in below {
            view.entry(key).or_insert(value);
        }
    }
    view
}

/// Takes the one schema that a property leads to, if it leads to one.
fn only_alternative(root: &Value, view: &mut Map<String, Value>) -> Option<Map<String, Value>> {
    if let Some(Value::String(reference)) = view.remove("$ref") {
        return root.pointer(reference.strip_prefix('#')?)?.as_object().cloned();
    }
    for keyword in ["anyOf", "oneOf", "allOf"] {
        let Some(Value::Array(alternatives)) = view.get(keyword) else { continue };
        let is_null = |schema: &&Value| schema.get("type") == Some(&Value::String("null".to_owned()));
        let mut real = alternatives.iter().filter(|schema| !is_null(schema));
        if let (Some(only), None) = (real.next(), real.next()) {
            let only = only.as_object().cloned().unwrap_or_default();
            view.remove(keyword);
            return Some(only);
        }
    }
    None
}

fn kind(root: &Value, view: &Map<String, Value>, depth: usize) -> Kind {
    if let Some(values) = constants(view) {
        return Kind::Enum(values);
    }
    let below = |schema: &Value| match depth {
        DEEPEST.. => Kind::Any,
        _ => kind(root, &flatten(root, schema), depth + 1),
    };
    match type_of(view).as_deref() {
        Some("string") => Kind::String,
        Some("integer") => Kind::Integer,
        Some("number") => Kind::Number,
        Some("boolean") => Kind::Boolean,
        Some("array") => Kind::List(Box::new(view.get("items").map_or(Kind::String, below))),
        Some("object") if !view.contains_key("properties") => match view.get("additionalProperties") {
            Some(values @ Value::Object(_)) => Kind::Map(Box::new(below(values))),
            _ => Kind::Any,
        },
        _ => Kind::Any,
    }
}

/// The one type besides `null`.
fn type_of(view: &Map<String, Value>) -> Option<String> {
    let types = match view.get("type")? {
        Value::String(one) => return Some(one.clone()),
        Value::Array(types) => types,
        _ => return None,
    };
    let mut real = types.iter().filter_map(Value::as_str).filter(|name| *name != "null");
    let first = real.next()?;
    real.next().is_none().then(|| first.to_owned())
}

/// The values of an enumeration.
fn constants(view: &Map<String, Value>) -> Option<Vec<Value>> {
    let values = if let Some(Value::Array(values)) = view.get("enum") {
        values.clone()
    } else if let Some(value) = view.get("const") {
        vec![value.clone()]
    } else {
        let Some(Value::Array(alternatives)) = view.get("oneOf").or_else(|| view.get("anyOf")) else {
            return None;
        };
        let each: Option<Vec<Vec<Value>>> = alternatives
            .iter()
            .filter(|schema| schema.get("type") != Some(&Value::String("null".to_owned())))
            .map(|schema| constants(schema.as_object()?))
            .collect();
        each?.concat()
    };
    Some(values.into_iter().filter(|value| !value.is_null()).collect())
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
