//! `crabbox plugins pin`: a plugin that is not the one that was pinned is not started.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crabbox_tests::{Plugin, World, ended};
use serde_json::{Value, json};

use crate::support::{assert_fits, assert_has, assert_nothing_left};

fn lock(world: &World) -> PathBuf {
    world.home().join(".config/crabbox/plugins.lock")
}

fn row(world: &World, name: &str) -> Value {
    let list = world.json(&["plugins", "list", "--json"]);
    assert_fits("plugins", &list);
    list.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone()
}

/// Pins a plugin, and returns its digest.
fn pin(world: &World, name: &str) -> String {
    let printed = world.ok(&["plugins", "pin", name]);
    let digest = printed.split("sha256=").nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(digest.len(), 64, "{printed}");
    digest.to_owned()
}

#[test]
fn nothing_is_pinned_until_somebody_says_so() {
    let world = World::new();
    world.ok(&["run", "true"]);
    assert!(!lock(&world).exists());
    assert_eq!(row(&world, "local").get("pin"), None);
    assert!(!world.ok(&["plugins", "list"]).contains(" PIN "));
    let (code, _, stderr) = world.run(&["plugins", "unpin", "local"]);
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stderr, &["provider `local` is not pinned"]);
    let (code, _, stderr) = world.run(&["plugins", "pin", "locl"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["did you mean `local`?"]);
}

#[test]
fn a_pinned_plugin_that_changed_is_not_started_and_can_be_accepted() {
    let world = World::new();
    world.local_as("acme", &json!({"version": "1.0.1"}));
    world.ok(&["warmup", "--provider", "acme", "--slug", "demo"]);
    let old = pin(&world, "acme");
    assert_eq!(fs::metadata(lock(&world)).unwrap().permissions().mode() & 0o777, 0o600);
    let file: Value = serde_json::from_str(&fs::read_to_string(lock(&world)).unwrap()).unwrap();
    let path = world.bin().join("crabbox-provider-acme");
    assert_eq!(file, json!({"version": 1, "plugins": {"acme": {"path": path, "sha256": old}}}));
    assert_eq!(fs::read_dir(lock(&world).parent().unwrap()).unwrap().count(), 1, "nothing else is left");
    assert_eq!(world.ok(&["run", "--id", "demo", "echo", "it is"]), "it is\n");
    assert_eq!(row(&world, "acme")["pin"], "pinned");
    assert_eq!(world.json(&["plugins", "describe", "acme", "--json"])["plugin"]["pin"], "pinned");
    assert_has(&world.ok(&["plugins", "list"]), &["STATE  PIN     VERSION", "ok     pinned  1.0.1"]);

    world.local_as("acme", &json!({"version": "6.6.6"}));
    let starts = world.starts("acme");
    let mut new = String::new();
    for arguments in [
        &["run", "--provider", "acme", "true"][..],
        &["run", "--id", "demo", "true"],
        &["warmup", "--provider", "acme"],
        &["status", "demo"],
        &["stop", "demo"],
        &["plugins", "describe", "acme"],
        &["plugins", "check", "acme"],
        &["plugins", "replay", "README.md", "--plugin", "acme"],
    ] {
        let (code, _, stderr) = world.run(arguments);
        assert_eq!(code, 3, "{arguments:?}: {stderr}");
        let pinned = format!("and pinned is {old}");
        assert_has(&stderr, &["provider `acme` is not the executable that is pinned", &pinned]);
        assert_has(&stderr, &["hint: if you trust what is there now, `crabbox plugins pin acme` accepts it"]);
        new = stderr.split("its SHA-256 is ").nth(1).unwrap()[..64].to_owned();
        assert_ne!(new, old);
    }
    let (code, stdout, _) = world.run(&["doctor", "--provider", "acme"]);
    assert_eq!(code, 1, "{stdout}");
    assert_has(&stdout, &["provider `acme` is not the executable that is pinned"]);
    for list in [&["plugins", "list"][..], &["plugins", "list", "--probe"], &["list", "--refresh"]] {
        assert_eq!(world.run(list).0, 0);
    }
    let broken = row(&world, "acme");
    assert_eq!((&broken["state"], &broken["pin"]), (&json!("invalid"), &json!("broken")));
    assert_has(broken["reason"].as_str().unwrap(), &[&old, &new]);
    assert_eq!(world.starts("acme"), starts, "it was never started");
    assert_eq!(world.ok(&["run", "echo", "undisturbed"]), "undisturbed\n");

    let (code, stdout, stderr) = world.run(&["plugins", "pin", "acme"]);
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stdout, &[&format!("pinned acme sha256={new}")]);
    assert_has(&stderr, &[&format!("it was pinned to sha256={old}")]);
    assert_eq!(world.starts("acme"), starts, "pinning starts nothing");
    world.ok(&["stop", "demo"]);
    assert_eq!(row(&world, "acme")["pin"], "pinned");

    world.local_as("acme", &json!({"version": "7.0.0"}));
    assert_eq!(world.run(&["run", "--provider", "acme", "true"]).0, 3);
    assert_eq!(world.ok(&["plugins", "unpin", "acme"]), "unpinned acme\n");
    assert_eq!(world.ok(&["run", "--provider", "acme", "echo", "free"]), "free\n");
    assert_eq!(row(&world, "acme").get("pin"), None);
    assert_nothing_left(&world, Plugin::Local);
}

