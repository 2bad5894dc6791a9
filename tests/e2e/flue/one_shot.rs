//! What there cannot be without leases is refused before anything is started.

use crabbox_tests::flue::{Flue, Project};
use crabbox_tests::{World, binary};

use crate::support::assert_has;

/// A world with the provider and no Flue at all: the manifest has to be enough.
fn world() -> World {
    let world = World::new();
    world.install(&binary("crabbox-provider-flue"));
    world.write_config("{provider: flue, flue: {root: /no/such/project}}");
    world
}

#[test]
fn flags_about_leases_are_refused_with_the_reason() {
    let world = world();
    for flags in [
        &["--keep"][..],
        &["--keep-on-failure"],
        &["--no-sync"],
        &["--full-resync"],
        &["--slug", "demo"],
        &["--crew", "team"],
        &["--role", "db"],
        &["--lease-label", "a=b"],
        &["--expose", "80"],
        &["--tailscale"],
    ] {
        let words = [&["run"], flags, &["--", "true"]].concat();
        let (code, stdout, stderr) = world.run(&words);
        assert_eq!((code, stdout.as_str()), (2, ""), "{flags:?}: {stderr}");
        let flag = format!("`{}` is not supported for provider=flue", flags[0]);
        assert_has(&stderr, &[&flag, "it has no leases", "hint: "]);
    }
    let (code, _, stderr) = world.run(&["run", "--sync-only"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["`--sync-only` is not supported for provider=flue", "it has no leases"]);
    assert!(!world.state().join("runs").exists() || world.leftovers(crabbox_tests::Plugin::Local).is_empty());
}

#[test]
fn no_lease_can_be_made_and_none_is_listed() {
    let world = world();
    let (code, stdout, stderr) = world.run(&["warmup"]);
    assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
    assert_has(&stderr, &["no leases"]);
    assert_eq!(world.ok(&["list"]), "");
    assert_eq!(world.ok(&["list", "--json"]).trim(), "[]");
    assert_eq!(world.json(&["cleanup", "--json"])["checked"], 0);
}

#[test]
fn the_timing_record_of_a_run_has_no_lease() {
    let Some(project) = Project::new(Flue::Agent) else { return };
    let (code, _, stderr) =
        project.world.run(&["run", "--timing-json", "--label", "one", "--", "sh", "-c", "exit 7"]);
    assert_eq!(code, 7, "{stderr}");
    let record = crate::support::timing(&stderr);
    assert_eq!(
        (&record["exitCode"], &record["label"], &record["provider"]),
        (&7.into(), &"one".into(), &"flue".into())
    );
    assert!(record.get("leaseId").is_none() && record["commandMs"].as_u64().unwrap() > 0, "{record}");
}
