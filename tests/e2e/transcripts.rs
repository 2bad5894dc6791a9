//! What plugins and hosts once said to each other, played again from either side.
//!
//! `tests/transcripts` has a conversation of every provider here, as it was when it was recorded. They are not
//! made anew when something changes: that each still passes is what "supported" means. What is new is added by
//! `UPDATE_TRANSCRIPTS=1 cargo test -p crabbox-tests --test e2e transcripts`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crabbox_tests::{World, binary, ended, quoted, skip, tool};
use serde_json::{Value, json};

use crate::support::{assert_fits, assert_has, repository};

/// A provider, and what it can do besides running commands.
struct Recorded {
    name: &'static str,
    /// Whether a command that is cancelled gets an answer.
    cancels: bool,
    /// Whether its output is in the transcript.
    notifies: bool,
}

const LOCAL: Recorded = Recorded { name: "local", cancels: true, notifies: false };
const PYTHON: Recorded = Recorded { name: "pydir", cancels: true, notifies: true };
const SH: Recorded = Recorded { name: "shdir", cancels: false, notifies: false };
const MINIMAL: Recorded = Recorded { name: "minimal", cancels: true, notifies: false };

impl Recorded {
    fn transcript(&self) -> PathBuf {
        repository().join(format!("tests/transcripts/{}.jsonl", self.name))
    }

    /// A world with the provider as it is now; `None` where its language is absent.
    fn world(&self) -> Option<World> {
        let world = World::new();
        let link = |from: PathBuf, name: &str| symlink(from, world.bin().join(name)).unwrap();
        match self.name {
            "pydir" => {
                link(tool("python3")?, "python3");
                world.install(&repository().join("tests/providers/python/crabbox-provider-pydir"));
            }
            "shdir" => {
                link(tool("jq")?, "jq");
                world.install(&repository().join("tests/providers/sh/crabbox-provider-shdir"));
            }
            "minimal" => link(binary("examples/minimal"), "crabbox-provider-minimal"),
            _ => {}
        }
        Some(world)
    }

    /// Every command of the conversation, and what it exits with.
    fn commands(&self) -> Vec<(Vec<&'static str>, i32)> {
        let name = self.name;
        let mut commands = vec![
            (vec!["warmup", "--provider", name, "--slug", "demo"], 0),
            (
                vec![
                    "run",
                    "--id",
                    "demo",
                    "--no-sync",
                    "--",
                    "sh",
                    "-c",
                    "echo hello; echo oops >&2; exit 7",
                ],
                7,
            ),
        ];
        if self.cancels {
            commands.push((
                vec!["run", "--id", "demo", "--no-sync", "--timeout", "1s", "--", "sleep", "600"],
                124,
            ));
        }
        commands.extend([
            (vec!["status", "demo"], 0),
            (vec!["list", "--refresh"], 0),
            (vec!["doctor", "--provider", name], 0),
            (vec!["stop", "demo"], 0),
        ]);
        commands
    }

    /// crabbox in a world, with what this provider cannot do without.
    fn crabbox(&self, world: &World, arguments: &[&str]) -> Command {
        let mut command = world.crabbox(arguments);
        command.env("CRABBOX_MINIMAL_ROOT", world.root().join("leases"));
        command
    }

    /// Has the whole conversation.
    fn converse(&self, world: &World) -> Vec<String> {
        let commands = self.commands().into_iter().map(|(arguments, want)| {
            let trace = world.root().join("trace.jsonl");
            let mut command = self.crabbox(world, &arguments);
            let (code, stdout, stderr) = ended(command.env("CRABBOX_PLUGIN_TRACE", trace));
            assert_eq!(code, want, "{} {arguments:?}:\n{stdout}{stderr}", self.name);
            stdout
        });
        commands.collect()
    }

    fn record(&self) {
        let Some(world) = self.world() else { return };
        self.converse(&world);
        let text = fs::read_to_string(world.root().join("trace.jsonl")).unwrap();
        fs::write(self.transcript(), normalised(&text, self.name, &world.root())).unwrap();
    }

