//! Links that are cut under a connection, and mended.

use crabbox_tests::{binary, wait_for};
use serde_json::{Value, json};

use super::site::{Site, tell};
use crate::support::{assert_fits, assert_has, end, spawn};

/// What `doctor --bridge` says of each member: whether it answers, and the words for people.
fn bridges(site: &Site) -> Vec<(String, String, String)> {
    let report = site.json(&["doctor", "--crew", "shop", "--bridge", "--json"]);
    assert_fits("doctor", &report);
    let rows = report["checks"].as_array().unwrap().iter().filter(|row| row["check"] == "crew-bridge");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let row = |row: &Value| {
        (text(&row["details"]["member"]), text(&row["details"]["result"]), text(&row["message"]))
    };
    rows.map(row).collect()
}

#[test]
fn a_forward_outlives_a_short_cut_and_a_long_one_ends_it_in_words() {
    let Some(site) = Site::new() else { return };
    let (one, two) = (["--provider", "ssh", "--ssh-host", "one"], ["--provider", "ssh", "--ssh-host", "two"]);
    site.warm("here", 8101, &[]);
    site.warm("one", 8102, &one);
    site.warm("two", 8103, &two);
    // Another crew has a member there, too, whose connection is in the foreground.
    tell(&site, &[&["warmup", "--slug", "far", "--crew", "mart", "--expose=8102"], &one[..]].concat(), 0);
    let _servers = [
        site.serve(0, "127.0.0.1:8101", "here"),
        site.serve(1, "127.0.0.1:8102", "one"),
        site.serve(2, "127.0.0.1:8103", "two"),
    ];
    let record = site.connected_aside();
    let forwards = record["forwards"].as_array().unwrap();
    let [at_one, at_two] = [0, 1].map(|n| format!("127.0.0.1:{}", forwards[n]["localPort"]));
    let got = |at: &str| site.get("here", at);
    let mart = site.here(|| spawn(&mut site.crabbox(&["crew", "connect", "mart", "--json"])));
    wait_for("the connection", || site.world.state().join("crews/mart/connection.json").exists());
    assert_eq!((got(&at_one).as_deref(), got(&at_two).as_deref()), (Some("one"), Some("two")));
    let answers = |member: &str, result: &str| (member.to_owned(), result.to_owned());
    let results =
        || bridges(&site).into_iter().map(|(member, result, _)| (member, result)).collect::<Vec<_>>();
    let all = [answers("here", "reachable"), answers("one", "reachable"), answers("two", "reachable")];
    assert_eq!(results(), all);
    let sessions = site.sshds[0].sessions().len();
    assert!(sessions > 0);

    // Whoever asks while it is cut waits, and gets an answer when it is mended: nothing was lost.
    site.network.link(0, 1, false);
    let talk = binary("examples").join("talk");
    let mut get = site.world.command(talk);
    let waits = site.here(|| spawn(get.args(["get", &format!("{at_one}/text")])));
    let rows = bridges(&site);
    assert_eq!((rows[1].0.as_str(), rows[1].1.as_str()), ("one", "unreachable"));
    assert_has(&rows[1].2, &["one: ssh://", "does not answer: cannot connect to", "unreachable"]);
    assert_eq!((rows[0].1.as_str(), rows[2].1.as_str()), ("reachable", "reachable"));
    site.network.link(0, 1, true);
    let (code, stdout, stderr) = end(waits);
    assert_eq!((code, stdout.as_str()), (0, "one"), "{stderr}");
    assert_eq!(results(), all);
    assert_eq!(site.json(&["crew", "connect", "shop", "--export", "--json"]), record, "it still stands");

    // Cut for good. What is known of the members stays, and is no promise.
    let before = site.json(&["crew", "peers", "shop", "--json"]);
    site.network.link(0, 1, false);
    assert_eq!(
        site.json(&["crew", "peers", "shop", "--refresh", "--json"])["members"][1],
        before["members"][1]
    );
    let (code, stdout, stderr) = end(mart);
    assert_eq!(code, 7, "{stderr}");
    assert_has(&stdout, &["\"crew\": \"mart\""]);
    let broke = ["the SSH connection to", "@10.77.0.2 broke", "nothing was heard from it for a minute"];
    assert_has(&stderr, &broke);
    assert_has(&stderr, &["error: member far: "]);
    let log = site.world.state().join("crews/shop/log");
    wait_for("the end of the other one", || log.exists() && !log.with_file_name("lock").exists());
    assert_eq!((got(&at_one), got(&at_two)), (None, None), "one that breaks ends all");
    let (_, stderr) = tell(&site, &["crew", "disconnect", "shop"], 0);
    assert_has(&stderr, &["crew shop is not connected", "ended by itself", "member one: "]);
    assert_has(&stderr, &broke);
    // It cannot be had again, and that is said.
    let (_, stderr) = tell(&site, &["crew", "connect", "shop", "--export"], 5);
    assert_has(&stderr, &["error: member one: cannot connect to", "Network is unreachable"]);
    assert!(!site.world.state().join("crews/shop").exists());
    // The others are released all the same.
    let (_, stderr) = tell(&site, &["crew", "release", "mart"], 5);
    assert_has(&stderr, &["far"]);
    assert_eq!(site.json(&["list", "--crew", "mart", "--json"]).as_array().unwrap().len(), 1);

    site.network.link(0, 1, true);
    let again = site.connected_aside();
    assert_eq!(again["forwards"], record["forwards"], "the ports are where they were");
    assert_eq!((got(&at_one).as_deref(), got(&at_two).as_deref()), (Some("one"), Some("two")));
    tell(&site, &["crew", "disconnect", "shop"], 0);
    tell(&site, &["crew", "release", "mart"], 0);
    assert_eq!(site.json(&["list", "--crew", "mart", "--json"]), json!([]));
    site.release();
}

#[test]
fn what_is_cut_off_is_disconnected_and_released_as_far_as_it_goes() {
    let Some(site) = Site::new() else { return };
    site.warm("one", 8201, &["--provider", "ssh", "--ssh-host", "one"]);
    site.warm("two", 8202, &["--provider", "ssh", "--ssh-host", "two"]);
    site.connected_aside();
    // At the other end: nothing here knows of it.
    site.network.link(1, 0, false);
    let (_, stderr) = tell(&site, &["crew", "disconnect", "shop"], 0);
    assert_eq!(stderr, "disconnected crew shop\n");
    let (_, stderr) = tell(&site, &["crew", "release", "shop"], 5);
    assert_has(&stderr, &["slug=two", "error: member one: ", "No route to host"]);
    let left = site.json(&["list", "--json"]);
    assert_eq!((left.as_array().unwrap().len(), &left[0]["slug"]), (1, &json!("one")));
    site.network.link(1, 0, true);
    site.release();
}
