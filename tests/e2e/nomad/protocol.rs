//! What crabbox itself never asks for, or never twice: the provider spoken to as a host does.

use crabbox_provider_kit::testing::Plugin;
use crabbox_tests::nomad::{Effect, Emulator, Options, Rule};
use crabbox_tests::{binary, wait_for};
use serde_json::{Value, json};

/// The provider of an agent, configured.
struct Talk {
    agent: Emulator,
    plugin: Plugin,
}

const ID: &str = "cbx_0123456789ab";

fn acquire() -> Value {
    json!({"lease": {"id": ID, "slug": "demo", "name": "demo"}, "keep": true})
}

impl Talk {
    fn with(settings: Value) -> Self {
        let agent = Emulator::with(Options::default());
        let mut plugin = Plugin::start(binary("crabbox-provider-nomad"), [("HOME", "/nowhere")]);
        plugin.initialize();
        let mut config = json!({"address": agent.address(), "driver": "raw_exec"});
        config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let configured = plugin.result("configure", json!({"config": config}));
        assert_eq!(configured.get("problems").unwrap_or(&json!([])), &json!([]), "{configured}");
        Self { agent, plugin }
    }

    fn job(&self) -> Value {
        let jobs = self.agent.jobs();
        assert_eq!(jobs.len(), 1, "{jobs:#?}");
        jobs[0].clone()
    }

    /// Ends the lease and the provider; nothing is left.
    fn over(mut self) {
        let released = self.plugin.result(
            "release",
            json!({"lease": {"id": ID, "slug": "demo", "name": "demo"}, "action": "delete",
            "reason": "user"}),
        );
        assert_eq!(released["outcome"], "released", "{released}");
        assert!(self.agent.jobs().is_empty() && self.agent.processes().is_empty());
        assert!(self.plugin.close().success());
    }
}

fn bridge(port: u16) -> Value {
    json!({"lease": {"id": ID, "slug": "demo", "name": "demo"}, "port": port, "publish": false})
}

#[test]
fn a_lease_that_is_asked_for_again_is_the_same() {
    let mut talk = Talk::with(json!({}));
    let first = talk.plugin.result("acquire", acquire());
    let (index, again) = (talk.job()["JobModifyIndex"].clone(), talk.plugin.result("acquire", acquire()));
    assert_eq!(first["lease"]["ref"], again["lease"]["ref"]);
    assert_eq!(first["lease"]["labels"], again["lease"]["labels"]);
    assert_eq!(talk.job()["JobModifyIndex"], index);
    talk.over();
}

#[test]
fn a_job_that_somebody_stopped_is_neither_used_nor_replaced() {
    let mut talk = Talk::with(json!({}));
    talk.plugin.result("acquire", acquire());
    super::ask(&talk.agent, "DELETE", "/v1/job/crabbox-0123456789ab");
    talk.agent.forget();
    let error = talk.plugin.error("acquire", acquire());
    assert_eq!((&error["data"]["kind"], &error["data"]["created"]), (&json!("conflict"), &json!(false)));
    assert_eq!(error["data"]["hint"], "`nomad job stop -purge crabbox-0123456789ab` takes it away");
    let resolved = talk
        .plugin
        .result("resolve", json!({"lease": {"id": ID, "slug": "demo", "name": "demo"}, "intent": "use"}));
    assert_eq!(resolved["state"], "stopped", "{resolved}");
    assert!(talk.agent.requests().iter().all(|it| it.method == "GET"));
    talk.over();
}

#[test]
fn a_foreign_job_of_the_same_name_is_a_conflict_and_no_more_than_looked_at() {
    let mut talk = Talk::with(json!({}));
    talk.agent.register(&json!({"ID": "crabbox-0123456789ab", "Name": "crabbox-0123456789ab",
        "Type": "service", "Datacenters": ["*"], "TaskGroups": [{"Name": "g", "Tasks": [{"Name": "crabbox",
        "Driver": "raw_exec", "Config": {"command": "/bin/sleep", "args": ["100"]},
        "Resources": {"CPU": 10, "MemoryMB": 10}}]}]}));
    let before = talk.job();
    talk.agent.forget();
    let lease = json!({"id": ID, "slug": "demo", "name": "demo"});
    for (method, params) in [
        ("acquire", acquire()),
        ("resolve", json!({"lease": lease, "intent": "use"})),
        ("release", json!({"lease": lease, "action": "delete", "reason": "user"})),
        ("bridge", bridge(8080)),
    ] {
        let error = talk.plugin.error(method, params);
        assert_eq!(error["data"]["kind"], "conflict", "{method}: {error}");
    }
    assert!(talk.agent.requests().iter().all(|it| it.method == "GET"));
    assert_eq!(talk.job()["JobModifyIndex"], before["JobModifyIndex"]);
    let absent = json!({"lease": {"id": "cbx_ffffffffffff", "slug": "x", "name": "x"}, "action": "delete", "reason": "user"});
    assert_eq!(talk.plugin.result("release", absent)["outcome"], "absent");
    assert!(talk.plugin.close().success());
}

