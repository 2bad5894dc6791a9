//! The job, the template and the task's script.

use std::path::Path;
use std::process::{Command, Stdio};

use crabbox_provider_kit::protocol::{ErrorKind, Lease};
use serde_json::{Value, json};

use super::*;
use crate::api::Job;
use crate::settings::Settings;

fn settings(changes: Value) -> Settings {
    let mut config = json!({"address": "http://127.0.0.1:4646"});
    config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    Settings::new(serde_json::from_value(config).unwrap(), |_| Some("the-token".into())).unwrap()
}

fn lease() -> Lease {
    serde_json::from_value(
        json!({"id": "cbx_5f3a9c0e71b2", "slug": "blue-otter", "name": "crabbox-blue-otter-1"}),
    )
    .unwrap()
}

fn made(settings: &Settings, expose: &[u16]) -> (Identity, crabbox_provider_kit::Result<Value>) {
    let identity = Identity::of(&lease(), settings);
    let expires_at = Some("2026-01-02T03:04:05Z".to_owned());
    let order = Order { identity: &identity, slug: "blue-otter", expires_at, expose };
    let job = job(&order, settings);
    (identity, job)
}

/// A job as the agent would give it back.
fn as_read(job: &Value) -> Job {
    serde_json::from_value(job.clone()).unwrap()
}