    /// Plays the recorded host to the plugin of today.
    fn plugin_answers(&self) {
        if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
            self.record();
        }
        if self.name == "local" && cfg!(not(target_os = "linux")) {
            return skip("linux", "what was recorded asks for a lease on Linux");
        }
        let Some(world) = self.world() else { return };
        let transcript = self.transcript();
        let arguments = ["plugins", "replay", transcript.to_str().unwrap(), "--plugin", self.name];
        let (code, stdout, stderr) = ended(&mut self.crabbox(&world, &arguments));
        assert_eq!(code, 0, "{stdout}{stderr}");
        assert_has(
            &stdout,
            &["same       1 initialize", " acquire\n", " run\n", " release\n", " 0 different"],
        );
        assert!(!stdout.contains("skipped  "), "{stdout}");
        assert_eq!(stderr, "", "nothing was left to release");
    }

    /// Plays the recorded plugin to the host of today.
    fn host_goes_on(&self) {
        let world = World::new();
        let recorded = quoted(binary("examples/crabbox-provider-recorded").to_str().unwrap());
        let transcript = quoted(self.transcript().to_str().unwrap());
        let progress = world.root().join("progress");
        fs::create_dir(&progress).unwrap();
        let progress_word = quoted(progress.to_str().unwrap());
        let script = format!("#!/bin/sh\nexec {recorded} {transcript} {progress_word} \"$@\"\n");
        let name = format!("crabbox-provider-{}", self.name);
        let path = world.script(&name, &script);
        // `local` also lies beside crabbox, which comes first.
        world.write_config(&format!("plugins: {{{}: {{path: {}}}}}\n", self.name, path.display()));
        let printed = self.converse(&world);
        assert!(!progress.join("unknown").exists(), "the host asks what was never asked");
        if self.notifies {
            assert_eq!(printed[1], "hello\n");
        }
        assert_eq!(world.leftovers(crabbox_tests::Plugin::Local), Vec::<PathBuf>::new());
    }
}

/// A trace of one provider's sessions without what is different every time.
fn normalised(text: &str, provider: &str, root: &Path) -> String {
    let text = text.replace(root.to_str().unwrap(), "/world");
    let text = hexadecimal(&text, "cbx_", 12);
    let text = hexadecimal(&text, "run_", 12);
    let text = hexadecimal(&text, "crabbox-demo-", 8);
    let text = hexadecimal(&text, "minimal:", 32);
    let text = hexadecimal(&text, r#"sha256\":\""#, 64);
    let mut sessions = BTreeMap::new();
    let mut lines = String::new();
    for line in text.lines() {
        let mut entry: Value = serde_json::from_str(line).unwrap();
        if entry["plugin"] != provider {
            continue;
        }
        let count = sessions.len() + 1;
        let session = entry["session"].as_str().unwrap().to_owned();
        entry["session"] = format!("s{}", sessions.entry(session).or_insert(count)).into();
        entry["at"] = json!(0);
        if let Some(message) =
            entry["line"].as_str().and_then(|line| serde_json::from_str::<Value>(line).ok())
        {
            entry["line"] = without_times(message).to_string().into();
        }
        lines += &format!("{entry}\n");
    }
    lines
}

/// The text with every different number of so many digits after `prefix` counted from 1.
fn hexadecimal(text: &str, prefix: &str, digits: usize) -> String {
    let mut seen: Vec<String> = Vec::new();
    let mut result = text.to_owned();
    for (at, _) in text.match_indices(prefix) {
        let number: String = text[at + prefix.len()..].chars().take(digits).collect();
        if number.len() == digits && number.chars().all(|c| c.is_ascii_hexdigit()) && !seen.contains(&number)
        {
            seen.push(number.clone());
            let new = format!("{prefix}{:0digits$x}", seen.len());
            result = result.replace(&format!("{prefix}{number}"), &new);
        }
    }
    result
}

fn without_times(mut value: Value) -> Value {
    match &mut value {
        Value::String(text) if text.len() >= 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T' => {
            *text = "2026-01-01T00:00:00Z".to_owned();
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = without_times(item.take())),
        Value::Object(map) => map.values_mut().for_each(|value| *value = without_times(value.take())),
        _ => {}
    }
    value
}

