//! The life of a lease: made once, found without help, ended only if it is ours.
#![expect(clippy::unwrap_used, reason = "a test may")]

#[expect(dead_code, reason = "the other tests need more of it")]
mod machine;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use machine::{LEASE, Machine, lease, release, start};
use serde_json::{Value, json};

const OTHER: &str = "cbx_ffffffffffff";

#[test]
fn the_manifest_is_pure_and_says_what_there_is() {
    let bare = start(&[]).initialize();
    let home = tempfile::tempdir().unwrap();
    let elsewhere = home.path().to_str().unwrap();
    assert_eq!(bare, start(&[("HOME", elsewhere), ("CRABBOX_LOCAL_ROOT", "/x")]).initialize());
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    assert_eq!((&bare["name"], &bare["lifecycle"]), (&json!("local"), &json!("leased")));
    assert_eq!(bare["targets"], json!([std::env::consts::OS]));
    assert_eq!(bare["features"], json!(["cancel", "outputPaths", "nearby", "concurrent"]));
    assert_eq!(bare["limits"], json!({"createSettleMs": 0}));
    let methods = bare["methods"].as_array().unwrap();
    for method in "configure doctor acquire resolve run put kill release touch list".split(' ') {
        assert!(methods.contains(&json!(method)), "{method}");
    }
    assert_eq!(bare["config"]["properties"]["root"]["x-crabbox"], json!({"userOnly": true, "path": true}));
}

#[test]
fn the_root_is_configured_or_by_the_xdg_rules() {
    let scope = |environment: &[(&str, &str)], config: Value| {
        start(environment).result("configure", json!({"config": config}))
    };
    let home = [("HOME", "/h"), ("XDG_STATE_HOME", "/s")];
    assert_eq!(scope(&home, json!({}))["scope"], "local:/s/crabbox/local");
    assert_eq!(scope(&home[..1], json!({}))["scope"], "local:/h/.local/state/crabbox/local");
    assert_eq!(scope(&home, json!({"root": "/leases"}))["scope"], "local:/leases");
    let relative = [("HOME", "/h"), ("XDG_STATE_HOME", "s")];
    assert_eq!(scope(&relative, json!({}))["scope"], "local:/h/.local/state/crabbox/local");
    for (environment, config) in [(&home[..0], json!({})), (&home[..], json!({"root": "leases"}))] {
        let problems = scope(environment, config)["problems"].clone();
        assert_eq!((problems.as_array().unwrap().len(), &problems[0]["key"]), (1, &json!("root")));
    }
}

#[test]
fn doctor_runs_without_a_configuration_that_works_and_changes_nothing() {
    let mut plugin = start(&[]);
    plugin.result("configure", json!({"config": {}}));
    let checks = plugin.result("doctor", json!({}))["checks"].clone();
    assert_eq!((&checks[0]["name"], &checks[0]["status"]), (&json!("config"), &json!("fail")));
    let error = plugin.error("acquire", json!({"lease": lease(LEASE), "keep": false}));
    assert_eq!((&error["data"]["kind"], &error["data"]["created"]), (&json!("configInvalid"), &json!(false)));

    let mut machine = Machine::new();
    let checks = machine.plugin.result("doctor", json!({}))["checks"].clone();
    let checks = checks.as_array().unwrap();
    assert!(checks.iter().all(|check| check["status"] == "ok"), "{checks:?}");
    assert!(!machine.root().exists());
    let checks = machine.plugin.result("doctor", json!({"lease": lease(LEASE)}))["checks"].clone();
    assert!(checks.as_array().unwrap().iter().any(|c| c["name"] == "lease" && c["status"] == "fail"));
}

#[test]
fn a_lease_is_made_once_and_found_without_state_by_a_later_plugin() {
    let mut machine = Machine::new();
    assert_eq!(machine.state(LEASE), "missing");
    let first = machine.acquire(LEASE);
    assert_eq!(first["lease"]["root"], json!(machine.directory()));
    fs::write(machine.directory().join("kept"), "").unwrap();
    assert_eq!(machine.acquire(LEASE), first);
    assert!(machine.directory().join("kept").exists());
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(machine.directory()), mode(machine.root())), (0o700, 0o700));
    let params = json!({"lease": lease(LEASE), "intent": "use"});
    let found = machine.another().result("resolve", params);
    assert_eq!((&found["state"], &found["lease"]), (&json!("ready"), &first["lease"]));
    let listed = machine.another().result("list", json!({}));
    assert_eq!(listed["complete"], true);
    let row = &listed["leases"][0];
    assert_eq!(
        (&row["id"], &row["slug"], &row["state"]),
        (&json!(LEASE), &json!("tidy-crab"), &json!("ready"))
    );
    assert!(row["createdAt"].is_string());
    assert_eq!(machine.plugin.result("touch", json!({"lease": lease(LEASE)})), json!({}));
    assert_eq!(machine.plugin.error("touch", json!({"lease": lease(OTHER)}))["data"]["kind"], "notFound");
}

#[test]
fn an_adopted_lease_is_found_by_its_reference() {
    let mut machine = Machine::with_lease();
    let mut adopted = lease(OTHER);
    adopted["ref"] = json!(LEASE);
    let found = machine.plugin.result("resolve", json!({"lease": adopted, "intent": "use"}));
    assert_eq!((&found["state"], &found["lease"]["id"]), (&json!("ready"), &json!(OTHER)));
    adopted["ref"] = json!("../../etc");
    let found = machine.plugin.result("resolve", json!({"lease": adopted, "intent": "use"}));
    assert_eq!(found["state"], "missing");
}