#[test]
fn the_job_says_in_three_places_whose_it_is() {
    let settings = settings(json!({"tokenEnv": "MY_NOMAD_TOKEN"}));
    let (identity, job) = made(&settings, &[]);
    let job = job.unwrap();
    assert_eq!((&job["ID"], &job["Name"]), (&json!("crabbox-5f3a9c0e71b2"), &json!("crabbox-5f3a9c0e71b2")));
    let expected = json!({
        "crabbox.managed": "true", "crabbox.lease_id": "cbx_5f3a9c0e71b2", "crabbox.slug": "blue-otter",
        "crabbox.provider": "nomad", "crabbox.scope": settings.scope(), "crabbox.namespace": "default",
        "crabbox.region": "global", "crabbox.job_id": "crabbox-5f3a9c0e71b2", "crabbox.task": "crabbox",
        "crabbox.workdir": "/workspace/crabbox", "crabbox.expires_at": "2026-01-02T03:04:05Z",
    });
    let group = &job["TaskGroups"][0];
    for meta in [&job["Meta"], &group["Meta"], &group["Tasks"][0]["Meta"]] {
        assert_eq!(meta, &expected);
    }
    assert_eq!(identity.verify(&as_read(&job), "crabbox").unwrap(), "crabbox");
    let text = job.to_string();
    for secret in ["the-token", "MY_NOMAD_TOKEN", "127.0.0.1", "4646"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[test]
fn a_job_that_differs_anywhere_is_not_the_leases() {
    let settings = settings(json!({}));
    let (identity, job) = made(&settings, &[]);
    let job = job.unwrap();
    let differs = |pointer: &str, value: Value| {
        let mut other = job.clone();
        *other.pointer_mut(pointer).unwrap() = value;
        let error = identity.verify(&as_read(&other), "crabbox").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        error.as_object().data.clone().unwrap().causes[0].clone()
    };
    for place in ["/Meta", "/TaskGroups/0/Meta", "/TaskGroups/0/Tasks/0/Meta"] {
        for key in
            ["managed", "lease_id", "provider", "scope", "namespace", "region", "job_id", "task", "workdir"]
        {
            let cause = differs(&format!("{place}/crabbox.{key}"), json!("another"));
            assert!(cause.contains(key), "{place} {key}: {cause}");
        }
        differs(place, Value::Null);
    }
    differs("/ID", json!("crabbox-000000000000"));
    differs("/TaskGroups/0/Tasks/0/Name", json!("other"));
    differs("/TaskGroups", Value::Null);
    // What people like to know is no proof.
    for key in ["slug", "expires_at"] {
        let mut other = job.clone();
        for place in ["/Meta", "/TaskGroups/0/Meta", "/TaskGroups/0/Tasks/0/Meta"] {
            other.pointer_mut(place).unwrap()[format!("crabbox.{key}")] = json!("another");
        }
        identity.verify(&as_read(&other), "crabbox").unwrap();
    }
}

#[test]
fn the_driver_decides_what_the_task_is_told() {
    let config =
        |changes| made(&settings(changes), &[]).1.unwrap()["TaskGroups"][0]["Tasks"][0]["Config"].clone();
    let docker = config(json!({}));
    assert_eq!((&docker["image"], &docker["entrypoint"]), (&json!("ubuntu:24.04"), &json!(["/bin/sh"])));
    assert_eq!((&docker["args"][3], &docker["args"][4]), (&json!("/workspace/crabbox"), &json!("own")));
    for driver in ["raw_exec", "exec", "java"] {
        let other = config(json!({"driver": driver}));
        assert_eq!((other.get("image"), &other["command"]), (None, &json!("/bin/sh")), "{driver}");
    }
    let raw = config(json!({"driver": "raw_exec", "workdir": "/srv/box"}));
    assert_eq!((&raw["args"][3], &raw["args"][4]), (&json!("/srv/box/cbx_5f3a9c0e71b2"), &json!("shared")));
    assert_eq!(config(json!({"driver": "raw_exec"}))["args"][3], "");
    // Nomad replaces `${...}`, and not every `sleep` knows `infinity`.
    let script = docker["args"][1].as_str().unwrap();
    assert!(!script.contains("${") && !script.contains("infinity"), "{script}");
}

#[test]
fn what_is_configured_is_what_is_asked_for() {
    let job = made(
        &settings(json!({"region": "eu", "namespace": "team", "nodePool": "big", "datacenters": ["a", "b"],
            "cpu": 5, "memoryMb": 64, "diskMb": 7, "task": "box"})),
        &[8080],
    );
    let job = job.1.unwrap();
    assert_eq!(
        (&job["Region"], &job["Namespace"], &job["NodePool"]),
        (&json!("eu"), &json!("team"), &json!("big"))
    );
    assert_eq!(job["Datacenters"], json!(["a", "b"]));
    let group = &job["TaskGroups"][0];
    assert_eq!(group["Tasks"][0]["Name"], "box");
    assert_eq!(group["Tasks"][0]["Resources"], json!({"CPU": 5, "MemoryMB": 64}));
    assert_eq!(group["EphemeralDisk"]["SizeMB"], 7);
    assert_eq!(group["Networks"], json!([{"DynamicPorts": [{"Label": "port8080", "To": 8080}]}]));
    assert_eq!(group["Tasks"][0]["Config"]["ports"], json!(["port8080"]));
    let plain = made(&settings(json!({})), &[]).1.unwrap();
    assert_eq!(
        (plain.get("Region"), plain.get("NodePool"), &plain["Datacenters"]),
        (None, None, &json!(["*"]))
    );
    assert_eq!(plain["TaskGroups"][0].get("Networks"), None);
}

/// The job that a template makes, or why it makes none.
fn from_template(text: &str, changes: Value) -> Result<Value, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("job.json");
    std::fs::write(&path, text).unwrap();
    let mut changes = changes;
    changes["jobspecTemplate"] = json!(path);
    made(&settings(changes), &[]).1.map_err(|error| {
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        assert_eq!(error.as_object().data.clone().unwrap().created, Some(false));
        error.to_string()
    })
}

const TEMPLATE: &str = r#"{"Job": {"ID": "{{.JobID}}", "Type": "service", "Meta": {"own": "{{ .Slug }}", "w": "{{.Workdir}}"},
    "TaskGroups": [{"Name": "g", "Tasks": [{"Name": "{{.Task}}", "Driver": "docker", "Env": {"E": "{{.ExpiresAt}}"}},
                                           {"Name": "side", "Driver": "docker"}]}]}}"#;

