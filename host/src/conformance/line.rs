//! What one line of a plugin's is, and which rules it breaks.
//!
//! The host's own decoder is lenient. Here the line is held against the schemas: whatever the host would
//! have to repair is a fault, and so is what it cannot use.

use std::collections::HashMap;
use std::sync::LazyLock;

use crabbox_protocol::{
    Decoded, ErrorKind, ErrorObject, LeaseEvent, LeaseReport, MAX_CHUNK, MAX_LINE, Method, PluginMessage,
    Progress, Repair, Stream, decode_lenient, decode_plugin_line, note, schemas,
};
use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use super::rules::{self, Rule};

/// A rule that is broken, and how.
pub(super) type Fault = (&'static Rule, String);

/// What a line says.
#[derive(Debug)]
pub(super) enum Said {
    /// The answer to a request.
    Response { id: u64, outcome: Result<Value, Value> },
    /// A piece of output.
    Output { request: u64, stream: Stream, bytes: Vec<u8> },
    /// Another notification that belongs to a request.
    Note { request: u64 },
    /// Something about a lease.
    Lease { request: u64, lease: Box<LeaseReport> },
    /// Nothing that the host would take notice of.
    Nothing,
    /// Nothing that the host could go on after.
    Broken,
}

/// Reads a line, without its LF. `method` says which method a request that was sent is of.
pub(super) fn read(line: &[u8], method: impl Fn(u64) -> Option<Method>) -> (Said, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut fault = |rule: &'static Rule, problem: &str| faults.push((rule, problem.to_owned()));
    if line.len() > MAX_LINE {
        fault(rules::BROKEN, &format!("a line has {} bytes; the most is {MAX_LINE}", line.len()));
        return (Said::Broken, faults);
    }
    let stripped = line.strip_suffix(b"\r").unwrap_or(line);
    if stripped.len() < line.len() {
        fault(rules::CR, "a line ends in CR LF");
    }
    let line = stripped;
    if line.starts_with(b"\xef\xbb\xbf") {
        fault(rules::BOM, "a line begins with U+FEFF");
    }
    let message = match decode_plugin_line(line) {
        Decoded::Message(message, _) => message,
        Decoded::Stray => {
            fault(rules::STRAYS, "a line on standard output is no message");
            return (Said::Nothing, faults);
        }
        Decoded::Broken(problem) => {
            fault(rules::BROKEN, &problem);
            return (Said::Broken, faults);
        }
    };
    let said = match message {
        PluginMessage::Response { id, outcome } => {
            let outcome = match outcome {
                Ok(result) => Ok(serde_json::from_str(result.get()).unwrap_or_default()),
                Err(error) => Err(serde_json::to_value(error).unwrap_or_default()),
            };
            Said::Response { id, outcome }
        }
        PluginMessage::Output(output) => {
            let (request, stream) = (output.request, output.stream);
            match output.into_bytes() {
                Ok(bytes) => Said::Output { request, stream, bytes: bytes.into_owned() },
                Err(problem) => {
                    fault(rules::BROKEN, problem);
                    return (Said::Broken, faults);
                }
            }
        }
        PluginMessage::Progress(progress) => Said::Note { request: progress.request },
        PluginMessage::Lease(event) => Said::Lease { request: event.request, lease: Box::new(event.lease) },
        PluginMessage::Unknown(name) => {
            fault(rules::WORDS, &format!("the notification `{name}` is none of version 1"));
            return (Said::Nothing, faults);
        }
    };
    if let Said::Output { bytes, .. } = &said {
        if bytes.len() > MAX_CHUNK {
            fault(rules::PIECES, &format!("a piece of output has {} bytes", bytes.len()));
        }
        // There may be a great many of these, and one that the strict reader takes can lack but one thing.
        let head = String::from_utf8_lossy(&line[..line.len().min(200)]);
        if bytes.len() > 1024 && head.contains("\"2.0\"") && !head.contains("null") {
            return (said, faults);
        }
    }
    let body = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let value = match serde_json::from_slice::<Value>(body) {
        Ok(value) => value,
        // What is nested without end, the host does not read.
        Err(error) => {
            fault(rules::FITS, &error.to_string());
            return (said, faults);
        }
    };
    faults.extend(against_schema(&value, &said, method));
    (said, faults)
}

/// What is wrong with a message that the host can read.
fn against_schema(message: &Value, said: &Said, method: impl Fn(u64) -> Option<Method>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |rule: &'static Rule, problem: String| faults.push((rule, problem));
    match message.get("jsonrpc") {
        Some(Value::String(version)) if version == "2.0" => {}
        Some(other) => fault(rules::JSONRPC, format!("`jsonrpc` is {other}")),
        None => fault(rules::JSONRPC, "`jsonrpc` is missing".to_owned()),
    }
    let (schema, carries, repaired) = match said {
        Said::Response { id, outcome } => {
            let sent = message.get("id").unwrap_or(&Value::Null);
            if sent.as_u64() != Some(*id) {
                fault(rules::ID_TYPES, format!("`id` is {sent}"));
            }
            match outcome {
                Ok(_) => {
                    let Some(method) = method(*id) else { return faults };
                    let result = message.get("result").cloned().unwrap_or_default();
                    (
                        format!("{method}.response"),
                        "/result",
                        method.repairs_of(result).map_err(|error| error.to_string()),
                    )
                }
                Err(_) => {
                    error_kinds(message.get("error").unwrap_or(&Value::Null), &mut fault);
                    let error = message.get("error").cloned().unwrap_or_default();
                    (
                        "error".to_owned(),
                        "/error",
                        repairs(|made| decode_lenient::<ErrorObject>(error, made).map(drop)),
                    )
                }
            }
        }
        Said::Output { .. } => (note::OUTPUT.to_owned(), "/params", Ok(Vec::new())),
        Said::Note { .. } => {
            let params = message.get("params").cloned().unwrap_or_default();
            (
                note::PROGRESS.to_owned(),
                "/params",
                repairs(|made| decode_lenient::<Progress>(params, made).map(drop)),
            )
        }
        Said::Lease { .. } => {
            let params = message.get("params").cloned().unwrap_or_default();
            (
                note::LEASE.to_owned(),
                "/params",
                repairs(|made| decode_lenient::<LeaseEvent>(params, made).map(drop)),
            )
        }
        Said::Nothing | Said::Broken => return faults,
    };
    match repaired {
        Ok(repairs) => {
            for Repair { pointer, found } in
                repairs.into_iter().filter(|repair| !repair.found.contains("null"))
            {
                fault(rules::TYPES, format!("`{carries}{pointer}`: {found}"));
            }
        }
        Err(problem) => {
            fault(rules::FITS, problem);
            return faults;
        }
    }
    let Some(validator) = VALIDATORS.get(&schema) else { return faults };
    let mut message = message.clone();
    let errors = validator.iter_errors(&message).map(|error| error.instance_path().to_string());
    let nulls: Vec<_> = errors.filter(|at| message.pointer(at) == Some(&Value::Null)).collect();
    for at in nulls {
        fault(rules::NULLS, format!("`{at}` is null"));
        let (parent, key) = at.rsplit_once('/').unwrap_or_default();
        if let Some(Value::Object(parent)) = message.pointer_mut(parent) {
            parent.remove(key);
        }
    }
    for error in validator.iter_errors(&message) {
        let at = error.instance_path().to_string();
        // These are judged above.
        if at.is_empty() || at == "/id" || at == "/jsonrpc" || at == "/error/data/kind" {
            continue;
        }
        let rule = match (error.kind(), message.pointer(&at)) {
            // The host has read it: so it has repaired it, or it is a word that it takes for an unknown one.
            (ValidationErrorKind::Type { .. }, _) => rules::TYPES,
            (_, Some(Value::String(_))) => rules::WORDS,
            _ => rules::FITS,
        };
        fault(rule, format!("`{at}`: {error}"));
    }
    faults
}

/// What is wrong with how an error says what it is.
fn error_kinds(error: &Value, fault: &mut impl FnMut(&'static Rule, String)) {
    let code = error.get("code").and_then(Value::as_f64);
    if code.is_some_and(|code| code != -32601.0 && code != -32000.0) {
        fault(rules::ERRORS, format!("the error's code is {}", error["code"]));
    }
    let kind = error.pointer("/data/kind");
    let known = kind.is_some_and(|kind| {
        serde_json::from_value::<ErrorKind>(kind.clone()).is_ok_and(|kind| kind != ErrorKind::Unknown)
    });
    match kind {
        _ if known => {}
        // A method that is not there needs no kind.
        None if code == Some(-32601.0) => {}
        None => fault(rules::ERRORS, "the error has no `data.kind`".to_owned()),
        Some(other) => fault(rules::ERRORS, format!("the error's kind is {other}")),
    }
}

/// What has to be repaired before the host can read it, or why it cannot.
fn repairs(read: impl FnOnce(&mut Vec<Repair>) -> serde_json::Result<()>) -> Result<Vec<Repair>, String> {
    let mut repairs = Vec::new();
    read(&mut repairs).map(|()| repairs).map_err(|error| error.to_string())
}

/// The schemas of what a plugin sends, ready to be used.
static VALIDATORS: LazyLock<HashMap<String, Validator>> = LazyLock::new(|| {
    let of_plugin = |name: &str| {
        name.ends_with(".response") || ["error", note::OUTPUT, note::PROGRESS, note::LEASE].contains(&name)
    };
    let all = schemas::all().into_iter().filter(|(name, _)| of_plugin(name));
    all.filter_map(|(name, schema)| Some((name, jsonschema::validator_for(schema.as_value()).ok()?)))
        .collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(line: &str) -> Vec<&'static str> {
        let method = |id| match id {
            1 => Some(Method::Initialize),
            2 => Some(Method::Run),
            3 => Some(Method::Resolve),
            _ => None,
        };
        let mut ids: Vec<_> = read(line.as_bytes(), method).1.into_iter().map(|(rule, _)| rule.id).collect();
        ids.dedup();
        ids
    }

    #[test]
    fn every_wire_example_is_without_fault() {
        for name in
            ["acquire", "configure", "error", "initialize", "lease", "output", "progress", "run", "resolve"]
        {
            let path = format!("{}/../protocol/wire/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
            for line in std::fs::read_to_string(path).unwrap().lines() {
                let value: Value = serde_json::from_str(line).unwrap();
                if value.get("result").is_some() || value.get("error").is_some() || value.get("id").is_none()
                {
                    let method = |_| name.parse().ok();
                    let (_, faults) = read(line.as_bytes(), method);
                    assert!(faults.is_empty(), "{line}: {faults:?}");
                }
            }
        }
    }

    #[test]
    fn each_leniency_is_a_rule_of_its_own() {
        let result = r#""result":{"exitCode":0}"#;
        let output = r#"{"jsonrpc":"2.0","method":"output","params":{"request":2,"stream":"stdout""#;
        for (line, rules) in [
            (format!(r#"{{"jsonrpc":"2.0","id":2,{result}}}"#), &[][..]),
            (format!(r#"{{"id":2,{result}}}"#), &["jsonrpc-is-said"]),
            (format!(r#"{{"jsonrpc":"1.0","id":2,{result}}}"#), &["jsonrpc-is-said"]),
            (format!(r#"{{"jsonrpc":"2.0","id":"2",{result}}}"#), &["ids-are-integers"]),
            (format!(r#"{{"jsonrpc":"2.0","id":2.0,{result}}}"#), &["ids-are-integers"]),
            (format!("{{\"jsonrpc\":\"2.0\",\"id\":2,{result}}}\r"), &["lines-end-in-lf"]),
            (format!("\u{feff}{{\"jsonrpc\":\"2.0\",\"id\":2,{result}}}"), &["no-byte-order-mark"]),
            (
                r#"{"jsonrpc":"2.0","id":2,"result":{"exitCode":0,"signal":null}}"#.into(),
                &["absent-is-left-out"],
            ),
            (r#"{"jsonrpc":"2.0","id":2,"result":{"exitCode":0.0}}"#.into(), &["types-are-exact"]),
            (r#"{"jsonrpc":"2.0","id":2,"result":{"exitCode":"0"}}"#.into(), &["types-are-exact"]),
            (r#"{"jsonrpc":"2.0","id":2,"result":{"signal":9}}"#.into(), &["types-are-exact"]),
            (r#"{"jsonrpc":"2.0","id":2,"result":{}}"#.into(), &["results-fit"]),
            (r#"{"jsonrpc":"2.0","id":2,"result":{"exitCode":1,"signal":"TERM"}}"#.into(), &["results-fit"]),
            (r#"{"jsonrpc":"2.0","id":2,"result":{"exitCode":"one"}}"#.into(), &["results-fit"]),
            (r#"{"jsonrpc":"2.0","id":2,"result":7}"#.into(), &["results-fit"]),
            (r#"{"jsonrpc":"2.0","id":3,"result":{"state":"melted"}}"#.into(), &["words-are-known"]),
            (
                r#"{"jsonrpc":"2.0","id":3,"result":{"state":"ready","lease":[]}}"#.into(),
                &["types-are-exact"],
            ),
            (r#"{"jsonrpc":"2.0","method":"$/trace","params":{}}"#.into(), &["words-are-known"]),
            (
                r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32000,"message":"m"}}"#.into(),
                &["errors-have-kinds"],
            ),
            (
                r#"{"jsonrpc":"2.0","id":2,"error":{"code":1,"message":"m","data":{"kind":"auth"}}}"#.into(),
                &["errors-have-kinds"],
            ),
            (
                r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32000,"message":"m","data":{"kind":"woe"}}}"#
                    .into(),
                &["errors-have-kinds"],
            ),
            (r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"m"}}"#.into(), &[]),
            ("hello".into(), &["stdout-is-the-protocols"]),
            (r#"{"jsonrpc":"2.0","id":2,"resu"#.into(), &["messages-can-be-read"]),
            (format!(r#"{output},"text":"a"}}}}"#), &[]),
            (format!(r#"{output},"text":"a","base64":null}}}}"#), &["absent-is-left-out"]),
            (format!(r#"{output}}}}}"#), &["messages-can-be-read"]),
            (format!(r#"{output},"text":"{}"}}}}"#, "x".repeat(MAX_CHUNK + 1)), &["output-in-pieces"]),
            ("x".repeat(MAX_LINE + 1), &["messages-can-be-read"]),
        ] {
            assert_eq!(broken(&line), rules, "{}", line.chars().take(200).collect::<String>());
        }
    }
}
