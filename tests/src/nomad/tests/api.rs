//! Jobs, evaluations and allocations.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{IDLE, ask, get, job, register, running, until};
use crate::nomad::{Emulator, Options};

#[test]
fn a_job_is_registered_once() {
    let emulator = Emulator::start();
    let first = register(&emulator, &job("a", "raw_exec", IDLE));
    assert_eq!((first.status, first.json()["JobModifyIndex"].as_u64()), (200, Some(first.index())));
    let second = register(&emulator, &job("a", "raw_exec", IDLE));
    assert_eq!((second.status, &*second.text), (500, "Enforcing job modify index 0: job already exists"));
    assert_eq!(emulator.jobs().len(), 1);
}

#[test]
fn a_stopped_job_is_there_until_it_is_purged() {
    let emulator = Emulator::start();
    running(&emulator, "a", "raw_exec");
    assert_eq!(ask(&emulator, "DELETE /v1/job/a", "").status, 200);
    let read = get(&emulator, "/v1/job/a").json();
    assert_eq!((&read["Stop"], &read["Status"]), (&json!(true), &json!("dead")));
    assert_eq!(register(&emulator, &job("a", "raw_exec", IDLE)).status, 500);
    let allocation = until(|| emulator.allocations().pop().filter(|it| it["ClientStatus"] == "complete"));
    assert_eq!(allocation["DesiredStatus"], "stop");

    assert_eq!(ask(&emulator, "DELETE /v1/job/a?purge=true", "").status, 200);
    let absent = get(&emulator, "/v1/job/a");
    assert_eq!((absent.status, &*absent.text), (404, "job not found"));
    assert_eq!(get(&emulator, "/v1/job/a/allocations?all=true").text, "[]");
    let id = allocation["ID"].as_str().unwrap();
    assert_eq!(get(&emulator, &format!("/v1/allocation/{id}")).status, 404);
    let again = ask(&emulator, "DELETE /v1/job/a?purge=true", "");
    assert_eq!((again.status, &again.json()["EvalID"]), (200, &json!("")));
}