#[test]
fn the_same_bytes_at_another_path_are_not_what_was_pinned() {
    let world = World::new();
    let mine = world.local_as("acme", &json!({}));
    pin(&world, "acme");
    let other = world.root().join("other");
    fs::create_dir(&other).unwrap();
    fs::copy(&mine, other.join("crabbox-provider-acme")).unwrap();
    let starts = world.starts("acme");
    let mut command = world.crabbox(&["run", "--provider", "acme", "true"]);
    let (code, _, stderr) = ended(command.env("CRABBOX_PLUGIN_PATH", &other));
    assert_eq!(code, 3, "{stderr}");
    assert_has(&stderr, &[&format!("and pinned is `{}`", mine.display())]);
    assert_eq!(world.starts("acme"), starts);

    // A link is another name for the same file.
    let link = world.root().join("link");
    std::os::unix::fs::symlink(world.bin(), &link).unwrap();
    let mut command = world.crabbox(&["run", "--provider", "acme", "true"]);
    let (code, _, stderr) = ended(command.env("CRABBOX_PLUGIN_PATH", &link));
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn an_executable_that_is_named_by_its_path_is_nobodys_pin() {
    let world = World::new();
    let mine = world.local_as("acme", &json!({}));
    pin(&world, "acme");
    let other = world.root().join("other");
    fs::create_dir(&other).unwrap();
    let other = other.join("crabbox-provider-acme");
    fs::copy(&mine, &other).unwrap();
    let trace = world.root().join("trace.jsonl");
    let mut command = world.crabbox(&["run", "--provider", "acme", "true"]);
    assert_eq!(ended(command.env("CRABBOX_PLUGIN_TRACE", &trace)).0, 0);
    let plugin = other.to_str().unwrap();
    let (code, stdout, stderr) =
        world.run(&["plugins", "replay", trace.to_str().unwrap(), "--plugin", plugin]);
    assert_eq!(code, 0, "{stdout}{stderr}");
}

#[test]
fn pins_that_cannot_be_read_are_not_overlooked() {
    let world = World::new();
    pin(&world, "local");
    fs::write(lock(&world), "{\"version\": 1, \"plug").unwrap();
    let (code, _, stderr) = world.run(&["run", "true"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["cannot read the pins in", "hint: mend `", "plugins.lock"]);
    assert_eq!(row(&world, "local")["state"], "invalid");
    assert_eq!(world.run(&["plugins", "pin", "local"]).0, 2, "what is there is not overwritten");
    fs::remove_file(lock(&world)).unwrap();
    world.ok(&["run", "true"]);
}
