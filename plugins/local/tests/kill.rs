//! The end of a run: all of it, proven, and nothing else.
#![expect(clippy::unwrap_used, reason = "a test may")]

#[expect(dead_code, reason = "the other tests need more of it")]
mod machine;

use std::fs;
use std::process::Command;

use crabbox_provider_kit::processes;
use crabbox_provider_kit::testing::{alive, until};
use machine::{LEASE, Machine, kill, release, run_id};
use serde_json::{Value, json};

const TREE: &str = "sleep 600 & echo $$ $! >$pids; sh -c 'sleep 600 & echo $$ $! >>$1; wait' sh $pids & \
                    while [ $(wc -w <$pids) != 4 ]; do sleep 0.01; done";

fn none_alive(pids: &[i32]) -> bool {
    !pids.iter().any(|pid| alive(*pid))
}

#[test]
fn a_cancelled_run_answers_when_its_grandchildren_are_dead() {
    let mut machine = Machine::with_lease();
    let run = run_id();
    let (request, pids) = machine.begin(&run, TREE);
    assert!(pids.len() == 4 && pids.iter().all(|pid| alive(*pid)), "{pids:?}");
    machine.plugin.cancel(request);
    assert_eq!(machine.plugin.answer(request).result(), json!({"signal": "TERM"}));
    assert!(none_alive(&pids), "{pids:?}");
}

#[test]
fn a_command_that_ignores_sigterm_is_killed() {
    let mut machine = Machine::with_lease();
    let run = run_id();
    let (request, pids) = machine.begin(&run, "trap '' TERM; sleep 600 & echo $$ $! >$pids");
    let result = machine.another().result("kill", kill(&run, 100));
    assert_eq!(result, json!({"remote": "dead"}));
    assert!(none_alive(&pids), "{pids:?}");
    assert_eq!(machine.plugin.answer(request).result(), json!({"signal": "KILL"}));
}