#[test]
fn another_system_is_refused_before_anything_is_made() {
    let mut machine = Machine::new();
    let params = json!({"lease": lease(LEASE), "keep": false, "target": "plan9"});
    let error = machine.plugin.error("acquire", params);
    assert_eq!((&error["data"]["kind"], &error["data"]["created"]), (&json!("unsupported"), &json!(false)));
    assert!(!machine.root().exists());
}

#[test]
fn release_can_be_repeated_and_stop_keeps_the_directory() {
    let mut machine = Machine::with_lease();
    let stopped = machine.plugin.result("release", release(LEASE, "stop"));
    assert_eq!(stopped, json!({"outcome": "released"}));
    assert_eq!(machine.state(LEASE), "ready");
    assert_eq!(machine.release(LEASE), "released");
    assert_eq!(fs::read_dir(machine.root()).unwrap().count(), 0);
    assert_eq!(machine.release(LEASE), "absent");
    assert_eq!(machine.state(LEASE), "missing");
}

#[test]
fn a_directory_that_is_not_ours_is_left_alone() {
    let mut machine = Machine::with_lease();
    machine.acquire(OTHER);
    let (ours, foreign) = (machine.directory(), machine.root().join(OTHER));
    fs::copy(ours.join(".crabbox-lease.json"), foreign.join(".crabbox-lease.json")).unwrap();
    let conflict = |machine: &mut Machine, id: &str| {
        let error = machine.plugin.error("release", release(id, "delete"));
        assert_eq!(error["data"]["kind"], "conflict", "{error}");
        error["message"].as_str().unwrap().to_owned()
    };
    let message = conflict(&mut machine, OTHER);
    assert!(message.ends_with(&format!("names lease `{LEASE}`")), "{message}");
    fs::remove_file(foreign.join(".crabbox-lease.json")).unwrap();
    assert!(conflict(&mut machine, OTHER).contains("has no"));
    fs::write(foreign.join(".crabbox-lease.json"), "{").unwrap();
    assert!(conflict(&mut machine, OTHER).contains("cannot be read"));
    assert_eq!(machine.plugin.result("list", json!({}))["leases"].as_array().unwrap().len(), 1);
    // A link with the lease's name is not followed, even to a lease.
    let link = "cbx_eeeeeeeeeeee";
    symlink(&ours, machine.root().join(link)).unwrap();
    assert!(conflict(&mut machine, link).contains("is not a directory"));
    assert!(ours.exists() && foreign.exists());
    let error = machine.plugin.error("release", release("cbx_../../../x", "delete"));
    assert_eq!(error["data"]["kind"], "internal");
}

#[test]
fn read_only_directories_are_deleted_and_links_not_followed() {
    let mut machine = Machine::with_lease();
    let outside = machine.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "").unwrap();
    symlink(&outside, machine.directory().join("link")).unwrap();
    let script = "mkdir -p a/b && touch a/b/file && chmod 000 a/b && chmod 500 a";
    assert_eq!(machine.run(&["sh", "-c", script], json!({})).result(), json!({"exitCode": 0}));
    assert_eq!(machine.release(LEASE), "released");
    assert!(outside.join("kept").exists());
    assert_eq!(fs::read_dir(machine.root()).unwrap().count(), 0);
}

#[test]
fn what_was_interrupted_is_found_and_finished() {
    let mut machine = Machine::with_lease();
    fs::rename(machine.directory(), machine.root().join(format!(".releasing-{LEASE}"))).unwrap();
    fs::create_dir(machine.root().join(format!(".acquiring-{OTHER}"))).unwrap();
    for id in [LEASE, OTHER] {
        assert_eq!(machine.state(id), "failed");
    }
    assert_eq!(machine.plugin.result("list", json!({}))["leases"].as_array().unwrap().len(), 2);
    let acquire = json!({"lease": lease(LEASE), "keep": false});
    assert_eq!(machine.plugin.error("acquire", acquire)["data"]["kind"], "conflict");
    for id in [LEASE, OTHER] {
        assert_eq!(machine.release(id), "released");
        assert_eq!(machine.state(id), "missing");
    }
    fs::create_dir(machine.root().join(format!(".acquiring-{OTHER}"))).unwrap();
    machine.acquire(OTHER);
    assert_eq!(machine.state(OTHER), "ready");
}

#[test]
fn absence_needs_proof() {
    let mut machine = Machine::with_lease();
    let resolve = || json!({"lease": lease(LEASE), "intent": "observe"});
    // A file where the directory was, and a link to a disk that is not there.
    fs::rename(machine.root(), machine.path("aside")).unwrap();
    fs::write(machine.root(), "").unwrap();
    machine.plugin.error("resolve", resolve());
    fs::remove_file(machine.root()).unwrap();
    symlink("/nonexistent/disk", machine.root()).unwrap();
    assert_eq!(machine.plugin.error("resolve", resolve())["data"]["kind"], "unavailable");
    machine.plugin.error("release", release(LEASE, "delete"));
    fs::remove_file(machine.root()).unwrap();
    assert_eq!(machine.state(LEASE), "missing");
    fs::rename(machine.path("aside"), machine.root()).unwrap();
    // No right to look: root has it always.
    fs::set_permissions(machine.root(), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read_dir(machine.root()).is_err() {
        let error = machine.plugin.error("resolve", resolve());
        assert_eq!(error["data"]["kind"], "auth");
    }
    fs::set_permissions(machine.root(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(machine.state(LEASE), "ready");
}
