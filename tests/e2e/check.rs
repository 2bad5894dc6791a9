//! `crabbox plugins check`: what keeps to the protocol passes, and what does not is told by the rule.

mod broken;
mod rude;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crabbox_tests::{Plugin, World, binary, skip, tool, wait_for};
use serde_json::{Value, json};

use crate::support::{ALL, assert_fits, assert_has, assert_nothing_left};

/// The report on an executable, and what crabbox exited with.
fn report(world: &World, plugin: &Path, more: &[&str]) -> (i32, Value) {
    let path = plugin.to_str().unwrap();
    let (code, stdout, stderr) = world.run(&[&["plugins", "check", path, "--json"], more].concat());
    let report = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    assert_fits("check", &report);
    (code, report)
}

/// The rules that came out so, by id.
fn rules<'r>(report: &'r Value, status: &str) -> BTreeSet<&'r str> {
    let rules = report["rules"].as_array().unwrap().iter();
    rules.filter(|rule| rule["status"] == status).map(|rule| rule["id"].as_str().unwrap()).collect()
}

/// Why a rule came out as it did.
fn reason<'r>(report: &'r Value, id: &str) -> &'r str {
    let rule = report["rules"].as_array().unwrap().iter().find(|rule| rule["id"] == id);
    rule.unwrap_or_else(|| panic!("no rule {id}"))["reason"].as_str().unwrap_or_default()
}

/// Fails unless nothing is broken, nor warned of.
fn assert_passes(report: &Value, code: i32) {
    let (failed, warned) = (rules(report, "fail"), rules(report, "warn"));
    assert!(failed.is_empty() && warned.is_empty(), "{failed:?} {warned:?} in {report:#}");
    assert_eq!((code, &report["ok"]), (0, &json!(true)));
}

#[test]
fn the_providers_that_come_along_pass() {
    for plugin in ALL.into_iter().chain([Plugin::Tailnet]) {
        let Some(world) = World::with(plugin) else { continue };
        let path = match plugin {
            Plugin::Local => binary("crabbox-provider-local"),
            _ => world.bin().join(format!("crabbox-provider-{}", plugin.name())),
        };
        let (code, report) = report(&world, &path, &[]);
        assert_passes(&report, code);
        assert_eq!(report["live"], true, "{plugin:?} needs nothing");
        // In a home of its own: nothing of it is in the user's.
        assert_nothing_left(&world, plugin);
        assert!(!plugin.leases(&world).exists() && world.processes().is_empty(), "{plugin:?}");
    }
}

#[test]
fn a_real_lease_is_made_by_name_and_released() {
    for plugin in ALL.into_iter().chain([Plugin::Tailnet]) {
        let Some(world) = World::with(plugin) else { continue };
        let (code, report) = report(&world, Path::new(plugin.name()), &["--live"]);
        assert_passes(&report, code);
        assert!(rules(&report, "pass").contains("output-of-100-mb"), "{report:#}");
        assert_nothing_left(&world, plugin);
        wait_for("the end of every process", || world.processes().is_empty());
    }
}

#[test]
fn an_example_of_the_kit_is_checked_by_its_path() {
    let world = World::new();
    let minimal = binary("examples/minimal");
    if !minimal.exists() {
        return skip("minimal", "the example `minimal` is not built");
    }
    let (code, without) = report(&world, &minimal, &[]);
    assert_passes(&without, code);
    assert_has(reason(&without, "acquire-answers"), &["it needs something", "`root`"]);
    let root = world.root().join("leases");
    let mut command = world.crabbox(&["plugins", "check", minimal.to_str().unwrap(), "--live", "--json"]);
    let (code, stdout, stderr) = crabbox_tests::ended(command.env("CRABBOX_MINIMAL_ROOT", &root));
    let live: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    assert_passes(&live, code);
    assert_eq!(fs::read_dir(root).unwrap().count(), 0);
}

/// A provider without leases, in Python.
const ONE_SHOT: &str = r#"#!/usr/bin/env python3
import json, os, subprocess, sys, tarfile, tempfile, threading
if "--stdio" not in sys.argv:
    sys.exit(print("a provider without leases"))
