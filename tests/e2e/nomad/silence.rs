//! Signs of life: a command that nobody waits for any more ends by itself, though Nomad does not tell it.

use std::fs;
use std::process::Command;

use crabbox_tests::wait_for;
use rustix::process::Signal;

use super::Site;
use super::tail::docker;
use crate::support::{assert_has, end, spawn};

/// crabbox on `demo`, whose command ends after four seconds without a sign of life, in place of two minutes.
fn on_demo(site: &Site) -> Command {
    let mut command = site.crabbox(&["run", "--id", "demo", "--no-sync"]);
    command.env("CRABBOX_ORPHAN_GRACE", "4");
    command
}

/// A command that prints nothing more, so that the agent notices nothing, and its number.
fn silent(site: &Site) -> (String, std::path::PathBuf) {
    let number = site.world.root().join("number");
    (
        format!(
            "trap '' TERM INT HUP; sleep 600 & echo $$ >{0}; echo up; while :; do sleep 0.1; done",
            number.display()
        ),
        number,
    )
}

#[test]
fn a_silent_command_ends_when_its_host_was_killed() {
    // What Nomad knows of the command may outlive its connection; with docker it always does.
    for (site, survives) in [(Site::new(), false), (Site::new(), true), (docker(), false)] {
        site.agent.faults(|faults| faults.execs_survive = survives);
        ends_when_its_host_was_killed(&site);
    }
}

fn ends_when_its_host_was_killed(site: &Site) {
    site.warm();
    let idle = site.agent.processes();
    let run = site.start_by(&mut on_demo(site), &silent(site).0);
    run.signal(Signal::KILL);
    assert_eq!(run.end().0, -1);
    assert_ne!(site.agent.processes(), idle, "nobody else ends it");
    // But for the shell around it, which the agent has and nobody tells anything, nothing is left.
    let of_the_run = || {
        let has = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.windows(15).any(|part| part == b"CRABBOX_RUN_ID=")
        };
        site.agent.processes().into_iter().filter(has).collect::<Vec<_>>()
    };
    assert_ne!(of_the_run(), Vec::<u32>::new());
    wait_for("the command's end", || of_the_run().is_empty());
    let (code, stdout, stderr) = site.on_demo(&["echo", "mine"]);
    assert_eq!((code, stdout.as_str()), (0, "mine\n"), "{stderr}");
    assert_has(&stderr, &["whose host died"]);
    assert_eq!(site.run(&["stop", "demo"]).0, 0);
    site.nothing_is_left();
}

#[test]
fn a_command_that_is_cut_off_ends_and_its_host_hears_of_it_when_the_network_is_back() {
    let site = Site::new();
    site.warm();
    let idle = site.agent.processes();
    let (script, number) = silent(&site);
    let run = site.start_by(&mut on_demo(&site), &script);
    site.agent.faults(|faults| faults.exec_deaf = true);
    let number = fs::read_to_string(number).unwrap().trim().to_owned();
    wait_for("the command's end", || !fs::exists(format!("/proc/{number}")).unwrap());
    site.agent.heal();
    let (code, _, stderr) = run.end();
    assert_ne!(code, 0, "{stderr}");
    site.only(&idle);
}

/// Answers to pings are what a silent command's connection is known to live by; without them it is given up.
#[test]
fn an_agent_that_says_nothing_any_more_is_not_waited_for() {
    let site = Site::new();
    site.warm();
    let idle = site.agent.processes();
    let silence = |mut command: Command| {
        command.env("CRABBOX_NOMAD_SILENCE", "12");
        command
    };
    let run = spawn(silence(on_demo(&site)).args(["--", "sh", "-c", "sleep 14; echo there"]));
    let (code, stdout, stderr) = end(run);
    assert_eq!((code, stdout.as_str()), (0, "there\n"), "{stderr}");
    let (script, _) = silent(&site);
    let run = site.start_by(&mut silence(on_demo(&site)), &script);
    let before = site.agent.execs().len();
    site.agent.faults(|faults| faults.exec_deaf = true);
    // It has given up when it asks for the command to be ended, which the lease has done by itself.
    wait_for("the host to notice", || site.agent.execs().len() > before);
    site.agent.heal();
    let (code, _, stderr) = run.end();
    assert_eq!(code, 7, "{stderr}");
    assert_has(&stderr, &["nothing was heard of the agent for 12 s"]);
    site.only(&idle);
}

#[test]
fn signs_of_life_keep_a_silent_command_and_the_connection() {
    let site = Site::new();
    site.warm();
    site.agent.forget();
    let run = spawn(on_demo(&site).args(["--", "sh", "-c", "sleep 11; echo there; exit 7"]));
    let (code, stdout, stderr) = end(run);
    assert_eq!((code, stdout.as_str()), (7, "there\n"), "{stderr}");
    let execs = site.agent.execs();
    let exec = execs.iter().max_by_key(|exec| exec.stdin_frames).unwrap();
    // Eight line feeds in four seconds; and every ten seconds something for those on the way.
    assert!(exec.stdin_frames >= 15, "{exec:?}");
    assert!(exec.heartbeats >= 1 && exec.pings >= 1 && exec.stdin_closed, "{exec:?}");
}
