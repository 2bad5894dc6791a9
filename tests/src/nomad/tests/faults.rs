//! What can be made to go wrong.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use super::client::{End, Exec, IDLE, ask, get, job, register, running, try_ask, until};
use crate::nomad::{Effect, Emulator, Late, Rule};

#[test]
fn rules_take_the_place_of_answers_as_often_as_they_say() {
    let emulator = Emulator::start();
    emulator.rule(Rule::no_leader(2));
    for _ in 0..2 {
        let answer = get(&emulator, "/v1/jobs");
        assert_eq!((answer.status, &*answer.text), (500, "No cluster leader"));
    }
    assert_eq!(get(&emulator, "/v1/jobs").status, 200);
    emulator.rule(Rule::status("/v1/job/", 500, "not the 404 of {token}").method("GET"));
    assert_eq!(try_ask(&emulator, "GET /v1/job/a", "secret", "").unwrap().text, "not the 404 of secret");
    assert_eq!(ask(&emulator, "DELETE /v1/job/a", "").status, 200);
    emulator.rule(Rule::redirect("/v1/nodes", 307, "http://elsewhere.invalid/"));
    assert!(get(&emulator, "/v1/nodes").head.contains("Location: http://elsewhere.invalid/"));
    emulator.rule(Rule::new("/v1/regions", Effect::Cut));
    assert!(try_ask(&emulator, "GET /v1/regions", "", "").is_none());
    emulator.heal();
    emulator.rule(Rule::new("/v1/jobs", Effect::CutAfter));
    let body = json!({ "Job": job("a", "raw_exec", IDLE) }).to_string();
    assert!(try_ask(&emulator, "PUT /v1/jobs", "", &body).is_none());
    assert_eq!(emulator.jobs().len(), 1, "it was registered all the same");
    let statuses: Vec<u16> = emulator.requests().iter().map(|it| it.status).collect();
    assert_eq!(statuses, [500, 500, 200, 500, 200, 307, 0, 0]);
}

