//! Ports that are published on request, and taken back.

use crabbox_tests::{World, wait_for};
use serde_json::{Value, json};

use crate::support::{assert_fits, assert_has, claim, end, spawn};

/// A provider that publishes a port when it is asked to, and writes down what it is asked.
fn provider(world: &World, name: &str, unbridge: &str) {
    let manifest = json!({
        "transports": ["url"], "methods": ["acquire", "run", "release", "bridge", "unbridge"],
    });
    let ready = r#"{"state":"ready","transport":"url","endpoint":"https://a.example","targets":[
        {"port":80,"url":"https://a.example","id":"pub-1","expiresAt":"2999-01-01T00:00:00Z"}]}"#;
    let (asked, ready) = (world.root().join(format!("asked.{name}")), ready.replace('\n', ""));
    let cases = format!(
        r#"acquire) ok '{{"lease":{{}}}}' ;; run) ok '{{"exitCode":0}}' ;; release) ok '{{"outcome":"released"}}' ;;
bridge) printf '%s\n' "$line" >>{asked}; case $line in
    *'"publish":true'*) ok '{ready}' ;; *) ok '{{"state":"unsupported","transport":"none"}}' ;; esac ;;
unbridge) printf '%s\n' "$line" >>{asked}; {unbridge} ;;"#,
        asked = asked.display()
    );
    world.provider(name, &manifest, &cases);
}

fn asked(world: &World, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(world.root().join(format!("asked.{name}"))).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn methods(world: &World, name: &str) -> Vec<(String, Value)> {
    let of =
        |request: Value| (request["method"].as_str().unwrap().to_owned(), request["params"]["port"].clone());
    asked(world, name).into_iter().map(of).collect()
}

#[test]
fn a_port_is_published_when_it_is_asked_for_and_taken_back_the_same_way() {
    let world = World::new();
    provider(&world, "edge", r#"ok '{"outcome":"released"}'"#);
    world.ok(&["warmup", "--provider", "edge", "--slug", "one", "--crew", "team"]);
    let peers = |more: &[&str]| {
        let peers = world.json(&[&["crew", "peers", "--crew", "team", "--json"], more].concat());
        assert_fits("crew-peers", &peers);
        peers["members"][0].clone()
    };
    assert_eq!(peers(&[])["transport"], "none");
    let row = peers(&["--share-port", "80", "--share-ttl", "2h"]);
    assert_eq!((&row["transport"], &row["targets"][0]["id"]), (&json!("url"), &json!("pub-1")));
    let published = asked(&world, "edge")[1].clone();
    assert_fits("bridge.request", &published);
    assert_eq!(published["params"]["ttlMs"], 7_200_000);
    assert_eq!(peers(&[])["endpoint"], "https://a.example", "it is remembered");
    // A port that is not published stays as it is.
    let (code, _, stderr) = world.run(&["crew", "unshare", "team", "--port", "81"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(claim(&world).1["endpoints"][0]["id"], "pub-1");
    let (code, _, stderr) = world.run(&["crew", "unshare", "Team"]);
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stderr, &["taken back: slug=one provider=edge"]);
    assert!(claim(&world).1.get("endpoints").is_none(), "{}", claim(&world).1);
    let last = asked(&world, "edge").pop().unwrap();
    assert_fits("unbridge.request", &last);
    assert_eq!(
        methods(&world, "edge"),
        [("bridge", None), ("bridge", Some(80)), ("unbridge", Some(81)), ("unbridge", None)]
            .map(|(method, port): (&str, Option<u16>)| (method.to_owned(), json!(port)))
    );
    world.ok(&["stop", "one"]);
}

#[test]
fn what_was_published_is_still_known_after_the_provider_was_asked_about_the_lease() {
    let world = World::new();
    let manifest =
        json!({"transports": ["url"], "methods": ["acquire", "run", "release", "resolve", "bridge"]});
    let target = r#"{"port":80,"url":"https://80.example","id":"pub-1"}"#;
    let cases = format!(
        r#"acquire) ok '{{"lease":{{}}}}' ;; run) ok '{{"exitCode":0}}' ;; release) ok '{{"outcome":"released"}}' ;;
bridge) ok '{{"state":"ready","transport":"url","targets":[{target}]}}' ;;
resolve) ok '{{"state":"ready","lease":{{"endpoints":[{{"transport":"url","endpoint":"https://a.example"}}]}}}}' ;;"#
    );
    world.provider("edge", &manifest, &cases);
    world.ok(&["warmup", "--provider", "edge", "--slug", "one", "--crew", "team"]);
    world.ok(&["crew", "peers", "--crew", "team", "--share-port", "80"]);
    for _ in 0..2 {
        world.ok(&["run", "--id", "one", "--no-sync", "--", "true"]);
        let endpoints = claim(&world).1["endpoints"].clone();
        let known: Vec<_> = endpoints.as_array().unwrap().iter().map(|one| one["endpoint"].clone()).collect();
        assert_eq!(known, ["https://a.example", "https://80.example"], "{endpoints}");
    }
    world.ok(&["stop", "one"]);
}

#[test]
fn what_cannot_be_taken_back_is_named_and_the_rest_is() {
    let world = World::new();
    provider(&world, "edge", r#"ok '{"outcome":"absent"}'"#);
    provider(&world, "stuck", r#"no "it is stuck" '{"kind":"provider"}'"#);
    for name in ["edge", "stuck", "local"] {
        world.ok(&["warmup", "--provider", name, "--slug", name, "--crew", "team"]);
    }
    world.ok(&["crew", "peers", "--crew", "team", "--share-port", "80"]);
    let (code, _, stderr) = world.run(&["crew", "unshare", "team"]);
    assert_eq!(code, 1, "{stderr}");
    assert_has(&stderr, &["it is stuck", "lease stuck", "not everything of crew team was taken back"]);
    assert_eq!(methods(&world, "edge").len(), 2);
    assert_eq!(world.run(&["crew", "unshare", "team", "--port", "0"]).0, 2);
    let (code, _, stderr) = world.run(&["crew", "unshare", "team", "--provider", "edge"]);
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stderr, &["crew team has nothing published"]);
    world.ok(&["crew", "release", "team"]);
}

#[test]
fn a_lease_does_not_end_while_a_port_of_it_is_published_or_taken_back() {
    let world = World::new();
    let log = world.root().join("log");
    let manifest =
        json!({"transports": ["url"], "methods": ["acquire", "run", "release", "bridge", "unbridge"]});
    let cases = r#"acquire) ok '{"lease":{}}' ;; run) ok '{"exitCode":0}' ;;
release) echo "$method" >>LOG; ok '{"outcome":"released"}' ;;
bridge) echo begin >>LOG; sleep 1; echo end >>LOG; ok '{"state":"unsupported","transport":"none"}' ;;
unbridge) echo begin >>LOG; sleep 1; echo end >>LOG; ok '{"outcome":"absent"}' ;;"#;
    world.provider("slow", &manifest, &cases.replace("LOG", &log.display().to_string()));
    for command in
        [&["crew", "peers", "--crew", "team", "--share-port", "80"][..], &["crew", "unshare", "team"]]
    {
        world.ok(&["warmup", "--provider", "slow", "--slug", "one", "--crew", "team"]);
        let child = spawn(&mut world.crabbox(command));
        wait_for("it to begin", || log.exists());
        world.ok(&["stop", "one"]);
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "begin\nend\nrelease\n", "{command:?}");
        assert_eq!(end(child).0, 0, "{command:?}");
        std::fs::remove_file(&log).unwrap();
    }
}

