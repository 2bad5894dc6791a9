//! A plugin that ends when it should not.

use crabbox_tests::{Ended, wait_for};
use rustix::process::{Pid, Signal, kill_process};

use super::{TRUE, assert_found, assert_over, ends};

const WORDS: &str = "the last that it said: rude: \\u{1b}[31mlast words\\u{1b}[0m";
const FAULT: &str = "hint: this is a fault of crabbox-provider-rude";

#[test]
fn before_it_says_who_it_is() {
    let ended = "error: provider `rude` ended before it answered `initialize`";
    for (mode, parts) in [
        ("exit start", [ended, "it exited with code 3", WORDS, FAULT]),
        ("exit initialize", [ended, "it exited with code 3", WORDS, FAULT]),
        ("abort initialize", [ended, "it was ended by signal 6", "", FAULT]),
        ("half initialize", [ended, "the last that it said: {\"jsonrpc\":\"2.0\",\"id\":1,", "", FAULT]),
        ("junk-exit initialize", [ended, "the last that it said:   KeyError: \\u{1b}[31m'zone'", "", FAULT]),
    ] {
        let (world, _) = ends(mode, &TRUE, 1, &parts);
        assert_over(&world);
    }
}

#[test]
fn the_end_of_what_it_says_is_shown_and_not_the_beginning() {
    for _ in 0..3 {
        let (world, ended) =
            ends("chatter-exit acquire", &TRUE, 1, &["line 199999 | rude: \\u{1b}[31mlast words"]);
        assert!(!ended.stderr.contains("line 0 "), "{}", ended.stderr);
        assert_over(&world);
    }
}

#[test]
fn while_it_makes_a_lease() {
    let ended = "error: provider `rude` ended before it answered `acquire`";
    for mode in ["exit acquire", "half acquire", "abort acquire", "junk-exit acquire", "holder-exit acquire"]
    {
        let (world, _) = ends(mode, &TRUE, 1, &[ended, FAULT]);
        assert_over(&world);
    }
    // It had made the lease already.
    let (world, _) = ends("lease-exit acquire", &TRUE, 1, &[ended, WORDS, FAULT]);
    assert_over(&world);
    // And without `resolve`, too.
    let (world, _) = ends("lease-exit acquire\nblind release", &TRUE, 1, &[ended, WORDS, FAULT]);
    assert_over(&world);
}

#[test]
fn while_a_command_runs() {
    let ended = "error: provider `rude` ended before it answered `run`";
    for mode in ["exit run once", "half run once", "abort run once", "holder-exit run once"] {
        let (world, _) = ends(mode, &TRUE, 1, &[ended, FAULT]);
        assert_over(&world);
    }
    let (world, ended) = ends("die run once", &TRUE, 1, &[ended, WORDS, FAULT]);
    assert_eq!(ended.stdout, "begun\n", "what came before is passed on");
    assert_over(&world);
    // Whether the command is dead cannot be told: that is worse than a fault of the plugin.
    let parts = [ended_by_kill(), "the command may still run on lease cbx_", FAULT];
    let (world, _) = ends("exit run", &TRUE, 7, &parts);
    assert_over(&world);
}

fn ended_by_kill() -> &'static str {
    "caused by: ending it failed: provider `rude` ended before it answered `run`"
}

#[test]
fn while_the_lease_is_released() {
    // A process that died may have been the last run's: a fresh one is asked once.
    for mode in ["exit release once", "half release once", "holder-exit release once"] {
        let (world, _) = ends(mode, &TRUE, 0, &[]);
        assert_over(&world);
    }
    for mode in ["exit release", "half release", "abort release"] {
        let ended = "error: provider `rude` ended before it answered `release`";
        let (world, _) = ends(mode, &TRUE, 1, &[ended, "`crabbox stop cbx_", FAULT]);
        assert_eq!(world.reached().len(), 2);
        assert_found(&world);
    }
}

#[test]
fn a_grandchild_that_holds_its_output_holds_nobody_up() {
    for mode in ["holder initialize", "holder acquire", "holder run", "holder release"] {
        let (world, _) = ends(mode, &TRUE, 0, &[]);
        assert_over(&world);
    }
    // In a group of its own it escapes, which the documentation says; nobody waits for it.
    let (world, _) = ends("escapee-exit acquire", &TRUE, 1, &["ended before it answered `acquire`"]);
    let pid = std::fs::read_to_string(world.bin().join(".rude/holder")).unwrap().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    assert_over(&world);
}

#[test]
fn one_that_does_not_end_with_its_input_is_ended() {
    // At the end of the session nothing is asked, so it is the next start that finds it silent.
    let (world, ended) = ends("silent initialize once", &TRUE, 5, &["did not answer `initialize` within 5s"]);
    assert_eq!(ended.stdout, "");
    assert_over(&world);
    wait_for("its manifest", || Ended::of(&mut world.crabbox(&TRUE)).code == 0);
    assert_over(&world);
}
