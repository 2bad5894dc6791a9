//! Reads bodies, strictly: what is not understood is refused, so that a client's mistake is seen here already.

use serde_json::{Map, Value};

use super::answer::Answer;

/// What a field of a body may be.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    Flag,
    /// A whole number that is not negative.
    Count,
    /// A whole number of seconds, or -1 for never.
    Seconds,
    /// An object whose values are texts.
    Texts,
    /// An object that is checked elsewhere.
    Object,
    /// A list that is checked elsewhere.
    List,
}

/// A field that a body may have.
#[derive(Clone, Copy)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
    pub(super) nullable: bool,
}

/// A field that may be absent, but not null.
pub(super) const fn optional(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, required: false, nullable: false }
}

/// A field that may be absent or null.
pub(super) const fn nullable(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, required: false, nullable: true }
}

/// A field that must be there.
pub(super) const fn required(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, required: true, nullable: false }
}

/// Reads a body that must be an object with these fields.
pub(super) fn read(body: &[u8], fields: &[Field]) -> Result<Map<String, Value>, Answer> {
    let value = serde_json::from_slice(body)
        .map_err(|error| Answer::bad(format!("the body is not the JSON that is expected: {error}")))?;
    let Value::Object(object) = value else { return Err(Answer::bad("the body must be an object")) };
    check(&object, fields, "")?;
    Ok(object)
}

/// Checks the fields of an object; `at` is where it is, for the message.
pub(super) fn check(object: &Map<String, Value>, fields: &[Field], at: &str) -> Result<(), Answer> {
    for (name, value) in object {
        let Some(field) = fields.iter().find(|field| field.name == name) else {
            let known: Vec<&str> = fields.iter().map(|field| field.name).collect();
            let known = known.join("`, `");
            return Err(Answer::bad(format!("unknown field `{at}{name}`, expected one of `{known}`")));
        };
        if value.is_null() && field.nullable {
            continue;
        }
        if let Some(expected) = mismatch(value, field.kind) {
            return Err(Answer::bad(format!("invalid type: field `{at}{name}` must be {expected}")));
        }
    }
    match fields.iter().find(|field| field.required && !object.contains_key(field.name)) {
        Some(field) => Err(Answer::bad(format!("missing field `{at}{}`", field.name))),
        None => Ok(()),
    }
}

fn mismatch(value: &Value, kind: Kind) -> Option<&'static str> {
    let (fits, expected) = match kind {
        Kind::Text => (value.is_string(), "a string"),
        Kind::Flag => (value.is_boolean(), "a boolean"),
        Kind::Count => (value.is_u64(), "a whole number that is not negative"),
        Kind::Seconds => (value.as_i64().is_some_and(|it| it >= -1), "a whole number, or -1 for never"),
        Kind::Texts => (
            value.as_object().is_some_and(|all| all.values().all(Value::is_string)),
            "an object whose values are strings",
        ),
        Kind::Object => (value.is_object(), "an object"),
        Kind::List => (value.is_array(), "a list"),
    };
    (!fits).then_some(expected)
}
