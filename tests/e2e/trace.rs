//! `CRABBOX_PLUGIN_TRACE`: all that was said, nothing secret, and never in the way.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crabbox_tests::{World, ended};
use serde_json::{Value, json};

use crate::support::assert_has;

/// Runs crabbox with a trace; the entries that are in it afterwards.
fn traced(world: &World, arguments: &[&str], code: i32) -> (Vec<Value>, String) {
    let file = world.root().join("trace.jsonl");
    let mut command = world.crabbox(arguments);
    command
        .env("CRABBOX_PLUGIN_TRACE", &file)
        .env("ACME_TOKEN", "s3cr3t-tok\"en")
        .env("ACME_ADDR", "acme.example:99");
    let (got, stdout, stderr) = ended(&mut command);
    assert_eq!(got, code, "{stdout}{stderr}");
    let text = fs::read_to_string(&file).unwrap();
    (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), text)
}

#[test]
fn both_directions_are_written_down_and_appended() {
    let world = World::new();
    let (first, _) = traced(&world, &["warmup", "--slug", "demo"], 0);
    let methods: Vec<_> = first
        .iter()
        .filter(|entry| entry["dir"] == "host")
        .map(|entry| {
            serde_json::from_str::<Value>(entry["line"].as_str().unwrap()).unwrap()["method"].clone()
        })
        .collect();
    assert_eq!(methods, ["initialize", "initialize", "configure", "acquire"]);
    assert_eq!(first.iter().filter(|entry| entry["dir"] == "plugin").count(), 4);
    assert!(first.iter().all(|entry| entry["plugin"] == "local" && entry["at"].is_u64()), "{first:#?}");
    let mode = fs::metadata(world.root().join("trace.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (both, _) = traced(&world, &["stop", "demo"], 0);
    assert_eq!(both[..first.len()], first);
    assert!(both.len() > first.len());
    let sessions: std::collections::BTreeSet<_> =
        both.iter().map(|entry| entry["session"].as_str()).collect();
    assert_eq!(sessions.len(), 3, "the first question, the warmup, the stop");
}

#[test]
fn no_secret_is_in_a_trace() {
    let world = World::new();
    let config = json!({"properties": {
        "token": {"type": "string", "x-crabbox": {"secret": true, "env": ["ACME_TOKEN"]}},
        "address": {"type": "string", "x-crabbox": {"env": ["ACME_ADDR"], "userOnly": true}},
    }});
    // What it says has the secret in it: as it is, escaped by JSON, on standard error, and in Base64.
    let cases = r#"configure) ok '{"scope":"here"}' ;;
        acquire) echo "token $ACME_TOKEN at $ACME_ADDR" >&2; printf 'stray %s\n' "$ACME_TOKEN"
        printf '{"jsonrpc":"2.0","method":"progress","params":{"request":%s,"message":"s3cr3t\\u002dtok\\"en"}}\n' "$id"
        printf '{"jsonrpc":"2.0","method":"other","params":{"request":%s,"base64":"/3MzY3IzdC10b2siZW4="}}\n' "$id"
        no "not with s3cr3t-tok\\\"en" '{"kind":"auth","created":false}' ;;"#;
    let methods = ["configure", "acquire", "run", "release"];
    world.provider("acme", &json!({"config": config, "env": ["ACME_*"], "methods": methods}), cases);
    let (entries, text) = traced(&world, &["warmup", "--provider", "acme"], 3);
    let said = |dir: &str| -> String {
        let lines = entries.iter().filter(|entry| entry["dir"] == dir);
        lines.map(|entry| format!("{}\n", entry["line"].as_str().unwrap())).collect()
    };
    assert_has(&said("stderr"), &["token [redacted] at [redacted]\n"]);
    assert_has(&said("plugin"), &["stray [redacted]\n", r#""message":"[redacted]""#, "not with [redacted]"]);
    assert_has(&said("host"), &[r#""secrets":{"token":{"env":"ACME_TOKEN"}}"#, r#""address":"[redacted]""#]);
    for part in ["s3cr3t", "acme.example", "/3MzY3IzdC10b2siZW4="] {
        assert!(!text.contains(part), "{part} is in {text}");
    }
}

#[test]
fn what_is_no_text_is_kept_too() {
    let world = World::new();
    world.provider_that("acme", r"printf 'half \377\n'; printf '\377 said\n' >&2; exit 3");
    let (entries, _) = traced(&world, &["run", "--provider", "acme", "true"], 1);
    let bytes: Vec<_> = entries
        .iter()
        .filter_map(|entry| Some((entry["dir"].clone(), entry.get("base64")?.clone())))
        .collect();
    assert!(bytes.contains(&(json!("plugin"), json!("aGFsZiD/"))), "{entries:#?}");
    assert!(bytes.contains(&(json!("stderr"), json!("/yBzYWlk"))), "{entries:#?}");
}

#[test]
fn a_trace_that_cannot_be_written_fails_nothing() {
    let world = World::new();
    for (file, warning) in [("gone/trace", "nothing is traced"), ("/dev/full", "the trace ends here")] {
        let mut command = world.crabbox(&["run", "echo", "all the same"]);
        let (code, stdout, stderr) = ended(command.env("CRABBOX_PLUGIN_TRACE", file));
        assert_eq!((code, stdout.as_str()), (0, "all the same\n"), "{stderr}");
        assert_eq!(stderr.matches(warning).count(), 1, "{stderr}");
    }
    let mut command = world.crabbox(&["run", "--no-sync", "true"]);
    assert_eq!(ended(command.env("CRABBOX_PLUGIN_TRACE", "here.jsonl")).0, 0);
    assert!(world.repo().join("here.jsonl").exists(), "a relative path is from where one stands");
}

#[test]
fn what_is_forwarded_is_in_no_message_and_no_record() {
    let world = World::new();
    let file = world.root().join("trace.jsonl");
    let mut argvs = std::collections::BTreeSet::new();
    world.ok(&["warmup", "--slug", "demo"]);
    for value in ["t0ps3cret-one", "t0ps3cret-two"] {
        let script = "cat; printf '%s' \"$MINE\" >mine; ps -ww -o args= -p $PPID || :; exit 3";
        let run = ["run", "--id", "demo", "--allow-env", "MINE", "--", "sh", "-c", script];
        let mut command = world.crabbox(&run);
        let (code, stdout, stderr) = ended(command.env("MINE", value).env("CRABBOX_PLUGIN_TRACE", &file));
        assert_eq!(code, 3, "{stderr}");
        assert!(!stdout.contains("t0ps3cret") && !stderr.contains("t0ps3cret"), "{stdout}{stderr}");
    }
    let trace = fs::read_to_string(&file).unwrap();
    assert!(!trace.contains("t0ps3cret"), "{trace}");
    for line in trace.lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        let message: Value = serde_json::from_str(entry["line"].as_str().unwrap()).unwrap();
        if message["method"] == "run" {
            argvs.insert(message["params"]["argv"].to_string());
        }
    }
    assert_eq!(argvs.len(), 1, "the argv is the same whatever is run: {argvs:#?}");

    let mut directories =
        vec![world.state().join("claims"), world.state().join("runs"), world.state().join("locks")];
    let mut files = 0;
    while let Some(directory) = directories.pop() {
        let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700, "{}", directory.display());
        for path in fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            files += 1;
            assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
            assert!(
                !String::from_utf8_lossy(&fs::read(&path).unwrap()).contains("t0ps3cret"),
                "{}",
                path.display()
            );
        }
    }
    assert!(files > 0, "there is a claim");
    world.ok(&["stop", "demo"]);
}
