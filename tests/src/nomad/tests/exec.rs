//! Exec, with what is particular of each driver.

use std::time::Duration;

use serde_json::json;

use super::client::{End, Exec, ask, running, until};
use crate::nomad::{Emulator, Options};

#[test]
fn streams_are_apart_and_the_exit_code_is_last() {
    let emulator = Emulator::start();
    let id = running(&emulator, "a", "raw_exec");
    let mut exec = Exec::start(&emulator, &id, &["sh", "-c", "echo out; echo err >&2; exit 3"]);
    exec.close_stdin();
    assert_eq!(exec.end(), End::Exited(3));
    assert_eq!((&*exec.stdout, &*exec.stderr), (&b"out\n"[..], &b"err\n"[..]));
    // The connection is dropped then, without a close frame.
    assert_eq!(exec.end(), End::Cut);
    let mut exec = Exec::start(&emulator, &id, &["sh", "-c", "kill -9 $$"]);
    exec.close_stdin();
    assert_eq!(exec.end(), End::Exited(137));
    let mut exec = Exec::start(&emulator, &id, &["cat"]);
    exec.stdin(&vec![7; 1_000_000]);
    exec.close_stdin();
    assert_eq!(exec.end(), End::Exited(0));
    assert_eq!((exec.stdout.len(), exec.longest), (1_000_000, 4096));
    let log = emulator.execs().pop().unwrap();
    assert_eq!((log.stdin_bytes, log.output_bytes, log.exit_code), (1_000_000, 1_000_000, Some(0)));
}

#[test]
fn raw_exec_withholds_the_exit_frame_while_stdin_is_open() {
    let emulator = Emulator::start();
    let id = running(&emulator, "a", "raw_exec");
    let mut exec = Exec::start(&emulator, &id, &["true"]);
    exec.send(&json!({}));
    assert_eq!(exec.end_within(Duration::from_millis(300)), End::Open);
    exec.stdin(b"x");
    assert_eq!(exec.end(), End::Exited(0));
    assert_eq!(emulator.execs()[0].heartbeats, 1);
    let mut exec = Exec::start(&emulator, &id, &["sh", "-c", "sleep 0.5 & exit 4"]);
    exec.close_stdin();
    assert_eq!(exec.end_within(Duration::from_millis(300)), End::Open, "the background child holds stdout");
    assert_eq!(exec.end(), End::Exited(4));
}

#[test]
fn docker_does_not_and_loses_the_end_of_the_output() {
    let emulator = Emulator::start();
    let id = running(&emulator, "a", "docker");
    let mut exec = Exec::start(&emulator, &id, &["echo", "lost"]);
    assert_eq!((exec.end(), &*exec.stdout), (End::Exited(0), &b""[..]));
    let mut exec = Exec::start(&emulator, &id, &["sh", "-c", "echo whole; read x; exit 5"]);
    exec.expect("whole\n");
    exec.close_stdin();
    assert_eq!(exec.end(), End::Exited(5));
    let whole = Emulator::with(Options { truncated_tail: false, ..Options::default() });
    let id = running(&whole, "a", "docker");
    let mut exec = Exec::start(&whole, &id, &["echo", "whole"]);
    assert_eq!((exec.end(), &*exec.stdout), (End::Exited(0), &b"whole\n"[..]));
}

#[test]
fn docker_may_say_that_an_exec_has_ended_before_it_began() {
    let emulator = Emulator::start();
    let id = running(&emulator, "a", "docker");
    emulator.faults(|faults| faults.exec_early = 1);
    let mut exec = Exec::start(&emulator, &id, &["sh", "-c", "echo lost; sleep 1000"]);
    assert_eq!((exec.end(), &*exec.stdout), (End::Exited(0), &b""[..]));
    // The task, the shell, and what it waits for.
    until(|| (emulator.processes().len() == 3).then_some(()));
    let mut exec = Exec::start(&emulator, &id, &["sh", "-c", "exit 7"]);
    assert_eq!(exec.end(), End::Exited(7));
}

#[test]
fn docker_never_notices_that_a_client_is_gone() {
    let emulator = Emulator::start();
    let id = running(&emulator, "a", "docker");
    for script in ["echo ready; cat", "echo ready; while :; do echo tick; sleep 0.1; done"] {
        let mut exec = Exec::start(&emulator, &id, &["sh", "-c", script]);
        exec.expect("ready");
        let shell = emulator.execs().last().unwrap().pid.unwrap();
        drop(exec);
        std::thread::sleep(Duration::from_millis(500));
        assert!(emulator.processes().contains(&shell), "{script}");
    }
    ask(&emulator, "DELETE /v1/job/a?purge=true", "");
    until(|| emulator.processes().is_empty().then_some(()));
}

