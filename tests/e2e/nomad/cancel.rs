//! Ctrl-C and its relatives, and time that is over: the command is ended where it runs, all of it.

use std::fs;
use std::process::Stdio;

use crabbox_tests::{ended, wait_for};
use rustix::process::Signal;
use serde_json::json;

use super::Site;
use crate::support::assert_has;

/// Ends by no signal that can be ignored, and has children in groups and sessions of their own.
const STUBBORN: &str = "trap '' TERM INT HUP
    setsid sh -c 'trap \"\" TERM INT HUP; while :; do sleep 0.1; done' &
    set -m; sleep 600 & setsid sleep 600 </dev/null >/dev/null 2>&1 &
    echo up; while :; do sleep 0.1; done";

#[test]
fn ctrl_c_ends_the_command_with_its_children_and_releases_the_lease() {
    for script in ["sleep 600 & echo up; sleep 600; echo no", STUBBORN] {
        let site = Site::new();
        let run = site.start(&["run"], script);
        run.signal(Signal::INT);
        let (code, stdout, stderr) = run.end();
        assert_eq!((code, stdout.as_str()), (130, ""), "{stderr}");
        site.nothing_is_left();
    }
}

#[test]
fn ctrl_c_on_a_lease_that_is_kept_ends_the_command_and_nothing_else() {
    let site = Site::new();
    site.warm();
    let idle = site.agent.processes();
    for script in ["sleep 600 & echo up; sleep 600; echo no", STUBBORN, "echo up; exec sleep 600"] {
        let run = site.start(&["run", "--id", "demo"], script);
        run.signal(Signal::INT);
        let (code, stdout, stderr) = run.end();
        assert_eq!((code, stdout.as_str()), (130, ""), "{script}: {stderr}");
        site.only(&idle);
        assert_eq!(site.on_demo(&["cat", "README.md"]).1, "hello\n", "{script}");
    }
}

#[test]
fn the_second_ctrl_c_leaves_no_command_either() {
    let site = Site::new();
    let run = site.start(&["run"], STUBBORN);
    run.signal(Signal::INT);
    std::thread::sleep(std::time::Duration::from_millis(300));
    run.signal(Signal::INT);
    let (code, _, stderr) = run.end();
    assert_eq!(code, 130, "{stderr}");
    // Whoever insists may have to clean up.
    wait_for("cleanup", || site.run(&["cleanup", "--wait"]).0 == 0 && site.world.ok(&["list"]).is_empty());
    site.nothing_is_left();
}

#[test]
fn sigterm_and_sighup_have_their_own_exit_codes() {
    let site = Site::new();
    site.warm();
    let idle = site.agent.processes();
    for (number, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        let run = site.start(&["run", "--id", "demo", "--no-sync"], "echo up; sleep 600");
        run.signal(number);
        let (ended, _, stderr) = run.end();
        assert_eq!(ended, code, "{stderr}");
        site.only(&idle);
    }
}

#[test]
fn a_timeout_ends_the_command_with_124() {
    let site = Site::new();
    site.warm();
    let idle = site.agent.processes();
    let begin = ["run", "--id", "demo", "--no-sync", "--timeout", "500ms", "--", "sh", "-c"];
    for script in ["sleep 600; echo never", STUBBORN] {
        let (code, _, stderr) = site.run(&[&begin[..], &[script]].concat());
        assert_eq!(code, 124, "{script}: {stderr}");
        assert_has(&stderr, &["its time was over"]);
        site.only(&idle);
    }
}

#[test]
fn what_is_executed_may_take_as_long_as_the_setting_says() {
    let site = Site::new();
    site.configure(json!({"execTimeout": "1s"}));
    site.warm();
    let idle = site.agent.processes();
    for script in ["sleep 600", STUBBORN] {
        let (code, _, stderr) = site.on_demo(&["sh", "-c", script]);
        assert_eq!(code, 5, "{script}: {stderr}");
        assert_has(&stderr, &["what was executed took longer than 1 s", "`execTimeout`"]);
        site.only(&idle);
    }
    assert_eq!(site.on_demo(&["true"]).0, 0);
    // A lease that was made for it is released.
    assert_eq!(site.run(&["stop", "demo"]).0, 0);
    let (code, _, stderr) = site.run(&["run", "--", "sleep", "600"]);
    assert_eq!(code, 5, "{stderr}");
    site.nothing_is_left();
    // 0 is for ever.
    site.configure(json!({"execTimeout": 0}));
    assert_eq!(site.run(&["run", "--", "sleep", "1.2"]).0, 0);
}

#[test]
fn a_reader_that_goes_away_ends_the_run_quietly() {
    let site = Site::new();
    site.warm();
    let idle = site.agent.processes();
    let mut run = site.crabbox(&["run", "--id", "demo", "--", "yes"]);
    let mut run = run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(run.stdout.take());
    let output = run.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(141), "{said}");
    assert!(!said.contains("error"), "{said}");
    site.only(&idle);
}

#[test]
fn a_reader_that_stands_still_stops_the_command_and_not_ctrl_c() {
    let site = Site::new();
    let run = site.start(&["run"], "echo up; exec yes");
    std::thread::sleep(std::time::Duration::from_millis(500));
    run.signal(Signal::INT);
    let (code, stderr) = run.end_unread();
    assert_eq!(code, 130, "{stderr}");
    assert!(stderr.contains("bytes of output were dropped"), "{stderr}");
    site.nothing_is_left();
}

#[test]
fn ctrl_c_in_the_middle_of_a_sync_ends_it() {
    let site = Site::new();
    site.warm();
    let idle = site.agent.processes();
    // A link that carries nothing: the bundle never gets there.
    site.world.write("large", vec![b'x'; 1 << 20]);
    site.agent.faults(|faults| faults.exec_deaf = true);
    let said = site.world.root().join("said");
    let mut run = site.crabbox(&["run", "--id", "demo", "--", "true"]);
    run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&said).unwrap());
    let mut run = run.spawn().unwrap();
    wait_for("the sync", || site.agent.execs().len() == 1);
    let signal =
        || rustix::process::kill_process(rustix::process::Pid::from_child(&run), Signal::INT).unwrap();
    signal();
    site.agent.heal();
    assert_eq!(run.wait().unwrap().code(), Some(130), "{}", fs::read_to_string(&said).unwrap());
    site.only(&idle);
    let (code, stdout, stderr) = ended(&mut site.crabbox(&["run", "--id", "demo", "--", "ls"]));
    assert_eq!((code, stdout.as_str()), (0, "README.md\nlarge\nsrc\n"), "{stderr}");
}