#[test]
fn what_is_wrong_is_told_in_the_words_of_the_agent() {
    let emulator = Emulator::start();
    let put = |body: &str| {
        let answer = ask(&emulator, "PUT /v1/jobs", body);
        (answer.status, answer.text)
    };
    let told = |status: u16, text: &str| (status, text.to_owned());
    assert_eq!(put(""), told(400, "Request body is empty"));
    assert_eq!(put("{"), told(400, "unexpected EOF"));
    assert_eq!(put("{}"), told(400, "Job must be specified"));
    assert_eq!(put(r#"{"Job":{}}"#), told(400, "Job ID hasn't been provided"));
    assert_eq!(
        put(r#"{"Job":{"ID":5}}"#),
        told(400, "json: cannot unmarshal number into Go struct field Job.Job.ID of type string")
    );
    assert_eq!(put(r#"{"Job":{"ID":"x"}}"#), told(500, "1 error occurred:\n\t* Missing job task groups\n\n"));
    let small = json!({ "Job": { "ID": "x", "TaskGroups": [{ "Name": "g", "Tasks": [
        { "Name": "t", "Driver": "raw_exec", "Resources": { "CPU": 0, "MemoryMB": 5 } }] }] } });
    let (status, text) = put(&small.to_string());
    assert_eq!(status, 500);
    assert!(text.contains("2 errors occurred:\n\t* minimum CPU value is 1; got 0\n"), "{text}");
    for (request, status, text) in [
        ("GET /v1/evaluation/11111111-1111-1111-1111-111111111111", 404, "eval not found"),
        ("GET /v1/namespace/none", 404, "Namespace not found"),
        ("GET /v1/job/a?region=elsewhere", 500, "No path to region"),
        ("GET /v1/jobs?wait=x", 400, "Invalid wait time"),
        ("GET /v1/jobs?index=x", 400, "Invalid index"),
        ("DELETE /v1/jobs", 405, "Invalid method"),
        ("GET /v1/nothing", 404, ""),
    ] {
        let answer = ask(&emulator, request, "");
        assert_eq!((answer.status, &*answer.text), (status, text), "{request}");
    }
}

#[test]
fn a_blocking_read_waits_for_a_change() {
    let emulator = Emulator::start();
    emulator.faults(|faults| faults.placement_delay = Duration::from_millis(300));
    register(&emulator, &job("a", "raw_exec", IDLE));
    let empty = get(&emulator, "/v1/job/a/allocations");
    assert_eq!(empty.text, "[]");
    let begin = Instant::now();
    let index = empty.index().max(1);
    let changed = get(&emulator, &format!("/v1/job/a/allocations?index={index}&wait=5s"));
    assert!(begin.elapsed() > Duration::from_millis(100) && begin.elapsed() < Duration::from_secs(3));
    assert_eq!(changed.json().as_array().unwrap().len(), 1);
    let begin = Instant::now();
    let nothing = get(&emulator, "/v1/job/absent?index=999999&wait=200ms");
    assert_eq!(nothing.status, 404);
    assert!(begin.elapsed() > Duration::from_millis(190));
}

#[test]
fn what_cannot_be_placed_is_told_in_the_evaluation() {
    let emulator = Emulator::start();
    let evaluation = |job: &Value| {
        let id = register(&emulator, job).json()["EvalID"].as_str().unwrap().to_owned();
        until(|| {
            Some(get(&emulator, &format!("/v1/evaluation/{id}")).json())
                .filter(|it| it["Status"] == "complete")
        })
    };
    let elsewhere = evaluation(&job("a", "podman", IDLE));
    assert_eq!(elsewhere["FailedTGAllocs"]["g"]["ConstraintFiltered"], json!({ "missing drivers": 1 }));
    let blocked = elsewhere["BlockedEval"].as_str().unwrap();
    assert_eq!(get(&emulator, &format!("/v1/evaluation/{blocked}")).json()["Status"], "blocked");
    let mut large = job("b", "raw_exec", IDLE);
    large["TaskGroups"][0]["Tasks"][0]["Resources"] = json!({ "CPU": 100_000 });
    assert_eq!(evaluation(&large)["FailedTGAllocs"]["g"]["DimensionExhausted"], json!({ "cpu": 1 }));
    let placed = evaluation(&job("c", "raw_exec", IDLE));
    assert!(placed.get("FailedTGAllocs").is_none() && placed.get("BlockedEval").is_none());
}

#[test]
fn jobs_are_listed_by_prefix_by_filter_and_by_page() {
    let emulator = Emulator::with(Options { namespaces: vec!["other".to_owned()], ..Options::default() });
    for (id, mark) in [("crabbox-a", "1"), ("crabbox-b", "2"), ("x", "1")] {
        let mut job = job(id, "raw_exec", IDLE);
        job["Meta"] = json!({ "crabbox.mark": mark });
        register(&emulator, &job);
    }
    let ids = |path: &str| -> Vec<String> {
        let all = get(&emulator, path).json();
        all.as_array().unwrap().iter().map(|it| it["ID"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("/v1/jobs?prefix=crabbox-"), ["crabbox-a", "crabbox-b"]);
    assert_eq!(ids("/v1/jobs?filter=Meta%5B%22crabbox.mark%22%5D%20%3D%3D%20%221%22"), ["crabbox-a", "x"]);
    let page = get(&emulator, "/v1/jobs?per_page=2");
    assert!(page.head.contains("X-Nomad-Nexttoken: default.x"), "{}", page.head);
    assert_eq!(ids("/v1/jobs?per_page=2&next_token=default.x"), ["x"]);
    assert_eq!(ids("/v1/jobs?namespace=other"), <[&str; 0]>::default());
    assert!(get(&emulator, "/v1/jobs").json()[0].get("Meta").is_none());
    assert_eq!(get(&emulator, "/v1/jobs?meta=true").json()[0]["Meta"]["crabbox.mark"], "1");
}

#[test]
fn a_task_that_cannot_start_fails_and_says_why() {
    let emulator = Emulator::start();
    let mut wrong = job("a", "raw_exec", IDLE);
    wrong["TaskGroups"][0]["Tasks"][0]["Config"] = json!({ "command": "/nonexistent" });
    register(&emulator, &wrong);
    let allocation = until(|| emulator.allocations().pop().filter(|it| it["ClientStatus"] == "failed"));
    let events = allocation["TaskStates"]["t"]["Events"].as_array().unwrap().clone();
    let texts: Vec<&str> = events.iter().filter_map(|it| it["DisplayMessage"].as_str()).collect();
    assert!(texts.iter().any(|it| it.ends_with("binary \"/nonexistent\" could not be found")), "{texts:?}");
    assert_eq!(texts.last(), Some(&"Error was unrecoverable"));
}

#[test]
fn a_task_is_restarted_and_its_allocation_replaced() {
    let emulator = Emulator::start();
    emulator.faults(|faults| {
        faults.restart_delay = Some(Duration::from_millis(10));
        faults.reschedule_delay = Some(Duration::from_millis(200));
    });
    register(&emulator, &job("a", "raw_exec", "exit 3"));
    let failed = until(|| emulator.allocations().into_iter().find(|it| it["FollowupEvalID"] != ""));
    assert_eq!(
        (&failed["ClientStatus"], &failed["TaskStates"]["t"]["Restarts"]),
        (&json!("failed"), &json!(2))
    );
    let next = until(|| {
        let all = emulator.allocations();
        let next = all.iter().find(|it| it["ID"] == failed["ID"])?["NextAllocation"].clone();
        all.into_iter().find(|it| it["ID"] == next)
    });
    assert_eq!(next["Name"], failed["Name"]);
}

#[test]
fn nothing_is_left_of_an_emulator() {
    let emulator = Emulator::start();
    running(&emulator, "a", "raw_exec");
    let processes = emulator.processes();
    assert_eq!(processes.len(), 1);
    let directory = emulator.directory().to_owned();
    emulator.stop();
    assert!(!directory.exists());
    let state = std::fs::read_to_string(format!("/proc/{}/stat", processes[0])).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "{state}");
}
