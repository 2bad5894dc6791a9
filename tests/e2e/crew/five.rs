//! Five members of five providers: one listing, the matrix of every pair, and their end.

use crabbox_tests::freestyle::KEY;
use crabbox_tests::{Plugin, ended};
use serde_json::{Value, json};

use super::site::{AUTH_KEY, Five, free_port};
use super::{listing, provider};
use crate::support::{assert_fits, assert_has};

/// Who reaches whom: a row for each way in which somebody who wants to reach is reached themselves. The URLs of `local`
/// and of the emulator's allocation lead there on this machine only.
const MATRIX: [(&str, [(&str, &str); 5]); 5] = [
    ("tailnet", [("tailnet", "OK"), ("url", "WARN"), ("ssh", "WARN"), ("pending", "NO"), ("none", "NO")]),
    ("url", [("tailnet", "NO"), ("url", "OK"), ("ssh", "WARN"), ("pending", "NO"), ("none", "NO")]),
    ("ssh", [("tailnet", "WARN"), ("url", "WARN"), ("ssh", "WARN"), ("pending", "NO"), ("none", "NO")]),
    ("pending", [("tailnet", "NO"), ("url", "NO"), ("ssh", "NO"), ("pending", "NO"), ("none", "NO")]),
    ("none", [("tailnet", "NO"), ("url", "NO"), ("ssh", "NO"), ("pending", "NO"), ("none", "NO")]),
];

/// The part of it that is about these transports.
fn expected(transports: &[&str]) -> Vec<String> {
    let mut pairs = Vec::new();
    for (from, row) in MATRIX.iter().filter(|(from, _)| transports.contains(from)) {
        for (to, word) in row.iter().filter(|(to, _)| transports.contains(to)) {
            pairs.push(format!("{from} {to} {word}"));
        }
    }
    pairs
}

#[test]
fn five_members_are_one_listing_and_the_matrix_has_every_pair() {
    let Some(five) = Five::new() else { return };
    five.warm();
    let rows = five.peers(&[]);
    let tailnet = rows[4]["endpoint"].as_str().unwrap().to_owned();
    assert!(tailnet.starts_with("100."), "{tailnet}");
    let (port, ssh) = (five.port, format!("ssh://{}@box:{}", five.sshd.user(), five.sshd.port()));
    assert_eq!(
        listing(&rows),
        [
            // It has URLs, and none before somebody asks for one.
            "freestyle none - unsupported".to_owned(),
            "local url http://127.0.0.1 ready".to_owned(),
            format!("nomad url http://127.0.0.1:{port} ready"),
            // It has no bridge: the claim says how it is reached.
            format!("ssh ssh {ssh} -"),
            // It said so when the lease was made.
            format!("tailnet tailnet {tailnet} -"),
        ]
    );
    let transports: Vec<_> = (0..5).map(|n| rows[n]["transports"].clone()).collect();
    let declared = [json!(["url"]), json!(["url"]), json!(["url"]), json!(["ssh"]), json!(["tailnet"])];
    assert_eq!(transports, declared);
    assert_has(rows[0]["note"].as_str().unwrap(), &["it is done on request"]);
    assert_eq!((&rows[1]["role"], &rows[1]["labels"]), (&json!("app"), &json!({"team": "core"})));
    assert_eq!((&rows[2]["role"], &rows[2]["expose"]), (&json!("db"), &json!([port])));
    assert_eq!(rows[2]["targets"][0]["port"], port);
    assert_eq!(five.matrix(), expected(&["tailnet", "url", "ssh", "none"]));
    assert_eq!(five.cloud.tls_rules(), Vec::<Value>::new(), "nothing was published");

    // One more, so that every way is there that there is.
    let pending = r#"ok '{"state":"pending","transport":"url","message":"in a minute"}'"#;
    provider(&five.world, "later", &json!({"transports": ["url"]}), pending);
    five.ok(&["warmup", "--provider", "later", "--slug", "later", "--crew", "team"]);
    assert_eq!(listing(&five.peers(&["--provider", "later"])), ["later pending - pending"]);
    assert_eq!(five.matrix(), expected(&["tailnet", "url", "ssh", "pending", "none"]));
    assert_eq!(five.matrix().len(), 25);
    five.ok(&["stop", "later"]);

    // Published on demand, as far as it can be.
    let share = free_port().to_string();
    let rows = five.peers(&["--share-port", &share, "--share-ttl", "1h"]);
    let rules = five.cloud.tls_rules();
    assert_eq!(rules.len(), 1);
    let url = rows[0]["endpoint"].as_str().unwrap().to_owned();
    assert!(url.starts_with("https://crabbox-") && url.ends_with(".style.dev"), "{url}");
    assert_has(&rules[0].to_string(), &[url.strip_prefix("https://").unwrap()]);
    assert!(rows[0]["targets"][0]["expiresAt"].is_string(), "{rows:#}");
    assert_eq!(
        listing(&rows),
        [
            format!("freestyle url {url} ready"),
            format!("local url http://127.0.0.1:{share} ready"),
            // Its ports are given when it is made: what is known stays.
            format!("nomad url http://127.0.0.1:{port} unsupported"),
            format!("ssh ssh {ssh} -"),
            format!("tailnet tailnet {tailnet} ready"),
        ]
    );
    assert_has(rows[2]["note"].as_str().unwrap(), &["no port that leads to"]);
    assert_has(rows[3]["note"].as_str().unwrap(), &["a port cannot be published"]);
    // Freestyle's machine has a URL now, and reaches none of those that are this machine's.
    let changed = expected(&["tailnet", "url", "ssh"]).into_iter();
    let changed: Vec<_> = changed.map(|pair| pair.replace("url url OK", "url url WARN")).collect();
    assert_eq!(five.matrix(), changed);
    // It is remembered: nobody is asked for it again.
    five.cloud.forget();
    assert_eq!(listing(&five.peers(&[]))[0], format!("freestyle url {url} -"));
    assert_eq!(five.cloud.requests().len(), 0);

    five.ok(&["crew", "release", "team"]);
    five.nothing_is_left();
}

