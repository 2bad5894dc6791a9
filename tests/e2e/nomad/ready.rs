//! From the registration to a task that runs: the scheduler, the node, and what becomes of it when they fail.

use std::time::Duration;

use crabbox_tests::nomad::{Effect, Faults, Options, Rule};
use crabbox_tests::wait_for;
use serde_json::{Value, json};

use super::Site;
use crate::support::{assert_has, claim, end, spawn};

/// A warmup comes to nothing, and of that nothing is left: its exit code and what it said.
fn fails(site: &Site) -> (i32, String) {
    let (code, stdout, stderr) = site.run(&["warmup", "--slug", "demo"]);
    assert!(code != 0 && stdout.is_empty(), "{stdout}{stderr}");
    site.nothing_is_left();
    (code, stderr)
}

/// A warmup that says such things on its way.
fn succeeds(site: &Site, says: &[&str]) {
    let (code, _, stderr) = site.run(&["warmup", "--slug", "demo"]);
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stderr, says);
    let running = |it: &Value| it["ClientStatus"] == "running";
    let running = site.agent.allocations().into_iter().find(running).unwrap();
    assert_eq!(claim(&site.world).1["lease"]["labels"]["allocation"], running["ID"]);
    assert_eq!(site.world.ok(&["run", "--id", "demo", "--no-sync", "--", "echo", "here"]), "here\n");
    site.world.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn an_evaluation_that_fails_is_told_with_what_the_scheduler_said() {
    for status in ["failed", "canceled"] {
        let site = Site::new();
        let why = "maximum attempts reached (5)";
        site.agent.faults(|faults| faults.evaluation = Some((status, why.to_owned())));
        let (code, stderr) = fails(&site);
        assert_eq!(code, 1, "{stderr}");
        assert_has(&stderr, &["the scheduler's evaluation", &format!("{status}: {why}")]);
    }
}

#[test]
fn an_evaluation_of_which_nothing_is_said_is_an_error() {
    for body in ["null", "{", "<html>"] {
        let site = Site::new();
        let headers = Vec::new();
        let effect = Effect::Answer { status: 200, headers, body: body.to_owned() };
        site.agent.rule(Rule::new("/v1/evaluation/", effect));
        let (code, stderr) = fails(&site);
        assert_eq!(code, 1, "{body}: {stderr}");
        assert_has(&stderr, &["/v1/evaluation/"][..usize::from(body != "null")]);
    }
}

#[test]
fn a_scheduler_that_does_not_look_is_waited_for_as_long_as_was_said() {
    let site = Site::new();
    site.configure(json!({"evalTimeout": "300ms"}));
    site.agent.faults(|faults| faults.placement_delay = Duration::from_secs(3600));
    let (code, stderr) = fails(&site);
    assert_eq!(code, 5, "{stderr}");
    assert_has(&stderr, &["the scheduler has not looked at the job within 300 ms", "`evalTimeout`"]);
}

#[test]
fn a_lease_for_which_there_is_no_room_yet_waits_for_it() {
    let site = Site::new();
    site.agent.faults(|faults| faults.no_capacity = true);
    let warmup = spawn(&mut site.crabbox(&["warmup", "--slug", "demo"]));
    let asked = || site.agent.requests().iter().filter(|it| it.path.ends_with("/allocations")).count();
    wait_for("the wait", || asked() >= 2);
    site.agent.heal();
    let (code, _, stderr) = end(warmup);
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stderr, &["waiting: none of 1 nodes fits, not enough `cpu` on 1"]);
    site.world.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn an_evaluation_that_waits_for_room_is_no_failure() {
    let site = Site::new();
    let body = json!({"ID": "0", "Status": "blocked", "StatusDescription": "created to place remaining allocations"});
    let effect = Effect::Answer { status: 200, headers: Vec::new(), body: body.to_string() };
    site.agent.rule(Rule::new("/v1/evaluation/", effect));
    succeeds(&site, &[]);
}