#[test]
fn a_template_is_completed_with_whose_it_is() {
    let settings = settings(json!({}));
    let job = from_template(TEMPLATE, json!({})).unwrap();
    Identity::of(&lease(), &settings).verify(&as_read(&job), "crabbox").unwrap();
    assert_eq!(
        (&job["Meta"]["own"], &job["Meta"]["w"]),
        (&json!("blue-otter"), &json!("/workspace/crabbox"))
    );
    assert_eq!((&job["Name"], &job["Namespace"]), (&json!("crabbox-5f3a9c0e71b2"), &json!("default")));
    assert_eq!(job["TaskGroups"][0]["Tasks"][0]["Env"]["E"], "2026-01-02T03:04:05Z");
    assert_eq!(job["TaskGroups"][0]["Tasks"][1].get("Meta"), None);
    let placed = from_template(TEMPLATE, json!({"region": "eu", "namespace": "team"})).unwrap();
    assert_eq!((&placed["Region"], &placed["Namespace"]), (&json!("eu"), &json!("team")));
    // The job without the object around it, and with hardly anything in it.
    let bare = r#"{"TaskGroups":[{"Tasks":[{"Name":"crabbox"}]}]}"#;
    Identity::of(&lease(), &settings)
        .verify(&as_read(&from_template(bare, json!({})).unwrap()), "crabbox")
        .unwrap();
}