MANIFEST = {"protocol": 1, "name": "once", "version": "1", "lifecycle": "one-shot", "features": ["outputPaths"]}
def send(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
def run(request, params):
    with tempfile.TemporaryDirectory(dir=params["scratch"]) as tree:
        tarfile.open(params["workspace"]["path"]).extractall(tree)
        with open(params["stdout"]["path"], "wb") as out, open(params["stderr"]["path"], "wb") as err:
            code = subprocess.run(params["argv"], cwd=tree, env={**os.environ, **params["env"]},
                                  stdin=subprocess.DEVNULL, stdout=out, stderr=err).returncode
    send(id=request, result={"exitCode": code} if code >= 0 else {"signal": str(-code)})
for line in sys.stdin:
    message = json.loads(line)
    if message["method"] == "initialize":
        send(id=message["id"], result=MANIFEST)
    elif message["method"] == "run":
        threading.Thread(target=run, args=(message["id"], message["params"])).start()
    elif "id" in message:
        error = {"code": -32601, "message": "no such method", "data": {"kind": "unsupported"}}
        send(id=message["id"], error=error)
os._exit(0)
"#;

#[test]
fn a_provider_without_leases_is_tried_by_runs() {
    let Some(python) = tool("python3") else { return };
    let world = World::new();
    symlink(python, world.bin().join("python3")).unwrap();
    let (code, good) = report(&world, &world.script("crabbox-provider-once", ONE_SHOT), &["--live"]);
    assert_passes(&good, code);
    let passed = rules(&good, "pass");
    for rule in
        ["workspace-is-unpacked", "argv-is-exact", "output-is-exact", "output-of-100-mb", "ends-in-mid-run"]
    {
        assert!(passed.contains(rule), "{rule}: {good:#}");
    }
    assert_eq!(reason(&good, "release-confirms"), "it has no leases");
    let bare = ONE_SHOT.replace("{**os.environ, **params[\"env\"]}", "os.environ");
    let (_, broken) = report(&world, &world.script("crabbox-provider-once", &bare), &[]);
    assert_eq!(rules(&broken, "fail"), BTreeSet::from(["workspace-is-unpacked"]), "{broken:#}");
}

#[test]
fn people_get_a_line_per_rule_and_what_was_sent_and_received() {
    let world = World::new();
    let sh = world.provider("acme", &json!({"methods": ["acquire", "run", "release"]}), "");
    let (code, stdout, _) = world.run(&["plugins", "check", sh.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert_has(
        &stdout,
        &[
            "handshake\n",
            "  pass  initialize-answers ",
            "  FAIL  unknown-method-refused ",
            "          why       it refused with another code than -32601\n",
            "          sent      {",
            "          received  {",
            "          see       docs/protocol.md#7-methods\n",
            "  skip  configure-answers             it has no `configure`\n",
            "acme 1.0.0: ",
        ],
    );
    assert_eq!(world.run(&["plugins", "check", "./nothing/there"]).0, 4);
    assert_eq!(world.run(&["plugins", "check", "nobody"]).0, 4);
    assert_eq!(world.run(&["plugins", "check", "./README.md"]).0, 2);
    assert_eq!(world.run(&["plugins", "check"]).0, 2);
}

#[test]
fn one_that_says_nothing_breaks_one_rule_and_the_others_are_not_tried() {
    let world = World::new();
    let dead = world.provider_that("dead", "echo 'no licence' >&2; exit 3");
    let (code, report) = report(&world, &dead, &[]);
    assert_eq!((code, rules(&report, "fail")), (1, BTreeSet::from(["initialize-answers"])));
    assert!(rules(&report, "pass").is_empty());
    let row = &report["rules"][0];
    assert_has(row["reason"].as_str().unwrap(), &["did not answer `initialize`", "exit status: 3"]);
    assert_eq!(row["stderr"], "no licence");
}

#[test]
fn what_was_made_is_released_when_the_check_is_interrupted() {
    let world = World::new();
    let (script, marker) = (world.root().join("made"), world.root().join("gone"));
    let (made, gone) = (script.display(), marker.display());
    let cases = format!(
        "acquire) echo >'{made}'; sleep 30; ok '{{\"lease\":{{}}}}' ;;\n\
         release) echo >>'{gone}'; ok '{{\"outcome\":\"released\"}}' ;;"
    );
    let plugin = world.provider("slow", &json!({}), &cases);
    let check =
        crate::support::spawn(&mut world.crabbox(&["plugins", "check", plugin.to_str().unwrap(), "--live"]));
    crabbox_tests::wait_for("the lease", || script.exists());
    assert_eq!(fs::read_dir(world.state().join("claims")).unwrap().count(), 1, "recorded before it is made");
    let pid = rustix::process::Pid::from_child(&check);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let (code, _, stderr) = crate::support::end(check);
    assert_eq!(code, 130, "{stderr}");
    assert!(marker.exists(), "{stderr}");
    assert_nothing_left(&world, Plugin::Local);
}

#[test]
fn what_cannot_be_released_is_named_with_the_command_that_does() {
    let world = World::new();
    let cases = r#"acquire) ok '{"lease":{}}' ;; release) no 'the backend is down' '{"kind":"unavailable"}' ;; run) ok '{"exitCode":0}' ;;"#;
    let plugin = world.provider("stuck", &json!({}), cases);
    let (code, report) = report(&world, &plugin, &["--live"]);
    assert_eq!(code, 1);
    assert!(rules(&report, "fail").contains("release-confirms"));
    let left = report["left"][0].as_str().unwrap();
    assert_has(left, &["may still exist", "crabbox stop check-", "the backend is down"]);
    world.provider("stuck", &json!({}), r#"release) ok '{"outcome":"released"}' ;;"#);
    let words: Vec<_> = left.split('`').nth(1).unwrap().split(' ').collect();
    let (_, slug) = words.join(" ").rsplit_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    world.ok(&["stop", &slug]);
    assert_nothing_left(&world, Plugin::Local);
}

/// A path that is nobody's plugin has no name of its own.
#[test]
fn an_executable_may_have_any_name() {
    let world = World::new();
    let plugin = world.provider("acme", &json!({}), "");
    let other: PathBuf = world.root().join("anything");
    fs::copy(plugin, &other).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).unwrap();
    let (_, report) = report(&world, &other, &[]);
    assert_eq!(report["name"], "acme");
    assert!(rules(&report, "pass").contains("name-is-the-files"), "{report:#}");
}