#[test]
fn a_port_that_was_wished_for_is_reached_at_the_nodes() {
    for (driver, same) in [("raw_exec", true), ("docker", false)] {
        let mut talk = Talk::with(json!({"driver": driver}));
        let mut wish = acquire();
        wish["expose"] = json!([18080]);
        talk.plugin.result("acquire", wish);
        let there = talk.plugin.result("bridge", bridge(18080));
        assert_eq!((&there["state"], &there["transport"]), (&json!("ready"), &json!("url")), "{there}");
        let endpoint = there["endpoint"].as_str().unwrap();
        assert!(endpoint.starts_with("http://127.0.0.1:"), "{there}");
        // On the node's own network nothing leads from one port to another.
        assert_eq!(endpoint.ends_with(":18080"), same, "{driver}: {there}");
        let none = talk.plugin.result("bridge", bridge(9999));
        assert_eq!((&none["state"], &none["transport"]), (&json!("unsupported"), &json!("none")), "{none}");
        assert!(none["message"].as_str().unwrap().contains("no port that leads to 9999"), "{none}");
        talk.over();
    }
}

#[test]
fn a_port_of_a_template_is_reached_too() {
    let directory = tempfile::tempdir().unwrap();
    let template = directory.path().join("job.json");
    let job = json!({"Datacenters": ["*"], "TaskGroups": [{"Name": "g",
        "Networks": [{"DynamicPorts": [{"Label": "http", "To": 8080}]}],
        "Tasks": [{"Name": "crabbox", "Driver": "raw_exec", "Resources": {"CPU": 50, "MemoryMB": 20},
            "Config": {"command": "/bin/sh", "args": ["-c", "sleep 3600"]}}]}]});
    std::fs::write(&template, job.to_string()).unwrap();
    let mut talk = Talk::with(json!({"jobspecTemplate": template}));
    talk.plugin.result("acquire", acquire());
    let there = talk.plugin.result("bridge", bridge(8080));
    assert_eq!(there["state"], "ready", "{there}");
    assert_eq!(there["targets"][0]["port"], 8080, "{there}");
    talk.over();
    let mut talk = Talk::with(json!({}));
    talk.plugin.result("acquire", acquire());
    let none = talk.plugin.result("bridge", bridge(8080));
    assert_eq!((&none["state"], &none["transport"]), (&json!("unsupported"), &json!("none")), "{none}");
    talk.over();
}

#[test]
fn what_names_nothing_to_execute_or_nowhere_to_do_it_is_refused_without_a_request() {
    let mut talk = Talk::with(json!({}));
    let lease = json!({"id": ID, "slug": "demo", "name": "demo"});
    let run = |lease: Value, argv: Value| json!({"lease": lease, "runId": "run_0123456789ab", "argv": argv});
    let nowhere = json!({"runId": "run_0123456789ab", "argv": ["true"]});
    for (params, says) in [(nowhere, "without a lease"), (run(lease.clone(), json!([])), "without a program")]
    {
        let error = talk.plugin.error("run", params);
        assert_eq!(error["data"]["remote"], "absent", "{error}");
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
    }
    let mut wish = acquire();
    wish["target"] = json!("macos");
    let error = talk.plugin.error("acquire", wish);
    assert_eq!((&error["data"]["kind"], &error["data"]["created"]), (&json!("unsupported"), &json!(false)));
    assert!(talk.agent.requests().is_empty());
    // There is no job of that name.
    let error = talk.plugin.error("run", run(lease, json!(["true"])));
    assert_eq!((&error["data"]["kind"], &error["data"]["remote"]), (&json!("notFound"), &json!("absent")));
    assert!(talk.agent.requests().iter().all(|it| it.method == "GET" && !it.is_exec()));
    assert!(talk.plugin.close().success());
}

#[test]
fn a_cancelled_command_is_answered_for_when_it_ends_and_not_waited_for_without_signs_of_life() {
    let mut talk = Talk::with(json!({}));
    talk.plugin.result("acquire", acquire());
    let lease = json!({"id": ID, "slug": "demo", "name": "demo"});
    for (lifeline, script) in [
        (true, "echo up; cat >/dev/null; exit 5"),
        (false, "echo up; exec sleep 600"),
        // It may have lost a part of its input, and its end says nothing.
        (false, "echo up; sleep 0.1"),
    ] {
        let mut params = json!({"lease": lease, "runId": "run_0123456789ab", "argv": ["sh", "-c", script]});
        if lifeline {
            params["lifelineMs"] = json!(1000);
        }
        let run = talk.plugin.ask("run", params);
        while talk.plugin.message()["params"]["text"] != "up\n" {}
        talk.plugin.cancel(run);
        let answer = talk.plugin.answer(run);
        if lifeline {
            assert_eq!(answer.result()["exitCode"], 5, "its end is the proof that it is dead");
        } else {
            let error = answer.error();
            assert_eq!(error["data"]["kind"], "cancelled", "{script}: {error}");
            assert_ne!(error["data"]["remote"], "dead", "nobody knows: {error}");
        }
    }
    talk.over();
}