#[test]
fn kill_from_a_fresh_process_goes_by_the_record_and_can_be_repeated() {
    let mut machine = Machine::with_lease();
    let run = run_id();
    // As the host's wrapper does: the record before the command, gone after it.
    let script = format!(
        "trap 'exit 3' TERM; mkdir -p .crabbox/runs; t=$(cat /proc/$$/stat 2>/dev/null); t=${{t##*')'}}; set -- $t;
         [ -n \"$t\" ] && t=${{20}} || t=$(LC_ALL=C ps -o lstart= -p $$);
         echo $$ $t >.crabbox/runs/{run}; {TREE}"
    );
    let (request, pids) = machine.begin(&run, &script);
    let record = machine.directory().join(".crabbox/runs").join(&run);
    assert!(record.exists());
    // Our own note is not needed.
    fs::remove_file(machine.directory().join(".crabbox-runs")).unwrap();
    let mut fresh = machine.another();
    assert_eq!(fresh.result("kill", kill("run_ffffffffffff", 1000)), json!({"remote": "absent"}));
    assert!(alive(pids[0]), "another run is left alone");
    assert_eq!(fresh.result("kill", kill(&run, 10_000)), json!({"remote": "dead"}));
    assert!(none_alive(&pids) && !record.exists());
    assert_eq!(machine.plugin.answer(request).result(), json!({"exitCode": 3}), "a code of its own survives");
    assert_eq!(fresh.result("kill", kill(&run, 10_000)), json!({"remote": "absent"}));
}

#[test]
fn a_record_whose_number_was_used_again_harms_nobody() {
    let mut machine = Machine::with_lease();
    let run = run_id();
    let mut bystander = Command::new("sleep").arg("600").spawn().unwrap();
    let records = machine.directory().join(".crabbox/runs");
    fs::create_dir_all(&records).unwrap();
    fs::write(records.join(&run), format!("{} 1\n", bystander.id())).unwrap();
    assert_eq!(machine.plugin.result("kill", kill(&run, 100)), json!({"remote": "dead"}));
    fs::write(records.join(&run), format!("{} 1\n", bystander.id())).unwrap();
    assert_eq!(machine.release(LEASE), "released");
    assert_eq!(bystander.try_wait().unwrap(), None, "it still runs");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[test]
fn release_ends_what_still_runs() {
    for action in ["stop", "delete"] {
        let mut machine = Machine::with_lease();
        let run = run_id();
        let (request, pids) = machine.begin(&run, TREE);
        let released = machine.another().result("release", release(LEASE, action));
        assert_eq!(released, json!({"outcome": "released"}));
        assert!(none_alive(&pids), "{pids:?}");
        assert_eq!(machine.plugin.answer(request).result(), json!({"signal": "TERM"}));
        assert_eq!(machine.directory().exists(), action == "stop");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_left_its_group_is_found_by_the_run_id_and_release_ends_it() {
    let mut machine = Machine::with_lease();
    let left = machine.path("left");
    let script = format!("setsid sh -c 'echo $$ >{}; exec sleep 600' >/dev/null 2>&1 &", left.display());
    assert_eq!(machine.run(&["sh", "-c", &script], json!({})).result(), json!({"exitCode": 0}));
    until("the process says its id", || fs::read_to_string(&left).is_ok_and(|text| text.ends_with('\n')));
    let pid: i32 = fs::read_to_string(&left).unwrap().trim().parse().unwrap();
    let group = processes::find(pid).unwrap().map(|process| process.group);
    assert_eq!(group, Some(pid), "it leads a group of its own");
    assert_eq!(machine.another().result("release", release(LEASE, "delete")), json!({"outcome": "released"}));
    assert!(!alive(pid));
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_told_apart_is_left_alone_and_said() {
    let mut machine = Machine::with_lease();
    let run = run_id();
    let left = machine.path("left");
    // Without its leader and without the run's id, only the number of the group is left.
    let script = format!("env -i sleep 600 >/dev/null 2>&1 & echo $! >{}", left.display());
    let request = machine.ask(&run, &["sh", "-c", &script], json!({}));
    assert_eq!(machine.plugin.answer(request).result(), json!({"exitCode": 0}));
    let pid: i32 = fs::read_to_string(&left).unwrap().trim().parse().unwrap();
    // Before it is what it is to be, it has the environment of the shell.
    until("the process runs", || {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"sleep"))
    });
    assert_eq!(machine.plugin.result("kill", kill(&run, 100)), json!({"remote": "unknown"}));
    let released = machine.plugin.result("release", release(LEASE, "delete"));
    assert_eq!(released["outcome"], "released");
    assert!(released["message"].as_str().unwrap().contains(&pid.to_string()), "{released}");
    assert!(alive(pid));
    Command::new("kill").arg(pid.to_string()).status().unwrap();
}

#[test]
fn the_end_of_the_host_ends_the_plugin_and_its_runs() {
    let mut machine = Machine::with_lease();
    let run = run_id();
    let (_, pids) = machine.begin(&run, &format!("trap '' TERM; {TREE}"));
    machine.plugin.hang_up();
    assert!(machine.plugin.wait().success());
    assert!(none_alive(&pids), "{pids:?}");
}

#[test]
fn a_killed_plugin_leaves_a_run_that_a_later_one_ends() {
    let mut machine = Machine::with_lease();
    let run = run_id();
    let (_, pids) = machine.begin(&run, TREE);
    Command::new("kill").args(["-KILL", &machine.plugin.pid().to_string()]).status().unwrap();
    machine.plugin.wait();
    assert!(alive(pids[0]));
    assert_eq!(machine.another().result("kill", kill(&run, 5000)), json!({"remote": "dead"}));
    assert!(none_alive(&pids), "{pids:?}");
    let listed: Value = machine.another().result("list", json!({}));
    assert_eq!(listed["leases"][0]["id"], LEASE);
}
