//! The smallest provider, as the documentation shows it: a whole conversation, to the letter.
#![expect(clippy::unwrap_used, reason = "a test may")]

#[expect(dead_code, reason = "the other tests need more of it")]
mod minimal;

use std::process::Command;

use crabbox_provider_kit::testing::Plugin;
use minimal::{executable, lease};
use serde_json::{Value, json};

#[test]
fn a_whole_conversation() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("leases");
    let mut plugin = Plugin::start(executable(), [("HOME", home.path())]);
    assert_eq!(
        plugin.initialize(),
        json!({
            "protocol": 1, "name": "minimal", "version": env!("CARGO_PKG_VERSION"), "lifecycle": "leased",
            "methods": ["configure", "doctor", "acquire", "run", "release"],
            "features": ["cancel", "outputPaths"],
            "config": {
                "type": "object",
                "description": "The configuration: `--minimal-root`, `CRABBOX_MINIMAL_ROOT`, or `root` in the \
                                YAML block `minimal`.",
                "properties": {"root": {
                    "type": "string", "description": "The directory that holds the leases.",
                    "x-crabbox": {"path": true, "userOnly": true},
                }},
                "required": ["root"],
            },
        })
    );
    let scope = plugin.result("configure", json!({"config": {"root": root}}));
    assert_eq!(scope.as_object().unwrap().len(), 1);
    assert!(scope["scope"].as_str().unwrap().starts_with("minimal:"));
    let row = json!({"name": "handshake", "status": "ok", "message": "the plugin answers"});
    assert_eq!(plugin.result("doctor", json!({})), json!({"checks": [row]}));
    for _ in 0..2 {
        let acquired = plugin.result("acquire", json!({"lease": lease(), "keep": false}));
        assert_eq!(acquired, json!({"lease": {}}));
    }
    let argv = ["sh", "-c", "pwd; echo oops >&2; exit 7"];
    let answer = plugin.call("run", json!({"lease": lease(), "runId": "run_0123456789ab", "argv": argv}));
    let directory = root.canonicalize().unwrap().join("cbx_0123456789ab");
    assert_eq!(String::from_utf8(answer.stdout.clone()).unwrap(), format!("{}\n", directory.display()));
    assert_eq!(answer.stderr, b"oops\n");
    assert_eq!(answer.result(), json!({"exitCode": 7}));
    assert_eq!(plugin.error("resolve", json!({}))["code"], -32601);
    for outcome in ["released", "absent"] {
        let params = json!({"lease": lease(), "action": "delete", "reason": "end"});
        assert_eq!(plugin.result("release", params), json!({"outcome": outcome}));
    }
    assert!(!directory.exists());
    assert!(plugin.close().success());
}

#[test]
fn initialize_is_the_same_everywhere_and_tells_the_newest_version_of_an_old_plugin() {
    let home = tempfile::tempdir().unwrap();
    let ask = |versions: &[u32], environment: &[(&str, &std::path::Path)]| -> Value {
        let mut plugin = Plugin::start(executable(), environment.iter().copied());
        let host = json!({"name": "test", "version": "0"});
        plugin.result("initialize", json!({"versions": versions, "host": host}))
    };
    let bare = ask(&[1], &[]);
    assert_eq!(bare, ask(&[2, 1], &[("HOME", home.path()), ("CRABBOX_MINIMAL_ROOT", home.path())]));
    assert_eq!(ask(&[998, 999], &[])["protocol"], 1);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn people_get_help_and_a_version() {
    let run = |arguments: &[&str]| {
        let output = Command::new(executable()).args(arguments).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), text)
    };
    let version = env!("CARGO_PKG_VERSION");
    let line = format!("crabbox-provider-minimal {version} (protocol 1)\n");
    assert_eq!(run(&["--version"]), (Some(0), line.clone()));
    let (code, help) = run(&[]);
    assert_eq!(code, Some(0));
    assert!(help.starts_with(&line) && help.contains("--stdio"), "{help}");
    assert_eq!(run(&["--help"]), (Some(0), help));
    let unknown = "error: unknown argument `serve`; see `crabbox-provider-minimal --help`\n";
    assert_eq!(run(&["serve"]), (Some(2), unknown.to_owned()));
}

#[test]
fn standard_streams_that_are_no_pipes_work_too() {
    let home = tempfile::tempdir().unwrap();
    let (input, output) = (home.path().join("in"), home.path().join("out"));
    std::fs::write(&input, "{\"id\":1,\"method\":\"dance\"}\n{\"id\":2,\"method\":\"doctor\"}\n").unwrap();
    let files = (std::fs::File::open(&input).unwrap(), std::fs::File::create(&output).unwrap());
    let status = Command::new(executable()).arg("--stdio").stdin(files.0).stdout(files.1).status().unwrap();
    assert!(status.success());
    let lines = std::fs::read_to_string(output).unwrap();
    let ids: Vec<_> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone()).collect();
    assert_eq!(ids, [1, 2]);
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_stray_gets_into_the_protocol_streams() {
    let mut plugin = Plugin::start(executable(), [("LANG", "C")]);
    plugin.initialize();
    let descriptor = |number: u8| std::fs::read_link(format!("/proc/{}/fd/{number}", plugin.pid())).unwrap();
    assert_eq!(descriptor(0), std::path::Path::new("/dev/null"));
    assert_eq!(descriptor(1), descriptor(2), "what is printed goes to standard error");
}
