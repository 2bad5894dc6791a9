//! What there is to be read while a connection stands, and what members are called in it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use crabbox_tests::{World, ended, wait_for};
use serde_json::{Value, json};

use super::site::{Site, local};
use crate::support::assert_has;

#[test]
fn members_are_called_by_what_only_they_are_called() {
    let Some(site) = Site::new() else { return };
    site.warm("one", &[4010], &["--role", "db"]);
    site.warm("two", &[4010], &["--role", "DB"]);
    site.warm("three", &[4010], &["--role", "a /:.b"]);
    site.world.ok(&["warmup", "--provider", "local", "--slug", "four", "--crew", "shop", "--role", "one"]);
    // As somebody may have copied them from another machine.
    let claims: Vec<_> =
        fs::read_dir(site.world.state().join("claims")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let mut ids = Vec::new();
    for path in claims {
        let mut claim: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        if claim["lease"]["slug"] == "two" {
            claim["lease"]["slug"] = json!("one");
            fs::write(&path, claim.to_string()).unwrap();
        }
        if claim["lease"]["slug"] == "one" {
            ids.push(claim["lease"]["id"].as_str().unwrap().to_owned());
        }
    }
    ids.sort();
    let record = site.connected_aside();
    let ends: Vec<&str> = ids.iter().map(|id| &id[id.len() - 6..]).collect();
    let ports = local(&record);
    let text = |name: &str| fs::read_to_string(site.directory().join(name)).unwrap();
    assert_eq!(
        text("hosts"),
        format!(
            "127.0.0.1  one-ssh-{}.cbx  # local={} remote=4010\n127.0.0.1  one-ssh-{}.cbx  # local={} remote=4010\n\
             127.0.0.1  three.cbx a-b.cbx  # local={} remote=4010\n",
            ends[0], ports[0], ends[1], ports[1], ports[2]
        )
    );
    let exports: String = record["exports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| format!("{}\n", line.as_str().unwrap()))
        .collect();
    assert_eq!(text("env"), exports);
    assert_has(&exports, &[&format!("CRABBOX_CREW_A_B_4010=127.0.0.1:{}\n", ports[2])]);
    assert_eq!(record["forwards"][2]["role"], json!("a /:.b"));
    // A shell takes them for what they are.
    let (_, stdout, _) = site.world.run(&["crew", "connect", "shop", "--export"]);
    let (code, env, stderr) = ended(site.world.command("sh").args(["-euc", &format!("{stdout}\nenv")]));
    assert_eq!(code, 0, "{stderr}");
    for line in exports.lines() {
        assert!(env.lines().any(|other| other == line), "{line} is not in {env}");
    }
    assert_eq!(fs::metadata(site.directory()).unwrap().permissions().mode() & 0o777, 0o700);
    for entry in fs::read_dir(site.directory()).unwrap().flatten() {
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
    site.world.ok(&["crew", "disconnect", "shop"]);
    site.is_disconnected();
}

#[test]
fn a_port_goes_where_it_went_before_unless_that_is_taken() {
    let Some(site) = Site::new() else { return };
    site.warm("steady", &[4011], &[]);
    let connect = || {
        let port = local(&site.connected_aside())[0];
        site.world.ok(&["crew", "disconnect", "shop"]);
        port
    };
    // It is not for us alone: the system may just have given it to somebody's connection.
    let mut first = connect();
    wait_for("the same port", || {
        let last = first;
        first = connect();
        first == last
    });
    assert!((51_820..=52_819).contains(&first));
    let taken = TcpListener::bind(("127.0.0.1", first)).unwrap();
    let other = connect();
    assert!(other != first && (51_820..=52_819).contains(&other), "{other}");
    drop(taken);
    wait_for("the port", || connect() == first);
    site.is_disconnected();
    site.release();
}

#[test]
fn where_there_is_nothing_to_forward_that_is_said_and_nothing_is_made() {
    let world = World::new();
    world.ok(&["warmup", "--slug", "here", "--crew", "shop", "--expose", "4012"]);
    for more in [&[][..], &["--export"], &["--json"], &["--export", "--json"]] {
        let (code, stdout, stderr) = world.run(&[&["crew", "connect", "shop"], more].concat());
        assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
        assert_has(
            &stderr,
            &[
                "not forwarded: here: not reached by SSH",
                "`crabbox crew peers --crew shop`",
                "nothing to forward",
            ],
        );
    }
    let (code, _, stderr) = world.run(&["crew", "connect", "nobody"]);
    assert_eq!(code, 0);
    assert_has(&stderr, &["crew nobody has nothing to forward"]);
    for command in ["connect", "disconnect"] {
        let (code, _, stderr) = world.run(&["crew", command, "!!"]);
        assert_eq!(code, 2);
        assert_has(&stderr, &["`!!` is no crew's name"]);
    }
    assert!(!world.state().join("crews").exists());
    world.ok(&["crew", "release", "shop"]);
    let Some(site) = Site::new() else { return };
    site.warm("mute", &[], &[]);
    let (code, _, stderr) = site.world.run(&["crew", "connect", "shop"]);
    assert_eq!(code, 0);
    assert_has(&stderr, &["not forwarded: mute: no port was promised", "--expose"]);
    site.warm("loud", &[4012], &[]);
    let (code, _, stderr) = site.world.run(&["crew", "connect", "shop", "--provider", "local"]);
    assert_eq!(code, 0);
    assert_has(&stderr, &["nothing to forward"]);
    site.is_disconnected();
    site.release();
}
