//! A plugin that lies about what there is. Against one that always tells the same lie nothing can be proven;
//! these tests show what the host makes sure of all the same.

use crabbox_tests::{Plugin, World};

use super::{TRUE, assert_ended, assert_found, assert_over, ends, interrupted, starts};
use crate::support::{assert_has, claim};

fn leases(world: &World) -> usize {
    std::fs::read_dir(Plugin::Rude.leases(world)).unwrap().count()
}

/// How often it said so.
fn told(world: &World, line: &str) -> usize {
    world.reached().iter().filter(|reached| *reached == line).count()
}

#[test]
fn one_that_says_missing_once_is_not_believed() {
    let mode = "lease-exit acquire\nliar resolve once";
    let parts = ["ended before it answered `acquire`", "may still appear; `crabbox cleanup --wait`"];
    let (world, _) = ends(mode, &TRUE, 1, &parts);
    assert_eq!((claim(&world).1["state"].as_str(), leases(&world)), (Some("acquiring"), 1));
    world.ok(&["cleanup", "--wait"]);
    assert_over(&world);
}

#[test]
fn one_that_says_missing_twice_is_believed() {
    let (world, _) = ends("lease-exit acquire\nliar resolve", &TRUE, 1, &["may still appear"]);
    assert_eq!(told(&world, "liar resolve"), 1);
    world.ok(&["cleanup", "--wait"]);
    assert!(told(&world, "liar resolve") >= 2, "{:?}", world.reached());
    assert_eq!((world.ok(&["list"]).as_str(), leases(&world)), ("", 1));
    // What it lied about is still in what it lists.
    assert_has(&world.ok(&["list", "--refresh"]), &["cbx_"]);
}

#[test]
fn a_lease_that_was_there_is_forgotten_with_a_word_about_who_said_so() {
    let world = World::rude("");
    for (mode, command, code, said) in [
        (
            "liar resolve",
            &["run", "--id", "kept", "--", "true"][..],
            4,
            "lease kept of provider `rude` is gone",
        ),
        ("liar release", &["stop", "kept"], 0, "provider `rude` says that lease kept was not there"),
    ] {
        world.be("");
        world.ok(&["warmup", "--provider", "rude", "--slug", "kept"]);
        world.be(mode);
        let ended = crabbox_tests::Ended::of(&mut world.crabbox(command));
        assert_ended(&world, mode, &ended, code, &[said]);
        assert_eq!(world.ok(&["list"]), "");
    }
    // At the end of a run, too; but an end that was asked for twice says nothing of the kind.
    let (world, _) = ends("liar release", &TRUE, 0, &["provider `rude` says that lease", "was not there"]);
    assert_eq!(leases(&world), 1);
}

#[test]
fn a_lease_that_lands_when_everything_is_over_is_found() {
    let (world, host) = starts("late acquire 300", &TRUE);
    let ended = interrupted(host);
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    assert_has(&ended.stderr, &["may still appear; `crabbox cleanup --wait` makes sure of it"]);
    assert_has(&world.ok(&["cleanup", "--wait"]), &["removed=1"]);
    assert_over(&world);
}

#[test]
fn an_answer_about_another_lease_changes_nothing() {
    let parts = [
        "answered about lease `cbx_ffffffffffff` when it was asked about cbx_",
        "fault of crabbox-provider-rude",
    ];
    // Nothing that was said about the other one is believed: ours is looked for, and released.
    let (world, _) = ends("other-id acquire", &TRUE, 1, &parts);
    assert_over(&world);
    let world = World::rude("");
    world.ok(&["warmup", "--provider", "rude", "--slug", "kept"]);
    let before = claim(&world).1;
    let mode = "other-id resolve";
    world.be(mode);
    let ended = crabbox_tests::Ended::of(&mut world.crabbox(&["run", "--id", "kept", "--", "true"]));
    assert_ended(&world, mode, &ended, 1, &parts);
    let after = claim(&world).1;
    assert_eq!((&after["lease"], &after["state"]), (&before["lease"], &before["state"]));
    world.be("");
    world.ok(&["stop", "kept"]);
    assert_over(&world);
}

#[test]
fn a_plugin_that_cannot_look_loses_no_lease() {
    for mode in ["exit resolve", "refuse resolve", "wrong-type resolve", "huge resolve"] {
        let world = World::rude("");
        world.ok(&["warmup", "--provider", "rude", "--slug", "kept"]);
        world.be(mode);
        let ended = crabbox_tests::Ended::of(&mut world.crabbox(&["run", "--id", "kept", "--", "true"]));
        assert_ended(&world, mode, &ended, 1, &["provider `rude`"]);
        assert_eq!(claim(&world).1["state"], "leased", "{mode}");
        world.ok(&["stop", "kept"]);
        assert_over(&world);
    }
    // Nor does one that cannot look whether a lease was made.
    for mode in ["lease-exit acquire\nexit resolve", "lease-exit acquire\nrefuse resolve"] {
        let (world, _) = ends(mode, &TRUE, 1, &["undoing it failed", "`crabbox cleanup` tries it again"]);
        assert_found(&world);
    }
}