#[test]
fn a_crew_is_selected_whatever_its_providers_and_released_whole() {
    let Some(five) = Five::new() else { return };
    five.warm();
    five.ok(&["warmup", "--slug", "other"]);
    let slugs = |rows: &Value| {
        let rows = rows.as_array().unwrap().iter();
        let mut slugs: Vec<_> = rows.map(|row| row["slug"].as_str().unwrap().to_owned()).collect();
        slugs.sort();
        slugs
    };
    let all = ["freestyle", "local", "nomad", "ssh", "tailnet"];
    assert_eq!(slugs(&five.json(&["list", "--crew", "team", "--json"])), all);
    let status = five.json(&["status", "--crew", "team", "--json"]);
    assert_fits("status-crew", &status);
    assert_eq!(slugs(&status), all);
    assert!(status.as_array().unwrap().iter().all(|row| row["ready"] == true), "{status:#}");
    // The key is with nobody, and the tag is with whoever joined.
    let id = five.json(&["list", "--crew", "team", "--provider", "tailnet", "--json"])[0]["id"].clone();
    let record = Plugin::Tailnet.leases(&five.world).join(id.as_str().unwrap()).join("lease.json");
    let record = std::fs::read_to_string(record).unwrap();
    let recorded: Value = serde_json::from_str(&record).unwrap();
    assert_eq!(recorded["tailnet"]["tags"], json!(["tag:cbx-crew-ann-team"]));
    assert_eq!(recorded["tailnet"]["hostname"], "crabbox-tailnet");
    assert!(!record.contains(AUTH_KEY));
    let (code, _, stderr) = five.run(&["stop", "--crew", "team"]);
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stderr, &["releasing crew team: 5 leases"]);
    assert_eq!(slugs(&five.json(&["list", "--json"])), ["other"]);
    five.ok(&["stop", "other"]);
    five.nothing_is_left();
}

#[test]
fn a_backend_that_is_down_and_a_plugin_that_is_gone_cost_their_own_rows() {
    let Some(five) = Five::new() else { return };
    five.warm();
    let Five { world, cloud, cluster, sshd, port } = five;
    std::fs::remove_file(world.bin().join("crabbox-provider-freestyle")).unwrap();
    cluster.stop();
    let peers =
        ended(world.crabbox(&["crew", "peers", "--crew", "team", "--json"]).env("FREESTYLE_API_KEY", KEY));
    assert_eq!(peers.0, 0, "{}", peers.2);
    let rows: Value = serde_json::from_str(&peers.1).unwrap();
    assert_fits("crew-peers", &rows);
    let rows = &rows["members"];
    let said = listing(rows);
    assert_eq!(
        [said[0].as_str(), &said[1], &said[2]],
        ["freestyle none - error", "local url http://127.0.0.1 ready", "nomad none - error"]
    );
    assert_has(rows[0]["note"].as_str().unwrap(), &["provider `freestyle` is not installed"]);
    assert!(said[3].starts_with("ssh ssh ssh://") && said[4].starts_with("tailnet tailnet 100."), "{said:?}");
    // What could not be released is named, and the rest is gone.
    let (code, _, stderr) = ended(world.crabbox(&["crew", "release", "team"]).env("FREESTYLE_API_KEY", KEY));
    assert_ne!(code, 0);
    assert_has(&stderr, &["`freestyle` is not installed", "slug=local", "slug=ssh", "slug=tailnet"]);
    let left = world.json(&["list", "--json"]);
    let left: Vec<_> = left.as_array().unwrap().iter().map(|row| row["provider"].as_str().unwrap()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.contains(&"freestyle") && left.contains(&"nomad"), "{left:?}");
    assert_eq!(cloud.vms().len(), 1);
    drop((sshd, port));
}
