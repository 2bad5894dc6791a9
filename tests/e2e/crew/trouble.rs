//! Providers that are gone, silent or broken: what that costs the others, and how many processes it takes.

use std::fs;

use crabbox_tests::{World, wait_for};
use serde_json::{Value, json};

use super::{asked, failing_peers, listing, peers, provider};
use crate::support::assert_has;

/// Says of a lease what its slug says.
const BY_SLUG: &str = r#"case $line in
*'"slug":"stuck'*) sleep 600 ;;
*'"slug":"crash'*) exit 3 ;;
*'"slug":"refuse'*) no 'not this one' '{"kind":"auth"}' ;;
*) ok '{"state":"ready","transport":"tailnet","endpoint":"100.64.0.7"}' ;;
esac"#;

fn warm(world: &World, provider: &str, slugs: &[&str]) {
    for slug in slugs {
        world.ok(&["warmup", "--provider", provider, "--slug", slug, "--crew", "team"]);
    }
}

fn note(row: &Value) -> String {
    row["note"].as_str().unwrap().to_owned()
}

#[test]
fn a_provider_that_is_gone_one_that_hangs_and_one_that_crashes_cost_their_own_rows() {
    let world = World::new();
    let ways = json!({"transports": ["tailnet"]});
    for name in ["gone", "hangs", "crashes", "good"] {
        provider(&world, name, &ways, BY_SLUG);
    }
    warm(&world, "gone", &["gone"]);
    warm(&world, "hangs", &["stuck-1", "stuck-2"]);
    warm(&world, "crashes", &["crash-1", "crash-2", "left"]);
    warm(&world, "good", &["good", "refused"]);
    fs::remove_file(world.bin().join("crabbox-provider-gone")).unwrap();
    let rows = peers(&world, &[]);
    assert_eq!(
        listing(&rows),
        [
            "crash-1 none - error",
            "crash-2 none - error",
            "gone none - error",
            "good tailnet 100.64.0.7 ready",
            "left tailnet 100.64.0.7 ready",
            "refused none - error",
            "stuck-1 none - error",
            "stuck-2 none - error",
        ]
    );
    assert_has(&note(&rows[0]), &["`crashes` ended before it answered `bridge`"]);
    assert_has(&note(&rows[2]), &["provider `gone` is not installed"]);
    assert_has(&note(&rows[5]), &["not this one"]);
    assert_has(&note(&rows[6]), &["provider `hangs` did not answer within 10s"]);
    let (code, stdout, _) = world.run(&["doctor", "--crew", "team"]);
    assert_eq!(code, 0, "what is not reached is no fault of this machine");
    assert_has(&stdout, &["of which 6 could not be asked", "transports: tailnet=2 none=6"]);
}

#[test]
fn a_lease_that_is_waited_for_in_vain_does_not_cost_the_answers_of_its_provider() {
    let world = World::new();
    provider(&world, "some", &json!({"transports": ["tailnet"]}), BY_SLUG);
    warm(&world, "some", &["a", "stuck", "x", "y", "z"]);
    let rows = peers(&world, &[]);
    assert_eq!(
        listing(&rows),
        [
            "a tailnet 100.64.0.7 ready",
            "stuck none - error",
            "x tailnet 100.64.0.7 ready",
            "y tailnet 100.64.0.7 ready",
            "z tailnet 100.64.0.7 ready",
        ]
    );
}

#[test]
fn many_members_of_a_provider_that_hangs_are_asked_about_by_a_few_processes() {
    let world = World::new();
    provider(&world, "hangs", &json!({}), "sleep 600");
    let slugs: Vec<String> = (10..22).map(|n| format!("s{n}")).collect();
    warm(&world, "hangs", &slugs.iter().map(String::as_str).collect::<Vec<_>>());
    let before = world.starts("hangs");
    let rows = failing_peers(&world, &[]);
    assert!(rows.as_array().unwrap().iter().all(|row| note(row).contains("did not answer within 10s")));
    assert_eq!(rows.as_array().unwrap().len(), 12);
    let started = world.starts("hangs") - before;
    assert!((2..=8).contains(&started), "{started}");
    wait_for("the end of all", || world.processes().is_empty());
}

