//! The schemas in `schemas/v1/` are the ones that the types make.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use crabbox_protocol::schemas;
use serde_json::Value;

const UPDATE: &str = "UPDATE_SCHEMAS=1 cargo test -p crabbox-protocol --test schemas";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/v1")
}

/// What belongs into the directory: the text of each file by its name.
fn expected() -> BTreeMap<String, String> {
    let all = schemas::all().into_iter();
    all.map(|(name, schema)| {
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        (format!("{name}.schema.json"), text)
    })
    .collect()
}

/// What lies in the directory. Git may have turned LF into CR LF.
fn found() -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory()).into_iter().flatten();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            let text = String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).replace("\r\n", "\n");
            (entry.file_name().to_string_lossy().into_owned(), text)
        })
        .collect()
}

/// Everything that differs, one line each.
fn differences(expected: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> Vec<String> {
    let mut out = Vec::new();
    for (name, text) in expected {
        match found.get(name) {
            Some(there) if there == text => {}
            Some(_) => out.push(format!("schemas/v1/{name} is stale; run `{UPDATE}`")),
            None => out.push(format!("schemas/v1/{name} is missing; run `{UPDATE}`")),
        }
    }
    for name in found.keys().filter(|name| !expected.contains_key(*name)) {
        out.push(format!("schemas/v1/{name} belongs to no type; run `{UPDATE}`"));
    }
    out
}

#[test]
fn the_files_are_what_the_types_make() {
    let (expected, found) = (expected(), found());
    let differences = differences(&expected, &found);
    if env::var_os("UPDATE_SCHEMAS").is_none() {
        assert!(differences.is_empty(), "\n{}\n", differences.join("\n"));
        return;
    }
    fs::create_dir_all(directory()).unwrap();
    for (name, text) in &expected {
        if found.get(name) != Some(text) {
            fs::write(directory().join(name), text).unwrap();
        }
    }
    for name in found.keys().filter(|name| !expected.contains_key(*name)) {
        fs::remove_file(directory().join(name)).unwrap();
    }
}

#[test]
fn a_stale_a_missing_and_a_stray_file_are_each_named_with_the_command() {
    let expected = expected();
    assert!(differences(&expected, &expected).is_empty());
    let mut other = expected.clone();
    other.get_mut("run.request.schema.json").unwrap().push(' ');
    other.remove("claim.schema.json");
    other.insert("notes.txt".to_owned(), String::new());
    assert_eq!(
        differences(&expected, &other),
        [
            format!("schemas/v1/claim.schema.json is missing; run `{UPDATE}`"),
            format!("schemas/v1/run.request.schema.json is stale; run `{UPDATE}`"),
            format!("schemas/v1/notes.txt belongs to no type; run `{UPDATE}`"),
        ]
    );
}

/// Calls `visit` with every part of a schema and its JSON Pointer.
fn walk(value: &Value, pointer: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(pointer, value);
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, field)| walk(field, &format!("{pointer}/{key}"), visit));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| walk(item, &format!("{pointer}/{n}"), visit));
        }
        _ => {}
    }
}

#[test]
fn each_is_a_valid_schema_with_a_title_and_no_identifier() {
    for (name, schema) in schemas::all() {
        let schema = schema.as_value();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        assert!(schema.get("$id").is_none(), "{name}");
        assert!(schema["title"].is_string() && schema["description"].is_string(), "{name}");
        jsonschema::meta::validate(schema).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn nothing_may_be_null() {
    for (name, schema) in schemas::all() {
        walk(schema.as_value(), "", &mut |pointer, value| {
            assert!(value != "null", "{name}{pointer} allows null");
        });
    }
}

/// What a peer may send is what version 1 names: the tag that catches unknown ones is not on the list,
/// except where `unknown` is itself an answer.
#[test]
fn only_states_that_cannot_be_told_are_called_unknown() {
    let answers = ["LeaseState", "Remote"];
    for (name, schema) in schemas::all() {
        walk(schema.as_value(), "", &mut |pointer, value| {
            if value == "unknown" {
                let allowed = answers.iter().any(|answer| pointer.starts_with(&format!("/$defs/{answer}/")));
                assert!(allowed, "{name}{pointer}");
            }
        });
    }
}

/// Descriptions are the specification's text for people who have never seen Rust.
#[test]
fn every_field_and_every_word_is_described_without_rust() {
    let foreign = ["[`", "::", "Option<", "Vec<", "struct", "serde", "variant", "enum", "uint"];
    for (name, schema) in schemas::all() {
        walk(schema.as_value(), "", &mut |pointer, value| {
            let parent = pointer.rsplit('/').nth(1).unwrap_or_default();
            let is_schema = ["properties", "$defs"].contains(&parent) || value.get("const").is_some();
            if is_schema && pointer.matches("/properties/properties").count() == 0 {
                let said = value.get("description").and_then(Value::as_str).unwrap_or_default();
                assert!(!said.is_empty(), "{name}{pointer} has no description");
            }
            if let Some(text) = value.get("description").and_then(Value::as_str) {
                for word in foreign {
                    assert!(!text.contains(word), "{name}{pointer}: `{word}` in: {text}");
                }
            }
        });
    }
}

#[test]
fn identifiers_carry_their_pattern() {
    let (_, run) = schemas::all().into_iter().find(|(name, _)| name == "run.request").unwrap();
    assert_eq!(run.as_value()["$defs"]["LeaseId"]["pattern"], "^cbx_[0-9a-f]{12}$");
    assert_eq!(run.as_value()["$defs"]["RunId"]["pattern"], "^run_[0-9a-f]{12}$");
}
