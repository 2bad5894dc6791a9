//! Copies that are interrupted, and hosts that die while they copy.

use std::fs::{self, DirEntry};

use crabbox_tests::{tool, wait_for};
use rustix::process::{Pid, Signal, kill_process};

use super::Demo;
use crate::support::{end, files, spawn};
use crate::sync::size::noise;
use crate::sync::trouble::{goes_on, slow_tar};

/// A copy that has begun on the lease, and stands still there.
fn stands_still(demo: &Demo, words: &[&str]) -> std::process::Child {
    let _ = fs::remove_file(demo.world.root().join("begun"));
    slow_tar(&demo.world);
    let copy = spawn(&mut demo.world.crabbox(&[&["cp"], words].concat()));
    wait_for("tar", || demo.world.root().join("begun").exists());
    copy
}

/// Both ways, with what is there on the other side.
const WAYS: [[&str; 2]; 2] = [["large", "demo:there"], ["demo:there", "here"]];

#[test]
fn ctrl_c_leaves_what_was_there_and_nothing_else_on_either_side() {
    for demo in Demo::all() {
        demo.world.write("large", noise(1_000_000));
        demo.world.write("here", "older");
        demo.cp(&["README.md", "demo:there"]);
        let before = (files(&demo.world.repo()), files(&demo.ws("")));
        for words in WAYS {
            let copy = stands_still(&demo, &words);
            kill_process(Pid::from_child(&copy), Signal::INT).unwrap();
            let (code, _, stderr) = end(copy);
            assert_eq!(code, 130, "{:?}: {words:?}: {stderr}", demo.plugin);
            goes_on(&demo.world);
            wait_for("the end of all", || demo.world.processes().is_empty());
            assert_eq!(
                (files(&demo.world.repo()), files(&demo.ws(""))),
                before,
                "{:?}: {words:?}",
                demo.plugin
            );
            demo.nothing_is_staged();
        }
        let input = spawn(demo.world.crabbox(&["cp", "-", "demo:there"]).stdin(std::process::Stdio::piped()));
        kill_process(Pid::from_child(&input), Signal::TERM).unwrap();
        assert!([143, -1].contains(&end(input).0), "{:?}", demo.plugin);
        demo.nothing_is_staged();
    }
}

#[test]
fn a_host_that_dies_leaves_what_was_there_and_the_lease_can_be_used() {
    for demo in Demo::all() {
        if tool("tar").is_none() {
            return;
        }
        demo.world.write("large", noise(1_000_000));
        demo.world.write("here", "older");
        demo.cp(&["README.md", "demo:there"]);
        for words in WAYS {
            let mut copy = stands_still(&demo, &words);
            copy.kill().unwrap();
            copy.wait().unwrap();
            goes_on(&demo.world);
            assert_eq!(fs::read(demo.here("here")).unwrap(), b"older", "{:?}", demo.plugin);
            assert_eq!(fs::read(demo.ws("there")).unwrap(), b"hello\n", "{:?}", demo.plugin);
        }
        let staged = |entry: DirEntry| entry.file_name().to_string_lossy().starts_with(".crabbox-cp-");
        assert!(fs::read_dir(demo.world.repo()).unwrap().flatten().any(staged), "{:?}", demo.plugin);
        demo.cp(&["large", "demo:there"]);
        demo.cp(&["demo:there", "here"]);
        assert!(fs::read(demo.here("here")).unwrap() == noise(1_000_000), "{:?}", demo.plugin);
        wait_for("the end of all", || demo.world.processes().is_empty());
        demo.world.ok(&["cleanup"]);
        demo.nothing_is_staged();
    }
}
