//! What matters of an answer: what the host decides by, and that nothing is missing. Not times, numbers of
//! processes, paths, or words for people.

use crabbox_protocol::Signal;
use serde_json::Value;

/// What is different in an answer from the one that was recorded, and would be seen by the host.
pub(super) fn differences(
    method: &str,
    recorded: &Result<Value, Value>,
    answer: &Result<Value, Value>,
) -> Vec<String> {
    let mut found = Vec::new();
    match (recorded, answer) {
        (Ok(recorded), Ok(answer)) => {
            for key in exact(method) {
                let [old, new] = [recorded, answer].map(|value| meaning(method, key, value.get(key)));
                if old != new {
                    found.push(format!("`{key}` was {old}, and is {new}"));
                }
            }
            for key in lists(method) {
                let has = |value: &Value, item: &Value| {
                    value[key].as_array().is_some_and(|items| items.contains(item))
                };
                let items = recorded[key].as_array().into_iter().flatten();
                let gone: Vec<_> = items.filter(|item| !has(answer, item)).map(Value::to_string).collect();
                if !gone.is_empty() {
                    found.push(format!("`{key}` has no {} any more", gone.join(", ")));
                }
            }
            if method == "configure" {
                problems(recorded, answer, &mut found);
            }
            shape("", recorded, answer, &mut found);
        }
        (Err(recorded), Err(answer)) => {
            for key in ["kind", "created", "remote"] {
                let [old, new] = [recorded, answer].map(|error| shown(error["data"].get(key)));
                if old != new {
                    found.push(format!("the error's `{key}` was {old}, and is {new}"));
                }
            }
        }
        (Ok(_), Err(error)) => found.push(format!("it succeeded, and fails now: {}", error["message"])),
        (Err(error), Ok(_)) => found.push(format!("it failed ({}), and succeeds now", error["message"])),
    }
    found
}

/// The fields of a result that have to be what they were.
fn exact(method: &str) -> &'static [&'static str] {
    match method {
        "initialize" => &["protocol", "name", "lifecycle"],
        "resolve" => &["state"],
        "run" => &["exitCode", "signal"],
        "release" | "unbridge" => &["outcome"],
        "kill" => &["remote"],
        "bridge" => &["state", "transport"],
        "list" => &["complete"],
        _ => &[],
    }
}

/// The lists of a result that may grow, and not shrink.
fn lists(method: &str) -> &'static [&'static str] {
    match method {
        "initialize" => &["methods", "features", "env", "targets"],
        _ => &[],
    }
}

/// A value as the host takes it.
fn meaning(method: &str, key: &str, value: Option<&Value>) -> String {
    match (method, key, value) {
        // The host's own record of a run, which says which of them it is, is not on the lease in a replay.
        ("kill", _, Some(Value::String(text))) if text == "absent" => shown(Some(&"dead".into())),
        (_, "signal", Some(value)) => {
            let signal =
                serde_json::from_value::<Signal>(value.clone()).ok().and_then(|signal| signal.number());
            signal.map_or_else(|| value.to_string(), |number| number.to_string())
        }
        (_, _, value) => shown(value),
    }
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "absent".to_owned(), Value::to_string)
}

/// The keys that `configure` finds wrong.
fn problems(recorded: &Value, answer: &Value, found: &mut Vec<String>) {
    let keys = |value: &Value| -> Vec<String> {
        let problems = value["problems"].as_array().into_iter().flatten();
        problems.map(|problem| problem["key"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let [old, new] = [recorded, answer].map(keys);
    if old != new {
        found.push(format!("there were problems with {old:?}, and are with {new:?}"));
    }
}

/// What is missing in a value, or of another type. What came on top does nobody any harm.
fn shape(at: &str, recorded: &Value, answer: &Value, found: &mut Vec<String>) {
    match (recorded, answer) {
        (Value::Object(recorded), Value::Object(answer)) => {
            for (key, value) in recorded.iter().filter(|(_, value)| !value.is_null()) {
                match answer.get(key) {
                    Some(other) => shape(&format!("{at}/{key}"), value, other, found),
                    None => found.push(format!("`{at}/{key}` is missing")),
                }
            }
        }
        (recorded, answer) if kind(recorded) != kind(answer) => {
            found.push(format!("`{at}` was {}, and is {}", kind(recorded), kind(answer)));
        }
        _ => {}
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_matters_is_compared_and_nothing_else() {
        let same = |method, old: Value, new: Value| differences(method, &Ok(old), &Ok(new)).join("; ");
        for (method, old, new, want) in [
            ("run", json!({"exitCode": 7}), json!({"exitCode": 7, "dropped": {"stdout": 1}}), ""),
            ("run", json!({"exitCode": 7}), json!({"exitCode": 8}), "`exitCode` was 7, and is 8"),
            ("run", json!({"signal": "TERM"}), json!({"signal": "15"}), ""),
            ("kill", json!({"remote": "dead"}), json!({"remote": "absent"}), ""),
            (
                "kill",
                json!({"remote": "dead"}),
                json!({"remote": "unknown"}),
                r#"`remote` was "dead", and is "unknown""#,
            ),
            ("acquire", json!({"lease": {"root": "/a"}}), json!({"lease": {"root": "/b", "ref": "r"}}), ""),
            ("acquire", json!({"lease": {"root": "/a"}}), json!({"lease": {}}), "`/lease/root` is missing"),
            (
                "acquire",
                json!({"lease": {"ref": "4"}}),
                json!({"lease": {"ref": 4}}),
                "`/lease/ref` was a text, and is a number",
            ),
            ("list", json!({"leases": [1], "complete": true}), json!({"leases": [], "complete": true}), ""),
            (
                "initialize",
                json!({"version": "1", "features": ["cancel", "nearby"]}),
                json!({"version": "2", "features": ["nearby", "new"]}),
                r#"`features` has no "cancel" any more"#,
            ),
            (
                "configure",
                json!({"scope": "a"}),
                json!({"scope": "b", "problems": [{"key": "k", "message": "m"}]}),
                r#"there were problems with [], and are with ["k"]"#,
            ),
        ] {
            assert_eq!(same(method, old, new), want, "{method}");
        }
    }

    #[test]
    fn errors_are_compared_by_what_they_make_the_host_do() {
        let error = |kind: &str, message: &str| {
            Err(json!({"code": -32000, "message": message, "data": {"kind": kind}}))
        };
        assert!(differences("run", &error("notFound", "a"), &error("notFound", "b")).is_empty());
        let found = differences("run", &error("notFound", "a"), &error("internal", "a"));
        assert_eq!(found, [r#"the error's `kind` was "notFound", and is "internal""#]);
        assert_eq!(
            differences("run", &Ok(json!({})), &error("auth", "no")),
            [r#"it succeeded, and fails now: "no""#]
        );
    }
}