/// That another is to come, Nomad says a moment after it has said that an allocation failed.
#[test]
fn a_failure_is_waited_on_for_a_moment_where_the_job_may_replace_it() {
    let directory = tempfile::tempdir().unwrap();
    let template = directory.path().join("job.json");
    let job = json!({"Datacenters": ["*"], "TaskGroups": [{"Name": "crabbox",
        "Tasks": [{"Name": "crabbox", "Driver": "raw_exec", "Resources": {"CPU": 50, "MemoryMB": 20},
            "Config": {"command": "/bin/sh", "args": ["-c", "sleep 3600"]}}]}]});
    std::fs::write(&template, job.to_string()).unwrap();
    for (settings, waits) in [(json!({"jobspecTemplate": template}), true), (json!({}), false)] {
        let mut talk = Talk::with(settings);
        let failed = json!([{"ID": "11111111-2222-3333-4444-555555555555", "JobID": "crabbox-0123456789ab",
            "TaskGroup": "crabbox", "DesiredStatus": "run", "ClientStatus": "failed"}]);
        let effect = Effect::Answer { status: 200, headers: Vec::new(), body: failed.to_string() };
        talk.agent.rule(Rule::new("/allocations", effect).times(1));
        let outcome = talk.plugin.call("acquire", acquire()).outcome.unwrap();
        assert_eq!(outcome.is_ok(), waits, "{outcome:?}");
        talk.over();
    }
}

#[test]
fn a_lease_that_is_not_wanted_any_more_is_not_waited_for() {
    let mut talk = Talk::with(json!({}));
    talk.agent.faults(|faults| faults.no_capacity = true);
    let asked = talk.plugin.ask("acquire", acquire());
    wait_for("the wait", || talk.agent.requests().iter().any(|it| it.path.ends_with("/allocations")));
    talk.plugin.cancel(asked);
    let error = talk.plugin.answer(asked).error();
    assert_eq!(error["data"]["kind"], "cancelled", "{error}");
    // What has become of the job, the host finds out.
    assert_ne!(error["data"]["created"], false, "{error}");
    talk.over();
}

#[test]
fn what_the_host_executes_of_itself_has_a_minute_whatever_a_command_has() {
    let mut talk = Talk::with(json!({"execTimeout": 500}));
    talk.plugin.result("acquire", acquire());
    let lease = json!({"id": ID, "slug": "demo", "name": "demo"});
    let mut params = json!({"lease": lease, "runId": "run_0123456789ab", "argv": ["sleep", "1.5"]});
    assert_eq!(talk.plugin.result("run", params.clone())["exitCode"], 0);
    params["lifelineMs"] = json!(1000);
    let error = talk.plugin.error("run", params.clone());
    assert_eq!(error["data"]["kind"], "deadline", "{error}");
    // One that ends when its input does is known to be dead.
    params["argv"] = json!(["cat"]);
    let error = talk.plugin.error("run", params);
    assert_eq!((&error["data"]["kind"], &error["data"]["remote"]), (&json!("deadline"), &json!("dead")));
    talk.over();
}

#[test]
fn a_lease_that_went_to_another_node_is_looked_for_in_the_same_session() {
    let mut talk = Talk::with(json!({}));
    talk.plugin.result("acquire", acquire());
    let lease = json!({"id": ID, "slug": "demo", "name": "demo"});
    let run = json!({"lease": lease, "runId": "run_0123456789ab", "argv": ["true"]});
    assert_eq!(talk.plugin.result("run", run.clone())["exitCode"], 0);
    let lost = talk.agent.allocations()[0]["ID"].as_str().unwrap().to_owned();
    talk.agent.lose(&lost);
    talk.agent.register(&talk.job());
    wait_for("another", || {
        talk.agent.allocations().iter().any(|it| it["ID"] != *lost && it["ClientStatus"] == "running")
    });
    let error = talk.plugin.error("run", run.clone());
    assert_eq!(error["data"]["remote"], "absent", "{error}");
    assert_eq!(talk.plugin.result("run", run)["exitCode"], 0);
    talk.over();
}

#[test]
fn a_file_that_is_not_as_long_as_was_said_is_no_success() {
    let mut talk = Talk::with(json!({}));
    talk.plugin.result("acquire", acquire());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("input");
    std::fs::write(&file, "12345").unwrap();
    let lease = json!({"id": ID, "slug": "demo", "name": "demo"});
    let mut params = json!({"lease": lease, "runId": "run_0123456789ab", "argv": ["cat"],
        "stdin": {"path": file, "size": 5, "sha256": "0".repeat(64)}});
    let answer = talk.plugin.call("run", params.clone());
    assert_eq!((answer.stdout.as_slice(), answer.outcome.unwrap().is_ok()), (&b"12345"[..], true));
    params["stdin"]["size"] = json!(10);
    let error = talk.plugin.error("run", params.clone());
    assert!(error["message"].as_str().unwrap().contains("shorter than the 10 bytes announced"), "{error}");
    params["stdin"]["path"] = json!(directory.path().join("nothing"));
    assert_eq!(talk.plugin.error("run", params)["data"]["remote"], "absent");
    talk.over();
}
