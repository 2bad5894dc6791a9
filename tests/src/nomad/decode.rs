//! Reads the body of a register as Go's decoder reads it: lenient about what it does not know, strict about types.

use serde_json::{Map, Value};

use super::answer::Answer;
use super::state::object;

/// A Go struct: its name and those of its fields that the emulator knows of.
struct Struct {
    name: &'static str,
    fields: &'static [(&'static str, Kind)],
}

/// The type of a field, as the errors name it.
enum Kind {
    Text,
    Flag,
    Int,
    Uint64,
    Duration,
    Texts,
    TextMap,
    AnyMap,
    One(&'static Struct),
    Many(&'static Struct),
}

use Kind::{AnyMap, Duration, Flag, Int, Many, One, Text, TextMap, Texts, Uint64};

const REGISTER: Struct = Struct {
    name: "JobRegisterRequest",
    fields: &[
        ("Job", One(&JOB)),
        ("EnforceIndex", Flag),
        ("JobModifyIndex", Uint64),
        ("PolicyOverride", Flag),
        ("PreserveCounts", Flag),
        ("EvalPriority", Int),
        ("Region", Text),
        ("Namespace", Text),
        ("SecretID", Text),
    ],
};

const JOB: Struct = Struct {
    name: "Job",
    fields: &[
        ("Region", Text),
        ("Namespace", Text),
        ("ID", Text),
        ("Name", Text),
        ("Type", Text),
        ("Priority", Int),
        ("AllAtOnce", Flag),
        ("Datacenters", Texts),
        ("NodePool", Text),
        ("Meta", TextMap),
        ("TaskGroups", Many(&GROUP)),
        ("Stop", Flag),
        ("ParentID", Text),
        ("Periodic", One(&PERIODIC)),
        ("ParameterizedJob", One(&PARAMETERIZED)),
    ],
};

const PERIODIC: Struct =
    Struct { name: "PeriodicConfig", fields: &[("Enabled", Flag), ("Spec", Text), ("SpecType", Text)] };

const PARAMETERIZED: Struct =
    Struct { name: "ParameterizedJobConfig", fields: &[("Payload", Text), ("MetaRequired", Texts)] };

const GROUP: Struct = Struct {
    name: "TaskGroup",
    fields: &[
        ("Name", Text),
        ("Count", Int),
        ("Meta", TextMap),
        ("Tasks", Many(&TASK)),
        ("EphemeralDisk", One(&DISK)),
        ("RestartPolicy", One(&RESTART)),
        ("ReschedulePolicy", One(&RESCHEDULE)),
    ],
};

const DISK: Struct =
    Struct { name: "EphemeralDisk", fields: &[("Sticky", Flag), ("Migrate", Flag), ("SizeMB", Int)] };

const RESTART: Struct = Struct {
    name: "RestartPolicy",
    fields: &[("Interval", Duration), ("Attempts", Int), ("Delay", Duration), ("Mode", Text)],
};

const RESCHEDULE: Struct = Struct {
    name: "ReschedulePolicy",
    fields: &[
        ("Attempts", Int),
        ("Interval", Duration),
        ("Delay", Duration),
        ("DelayFunction", Text),
        ("MaxDelay", Duration),
        ("Unlimited", Flag),
    ],
};

const LOGS: Struct =
    Struct { name: "LogConfig", fields: &[("MaxFiles", Int), ("MaxFileSizeMB", Int), ("Disabled", Flag)] };

const TASK: Struct = Struct {
    name: "Task",
    fields: &[
        ("Name", Text),
        ("Driver", Text),
        ("User", Text),
        ("Config", AnyMap),
        ("Env", TextMap),
        ("Meta", TextMap),
        ("Resources", One(&RESOURCES)),
        ("LogConfig", One(&LOGS)),
        ("KillTimeout", Duration),
        ("KillSignal", Text),
        ("Leader", Flag),
        ("RestartPolicy", One(&RESTART)),
    ],
};

const RESOURCES: Struct =
    Struct { name: "Resources", fields: &[("CPU", Int), ("Cores", Int), ("MemoryMB", Int), ("DiskMB", Int)] };

/// Reads the body of a register.
pub(super) fn register(body: &[u8]) -> Result<Map<String, Value>, Answer> {
    if body.is_empty() {
        return Err(Answer::error(400, "Request body is empty"));
    }
    // What follows the first value is not read.
    let first = serde_json::Deserializer::from_slice(body).into_iter::<Value>().next();
    let value = first.unwrap_or(Ok(Value::Null)).map_err(|error| Answer::error(400, syntax(body, &error)))?;
    check(&REGISTER, &value, "").map_err(|text| Answer::error(400, text))?;
    Ok(object(value))
}

fn check(of: &Struct, value: &Value, path: &str) -> Result<(), String> {
    let Value::Object(fields) = value else {
        return if value.is_null() {
            Ok(())
        } else {
            Err(mismatch(value, "", path, &format!("api.{}", of.name)))
        };
    };
    for (name, kind) in of.fields {
        let Some(value) = fields.get(*name).filter(|it| !it.is_null()) else { continue };
        let path = if path.is_empty() { (*name).to_owned() } else { format!("{path}.{name}") };
        let wrong = |value: &Value, kind: &str| Err(mismatch(value, of.name, &path, kind));
        match kind {
            Text if !value.is_string() => return wrong(value, "string"),
            Flag if !value.is_boolean() => return wrong(value, "bool"),
            Int if !value.is_i64() => return wrong(value, "int"),
            Duration if !value.is_i64() => return wrong(value, "time.Duration"),
            Uint64 if !value.is_u64() => return wrong(value, "uint64"),
            Texts => match value.as_array() {
                None => return wrong(value, "[]string"),
                Some(all) => {
                    if let Some(other) = all.iter().find(|it| !it.is_string() && !it.is_null()) {
                        return wrong(other, "string");
                    }
                }
            },
            TextMap => match value.as_object() {
                None => return wrong(value, "map[string]string"),
                Some(all) => {
                    if let Some(other) = all.values().find(|it| !it.is_string() && !it.is_null()) {
                        return wrong(other, "string");
                    }
                }
            },
            AnyMap if !value.is_object() => return wrong(value, "map[string]interface {}"),
            One(inner) if !value.is_object() => return wrong(value, &format!("api.{}", inner.name)),
            One(inner) => check(inner, value, &path)?,
            Many(inner) => match value.as_array() {
                None => return wrong(value, &format!("[]*api.{}", inner.name)),
                Some(all) => {
                    for each in all {
                        if !each.is_object() && !each.is_null() {
                            return wrong(each, &format!("api.{}", inner.name));
                        }
                        check(inner, each, &path)?;
                    }
                }
            },
            _ => {}
        }
    }
    Ok(())
}

fn mismatch(value: &Value, of: &str, path: &str, kind: &str) -> String {
    let what = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        // The number itself is told where it is the number that does not fit, not that it is one.
        Value::Number(number) if matches!(kind, "int" | "uint64" | "time.Duration") => {
            format!("number {number}")
        }
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    };
    match of {
        "" => format!("json: cannot unmarshal {what} into Go value of type {kind}"),
        _ => format!("json: cannot unmarshal {what} into Go struct field {of}.{path} of type {kind}"),
    }
}

/// What Go says of a text that is not JSON.
pub(super) fn syntax(body: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected EOF".to_owned();
    }
    let line = body.split(|&byte| byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let letter = line.get(error.column().saturating_sub(1)).map_or(' ', |&byte| char::from(byte));
    let text = error.to_string();
    let place = match () {
        () if text.starts_with("key must be a string") => "looking for beginning of object key string",
        () if text.starts_with("trailing comma") && letter == '}' => {
            "looking for beginning of object key string"
        }
        () if text.starts_with("expected `,` or `}`") => "after object key:value pair",
        () if text.starts_with("expected `,` or `]`") => "after array element",
        () if text.starts_with("expected `:`") => "after object key",
        () => "looking for beginning of value",
    };
    format!("invalid character {letter:?} {place}")
}