#[test]
fn local_answers_as_it_was_recorded() {
    LOCAL.plugin_answers();
}

#[test]
fn the_provider_in_python_answers_as_it_was_recorded() {
    PYTHON.plugin_answers();
}

#[test]
fn the_provider_in_sh_answers_as_it_was_recorded() {
    SH.plugin_answers();
}

#[test]
fn the_smallest_provider_of_the_kit_answers_as_it_was_recorded() {
    MINIMAL.plugin_answers();
}

#[test]
fn every_plugin_that_was_recorded_is_still_understood() {
    for recorded in [LOCAL, PYTHON, SH, MINIMAL] {
        recorded.host_goes_on();
    }
}

#[test]
fn every_recorded_message_fits_its_schema() {
    let mut seen = 0;
    for recorded in [LOCAL, PYTHON, SH, MINIMAL] {
        let mut methods = BTreeMap::new();
        for line in fs::read_to_string(recorded.transcript()).unwrap().lines() {
            let entry: Value = serde_json::from_str(line).unwrap();
            let message: Value = serde_json::from_str(entry["line"].as_str().unwrap()).unwrap();
            let key = (entry["session"].to_string(), message["id"].to_string());
            let schema = match (entry["dir"].as_str().unwrap(), message["method"].as_str()) {
                ("host", Some("cancel")) => "cancel".to_owned(),
                ("host", Some(method)) => {
                    methods.insert(key, method.to_owned());
                    format!("{method}.request")
                }
                ("plugin", Some(note)) => note.to_owned(),
                ("plugin", None) if message.get("error").is_some() => "error".to_owned(),
                ("plugin", None) => format!("{}.response", methods[&key]),
                other => panic!("{other:?}"),
            };
            assert_fits(&schema, &message);
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} messages were found");
}

#[test]
fn a_plugin_that_answers_otherwise_is_seen() {
    let Some(world) = SH.world() else { return };
    let file = repository().join("tests/providers/sh/crabbox-provider-shdir");
    let good = fs::read_to_string(file).unwrap();
    fs::remove_file(world.bin().join("crabbox-provider-shdir")).unwrap();
    let transcript = SH.transcript();
    let arguments = ["plugins", "replay", transcript.to_str().unwrap(), "--plugin", "shdir"];
    for (old, new, want) in [
        (r#""features":["outputPaths"]"#, r#""features":["outputPaths"],"requires":[]"#, " 0 different"),
        (
            r#"{"outcome":"released"}"#,
            r#"{"outcome":"gone"}"#,
            r#"release: `outcome` was "released", and is "gone""#,
        ),
        (r#"'{"lease":{}}'"#, r#"'{}'"#, "acquire: `/lease` is missing"),
        ("\"lifecycle\":\"leased\"", "\"lifecycle\":\"leased\",\"limits\":{}", " 0 different"),
        (r#"{\"exitCode\":$code}"#, r#"{\"exitCode\":0}"#, "run: `exitCode` was 7, and is 0"),
        (r#"env -i "$@" ) <"$in""#, r#"env -i "$@" ) </dev/null"#, "the command was to print"),
        (
            "ok \"$manifest\" ;;",
            "ok \"$manifest\" ;; run/*) kill -s KILL $$ ;;",
            "run: it ended without an answer",
        ),
    ] {
        assert!(good.contains(old), "{old}");
        world.script("crabbox-provider-shdir", &good.replacen(old, new, 1));
        let (code, stdout, stderr) = world.run(&arguments);
        assert_has(&stdout, &[want]);
        assert_eq!(code, i32::from(want != " 0 different"), "{stdout}{stderr}");
    }
    let left = fs::read_dir(world.home().join(".local/state/crabbox-shdir")).unwrap();
    assert_eq!(left.count(), 0, "what such a plugin left behind is released");

    let (code, _, stderr) =
        world.run(&["plugins", "replay", transcript.to_str().unwrap(), "--plugin", "local"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["there is no session of provider `local`", "it has sessions of `shdir`"]);
    let (code, _, stderr) = world.run(&["plugins", "replay", "README.md", "--plugin", "local"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["line 1 of", "is not one of a trace"]);
}