#[test]
fn docker_says_in_the_output_that_a_program_is_not_there() {
    let emulator = Emulator::start();
    let id = running(&emulator, "a", "docker");
    for (program, why) in [
        ("nope", "executable file not found in $PATH"),
        ("/nonexistent", "stat /nonexistent: no such file or directory"),
        ("/etc/passwd", "permission denied"),
    ] {
        let mut exec = Exec::start(&emulator, &id, &[program]);
        assert_eq!(exec.end(), End::Exited(126), "{program}");
        let said = format!(
            "OCI runtime exec failed: exec failed: unable to start container process: exec: \"{program}\": {why}: unknown\r\n"
        );
        assert_eq!(String::from_utf8_lossy(&exec.stdout), said);
    }
}

#[test]
fn what_cannot_be_run_is_told_in_a_close_frame() {
    let emulator = Emulator::start();
    let id = running(&emulator, "a", "raw_exec");
    let end = |id: &str, task: &str, command: &[&str]| Exec::with(&emulator, id, task, command, "").end();
    let closed = |code: u16, text: &str| End::Closed(code, text.to_owned());
    let why = "rpc error: code = Unknown desc = failed to start command: ";
    assert_eq!(
        end(&id, "t", &["nope"]),
        closed(1011, &format!("{why}exec: \"nope\": executable file not found in $PATH"))
    );
    assert_eq!(end(&id, "t", &[]), closed(1008, "command is not present"));
    assert_eq!(end(&id, "", &["true"]), closed(1008, "must provide task name"));
    assert_eq!(end(&id, "z", &["true"]), closed(1011, "task not found"));
    let absent = "11111111-1111-1111-1111-111111111111";
    assert_eq!(end(absent, "t", &["true"]), closed(1008, &format!("Unknown allocation \"{absent}\"")));
}

#[test]
fn a_client_that_is_gone_is_noticed_with_the_next_output_and_only_the_child_is_killed() {
    let emulator = Emulator::start();
    let id = running(&emulator, "a", "raw_exec");
    let script = "sleep 1000 & echo ready; read line; while :; do echo tick; sleep 0.1; done";
    let mut exec = Exec::start(&emulator, &id, &["sh", "-c", script]);
    exec.expect("ready");
    let shell = emulator.execs()[0].pid.unwrap();
    drop(exec);
    std::thread::sleep(Duration::from_millis(300));
    assert!(emulator.processes().contains(&shell), "it is silent, and its stdin is not closed");

    let mut exec = Exec::start(&emulator, &id, &["sh", "-c", script]);
    exec.expect("ready");
    let shell = emulator.execs()[1].pid.unwrap();
    exec.stdin(b"\n");
    exec.expect("tick");
    drop(exec);
    until(|| (!emulator.processes().contains(&shell)).then_some(()));
    // The task, the silent shell, and two that sleep; not the shell that ticked.
    until(|| (emulator.processes().len() == 4).then_some(()));
}

#[test]
fn the_end_of_a_task_ends_its_execs_but_not_what_is_beneath() {
    let emulator = Emulator::start();
    let id = running(&emulator, "a", "raw_exec");
    let mut exec = Exec::start(&emulator, &id, &["sh", "-c", "sleep 1000 & echo ready; wait"]);
    exec.expect("ready");
    ask(&emulator, "DELETE /v1/job/a?purge=true", "");
    assert_eq!(exec.end(), End::Closed(1011, "plugin is shut down".to_owned()));
    until(|| (emulator.processes().len() == 1).then_some(()));
    let mut late = Exec::start(&emulator, &id, &["true"]);
    assert_eq!(late.end(), End::Closed(1008, format!("Unknown allocation \"{id}\"")));

    let docker = Emulator::start();
    let id = running(&docker, "a", "docker");
    let mut exec = Exec::start(&docker, &id, &["sh", "-c", "sleep 1000 & echo ready; wait"]);
    exec.expect("ready");
    ask(&docker, "DELETE /v1/job/a?purge=true", "");
    assert_eq!(exec.end(), End::Exited(137));
    until(|| docker.processes().is_empty().then_some(()));
}

#[test]
fn an_exec_that_kills_its_own_group_kills_the_task() {
    let emulator = Emulator::start();
    let id = running(&emulator, "a", "raw_exec");
    let mut exec = Exec::start(&emulator, &id, &["sh", "-c", "kill -9 0"]);
    assert_eq!(exec.end(), End::Closed(1011, "plugin is shut down".to_owned()));
    until(|| emulator.allocations().pop().filter(|it| it["TaskStates"]["t"]["Restarts"] == 1));
}
