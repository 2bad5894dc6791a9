//! A crew's rows in the policy of its tailnet, as `doctor --crew` finds them.

use std::process::Command;

use crabbox_tests::tailnet::{ControlPlane, HEADSCALE_KEY, KEY, Kind, Request, Trouble};
use crabbox_tests::{World, ended};
use serde_json::{Value, json};

use crate::support::{assert_fits, assert_has};

pub(super) const TAG: &str = "tag:cbx-crew-ann-team";

/// A policy that lacks everything.
pub(super) const POLICY: &str =
    "// ours\n{\n  \"tagOwners\": {\n    \"tag:a\": [\"b\"], // a\n  },\n  \"grants\": [\n  ],\n}\n";

/// The same with the rows.
pub(super) const WITH_ROWS: &str = r#"// ours
{
  "tagOwners": {
    "tag:a": ["b"], // a
    "tag:cbx-crew-ann-team": ["autogroup:admin"],
  },
  "grants": [
    {"src": ["tag:cbx-crew-ann-team"], "dst": ["tag:cbx-crew-ann-team"], "ip": ["*"]}
  ],
}
"#;

/// A world with a member of the crew `team` whose provider can join leases to a tailnet.
pub(super) fn world() -> World {
    let world = World::new();
    let manifest = json!({"features": ["tailscale"], "transports": ["tailnet"], "methods": ["acquire", "run", "release"]});
    let lease = r#"{"lease":{"endpoints":[{"transport":"tailnet","endpoint":"100.64.0.9"}]}}"#;
    let cases = format!(
        "acquire) ok '{lease}' ;; run) ok '{{\"exitCode\":0}}' ;; release) ok '{{\"outcome\":\"released\"}}' ;;"
    );
    world.provider("tail", &manifest, &cases);
    world.ok(&["warmup", "--provider", "tail", "--slug", "one", "--crew", "team"]);
    world
}

/// With a key, to a control plane.
pub(super) fn to<'c>(command: &'c mut Command, url: &str) -> &'c mut Command {
    command.env("CRABBOX_OWNER", "ann@b").env("TS_API_KEY", KEY).env("CRABBOX_TS_API_URL", url)
}

/// The exit code and the row about the policy, as `doctor --crew` says it.
fn doctor(command: &mut Command) -> (i32, Value) {
    let (code, stdout, stderr) = ended(command);
    assert!(!(stdout.clone() + &stderr).contains(KEY), "{stdout}{stderr}");
    let report: Value =
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    assert_fits("doctor", &report);
    let rows = report["checks"].as_array().unwrap().iter().filter(|row| row["check"] == "crew-policy");
    let [row] = <[&Value; 1]>::try_from(rows.collect::<Vec<_>>()).unwrap();
    (code, row.clone())
}

const DOCTOR: [&str; 4] = ["doctor", "--crew", "team", "--json"];

fn looked(world: &World, plane: &ControlPlane) -> (i32, Value) {
    doctor(to(&mut world.crabbox(&DOCTOR), &plane.url()))
}

fn text<'v>(row: &'v Value, key: &str) -> &'v str {
    row[key].as_str().unwrap_or_default()
}

#[test]
fn nobody_is_asked_without_a_key_or_without_somebody_who_could_be_there() {
    let world = world();
    let plane = ControlPlane::start(POLICY);
    let mut without_key = world.crabbox(&DOCTOR);
    let (code, row) = doctor(without_key.env("CRABBOX_OWNER", "ann@b").env("TS_API_URL", plane.url()));
    assert_eq!((code, text(&row, "status")), (0, "skip"), "{row}");
    assert_eq!((&row["details"]["mode"], &row["details"]["tag"]), (&json!("manual"), &json!(TAG)));
    let owner = format!("\"tagOwners\": \"{TAG}\": [\"autogroup:admin\"]");
    assert_has(
        text(&row, "hint"),
        &[&owner, &format!("{{\"src\": [\"{TAG}\"], \"dst\": [\"{TAG}\"], \"ip\": [\"*\"]}}")],
    );
    world.ok(&["stop", "one"]);
    let (code, row) = looked(&world, &plane);
    assert_eq!((code, text(&row, "status")), (0, "skip"), "no members: {row}");
    world.ok(&["warmup", "--slug", "two", "--crew", "team"]);
    let (code, row) = looked(&world, &plane);
    assert_eq!((code, text(&row, "status")), (0, "skip"), "{row}");
    assert_eq!(row["details"], json!({"reason": "provider_not_tailscale_capable"}));
    assert_eq!(plane.requests(), []);
    world.ok(&["stop", "two"]);
}

