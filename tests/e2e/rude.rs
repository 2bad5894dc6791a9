//! A plugin can be slow, wrong, chatty, dead or hostile: the host stays up, bounded in memory, and says what
//! happened; nothing is left behind that nobody knows of.
//!
//! What the modes are is in `tests/examples/crabbox-provider-rude`.

mod answers;
mod bytes;
mod death;
mod escapes;
mod lies;
mod noise;
mod silence;

use std::process::Child;

use crabbox_tests::{Ended, Plugin, World, wait_for};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{assert_has, assert_nothing_left, spawn};

/// The most memory that the host may have, in KiB.
const MOST: u64 = 32 * 1024;

/// A command of which nothing matters but that it succeeds.
const TRUE: [&str; 6] = ["run", "--provider", "rude", "--no-sync", "--", "true"];

/// Runs a command in a mode. It must end with this code and say all these parts.
fn ends(mode: &str, arguments: &[&str], code: i32, parts: &[&str]) -> (World, Ended) {
    let world = World::rude(mode);
    let ended = Ended::of(&mut world.crabbox(arguments));
    assert_ended(&world, mode, &ended, code, parts);
    (world, ended)
}

/// Fails unless the mode was reached, and the host came out of it as it should.
fn assert_ended(world: &World, mode: &str, ended: &Ended, code: i32, parts: &[&str]) {
    for line in mode.lines() {
        let words: Vec<_> = line.split(' ').take(2).collect();
        assert!(world.reached().contains(&words.join(" ")), "`{line}` was not reached: {ended:?}");
    }
    assert_eq!(ended.code, code, "{mode}: {}", ended.stderr);
    assert_has(&ended.stderr, parts);
    assert_harmless(mode, ended);
    assert!(ended.peak < MOST, "{mode}: the host had {} KiB", ended.peak);
}

/// Fails if there is anything in the host's output that drives a terminal.
fn assert_harmless(mode: &str, ended: &Ended) {
    for text in [&ended.stdout, &ended.stderr] {
        let drives = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(drives), "{mode}: {text:?}");
    }
}

/// Fails unless nothing is left already: no process, no lease, no file.
fn assert_over(world: &World) {
    wait_for("the end of every process", || world.processes().is_empty());
    assert_nothing_left(world, Plugin::Rude);
}

/// Fails unless the lease is known, and cleanup ends it once the plugin behaves.
fn assert_found(world: &World) {
    assert_eq!(world.json(&["list", "--json"]).as_array().unwrap().len(), 1);
    world.be("");
    wait_for("the end of every process", || world.processes().is_empty());
    world.ok(&["cleanup", "--wait"]);
    assert_over(world);
}

/// Starts a command, and waits until the mode is reached.
fn starts(mode: &str, arguments: &[&str]) -> (World, Child) {
    let world = World::rude(mode);
    let host = spawn(&mut world.crabbox(arguments));
    wait_for(mode, || !world.reached().is_empty());
    (world, host)
}

/// Interrupts a command until it ends, as somebody does who is not patient.
fn interrupted(host: Child) -> Ended {
    let pid = Pid::from_child(&host);
    let mut waited = 0;
    Ended::of_child(host, || {
        if waited % 60 == 0 {
            let _ = kill_process(pid, Signal::INT);
        }
        waited += 1;
    })
}