#[test]
fn what_a_provider_says_is_kept_until_it_is_asked_for_anew() {
    let world = World::new();
    let manifest = json!({"transports": ["url"], "methods": ["acquire", "run", "release", "bridge"]});
    let answer = world.root().join("answer");
    let say = |host: &str| {
        let answer_now = json!({
            "state": "ready", "transport": "url", "endpoint": format!("https://{host}.example"), "message": "open to all",
            "targets": [{"port": 80, "url": format!("https://80.{host}.example"), "id": "x"}],
        });
        std::fs::write(&answer, answer_now.to_string()).unwrap();
    };
    let cases = format!(
        r#"acquire) ok '{{"lease":{{}}}}' ;; run) ok '{{"exitCode":0}}' ;; release) ok '{{"outcome":"released"}}' ;;
bridge) ok "$(cat {})" ;;"#,
        answer.display()
    );
    world.provider("edge", &manifest, &cases);
    world.ok(&["warmup", "--provider", "edge", "--slug", "one", "--crew", "team"]);
    let row = |more: &[&str]| {
        let peers = world.json(&[&["crew", "peers", "--crew", "team", "--json"], more].concat());
        assert_fits("crew-peers", &peers);
        let row = &peers["members"][0];
        [row["endpoint"].clone(), row["targets"][0]["url"].clone(), row["note"].clone()]
    };
    say("a");
    let first = [json!("https://a.example"), json!("https://80.a.example"), json!("open to all")];
    assert_eq!((row(&[]), row(&[])), (first.clone(), first.clone()), "said and remembered, it is the same");
    say("b");
    assert_eq!(row(&[]), first);
    let second = [json!("https://b.example"), json!("https://80.b.example"), json!("open to all")];
    assert_eq!((row(&["--refresh"]), row(&[])), (second.clone(), second));
    world.ok(&["stop", "one"]);
}

#[test]
fn a_port_that_was_not_published_is_an_error_and_one_that_may_be_is_named() {
    let world = World::new();
    let manifest =
        json!({"transports": ["url"], "methods": ["acquire", "run", "release", "bridge", "unbridge"]});
    let cases = r#"acquire) ok '{"lease":{}}' ;; run) ok '{"exitCode":0}' ;; release) ok '{"outcome":"released"}' ;;"#;
    let stuck = r#"bridge) no "it is stuck" '{"kind":"provider"}' ;;"#;
    world.provider("stuck", &manifest, &[cases, stuck].join(" "));
    world.provider("silent", &manifest, &[cases, "bridge) sleep 600 ;;"].join(" "));
    for name in ["local", "stuck", "silent"] {
        world.ok(&["warmup", "--provider", name, "--slug", name, "--crew", "team"]);
    }
    let (code, stdout, stderr) = world.run(&["crew", "peers", "--crew", "team", "--share-port", "8080"]);
    assert_eq!(code, 1, "{stderr}");
    assert_has(&stderr, &["2 members of crew team could not be asked"]);
    assert_has(&stdout, &["it is stuck", "port=8080", "`crabbox crew unshare team --port 8080` closes it"]);
    assert_eq!(world.run(&["crew", "peers", "--crew", "team", "--provider", "stuck"]).0, 1);
    // What has no way to close a port is not left with one.
    assert_eq!(world.run(&["crew", "unshare", "team", "--provider", "local"]).0, 0);
    let stdout = world.ok(&["crew", "peers", "--crew", "team", "--provider", "local"]);
    assert!(!stdout.contains("8080"), "{stdout}");
    world.ok(&["crew", "release", "team"]);
}
