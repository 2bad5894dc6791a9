//! Who belongs to a crew, and its end.

use crabbox_tests::World;
use serde_json::json;

use crate::support::{assert_fits, assert_has, claim};

#[test]
fn a_lease_is_what_its_flags_said_and_found_by_its_crew_however_that_is_written() {
    let world = World::new();
    let flags = [
        "--crew",
        "Shop_Floor",
        "--role",
        "db",
        "--lease-label",
        "team=core",
        "--expose",
        "80,443",
        "--expose",
        "80",
    ];
    world.ok(&[&["warmup", "--slug", "one"], &flags[..]].concat());
    world.ok(&["warmup", "--slug", "other", "--pond", "elsewhere"]);
    world.ok(&["warmup", "--slug", "alone", "--crew", " "]);
    let list = |arguments: &[&str]| {
        let rows = world.json(&[&["list", "--json"], arguments].concat());
        rows.as_array()
            .unwrap()
            .iter()
            .map(|row| row["slug"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(list(&["--crew", "shop-floor"]), ["one"]);
    assert_eq!(list(&["--pond", "SHOP floor"]), ["one"]);
    assert_eq!(list(&["--crew", "nobody"]), Vec::<String>::new());
    assert_eq!(list(&[]).len(), 3);
    let rows = world.json(&["list", "--json", "--crew", "shop-floor"]);
    assert_eq!(rows[0]["labels"], json!({"role": "db", "team": "core"}));
    world.ok(&["stop", "other"]);
    world.ok(&["stop", "alone"]);
    assert_eq!(claim(&world).1["expose"], json!([80, 443]));
    world.ok(&["stop", "one"]);
}

#[test]
fn what_is_wrong_with_a_crew_is_said_before_anything_is_made() {
    let world = World::new();
    for (flags, said) in [
        (&["--crew", "!!"][..], "`!!` is no crew's name"),
        (&["--crew", "a234567890123456789012345678901234567890123"], "is no crew's name"),
        (&["--lease-label", "team"], "KEY=VALUE"),
        (&["--lease-label", "a b=c"], "the key has to be"),
        (&["--role", "a\nb"], "`--role`"),
        (&["--expose", "0"], "0 is no port"),
        (&["--expose", "70000"], "70000"),
        (&["--expose", "1,2,3,4,5,6,7,8,9,10,11"], "more than 10"),
    ] {
        let (code, _, stderr) = world.run(&[&["warmup"], flags].concat());
        assert_eq!(code, 2, "{flags:?}: {stderr}");
        assert_has(&stderr, &[said]);
    }
    assert_eq!(world.json(&["list", "--json"]), json!([]));
    world.ok(&["warmup", "--slug", "there"]);
    for flag in
        [["--crew", "a"], ["--role", "a"], ["--expose", "1"], ["--lease-label", "a=b"], ["--slug", "b"]]
    {
        let (code, _, stderr) = world.run(&[&["run", "--id", "there"], &flag[..], &["--", "true"]].concat());
        assert_eq!(code, 2, "{stderr}");
        assert_has(&stderr, &[&format!("`{}` is about a new lease", flag[0])]);
    }
    world.ok(&["stop", "there"]);
}

#[test]
fn the_status_of_a_crew_is_that_of_each_member_and_one_that_cannot_be_asked_is_named() {
    let world = World::new();
    let says = r#"acquire) ok '{"lease":{}}' ;; run) ok '{"exitCode":0}' ;; release) ok '{"outcome":"released"}' ;;
resolve) ANSWER ;;"#;
    let provider = |name: &str, answer: &str| {
        let methods = json!({"methods": ["acquire", "run", "release", "resolve"]});
        world.provider(name, &methods, &says.replace("ANSWER", answer));
        world.ok(&["warmup", "--provider", name, "--slug", name, "--crew", "team"]);
    };
    world.ok(&["warmup", "--slug", "here", "--crew", "team"]);
    world.ok(&["warmup", "--slug", "other"]);
    provider("coming", r#"ok '{"state":"starting","message":"in a minute"}'"#);
    let status = |more: &[&str]| {
        let (code, stdout, stderr) = world.run(&[&["status", "--crew", "Team"], more].concat());
        (code, stdout, stderr)
    };
    let (code, stdout, stderr) = status(&["--json"]);
    let rows: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_fits("status-crew", &rows);
    let of = |row: &serde_json::Value| (row["slug"].clone(), row["state"].clone(), row["ready"].clone());
    let shown: Vec<_> = rows.as_array().unwrap().iter().map(of).collect();
    let expected =
        [(json!("coming"), json!("starting"), json!(false)), (json!("here"), json!("ready"), json!(true))];
    assert_eq!((code, shown.as_slice()), (0, &expected[..]), "{stderr}");
    let (code, _, stderr) = status(&["--wait", "--wait-timeout", "1ms"]);
    assert_eq!(code, 5, "{stderr}");
    assert_has(&stderr, &["lease coming is not ready: it is starting"]);
    provider("broken", r#"no "it is stuck" '{"kind":"provider"}'"#);
    provider("silent", "sleep 600");
    let (code, stdout, stderr) = status(&[]);
    assert_eq!(code, 1, "{stderr}");
    assert_has(
        &stdout,
        &[
            "slug=broken",
            "state=unknown",
            "it is stuck",
            "slug=coming",
            "slug=here",
            "ready=true",
            "slug=silent",
            "did not answer within 10s",
        ],
    );
    assert!(!stdout.contains("slug=other"));
    let (code, stdout, stderr) = world.run(&["status", "--crew", "nobody"]);
    assert_eq!((code, stdout.as_str()), (0, ""));
    assert_has(&stderr, &["crew nobody has no members"]);
    world.ok(&["stop", "--crew", "team"]);
    world.ok(&["stop", "other"]);
}

#[test]
fn a_crew_is_released_as_a_whole_and_what_fails_is_named() {
    let world = World::new();
    let refuses = r#"acquire) ok '{"lease":{}}' ;; run) ok '{"exitCode":0}' ;; release) no "it is stuck" '{"kind":"provider"}' ;;"#;
    world.provider("stuck", &json!({"methods": ["acquire", "run", "release"]}), refuses);
    for slug in ["a", "c"] {
        world.ok(&["warmup", "--slug", slug, "--crew", "team"]);
    }
    world.ok(&["warmup", "--provider", "stuck", "--slug", "b", "--crew", "team"]);
    world.ok(&["warmup", "--slug", "other"]);
    let (code, _, stderr) = world.run(&["crew", "release", "Team"]);
    assert_eq!(code, 1, "{stderr}");
    assert_has(
        &stderr,
        &["releasing crew team: 3 leases", "it is stuck", "slug=a", "slug=c", "crabbox list --crew team"],
    );
    let rows = world.json(&["list", "--json"]);
    let mut left: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["slug"].as_str().unwrap()).collect();
    left.sort_unstable();
    assert_eq!(left, ["b", "other"]);
    let (code, _, stderr) = world.run(&["stop", "--crew", "nobody"]);
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stderr, &["crew nobody has no members"]);
    world.ok(&["stop", "other"]);
}

#[test]
fn a_member_whose_claim_cannot_be_read_is_no_member_that_was_released() {
    let world = World::new();
    for (slug, crew) in [("a", "team"), ("b", "team"), ("c", "other")] {
        world.ok(&["warmup", "--slug", slug, "--crew", crew]);
    }
    let claim = |slug: &str| {
        let list = world.json(&["list", "--json"]);
        let row = list.as_array().unwrap().iter().find(|row| row["slug"] == slug).unwrap().clone();
        world.state().join("claims").join(format!("{}.json", row["id"].as_str().unwrap()))
    };
    let (broken, other) = (claim("b"), claim("c"));
    let damage = |path: &std::path::Path, to: u32| {
        let text = std::fs::read_to_string(path).unwrap();
        let from = 100 - to;
        std::fs::write(path, text.replace(&format!("\"version\": {from}"), &format!("\"version\": {to}")))
            .unwrap();
    };
    // Only the record's own version: what the plugin is of is another.
    damage(&broken, 99);
    damage(&other, 99);
    let (code, _, stderr) = world.run(&["crew", "release", "team"]);
    assert_eq!(code, 1, "{stderr}");
    assert_has(&stderr, &["slug=a", "cannot be used", "not every member of crew team was released"]);
    assert!(
        !stderr.contains(other.file_name().unwrap().to_str().unwrap()),
        "that one is of another crew: {stderr}"
    );
    damage(&broken, 1);
    damage(&other, 1);
    assert_eq!(world.run(&["crew", "release", "team"]).0, 0);
    world.ok(&["stop", "c"]);
}

#[test]
fn what_the_user_calls_a_lease_no_provider_changes() {
    let world = World::new();
    let cases = r#"acquire) ok '{"lease":{"labels":{"role":"theirs","zone":"a"}}}' ;;
resolve) ok '{"state":"ready","lease":{"labels":{"role":"theirs","zone":"b","rack":"7"}}}' ;;
run) ok '{"exitCode":0}' ;; release) ok '{"outcome":"released"}' ;;"#;
    world.provider("zones", &json!({"methods": ["acquire", "resolve", "run", "release"]}), cases);
    world.ok(&["warmup", "--provider", "zones", "--slug", "one", "--crew", "team", "--role", "mine"]);
    assert_eq!(world.json(&["list", "--json"])[0]["labels"], json!({"role": "mine", "zone": "a"}));
    // Where it is may change, and is said when it is used again.
    world.ok(&["run", "--id", "one", "--no-sync", "true"]);
    let labels = json!({"role": "mine", "zone": "b", "rack": "7"});
    assert_eq!(world.json(&["list", "--json"])[0]["labels"], labels);
    world.ok(&["stop", "one"]);
}
