//! Jobs of the user's own making, from the file to a command that runs in them.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::Site;
use crate::support::{assert_has, claim};

fn write(site: &Site, name: &str, content: &str) -> PathBuf {
    let path = site.world.root().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// A job as `nomad job run -output` writes it, but for what a test is about.
fn job() -> Value {
    json!({"Datacenters": ["*"], "TaskGroups": [{"Name": "g", "Count": 1, "Tasks": [
        {"Name": "crabbox", "Driver": "raw_exec", "Resources": {"CPU": 50, "MemoryMB": 20},
            "Config": {"command": "/bin/sleep", "args": ["3600"]}},
        {"Name": "beside", "Driver": "raw_exec", "Resources": {"CPU": 50, "MemoryMB": 20},
            "Config": {"command": "/bin/sleep", "args": ["3600"]}}]}]})
}

#[test]
fn a_job_of_ones_own_has_its_placeholders_replaced_and_is_a_lease() {
    let site = Site::new();
    let task = r#"x","Config":"evil"#;
    let mut job = job();
    job["ID"] = json!("{{.JobID}}");
    job["Meta"] = json!({"mine": "{{.LeaseID}} {{ .Slug }} {{.Namespace}} {{.Region}}", "scope": "{{.Scope}}",
        "until": "{{.ExpiresAt}}", "where": "{{.Workdir}}"});
    job["TaskGroups"][0]["Tasks"][0]["Name"] = json!("{{.Task}}");
    let path = write(&site, "job.json", &json!({"Job": job}).to_string());
    site.configure(json!({"jobspecTemplate": path, "task": task, "allocReadyTimeout": "10s"}));
    site.warm();
    let (lease, job) = (claim(&site.world).1, site.agent.jobs()[0].clone());
    let id = lease["lease"]["id"].as_str().unwrap();
    assert_eq!(job["Meta"]["mine"], format!("{id} demo default global"));
    assert_eq!((&job["Meta"]["scope"], &job["Meta"]["crabbox.lease_id"]), (&lease["scope"], &json!(id)));
    assert_eq!(job["TaskGroups"][0]["Tasks"][0]["Name"], task);
    assert_eq!(job["TaskGroups"][0]["Tasks"][0]["Config"]["command"], "/bin/sleep");
    assert_eq!(job["TaskGroups"][0]["Tasks"][0]["Meta"]["crabbox.task"], task);
    assert_eq!(site.world.ok(&["run", "--id", "demo", "--", "cat", "README.md"]), "hello\n");
    let list = site.world.json(&["list", "--refresh", "--json"]);
    assert_eq!((list.as_array().unwrap().len(), &list[0]["state"]), (1, &json!("ready")));
    site.world.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn a_template_that_cannot_be_a_lease_is_refused_before_anything_is_asked() {
    let site = Site::new();
    let with = |change: fn(&mut Value)| {
        let mut job = job();
        change(&mut job);
        job.to_string()
    };
    for (content, says) in [
        (with(|job| job["ID"] = json!("mine")), "has `ID` \"mine\""),
        (with(|job| job["Name"] = json!("{{.Slug}}")), "has `Name` \"demo\""),
        (with(|job| job["Namespace"] = json!("team")), "has `Namespace` \"team\""),
        (with(|job| job["Type"] = json!("batch")), "is of type `batch`"),
        (with(|job| job["Periodic"] = json!({"Spec": "@daily"})), "has `Periodic`"),
        (with(|job| job["ParameterizedJob"] = json!({})), "has `ParameterizedJob`"),
        (with(|job| job["TaskGroups"] = json!([])), "has no task `crabbox`"),
        (with(|job| job["TaskGroups"] = Value::Null), "has no task `crabbox`"),
        (with(|job| job["TaskGroups"][0]["Tasks"][0]["Name"] = json!("main")), "has no task `crabbox`"),
        (with(|job| job["TaskGroups"][0]["Tasks"][1]["Name"] = json!("crabbox")), "has 2 tasks `crabbox`"),
        (with(|job| job["TaskGroups"][0]["Count"] = json!(2)), "has 2 instances"),
        (with(|job| job["Meta"] = json!({"crabbox.lease_id": "cbx_000000000000"})), "`crabbox.lease_id`"),
        (with(|job| job["TaskGroups"][0]["Meta"] = json!({"crabbox.managed": "no"})), "`crabbox.managed`"),
        (with(|job| job["Meta"] = json!({"x": "{{.Token}}"})), "has the placeholder `{{.Token}}`"),
        ("{\"ID\": \"{{.JobID\"}".to_owned(), "has `ID` \"{{.JobID\""),
        ("job \"x\" {}".to_owned(), "is not JSON"),
        ("[]".to_owned(), "is not a job"),
    ] {
        let path = write(&site, "job.json", &content);
        site.configure(json!({"jobspecTemplate": path}));
        let (code, _, stderr) = site.run(&["warmup", "--slug", "demo"]);
        assert_eq!(code, 2, "{says}: {stderr}");
        assert_has(&stderr, &["the job template `", "job.json", says]);
        // That it is not there is all that was asked, if anything.
        assert!(site.agent.requests().is_empty(), "{says}");
    }
    for name in ["job.hcl", "nothing.json"] {
        site.configure(json!({"jobspecTemplate": site.world.root().join(name)}));
        let (code, _, stderr) = site.run(&["warmup"]);
        assert_eq!(code, 2, "{name}: {stderr}");
    }
    assert!(site.agent.requests().is_empty());
    site.configure(json!({}));
    site.nothing_is_left();
}
