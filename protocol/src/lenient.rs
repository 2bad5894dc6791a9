//! Repairs of what other languages do to JSON by themselves.
//!
//! PHP and Perl write `[]` for an empty object, 0 or 1 for a boolean and `"3"` for a number, Go writes
//! `null` for an absent slice, and anything that computes in doubles writes `3.0`. The schema says what
//! was meant.

use schemars::{JsonSchema, Schema};
use serde::de::{DeserializeOwned, Error, Unexpected};
use serde_json::{Map, Value};

/// Something that had to be repaired before a message could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// Where, as a JSON Pointer (RFC 6901).
    pub pointer: String,
    /// What was there.
    pub found: &'static str,
}

impl Repair {
    pub(crate) fn new(pointer: impl Into<String>, found: &'static str) -> Self {
        Self { pointer: pointer.into(), found }
    }
}

/// Decodes `value`; where that fails, repairs it by the schema of `T` and tries once more.
///
/// # Errors
///
/// That of the first attempt, when the repaired value does not fit either.
pub fn decode_lenient<T: DeserializeOwned + JsonSchema>(
    value: Value,
    repairs: &mut Vec<Repair>,
) -> serde_json::Result<T> {
    // Of an array the decoder would take the fields in their order.
    let first = match &value {
        Value::Array(items) if !items.is_empty() => Err(Error::invalid_type(Unexpected::Seq, &"an object")),
        value => T::deserialize(value),
    };
    let error = match first {
        Ok(decoded) => return Ok(decoded),
        Err(error) => error,
    };
    let root = crate::schemas::of::<T>();
    let mut made = Vec::new();
    let value = Walk { root: &root, repairs: &mut made }.value(value, root.as_value(), "");
    let decoded = match value {
        Value::Array(_) => Err(error),
        value => T::deserialize(value).map_err(|_| error),
    }?;
    repairs.append(&mut made);
    Ok(decoded)
}

struct Walk<'a> {
    root: &'a Schema,
    repairs: &'a mut Vec<Repair>,
}

impl Walk<'_> {
    fn value(&mut self, value: Value, schema: &Value, pointer: &str) -> Value {
        let schema = follow(self.root, schema);
        let wants = |name: &str| match schema.get("type") {
            Some(Value::String(kind)) => kind == name,
            Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == name),
            _ => false,
        };
        match value {
            Value::Number(number) if wants("boolean") && matches!(number.as_f64(), Some(0.0 | 1.0)) => {
                self.note(pointer, "0 or 1 where a boolean belongs");
                Value::Bool(number.as_f64() == Some(1.0))
            }
            Value::Number(number) if wants("integer") && !number.is_i64() && !number.is_u64() => {
                match number.as_f64() {
                    Some(f) if f.fract() == 0.0 && f.abs() < 9.007_199_254_740_992e15 => {
                        self.note(pointer, "a fraction where an integer belongs");
                        Value::from(f as i64)
                    }
                    _ => Value::Number(number),
                }
            }
            Value::Number(number) if wants("string") => {
                self.note(pointer, "a number where a string belongs");
                Value::String(number.to_string())
            }
            Value::String(text) if wants("integer") && text.parse::<i64>().is_ok() => {
                self.note(pointer, "a string where an integer belongs");
                text.parse().map_or(Value::String(text), |number: i64| number.into())
            }
            Value::Array(items) if items.is_empty() && wants("object") => {
                self.note(pointer, "`[]` where an object belongs");
                Value::Object(Map::new())
            }
            Value::Array(items) => {
                let schema = schema.get("items").cloned().unwrap_or(Value::Bool(true));
                let items = items.into_iter().enumerate();
                Value::Array(
                    items.map(|(n, item)| self.value(item, &schema, &format!("{pointer}/{n}"))).collect(),
                )
            }
            Value::Object(fields) => Value::Object(self.fields(fields, schema, pointer)),
            other => other,
        }
    }

    fn fields(&mut self, fields: Map<String, Value>, schema: &Value, pointer: &str) -> Map<String, Value> {
        let mut kept = Map::new();
        for (key, value) in fields {
            let at = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
            let property = schema.get("properties").and_then(|p| p.get(&key));
            let property = property.or_else(|| schema.get("additionalProperties")).cloned();
            if value.is_null() && property.is_some() {
                self.note(&at, "`null` where nothing belongs");
                continue;
            }
            let value = match property {
                Some(property) => self.value(value, &property, &at),
                None => value,
            };
            kept.insert(key, value);
        }
        kept
    }

    fn note(&mut self, pointer: &str, found: &'static str) {
        self.repairs.push(Repair::new(pointer, found));
    }
}

/// The schema that `schema` refers to, through any number of `$ref`.
fn follow<'s>(root: &'s Schema, mut schema: &'s Value) -> &'s Value {
    for _ in 0..8 {
        let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { break };
        let target = reference.strip_prefix('#').and_then(|pointer| root.as_value().pointer(pointer));
        let Some(target) = target else { break };
        schema = target;
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AcquireResult, Manifest, ResolveResult};
    use serde_json::json;

    #[test]
    fn a_manifest_in_php_and_go_dialect_is_read() {
        let value = json!({
            "protocol": 1.0, "name": "p", "version": "1", "lifecycle": "leased",
            "methods": null, "limits": [], "summary": null, "config": {"type": "object"},
        });
        let mut repairs = Vec::new();
        let manifest: Manifest = decode_lenient(value, &mut repairs).unwrap();
        assert_eq!((manifest.protocol, manifest.summary), (1, None));
        let pointers: Vec<_> = repairs.iter().map(|r| r.pointer.as_str()).collect();
        assert!(pointers.contains(&"/protocol") && pointers.contains(&"/methods"), "{pointers:?}");
    }

    #[test]
    fn what_fits_is_left_alone_and_nonsense_is_refused() {
        let mut repairs = Vec::new();
        let result: ResolveResult = decode_lenient(json!({"state": "new-word"}), &mut repairs).unwrap();
        assert_eq!((result.state, repairs.len()), (crate::LeaseState::Unknown, 0));
        let result: AcquireResult = decode_lenient(json!({"lease": {"state": null}}), &mut repairs).unwrap();
        assert_eq!(result.lease.state, None);
        assert!(decode_lenient::<Manifest>(json!({"protocol": "x"}), &mut repairs).is_err());
        let error = decode_lenient::<ResolveResult>(json!(["ready"]), &mut repairs).unwrap_err();
        assert_eq!(error.to_string(), "invalid type: sequence, expected an object");
    }
}
