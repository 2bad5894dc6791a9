//! The job that a lease is, and who else may have one of its name.

use std::time::Duration;

use crabbox_tests::nomad::{Effect, Emulator, Late, Options, Rule};
use crabbox_tests::{ended, wait_for};
use serde_json::{Value, json};

use super::Site;
use crate::support::{assert_has, claim, end, spawn};

/// The job of the only registration so far, with what is around it.
fn registered(site: &Site) -> Value {
    let all: Vec<_> = site.agent.requests().into_iter().filter(|it| it.path == "/v1/jobs").collect();
    let puts: Vec<_> = all.iter().filter(|it| it.method != "GET").collect();
    assert_eq!(puts.len(), 1, "{puts:?}");
    serde_json::from_slice(&puts[0].body).unwrap()
}

#[test]
fn the_job_says_in_three_places_whose_it_is_and_nothing_that_is_nobodys_business() {
    for driver in ["raw_exec", "docker"] {
        let site = Site::with(Options { regions: vec!["global".to_owned()], ..Options::default() });
        site.configure(json!({"driver": driver, "image": "rust:1", "cpu": 500, "memoryMb": 64, "diskMb": 20,
            "datacenters": ["dc1"], "nodePool": "default", "tokenEnv": "MY_TOKEN"}));
        let mut warmup = site.crabbox(&["warmup", "--slug", "demo"]);
        let (code, _, stderr) = ended(warmup.env("MY_TOKEN", "s3cr3t-value"));
        assert_eq!(code, 0, "{stderr}");
        let body = registered(&site);
        assert_eq!((&body["EnforceIndex"], &body["JobModifyIndex"]), (&json!(true), &json!(0)));
        let (id, job) = (claim(&site.world).1["lease"]["id"].as_str().unwrap().to_owned(), &body["Job"]);
        let digits = id.strip_prefix("cbx_").unwrap();
        assert!(digits.len() == 12 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id}");
        let name = format!("crabbox-{digits}");
        assert_eq!((&job["ID"], &job["Name"], &job["Type"]), (&json!(name), &json!(name), &json!("service")));
        assert_eq!((&job["Datacenters"], &job["NodePool"]), (&json!(["dc1"]), &json!("default")));
        let (group, task) = (&job["TaskGroups"][0], &job["TaskGroups"][0]["Tasks"][0]);
        let scope = claim(&site.world).1["scope"].clone();
        let workdir = if driver == "docker" { "/workspace/crabbox" } else { "task" };
        for place in [job, group, task] {
            let meta = &place["Meta"];
            for (key, value) in [
                ("managed", json!("true")),
                ("lease_id", json!(id)),
                ("slug", json!("demo")),
                ("provider", json!("nomad")),
                ("scope", scope.clone()),
                ("namespace", json!("default")),
                ("region", json!("global")),
                ("job_id", json!(name)),
                ("task", json!("crabbox")),
                ("workdir", json!(workdir)),
            ] {
                assert_eq!(meta[format!("crabbox.{key}")], value, "{key} in {meta:#}");
            }
            let expires: jiff::Timestamp = meta["crabbox.expires_at"].as_str().unwrap().parse().unwrap();
            assert!(expires > jiff::Timestamp::now());
        }
        let (config, resources) = (&task["Config"], &task["Resources"]);
        assert_eq!(config.get("image"), (driver == "docker").then_some(&json!("rust:1")));
        assert_eq!((&resources["CPU"], &resources["MemoryMB"]), (&json!(500), &json!(64)));
        assert_eq!(group["EphemeralDisk"]["SizeMB"], 20);
        let text = body.to_string();
        let port = format!(":{}", site.agent.port());
        for secret in ["s3cr3t-value", "MY_TOKEN", &port, site.world.root().to_str().unwrap()] {
            assert!(!text.contains(secret), "`{secret}` in {text}");
        }
        site.world.ok(&["stop", "demo"]);
        site.nothing_is_left();
    }
}

#[test]
fn every_request_says_region_and_namespace() {
    let site = Site::with(Options { namespaces: vec!["team".to_owned()], ..Options::default() });
    site.configure(json!({"namespace": "team", "region": "global"}));
    site.warm();
    site.world.ok(&["status", "demo"]);
    site.world.ok(&["run", "--id", "demo", "--", "true"]);
    site.world.ok(&["stop", "demo"]);
    for request in site.agent.requests() {
        let query = &request.query;
        assert!(query.contains("region=global") && query.contains("namespace=team"), "{request:?}");
    }
    site.nothing_is_left();
}

#[test]
fn a_job_of_the_leases_name_that_is_another_s_is_left_alone() {
    let site = Site::new();
    // The look before the registration found nothing; its answer comes when the other was faster.
    site.agent.rule(Rule::new("/v1/job/", Effect::Delay(Duration::from_secs(2))).method("GET").times(1));
    let warmup = spawn(&mut site.crabbox(&["warmup", "--slug", "demo"]));
    let asked = || site.agent.requests().into_iter().find(|it| it.path.starts_with("/v1/job/crabbox-"));
    wait_for("the first look", || asked().is_some());
    let id = asked().unwrap().path.rsplit('/').next().unwrap().to_owned();
    site.agent.register(&json!({"ID": id, "Name": id, "Type": "service", "Datacenters": ["*"],
        "Meta": {"crabbox.managed": "true"}, "TaskGroups": [{"Name": "g", "Tasks": [{"Name": "crabbox",
        "Driver": "raw_exec", "Config": {"command": "/bin/sleep", "args": ["100"]},
        "Resources": {"CPU": 10, "MemoryMB": 10}}]}]}));
    let before = site.agent.jobs();
    let (code, _, stderr) = end(warmup);
    assert_eq!(code, 4, "{stderr}");
    assert_has(&stderr, &[&id, "is not this lease's", "nothing was changed"]);
    assert_eq!(site.agent.jobs()[0]["JobModifyIndex"], before[0]["JobModifyIndex"]);
    assert_eq!((site.asked("PUT"), site.asked("DELETE")), (1, 0));
    assert_eq!(site.world.json(&["list", "--json"]), json!([]));
}

#[test]
fn what_was_registered_without_an_answer_is_found_again() {
    let faults: [fn(&Emulator); 3] = [
        |agent| agent.rule(Rule::new("/v1/jobs", Effect::CutAfter).method("PUT").times(1)),
        |agent| agent.rule(Rule::new("/v1/jobs", Effect::Half).method("PUT").times(1)),
        |agent| agent.faults(|it| it.late_register = Some(Late::AfterRequest(Duration::from_secs(1)))),
    ];
    for fault in faults {
        let site = Site::new();
        fault(&site.agent);
        site.warm();
        assert_eq!((site.agent.jobs().len(), site.asked("PUT")), (1, 1));
        site.world.ok(&["stop", "demo"]);
        site.nothing_is_left();
    }
}