#[test]
fn the_doctor_says_whether_the_rows_are_there_and_changes_nothing() {
    let world = world();
    let plane = ControlPlane::start(POLICY);
    let (code, row) = looked(&world, &plane);
    assert_eq!((code, text(&row, "status")), (1, "fail"), "{row}");
    assert_has(text(&row, "hint"), &["CRABBOX_CREW_ACL_BOOTSTRAP=1", "\"tagOwners\"", "\"grants\""]);
    assert_eq!(row["details"]["mode"], "manual");
    let (_, row) =
        doctor(to(&mut world.crabbox(&DOCTOR), &plane.url()).env("CRABBOX_CREW_ACL_BOOTSTRAP", "yes"));
    assert_eq!((text(&row, "status"), &row["details"]["mode"]), ("fail", &json!("auto-managed")), "{row}");
    plane.set_policy(WITH_ROWS);
    let (code, row) = looked(&world, &plane);
    assert_eq!((code, text(&row, "status")), (0, "ok"), "{row}");
    assert_eq!(row["details"], json!({"mode": "auto-managed", "tag": TAG, "api": plane.url()}));
    assert_eq!(plane.policy(), WITH_ROWS);
    assert!(
        plane.requests().iter().all(|request| *request == Request { method: "GET".to_owned(), status: 200 })
    );
    assert_eq!(plane.complaints(), Vec::<String>::new());
    // People see it as well.
    let (code, stdout, _) =
        ended(to(&mut world.crabbox(&["doctor", "--crew", "team"]), &format!("{}//", plane.url())));
    assert_eq!(code, 0);
    assert_has(&stdout, &[&format!("the tailnet's policy has the rows of {TAG}")]);
    world.ok(&["stop", "one"]);
}

