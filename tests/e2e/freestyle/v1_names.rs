//! Version 1 does not always tell the names of machines. Then a lease is what was recorded of it, and what was not
//! recorded is not guessed.

use crabbox_tests::freestyle::{Effect, Options, Rule};
use crabbox_tests::wait_for;
use serde_json::{Value, json};

use super::site::Site;
use super::talk::{NAME, Talk};
use crate::support::assert_has;

fn nameless() -> Options {
    Options { names: false, ..Options::default() }
}

fn v1() -> Value {
    json!({"apiVersion": "v1"})
}

#[test]
fn a_lease_lives_by_what_was_recorded_of_it() {
    let Some(site) = Site::with(nameless()) else { return };
    site.configure(v1());
    site.ok(&["warmup", "--slug", "demo"]);
    assert_eq!(site.ok(&["run", "--id", "demo", "--", "cat", "README.md"]), "hello\n");
    let status: Value = serde_json::from_str(&site.ok(&["status", "demo", "--json"])).unwrap();
    assert_eq!(status["state"], "ready", "{status}");
    let doctor = site.ok(&["doctor"]);
    assert_has(&doctor, &["names", "tells the names of none of the 1 machines"]);
    site.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn what_was_not_recorded_is_unknown_and_neither_missing_nor_deleted() {
    let Some(mut talk) = Talk::with(nameless(), v1()) else { return };
    assert_eq!(talk.resolve(&talk.bare(), "observe")["state"], "missing", "there is no machine at all");
    talk.acquire();
    for intent in ["observe", "use", "release"] {
        let unknown = talk.resolve(&talk.bare(), intent);
        assert_eq!(unknown["state"], "unknown", "{intent}");
        assert_has(unknown["message"].as_str().unwrap(), &["names", "was not recorded"]);
    }
    let release = json!({"lease": talk.bare(), "action": "delete", "reason": "cleanup"});
    assert_eq!(talk.plugin.error("release", release)["data"]["kind"], "ambiguous");
    let run = json!({"lease": talk.bare(), "runId": "run_0123456789ab", "argv": ["true"]});
    let error = talk.plugin.error("run", run);
    assert_eq!((&error["data"]["kind"], &error["data"]["remote"]), (&json!("ambiguous"), &json!("absent")));
    assert_eq!(talk.cloud.vms().len(), 1);
    let listed = talk.plugin.result("list", json!({}));
    assert_eq!(listed, json!({"leases": [], "complete": false}));
    let vm = talk.cloud.vms()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(talk.resolve(&talk.lease.clone(), "observe")["lease"]["state"], json!({"vm": vm}));
    assert_eq!(talk.release(), "released");
    assert_eq!(talk.resolve(&talk.lease.clone(), "observe")["state"], "missing", "the recorded one is gone");
}

#[test]
fn a_creation_whose_answer_was_lost_is_found_by_its_name() {
    let Some(site) = Site::new() else { return };
    site.configure(v1());
    site.cloud.rule(Rule::new("/v1/vms", Effect::CutAfter).method("POST").exact().times(1));
    assert_eq!(site.ok(&["run", "--", "echo", "in"]), "in\n");
    site.nothing_is_left();
}

#[test]
fn a_creation_whose_answer_was_lost_is_not_forgotten_where_names_are_not_told() {
    let Some(site) = Site::with(nameless()) else { return };
    site.configure(v1());
    site.cloud.rule(Rule::new("/v1/vms", Effect::CutAfter).method("POST").exact().times(1));
    let (code, _, stderr) = site.run(&["run", "--", "echo", "in"]);
    assert_ne!(code, 0, "{stderr}");
    assert_has(&stderr, &["cannot tell whether", "names", "crabbox cleanup"]);
    assert_eq!(site.cloud.vms().len(), 1);
    // A lease whose lock is still held for a moment is left out.
    wait_for("cleanup to say that it cannot tell", || site.run(&["cleanup"]).0 == 1);
    let claims = std::fs::read_dir(site.world.state().join("claims")).unwrap().count();
    assert_eq!((site.cloud.vms().len(), claims), (1, 1), "nothing is guessed, and nothing forgotten");
}

#[test]
fn machines_that_bear_the_same_name_are_all_the_leases_and_all_go() {
    let Some(mut talk) = Talk::with(Options::default(), v1()) else { return };
    let first = talk.acquire();
    // Another one that does not see it: a creation that lands late is such a one.
    let mut other = Talk::start(&talk.cloud, v1());
    talk.cloud.rule(Rule::status("/v1/vms", 200, r#"{"vms":[]}"#).method("GET").exact().times(1));
    other.result("acquire", json!({"lease": talk.bare(), "keep": true}));
    assert!(other.close().success());
    assert_eq!(talk.cloud.vms().len(), 2);
    let several = talk.resolve(&talk.bare(), "use");
    assert_eq!(
        (&several["state"], several["candidates"].as_array().unwrap().len()),
        (&json!("ambiguous"), 2)
    );
    assert_has(several["message"].as_str().unwrap(), &["2 machines", NAME]);
    let recorded = talk.resolve(&talk.lease.clone(), "use");
    assert_eq!((&recorded["state"], &recorded["lease"]["state"]["vm"]), (&json!("ready"), &json!(first)));
    talk.lease = talk.bare();
    assert_ne!(talk.resolve(&talk.bare(), "release")["state"], "missing");
    talk.over();
}

#[test]
fn a_recorded_machine_that_bears_another_name_is_left_alone() {
    let Some(mut talk) = Talk::with(Options::default(), v1()) else { return };
    let vm = talk.acquire();
    let body = json!({"id": vm, "name": "crabbox-000000000000", "state": "running"}).to_string();
    talk.cloud.rule(Rule::status(&format!("/v1/vms/{vm}"), 200, &body).method("GET").exact());
    talk.cloud.forget();
    let release = json!({"lease": talk.lease, "action": "delete", "reason": "user"});
    assert_eq!(talk.plugin.error("release", release)["data"]["kind"], "conflict");
    assert!(talk.cloud.requests().iter().all(|request| request.method == "GET"));
    talk.cloud.heal();
    talk.over();
}