#[test]
fn a_register_lands_after_the_client_is_gone() {
    let emulator = Emulator::start();
    let time = Duration::from_millis(200);
    emulator.faults(|faults| faults.late_register = Some(Late::AfterHangUp(time)));
    let body = json!({ "Job": job("a", "raw_exec", IDLE) }).to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", emulator.port())).unwrap();
    write!(stream, "PUT /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .unwrap();
    until(|| emulator.requests().pop());
    std::thread::sleep(2 * time);
    assert!(emulator.jobs().is_empty(), "the client is still there");
    drop(stream);
    std::thread::sleep(time / 4);
    assert!(emulator.jobs().is_empty());
    until(|| emulator.jobs().pop());
}

#[test]
fn a_deregister_is_late_or_has_no_effect() {
    let emulator = Emulator::start();
    register(&emulator, &job("a", "raw_exec", IDLE));
    emulator.faults(|faults| faults.ignored_deregister = true);
    let answer = ask(&emulator, "DELETE /v1/job/a?purge=true", "");
    assert_eq!(answer.status, 200);
    assert_ne!(answer.json()["EvalID"], "");
    assert_eq!(emulator.jobs().len(), 1);
    emulator.faults(|faults| {
        faults.ignored_deregister = false;
        faults.late_deregister = Some(Duration::from_millis(100));
    });
    assert_eq!(ask(&emulator, "DELETE /v1/job/a?purge=true", "").status, 200);
    assert_eq!(emulator.jobs().len(), 1);
    until(|| emulator.jobs().is_empty().then_some(()));
}

#[test]
fn a_placement_fails_until_there_is_capacity() {
    let emulator = Emulator::start();
    emulator.faults(|faults| faults.no_capacity = true);
    let id = register(&emulator, &job("a", "raw_exec", IDLE)).json()["EvalID"].as_str().unwrap().to_owned();
    let read = || get(&emulator, &format!("/v1/evaluation/{id}")).json();
    let evaluation = until(|| Some(read()).filter(|it| it["Status"] == "complete"));
    assert_eq!(evaluation["FailedTGAllocs"]["g"]["NodesExhausted"], 1);
    assert!(emulator.allocations().is_empty());
    emulator.heal();
    until(|| emulator.allocations().pop().filter(|it| it["ClientStatus"] == "running"));
}

#[test]
fn tasks_fail_to_start_or_die() {
    let emulator = Emulator::start();
    emulator.faults(|faults| {
        faults.start_failure = Some((1, "Failed to pull `x`".to_owned()));
        faults.reschedule_delay = Some(Duration::from_millis(50));
        faults.restart_delay = Some(Duration::from_millis(50));
        faults.task_dies = Some((1, Duration::from_millis(50)));
    });
    register(&emulator, &job("a", "raw_exec", IDLE));
    let failed = until(|| emulator.allocations().into_iter().find(|it| it["NextAllocation"] != ""));
    assert!(failed["TaskStates"]["t"]["Events"].to_string().contains("Failed to pull `x`"));
    let replacement =
        until(|| emulator.allocations().into_iter().find(|it| it["TaskStates"]["t"]["Restarts"] == 1));
    assert_eq!(replacement["ID"], failed["NextAllocation"]);
}

#[test]
fn an_exec_is_cut_closed_or_left_without_its_end() {
    let emulator = Emulator::start();
    let id = running(&emulator, "a", "raw_exec");
    let start = || {
        let mut exec = Exec::start(&emulator, &id, &["sh", "-c", "printf 0123456789; exit 7"]);
        exec.close_stdin();
        exec
    };
    emulator.faults(|faults| faults.exec_cut = Some(4));
    let mut exec = start();
    assert_eq!((exec.end(), &*exec.stdout), (End::Cut, &b"0123"[..]));
    emulator.heal();
    emulator.faults(|faults| faults.exec_close = Some((4, 1000, "bye".to_owned())));
    let mut exec = start();
    assert_eq!((exec.end(), &*exec.stdout), (End::Closed(1000, "bye".to_owned()), &b"0123"[..]));
    emulator.heal();
    emulator.faults(|faults| faults.exec_drop_at_exit = true);
    assert_eq!(start().end(), End::Cut);
    emulator.heal();
    emulator.faults(|faults| faults.exec_no_exit = true);
    assert_eq!(start().end_within(Duration::from_millis(300)), End::Open);
    emulator.heal();
    emulator.faults(|faults| faults.exec_failure = Some((1, "no".to_owned())));
    assert_eq!(start().end(), End::Closed(1011, "no".to_owned()));
    assert_eq!(start().end(), End::Exited(7));
}

#[test]
fn a_partition_ends() {
    let emulator = Emulator::start();
    let id = running(&emulator, "a", "raw_exec");
    let mut exec = Exec::start(&emulator, &id, &["cat"]);
    exec.stdin(b"a");
    exec.expect("a");
    emulator.faults(|faults| faults.exec_deaf = true);
    std::thread::sleep(Duration::from_millis(50));
    exec.stdin(b"b");
    exec.close_stdin();
    assert_eq!(exec.end_within(Duration::from_millis(200)), End::Open);
    assert_eq!(exec.stdout, b"a");
    emulator.heal();
    assert_eq!((exec.end(), &*exec.stdout), (End::Exited(0), &b"ab"[..]));
}

#[test]
fn somebody_else_changes_a_job() {
    let emulator = Emulator::start();
    register(&emulator, &job("a", "raw_exec", IDLE));
    emulator.tamper("default", "a", |job| job["Meta"] = json!({ "owner": "another" }));
    assert_eq!(get(&emulator, "/v1/job/a").json()["Meta"]["owner"], "another");
    assert_ne!(emulator.register(&job("b", "raw_exec", IDLE)), "");
}