#[test]
fn a_control_plane_without_policies_is_no_fault_and_named() {
    let world = world();
    let plane = ControlPlane::start(POLICY);
    for (trouble, why) in [
        (Trouble::Answer(404, "404 page not found".to_owned()), "answered 404"),
        (Trouble::Answer(501, r#"{"message": "not here"}"#.to_owned()), "answered 501 (not here)"),
        (Trouble::NoEtag, "without an ETag"),
    ] {
        plane.trouble(trouble.clone());
        let (code, row) = looked(&world, &plane);
        assert_eq!((code, text(&row, "status")), (0, "skip"), "{trouble:?}: {row}");
        assert_has(text(&row, "message"), &["control_plane_incompatible", &plane.url(), why]);
        assert_has(text(&row, "hint"), &["headscale", TAG]);
        assert_eq!(
            (&row["details"]["mode"], &row["details"]["api"]),
            (&json!("manual"), &json!(plane.url()))
        );
    }
    world.ok(&["stop", "one"]);
}

#[test]
fn the_doctor_names_the_rows_that_headscale_takes() {
    let world = world();
    let asked = |vars: &[(&str, &str)]| {
        let mut command = world.crabbox(&DOCTOR);
        doctor(command.env("CRABBOX_OWNER", "ann@b").envs(vars.iter().copied()))
    };
    let before = ControlPlane::headscale(Kind::HeadscaleBefore, POLICY);
    let with_key = [("TS_API_KEY", HEADSCALE_KEY), ("TS_API_URL", &before.url())];
    let by_place = [("TS_CONTROL_URL", "https://head.example.com")];
    for (vars, said) in [(&with_key[..], "answered 404"), (&by_place, "is not looked at without TS_API_KEY")]
    {
        let (code, row) = asked(vars);
        assert_eq!((code, text(&row, "status")), (0, "skip"), "{row}");
        assert_has(text(&row, "message"), &[said]);
        let owner = format!("\"tagOwners\": \"{TAG}\": []; ");
        assert_has(text(&row, "hint"), &[&owner, &format!("headscale preauthkeys create --tags {TAG}")]);
        assert_eq!(row["details"]["rows"].as_array().unwrap().len(), 3, "{row}");
    }
    assert_eq!(before.complaints(), Vec::<String>::new());
    let other = [("TS_API_KEY", "hskey-api-other"), ("TS_API_URL", &before.url())];
    let (code, row) = asked(&other);
    assert_eq!((code, text(&row, "status")), (1, "fail"), "{row}");
    assert_has(text(&row, "message"), &["answered 401"]);
    world.ok(&["stop", "one"]);
}

#[test]
fn what_goes_wrong_is_said_with_the_words_of_the_control_plane() {
    let world = world();
    let (plane, elsewhere) = (ControlPlane::start(POLICY), ControlPlane::start(WITH_ROWS));
    let said = |words: &str| json!({"message": words}).to_string();
    for (trouble, why) in [
        (
            Trouble::Answer(403, said("calling actor does not have enough permissions")),
            "answered 403: calling actor",
        ),
        (Trouble::Answer(401, said(&format!("no {KEY} here"))), "answered 401: no [redacted] here"),
        (Trouble::Answer(500, "<html>\u{1b}[31m".to_owned()), "answered 500"),
        (Trouble::Redirect(elsewhere.url()), "answered 307"),
        (Trouble::Silence, "no answer within 4s"),
    ] {
        plane.trouble(trouble.clone());
        let (code, row) = looked(&world, &plane);
        assert_eq!((code, text(&row, "status")), (1, "fail"), "{trouble:?}: {row}");
        assert_has(text(&row, "message"), &["cannot read the policy", &plane.url(), why]);
    }
    assert_eq!(elsewhere.requests(), [], "a redirect is not followed");
    plane.trouble(Trouble::None);
    let long = format!("{{\"tagOwners\": {{}}}} //{}\n", "x".repeat(256 * 1024));
    for (policy, why) in [
        ("{\"acls\": [] \"grants\": []}", "expected comma in line 1, column 12"),
        ("{\"acls\": [], \"ACLs\": []}", "`ACLs` is there more than once"),
        (&long, "longer than 256 KiB"),
    ] {
        plane.set_policy(policy);
        let (code, row) = looked(&world, &plane);
        assert_eq!((code, text(&row, "status")), (1, "fail"), "{row}");
        assert_has(text(&row, "message"), &["cannot edit the policy", why]);
    }
    let mut wrong = world.crabbox(&DOCTOR);
    let (code, row) = doctor(to(&mut wrong, "http://api.example.com"));
    assert_eq!((code, text(&row, "status")), (1, "fail"), "{row}");
    assert_has(text(&row, "message"), &["`CRABBOX_TS_API_URL` cannot be used", "https only"]);
    let mut wrong = world.crabbox(&DOCTOR);
    wrong.env("CRABBOX_OWNER", "ann@b").env("TS_API_KEY", KEY);
    let (code, row) = doctor(wrong.env("TS_CONTROL_URL", "https://me:hunter2@head.example"));
    assert_eq!((code, text(&row, "status")), (1, "fail"), "{row}");
    assert_eq!(text(&row, "message"), "TS_CONTROL_URL has a credential in it");
    assert!(!row.to_string().contains("hunter2"), "{row}");
    drop(elsewhere);
    let gone = plane.url();
    drop(plane);
    let (_, row) = doctor(to(&mut world.crabbox(&DOCTOR), &gone));
    assert_has(text(&row, "message"), &["cannot read the policy", "refused"]);
    world.ok(&["stop", "one"]);
}
