//! What `crabbox doctor` says of tokens is what then happens: on the emulator, and on a real agent where there is one.

use crabbox_tests::nomad::cluster::{Cluster, clusters_with_tokens};
use crabbox_tests::nomad::{Grants, WRITE};
use crabbox_tests::{World, binary, ended};
use serde_json::{Value, json};

/// What the documentation says a token must be allowed.
const ENOUGH: &[&str] = &["submit-job", "read-job", "list-jobs", "alloc-exec", "alloc-node-exec"];

/// What doctor says with a token: the failed checks with their class, and the row about capabilities.
fn doctor(world: &World, token: Option<&str>) -> (Vec<String>, String) {
    let mut doctor = world.crabbox(&["doctor", "--json"]);
    let (_, stdout, stderr) = ended(doctor.envs(token.map(|token| ("NOMAD_TOKEN", token))));
    let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}"));
    let rows = report["checks"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let failed = rows.iter().filter(|row| row["status"] == "fail");
    let failed = failed.map(|row| format!("{} {}", text(&row["check"]), text(&row["details"]["class"])));
    let about = rows.iter().find(|row| row["check"] == "capabilities");
    (failed.collect(), about.map(|row| text(&row["message"])).unwrap_or_default())
}

/// The exit code of a run with a token, and what it said.
fn run(world: &World, token: Option<&str>) -> (i32, String) {
    let mut run = world.crabbox(&["run", "--", "true"]);
    let (code, _, stderr) = ended(run.envs(token.map(|token| ("NOMAD_TOKEN", token))));
    (code, stderr)
}

fn world(cluster: &Cluster) -> World {
    let world = World::new();
    world.install(&binary("crabbox-provider-nomad"));
    world.write_config(&json!({"provider": "nomad", "nomad": cluster.config()}).to_string());
    world
}

#[test]
fn what_doctor_says_of_a_token_is_what_happens() {
    let without_exec: &[&str] = &["submit-job", "read-job", "list-jobs"];
    let grants = [
        Grants::on_default(ENOUGH),
        Grants::management(),
        Grants::on_default(without_exec),
        Grants::on_default(WRITE),
        Grants::on_default(&["alloc-exec", "alloc-node-exec", "list-jobs", "read-job"]),
    ];
    let lacks = |what: &str| format!("the token lacks {what} in namespace `default`");
    for cluster in clusters_with_tokens(&grants) {
        let (world, name) = (world(&cluster), cluster.name());
        for (nth, missing) in
            [None, None, Some("alloc-exec, alloc-node-exec"), Some("alloc-node-exec"), Some("submit-job")]
                .into_iter()
                .enumerate()
        {
            let token = cluster.token(nth);
            let (failed, about) = doctor(&world, token);
            let (code, stderr) = run(&world, token);
            // With docker alloc-node-exec is none of it.
            let needed = missing.into_iter().flat_map(|names| names.split(", "));
            let missing: Vec<_> = needed.filter(|name| cluster.needs().contains(name)).collect();
            match Some(missing.join(", ")).filter(|names| !names.is_empty()) {
                None => assert_eq!((failed, code), (Vec::new(), 0), "{name}, {nth}: {about} {stderr}"),
                Some(missing) => {
                    assert_eq!(failed, ["capabilities capability"], "{name}, {nth}: {about}");
                    assert_eq!((about, code), (lacks(&missing), 3), "{name}, {nth}: {stderr}");
                }
            }
        }
        let unknown = "00000000-1111-2222-3333-444444444444";
        for (token, class) in [
            (None, "missing_token"),
            (Some(unknown), "token invalid_auth"),
            (Some("junk"), "token invalid_auth"),
        ] {
            let (failed, _) = doctor(&world, token);
            assert!(failed[0].ends_with(class), "{name}, {token:?}: {failed:?}");
            let (code, stderr) = run(&world, token);
            assert_eq!(code, 3, "{name}, {token:?}: {stderr}");
        }
        assert_eq!(cluster.jobs(), Vec::<Value>::new(), "{name}");
        assert_eq!(world.json(&["list", "--json"]), json!([]), "{name}");
    }
}
