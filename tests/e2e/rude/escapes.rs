//! Text of a plugin's that would drive the terminal: it never comes out as it is.

use crabbox_tests::{Ended, World};

use super::{assert_harmless, assert_over};

/// Runs commands in a mode, and looks at what they print.
fn harmless(mode: &str, commands: &[&[&str]]) -> World {
    let world = World::rude(mode);
    for command in commands {
        let ended = Ended::of(&mut world.crabbox(command));
        assert!(!world.reached().is_empty(), "{mode}: {ended:?}");
        assert_harmless(&format!("{mode}: {command:?}"), &ended);
    }
    world
}

#[test]
fn in_what_it_says_about_itself() {
    let world = harmless(
        "escapes initialize",
        &[
            &["plugins", "list"],
            &["plugins", "list", "--json"],
            &["plugins", "describe", "rude"],
            &["plugins", "describe", "rude", "--json"],
            &["run", "--provider", "rude", "--help"],
            &["run", "--provider", "rude", "--rude-key", "x", "--no-sync", "--", "true"],
            &["doctor", "--provider", "rude"],
        ],
    );
    assert_over(&world);
}

#[test]
fn in_what_it_answers() {
    const RUN: &[&str] = &["run", "--provider", "rude", "--no-sync", "--", "true"];
    const DOCTOR: &[&str] = &["doctor", "--provider", "rude"];
    for (mode, commands) in [
        ("escapes configure", &[RUN, DOCTOR][..]),
        ("escapes doctor", &[DOCTOR, &["doctor", "--provider", "rude", "--json"]]),
        (
            "escapes acquire",
            &[RUN, &["warmup", "--provider", "rude"], &["list"], &["list", "--json"], &["status"]],
        ),
        ("escapes run", &[RUN]),
        ("escapes release", &[RUN, &["cleanup"], &["list"]]),
    ] {
        let world = harmless(mode, commands);
        world.be("");
        for lease in world.json(&["list", "--json"]).as_array().unwrap() {
            let ended = Ended::of(&mut world.crabbox(&["status", lease["id"].as_str().unwrap()]));
            assert_harmless(mode, &ended);
            world.ok(&["stop", lease["id"].as_str().unwrap()]);
        }
        assert_over(&world);
    }
}

#[test]
fn in_what_it_says_of_a_lease() {
    let world = World::rude("");
    world.ok(&["warmup", "--provider", "rude", "--slug", "kept"]);
    for (mode, commands) in [
        (
            "escapes resolve",
            &[&["status", "kept"][..], &["run", "--id", "kept", "--", "true"], &["stop", "kept"]][..],
        ),
        ("escapes list", &[&["list", "--refresh"], &["list", "--refresh", "--json"]]),
        ("exit list", &[&["list", "--refresh"]]),
    ] {
        world.be(mode);
        for command in commands {
            assert_harmless(&format!("{mode}: {command:?}"), &Ended::of(&mut world.crabbox(command)));
        }
        assert!(!world.reached().is_empty(), "{mode}");
    }
}
