//! The examples in `wire/`: exact bytes, read and written by the types, valid under the schemas.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crabbox_protocol::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// An example: its file and line, the line's bytes, and what it is.
struct Example {
    at: String,
    line: String,
    kind: Kind,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    Request(String),
    Response(String),
    Error,
    Note(String),
}

/// Every line of every file. A response belongs to the request before it.
fn examples() -> Vec<Example> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("wire");
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut examples = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.ends_with('\n'), "{name} ends without LF");
        let mut asked = String::new();
        for (number, line) in text.lines().enumerate() {
            let value: Value = serde_json::from_str(line).unwrap();
            let method = value.get("method").map(|method| method.as_str().unwrap().to_owned());
            let kind = match method {
                Some(method) if value.get("id").is_some() => {
                    asked.clone_from(&method);
                    Kind::Request(method)
                }
                Some(method) => Kind::Note(method),
                None if value.get("error").is_some() => Kind::Error,
                None => Kind::Response(asked.clone()),
            };
            examples.push(Example { at: format!("wire/{name}:{}", number + 1), line: line.to_owned(), kind });
        }
    }
    examples
}

/// Reads the line as `T` and writes it again: the same bytes, also when a later version added fields.
fn same<T: Serialize + DeserializeOwned>(example: &Example) {
    let mut value: Value = serde_json::from_str(&example.line).unwrap();
    add_fields(&mut value);
    for line in [example.line.clone(), value.to_string()] {
        let message: T =
            serde_json::from_str(&line).unwrap_or_else(|e| panic!("{}: {e}: {line}", example.at));
        let written = String::from_utf8(encode(&message).unwrap()).unwrap();
        assert_eq!(written, format!("{}\n", example.line), "{}", example.at);
    }
}

/// Adds a field that no version knows to every object, but not where any key is allowed.
fn add_fields(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let free = ["config", "secrets", "labels", "details", "state", "env"];
            fields
                .iter_mut()
                .filter(|(key, _)| !free.contains(&key.as_str()))
                .for_each(|(_, v)| add_fields(v));
            fields.insert("fromTheFuture".to_owned(), serde_json::json!({"a": [1, null]}));
        }
        Value::Array(items) => items.iter_mut().for_each(add_fields),
        _ => {}
    }
}

fn request_and_response<C: Call>(example: &Example) {
    match example.kind {
        Kind::Request(_) => same::<Request<C>>(example),
        _ => same::<Success<C::Result>>(example),
    }
}

#[test]
fn every_example_is_exactly_what_our_encoder_writes_and_later_fields_are_ignored() {
    for example in &examples() {
        let method = match &example.kind {
            Kind::Error => {
                same::<Failure>(example);
                continue;
            }
            Kind::Note(name) => {
                match name.as_str() {
                    note::OUTPUT => same_output(example),
                    note::PROGRESS => same::<Note<Progress>>(example),
                    note::LEASE => same::<Note<LeaseEvent>>(example),
                    note::CANCEL => same::<Note<Cancel>>(example),
                    other => panic!("{}: no notification `{other}`", example.at),
                }
                continue;
            }
            Kind::Request(method) | Kind::Response(method) => method,
        };
        match method.parse().unwrap_or_else(|()| panic!("{}: no method `{method}`", example.at)) {
            Method::Initialize => request_and_response::<InitializeParams>(example),
            Method::Configure => request_and_response::<ConfigureParams>(example),
            Method::Doctor => request_and_response::<DoctorParams>(example),
            Method::Acquire => request_and_response::<AcquireParams>(example),
            Method::Resolve => request_and_response::<ResolveParams>(example),
            Method::Run => request_and_response::<RunParams>(example),
            Method::Put => request_and_response::<PutParams>(example),
            Method::Kill => request_and_response::<KillParams>(example),
            Method::Release => request_and_response::<ReleaseParams>(example),
            Method::Touch => request_and_response::<TouchParams>(example),
            Method::List => request_and_response::<ListParams>(example),
            Method::Bridge => request_and_response::<BridgeParams>(example),
            Method::Unbridge => request_and_response::<UnbridgeParams>(example),
        }
    }
}