#[test]
fn members_of_a_provider_that_answers_share_its_processes() {
    let world = World::new();
    let never = r#"ok '{"state":"unsupported","transport":"none"}'"#;
    provider(&world, "never", &json!({}), never);
    warm(&world, "never", &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]);
    let before = world.starts("never");
    assert_eq!(peers(&world, &[]).as_array().unwrap().len(), 10);
    assert_eq!(asked(&world, "never").len(), 10);
    let started = world.starts("never") - before;
    // On a machine that is very busy another one may have come to help.
    assert!(started < 5, "{started}");
    // A process that changes a lease serves that lease only.
    let before = world.starts("never");
    peers(&world, &["--share-port", "80"]);
    assert_eq!(world.starts("never") - before, 10);
}

#[test]
fn what_is_recorded_is_told_without_a_word_to_the_provider_whatever_became_of_it() {
    let world = World::new();
    for name in ["changed", "gone"] {
        provider(&world, name, &json!({"transports": ["tailnet"]}), BY_SLUG);
        warm(&world, name, &[name]);
    }
    let told = ["changed tailnet 100.64.0.7", "gone tailnet 100.64.0.7"];
    assert_eq!(listing(&peers(&world, &[])), told.map(|row| format!("{row} ready")));
    fs::remove_file(world.bin().join("crabbox-provider-gone")).unwrap();
    // What is remembered of it counts no more, and it would be asked in vain.
    fs::remove_file(world.bin().join("crabbox-provider-changed")).unwrap();
    world.provider_that("changed", "sleep 600");
    let before = world.starts("changed");
    let rows = peers(&world, &[]);
    assert_eq!(listing(&rows), told.map(|row| format!("{row} -")));
    assert_eq!([&rows[0]["transports"], &rows[1]["transports"]], [&json!(["tailnet"]); 2]);
    assert_eq!(world.starts("changed"), before);
}

#[test]
fn each_lease_is_asked_about_under_its_own_configuration() {
    let world = World::new();
    let manifest = json!({
        "methods": ["configure", "acquire", "run", "release", "bridge"],
        "transports": ["url"],
        "config": {"type": "object", "properties": {"place": {"type": "string", "default": "x"}}},
    });
    let bridge = r#"ok "{\"state\":\"ready\",\"transport\":\"url\",\"endpoint\":\"http://$place\"}" ;;
configure) place=${line#*'"place":"'}; place=${place%%\"*}; ok "{\"scope\":\"$place\"}""#;
    provider(&world, "places", &manifest, bridge);
    for (slug, place) in [("a", "north"), ("b", "south"), ("c", "north")] {
        let flags = ["warmup", "--provider", "places", "--slug", slug, "--crew", "team", "--places-place"];
        world.ok(&[&flags[..], &[place]].concat());
    }
    assert_eq!(
        listing(&peers(&world, &[])),
        ["a url http://north ready", "b url http://south ready", "c url http://north ready"]
    );
}

#[test]
fn publishing_a_port_of_one_lease_fails_for_that_one_only() {
    let world = World::new();
    provider(&world, "some", &json!({"transports": ["tailnet"]}), BY_SLUG);
    warm(&world, "some", &["a", "crash", "z"]);
    let path = world.bin().join("crabbox-provider-some");
    let (begin, once) = (fs::read_to_string(&path).unwrap(), world.root().join("once"));
    // The first process is gone before it says anything.
    let first = format!("#!/bin/sh\n[ -e {0} ] || {{ touch {0}; exit 3; }}\n", once.display());
    fs::write(&once, "").unwrap();
    fs::write(&path, begin.replacen("#!/bin/sh\n", &first, 1)).unwrap();
    world.ok(&["plugins", "list"]);
    fs::remove_file(&once).unwrap();
    assert_eq!(
        listing(&failing_peers(&world, &["--share-port", "80"])),
        ["a none - error", "crash none - error", "z tailnet 100.64.0.7 ready"]
    );
}