#[test]
fn braces_of_nomads_own_templates_are_left_alone() {
    let own = r#"{{ key "x" }} {{ .Data.y }} {{ end }} {{.Slug}} {{"#;
    let mut job: Value = serde_json::from_str(r#"{"TaskGroups":[{"Tasks":[{"Name":"crabbox"}]}]}"#).unwrap();
    job["TaskGroups"][0]["Tasks"][0]["Templates"] = json!([{"EmbeddedTmpl": own}]);
    let made = from_template(&job.to_string(), json!({})).unwrap();
    let text = made["TaskGroups"][0]["Tasks"][0]["Templates"][0]["EmbeddedTmpl"].as_str().unwrap();
    assert_eq!(text, own.replace("{{.Slug}}", "blue-otter"));
}

#[test]
fn a_placeholder_cannot_become_more_than_text() {
    let task = r#"x","Config":{"privileged":true},"y":""#;
    let job = from_template(TEMPLATE, json!({"task": task})).unwrap();
    assert_eq!(job["TaskGroups"][0]["Tasks"][0]["Name"], task);
    assert_eq!(job["TaskGroups"][0]["Tasks"][0].get("Config"), None);
}

#[test]
fn a_template_that_contradicts_is_refused() {
    let with = |changes: &[(&str, Value)]| {
        let mut job: Value = serde_json::from_str(TEMPLATE).unwrap();
        job["Job"]["TaskGroups"][0]["Tasks"][0]["Name"] = json!("crabbox");
        for (pointer, value) in changes {
            if let Some(place) = job.pointer_mut(pointer) {
                *place = value.clone();
                continue;
            }
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            job.pointer_mut(parent).unwrap()[key] = value.clone();
        }
        from_template(&job.to_string(), json!({}))
    };
    let group = "/Job/TaskGroups/0";
    for (pointer, value, says) in [
        ("/Job/ID", json!("mine"), "`ID`"),
        ("/Job/Name", json!("mine"), "`Name`"),
        ("/Job/Namespace", json!("mine"), "`Namespace`"),
        ("/Job/Type", json!("batch"), "`batch`"),
        ("/Job/Type", json!("system"), "`system`"),
        ("/Job/Periodic", json!({}), "`Periodic`"),
        ("/Job/ParameterizedJob", json!({}), "`ParameterizedJob`"),
        ("/Job/Multiregion", json!({}), "`Multiregion`"),
        ("/Job/Meta", json!({"crabbox.lease_id": "cbx_000000000000"}), "`crabbox.lease_id`"),
        ("/Job/Meta", json!("x"), "`Meta`"),
        ("/Job/TaskGroups", json!([]), "no task `crabbox`"),
        (&format!("{group}/Tasks/0/Driver"), json!("raw_exec"), "`Driver`"),
        (&format!("{group}/Count"), json!(2), "2 instances"),
        (&format!("{group}/Count"), json!(0), "0 instances"),
        (&format!("{group}/Tasks/1"), json!({"Name": "crabbox"}), "2 tasks"),
        (&format!("{group}/Tasks/0/Name"), json!("other"), "no task `crabbox`"),
        (&format!("{group}/Tasks/0/Meta"), json!({"crabbox.scope": "x"}), "`crabbox.scope`"),
    ] {
        let said = with(&[(pointer, value)]).unwrap_err();
        assert!(said.contains(says), "{pointer}: {said}");
    }
    let elsewhere = from_template(r#"{"Region":"us","TaskGroups":[]}"#, json!({"region": "eu"})).unwrap_err();
    assert!(elsewhere.contains("has `Region` \"us\""), "{elsewhere}");
    for (text, says) in [
        ("{{.Jobid}}", "`{{.Jobid}}`"),
        ("[]", "not a job"),
        ("x", "not JSON"),
        ("{{ .Nope }}", "placeholder"),
    ] {
        let said = from_template(text, json!({})).unwrap_err();
        assert!(said.contains(says), "{text}: {said}");
    }
    let settings = settings(json!({"jobspecTemplate": "/no/such/job.json"}));
    assert!(made(&settings, &[]).1.unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn an_adopted_lease_is_the_job_that_its_ref_names() {
    let settings = settings(json!({}));
    let of =
        |reference: &str| Identity::of(&Lease { r#ref: Some(reference.to_owned()), ..lease() }, &settings);
    assert_eq!(
        (of("crabbox-0123456789ab").job_id.as_str(), of("x").job_id.as_str()),
        ("crabbox-0123456789ab", "crabbox-5f3a9c0e71b2")
    );
    assert_eq!(of("crabbox-0123456789ab").lease_id, "cbx_0123456789ab");
}

/// Starts the task's script as a driver would.
fn keep(directory: &Path, shared: &str, allocation: &str) -> std::process::Child {
    let job = made(&settings(json!({"driver": "raw_exec"})), &[]).1.unwrap();
    let script = job["TaskGroups"][0]["Tasks"][0]["Config"]["args"][1].as_str().unwrap().to_owned();
    Command::new("/bin/sh")
        .args(["-c", &script, "crabbox", "", shared])
        .env("NOMAD_TASK_DIR", directory)
        .env("NOMAD_ALLOC_ID", allocation)
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn the_task_stays_and_at_its_end_nothing_of_a_shared_one_is_left() {
    let directory = tempfile::tempdir().unwrap();
    for (shared, is_left) in [("shared", false), ("own", true)] {
        let allocation = format!("allocation-{}-{shared}", std::process::id());
        let mut task = keep(directory.path(), shared, &allocation);
        let workspace = directory.path().join("crabbox");
        let begun = std::time::Instant::now();
        let wait = |what: &str, done: &mut dyn FnMut() -> bool| {
            while !done() {
                assert!(begun.elapsed().as_secs() < 60, "{what}");
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        };
        wait("no workspace", &mut || workspace.is_dir());
        std::fs::write(workspace.join("left"), "x").unwrap();
        let mut stray = Command::new("sleep").arg("1000").env("NOMAD_ALLOC_ID", &allocation).spawn().unwrap();
        let mut other = Command::new("sleep").arg("1000").env("NOMAD_ALLOC_ID", "another").spawn().unwrap();
        let signal = |pid: u32| Command::new("kill").args(["-s", "INT", &pid.to_string()]).status().unwrap();
        // Once: whoever stops a task says so once, and the directory is there only after the trap.
        assert!(signal(task.id()).success());
        wait("the task does not end", &mut || task.try_wait().unwrap().is_some());
        assert_eq!(workspace.exists(), is_left, "{shared}");
        assert_eq!(stray.try_wait().unwrap().is_none(), is_left, "{shared}");
        assert!(other.try_wait().unwrap().is_none());
        for child in [&mut stray, &mut other] {
            _ = child.kill();
            child.wait().unwrap();
        }
    }
}
