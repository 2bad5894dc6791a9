//! Output is whole: with the driver whose output Nomad cuts off at the end of a process, and however much it is.

use std::process::Stdio;

use crabbox_tests::nomad::Options;
use crabbox_tests::{Ended, flood};
use serde_json::json;

use super::Site;

/// A site with leases in containers, which are directories here. What a process writes in its last moments is lost
/// there, hashicorp/nomad#27146.
pub(super) fn docker() -> Site {
    let site = Site::with(Options { truncated_tail: true, ..Options::default() });
    let workdir = site.world.root().join("workspace");
    site.configure(json!({"driver": "docker", "workdir": workdir}));
    site
}

#[test]
fn what_a_command_prints_at_the_very_end_is_whole_in_a_container_too() {
    let site = docker();
    site.warm();
    let script = "printf out; printf err >&2; head -c 20000 /dev/zero; echo last; echo last >&2; exit $1";
    for n in 0..20 {
        let (code, stdout, stderr) = site.on_demo(&["sh", "-c", script, "-", &n.to_string()]);
        assert_eq!(code, n, "{stderr}");
        assert_eq!(stdout, format!("out{}last\n", "\0".repeat(20_000)), "{n}");
        assert!(stderr.contains("errlast\n"), "{n}: {stderr}");
    }
}

#[test]
fn a_run_in_a_container_is_as_any_other() {
    let site = docker();
    let (code, stdout, stderr) = site.run(&["run", "--", "sh", "-c", "cat README.md; ls src; exit 7"]);
    assert_eq!((code, stdout.as_str()), (7, "hello\nmain.c\n"), "{stderr}");
    let run = site.start(&["run"], "sleep 600 & echo up; sleep 600");
    run.signal(rustix::process::Signal::INT);
    let (code, _, stderr) = run.end();
    assert_eq!(code, 130, "{stderr}");
    site.nothing_is_left();
}

/// With docker, Nomad says now and then that an execution has ended that has not begun yet.
#[test]
fn an_execution_that_is_said_to_have_ended_before_it_began_is_begun_again_and_runs_once() {
    let site = docker();
    site.warm();
    site.agent.forget();
    site.agent.faults(|faults| faults.exec_early = 3);
    let (code, stdout, stderr) = site.on_demo(&["sh", "-c", "echo ran >>count; cat count; exit 7"]);
    assert_eq!((code, stdout.as_str()), (7, "ran\n"), "{stderr}");
    assert!(site.agent.execs().len() > 3, "{}", site.agent.execs().len());
    site.agent.faults(|faults| faults.exec_early = usize::MAX);
    let (code, stdout, stderr) = site.on_demo(&["sh", "-c", "echo ran >>count"]);
    assert_eq!((code, stdout.as_str()), (5, ""), "{stderr}");
    assert!(stderr.contains("before it began") && !stderr.contains("may still run"), "{stderr}");
    site.agent.heal();
    // Those that were begun and not heard of have done nothing, whatever becomes of them.
    assert_eq!(site.on_demo(&["cat", "count"]).1, "ran\n");
    assert_eq!(site.run(&["stop", "demo"]).0, 0);
    site.nothing_is_left();
}

#[test]
fn an_image_without_a_shell_is_named() {
    let site = docker();
    site.warm();
    site.agent.faults(|faults| faults.exec_no_program = true);
    let (code, stdout, stderr) = site.on_demo(&["true"]);
    assert_eq!((code, stdout.as_str()), (3, ""), "{stderr}");
    assert!(stderr.contains("`/bin/sh`") && stderr.contains("OCI runtime exec failed"), "{stderr}");
}

/// How much is printed on each stream, in MiB. `CRABBOX_TEST_FLOOD_MIB` has more.
fn mebibytes() -> u64 {
    std::env::var("CRABBOX_TEST_FLOOD_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(8)
}

#[test]
fn every_byte_of_a_flood_arrives_on_both_streams_at_once() {
    let site = Site::new();
    let blocks = (0..32).map(flood::block).collect::<String>();
    site.world.write("blocks", &blocks);
    let copies = mebibytes();
    let script = format!(
        "print() {{ n=0; while [ $n -lt {copies} ]; do cat blocks; n=$((n + 1)); done; }}; print >&2 & print; wait"
    );
    let mut run = site.crabbox(&["run", "--", "sh", "-c", &script]);
    let run = run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let ended = Ended::of_child(run, || ());
    assert_eq!(ended.code, 0);
    let expected = blocks.repeat(copies as usize);
    assert!(ended.stdout == expected, "{} bytes", ended.stdout.len());
    // What crabbox says itself is around it.
    assert!(ended.stderr.contains(&expected), "{} bytes", ended.stderr.len());
    site.nothing_is_left();
}