/// [`same`] for the one message that borrows from its line.
fn same_output(example: &Example) {
    let message: Note<Output<'_>> = serde_json::from_str(&example.line).unwrap();
    let line = encode(&message).unwrap();
    assert_eq!(String::from_utf8(line).unwrap(), format!("{}\n", example.line), "{}", example.at);
    let bytes = message.params.clone().into_bytes().unwrap().into_owned();
    let again = Note::new(note::OUTPUT, Output::new(message.params.request, message.params.stream, &bytes));
    assert_eq!(again, message, "{}", example.at);
}

#[test]
fn every_example_is_valid_under_the_schema_that_is_checked_in() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/v1");
    let mut validators = BTreeMap::new();
    for example in examples() {
        let name = match &example.kind {
            Kind::Request(method) => format!("{method}.request"),
            Kind::Response(method) => format!("{method}.response"),
            Kind::Error => "error".to_owned(),
            Kind::Note(name) => name.clone(),
        };
        let validator = validators.entry(name).or_insert_with_key(|name| {
            let text = fs::read(directory.join(format!("{name}.schema.json"))).unwrap();
            let schema = serde_json::from_slice(&text).unwrap();
            jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
        });
        let value: Value = serde_json::from_str(&example.line).unwrap();
        let problems: Vec<_> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
        assert!(problems.is_empty(), "{}: {problems:?}", example.at);
        // The validator is a real one: without what is required the same message is refused.
        let mut broken = value.clone();
        broken.as_object_mut().unwrap().remove("jsonrpc");
        assert!(!validator.is_valid(&broken), "{}", example.at);
    }
}

#[test]
fn every_example_is_decoded_by_the_side_that_receives_it_without_repairs() {
    for Example { at, line, kind } in examples() {
        if matches!(&kind, Kind::Request(_)) || kind == Kind::Note(note::CANCEL.to_owned()) {
            let decoded = decode_host_line(line.as_bytes()).unwrap_or_else(|e| panic!("{at}: {}", e.message));
            match (decoded, kind) {
                (HostMessage::Request(_, found, _), Kind::Request(method)) => assert_eq!(found, method),
                (HostMessage::Cancel(_), Kind::Note(_)) => {}
                (other, _) => panic!("{at}: {other:?}"),
            }
            continue;
        }
        let Decoded::Message(message, repairs) = decode_plugin_line(line.as_bytes()) else { panic!("{at}") };
        assert!(repairs.is_empty(), "{at}: {repairs:?}");
        let fits = match (&message, &kind) {
            (PluginMessage::Response { outcome, .. }, Kind::Response(_)) => outcome.is_ok(),
            (PluginMessage::Response { outcome, .. }, Kind::Error) => outcome.is_err(),
            (PluginMessage::Output(_), Kind::Note(name)) => name == note::OUTPUT,
            (PluginMessage::Progress(_), Kind::Note(name)) => name == note::PROGRESS,
            (PluginMessage::Lease(_), Kind::Note(name)) => name == note::LEASE,
            _ => false,
        };
        assert!(fits, "{at}: {message:?}");
    }
}

#[test]
fn every_method_every_notification_and_an_error_has_an_example() {
    let found: BTreeSet<Kind> = examples().into_iter().map(|example| example.kind).collect();
    let methods = Method::ALL.iter().map(|method| method.name().to_owned());
    let mut expected: BTreeSet<Kind> =
        methods.flat_map(|name| [Kind::Request(name.clone()), Kind::Response(name)]).collect();
    let notes = [note::OUTPUT, note::PROGRESS, note::LEASE, note::CANCEL];
    expected.extend(notes.map(|name| Kind::Note(name.to_owned())));
    expected.insert(Kind::Error);
    assert_eq!(found, expected);
}
