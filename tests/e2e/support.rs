//! What several of these tests need.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crabbox_tests::{Plugin, World};
use serde_json::Value;

/// The providers that come along, in three languages.
pub(crate) const ALL: [Plugin; 3] = [Plugin::Local, Plugin::Python, Plugin::Sh];

/// The root of the repository that these tests are in.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Fails unless a value is as a schema of `schemas/v1` says.
pub(crate) fn assert_fits(schema: &str, value: &Value) {
    let path = repository().join(format!("schemas/v1/{schema}.schema.json"));
    let text: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let problems: Vec<_> =
        jsonschema::validator_for(&text).unwrap().iter_errors(value).map(|error| error.to_string()).collect();
    assert!(problems.is_empty(), "{problems:?} in {value:#}");
}

/// Fails unless nothing is left of leases and runs.
pub(crate) fn assert_nothing_left(world: &World, plugin: Plugin) {
    assert_eq!(world.leftovers(plugin), Vec::<std::path::PathBuf>::new(), "{plugin:?}");
}

/// Fails unless a text has all these parts.
pub(crate) fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

/// Starts a command whose output is read later.
pub(crate) fn spawn(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What a command that was started came to.
pub(crate) fn end(child: Child) -> (i32, String, String) {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// The only claim, and its file.
pub(crate) fn claim(world: &World) -> (std::path::PathBuf, Value) {
    let files: Vec<_> =
        fs::read_dir(world.state().join("claims")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let claim = serde_json::from_str(&fs::read_to_string(&files[0]).unwrap()).unwrap();
    (files[0].clone(), claim)
}