#[test]
fn a_lease_for_which_there_is_no_room_fails_with_the_reasons() {
    let full = "none of 1 nodes fits, not enough `cpu` on 1";
    for (settings, faults, why) in [
        (json!({}), Faults { no_capacity: true, ..Faults::default() }, full),
        (json!({"cpu": 9000}), Faults::default(), full),
        (json!({"memoryMb": 99_999}), Faults::default(), "not enough `memory` on 1"),
        (json!({"driver": "podman"}), Faults::default(), "constraint `missing drivers` on 1"),
        (json!({"datacenters": ["dc9"]}), Faults::default(), "no node is in the datacenters and node pool"),
    ] {
        let site = Site::new();
        site.agent.faults(|it| *it = faults);
        let mut all = json!({"allocReadyTimeout": "500ms"});
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        site.configure(all);
        let (code, stderr) = fails(&site);
        assert_eq!(code, 5, "{settings}: {stderr}");
        assert_has(
            &stderr,
            &["the lease's task does not run after 500 ms", "caused by: n", why, "`allocReadyTimeout`"],
        );
    }
}

#[test]
fn a_job_that_the_agent_refuses_is_a_fault_of_the_configuration() {
    let site = Site::new();
    site.configure(json!({"nodePool": "nowhere"}));
    let (code, stderr) = fails(&site);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["Nomad does not take the job", "nonexistent node pool"]);
    assert_eq!(site.asked("DELETE"), 0);
    site.configure(json!({"namespace": "nowhere"}));
    let (code, _, stderr) = site.run(&["warmup"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["nonexistent namespace"]);
    site.configure(json!({"region": "nowhere"}));
    let (code, _, stderr) = site.run(&["warmup"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["No path to region", "hint: set `region`"]);
    assert_eq!(site.asked("DELETE"), 0);
    site.configure(json!({}));
    site.nothing_is_left();
}

#[test]
fn a_task_that_is_slow_to_start_is_waited_for() {
    let site = Site::new();
    site.agent.faults(|faults| faults.start_delay = Duration::from_secs(1));
    succeeds(&site, &["waiting: allocation ", " is pending"]);
}

#[test]
fn a_task_that_takes_too_long_to_start_is_told_with_what_happened_last() {
    let site = Site::new();
    site.configure(json!({"allocReadyTimeout": "1s"}));
    site.agent.faults(|faults| faults.start_delay = Duration::from_secs(3600));
    let (code, stderr) = fails(&site);
    assert_eq!(code, 5, "{stderr}");
    let says =
        ["the lease's task does not run after 1 s", "caused by: allocation ", "Building Task Directory"];
    assert_has(&stderr, &says);
}

#[test]
fn a_task_that_cannot_start_is_told_with_the_drivers_words() {
    let site = Site::new();
    site.agent.faults(|faults| {
        faults.start_failure = Some((9, "Failed to pull `nope:latest`: not found".to_owned()));
        faults.restart_delay = Some(Duration::from_millis(20));
    });
    let (code, stderr) = fails(&site);
    assert_eq!(code, 5, "{stderr}");
    assert_has(&stderr, &["the lease's task does not run", "Failed to pull `nope:latest`: not found"]);
}

#[test]
fn a_task_that_ends_is_started_again() {
    let site = Site::new();
    site.agent.faults(|faults| {
        faults.task_dies = Some((1, Duration::ZERO));
        faults.restart_delay = Some(Duration::from_millis(300));
    });
    site.warm();
    // It may have been seen running the first time, too.
    wait_for("the second start", || site.agent.allocations()[0]["TaskStates"]["crabbox"]["Restarts"] == 1);
    site.world.ok(&["status", "demo", "--wait"]);
    assert_eq!(site.world.ok(&["run", "--id", "demo", "--no-sync", "--", "echo", "here"]), "here\n");
    site.world.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn a_task_that_dies_after_its_start_is_no_lease_any_more() {
    let site = Site::new();
    site.warm();
    let allocation = site.agent.allocations()[0]["ID"].as_str().unwrap().to_owned();
    site.agent.lose(&allocation);
    let (code, stdout, stderr) = site.run(&["status", "demo"]);
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stdout, &["state=failed ready=false", "and told to stop"]);
    for arguments in [&["status", "demo", "--wait"][..], &["run", "--id", "demo", "--no-sync", "true"]] {
        let (code, _, stderr) = site.run(arguments);
        assert_eq!(code, 5, "{arguments:?}: {stderr}");
    }
    assert!(site.agent.execs().is_empty());
    site.world.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn a_template_that_fails_over_is_waited_for_until_its_replacement_runs() {
    let site = Site::new();
    let group = json!({"Name": "g", "RestartPolicy": {"Attempts": 0, "Mode": "fail"},
        "ReschedulePolicy": {"Unlimited": true, "Delay": 5_000_000_000_u64, "DelayFunction": "constant"},
        "Tasks": [{"Name": "crabbox", "Driver": "raw_exec", "Resources": {"CPU": 50, "MemoryMB": 20},
            "Config": {"command": "/bin/sh", "args": ["-c", "sleep 3600"]}}]});
    let job = json!({"Datacenters": ["*"], "TaskGroups": [group]}).to_string();
    let template = site.world.root().join("job.json");
    std::fs::write(&template, job).unwrap();
    site.configure(json!({"jobspecTemplate": template}));
    site.agent.faults(|faults| {
        faults.start_failure = Some((1, "the node has a bad day".to_owned()));
        faults.reschedule_delay = Some(Duration::from_secs(1));
    });
    succeeds(&site, &[]);
    assert_eq!(site.agent.allocations().len(), 0);
}

#[test]
fn an_allocation_of_another_job_or_without_an_id_is_not_taken() {
    for (id, job) in [("11111111-2222-3333-4444-555555555555", "another"), ("", "JOB")] {
        let site = Site::new();
        let warmup = spawn(&mut site.crabbox(&["warmup", "--slug", "demo"]));
        let jobs = || site.agent.jobs();
        wait_for("the job", || jobs().len() == 1);
        let job = job.replace("JOB", jobs()[0]["ID"].as_str().unwrap());
        assert_eq!(end(warmup).0, 0);
        let other = json!([{"ID": id, "JobID": job, "TaskGroup": "crabbox", "NodeName": "n", "CreateIndex": 9999,
            "DesiredStatus": "run", "ClientStatus": "running", "TaskStates": {"crabbox": {"State": "running"}}}]);
        let effect = Effect::Answer { status: 200, headers: Vec::new(), body: other.to_string() };
        site.agent.forget();
        site.agent.rule(Rule::new("/allocations", effect));
        let run = spawn(&mut site.crabbox(&["run", "--id", "demo", "--no-sync", "--", "echo", "here"]));
        let asked = || {
            let is = |it: &crabbox_tests::nomad::Request| it.path.ends_with("/allocations");
            site.agent.requests().into_iter().filter(is).collect::<Vec<_>>()
        };
        wait_for("several looks", || asked().len() >= 2);
        assert!(asked().iter().all(|it| it.query.contains("all=true")), "{:?}", asked());
        assert!(!site.agent.requests().iter().any(|it| it.is_exec()));
        site.agent.heal();
        let (code, stdout, stderr) = end(run);
        assert_eq!((code, stdout.as_str()), (0, "here\n"), "{stderr}");
        site.world.ok(&["stop", "demo"]);
        site.nothing_is_left();
    }
}

#[test]
fn an_agent_that_cannot_answer_yet_is_asked_again() {
    for rule in [Rule::no_leader(3), Rule::too_many_requests(2)] {
        let site = Site::with(Options::default());
        site.agent.rule(rule);
        succeeds(&site, &[]);
    }
    let site = Site::new();
    site.agent.rule(Rule::new("/v1/jobs", Effect::Delay(Duration::from_secs(1))).method("PUT"));
    succeeds(&site, &[]);
}

#[test]
fn an_agent_that_never_has_time_is_an_error_and_nothing_is_made() {
    let site = Site::new();
    site.agent.rule(Rule::too_many_requests(1000));
    let (code, _, stderr) = site.run(&["warmup"]);
    assert_eq!(code, 5, "{stderr}");
    assert_has(&stderr, &["Nomad answered 429"]);
    assert_eq!(site.asked("PUT"), 0);
    site.nothing_is_left();
}
