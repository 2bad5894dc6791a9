//! Crews: leases of any provider as one named group.

mod admit;
mod apart;
mod connect;
mod five;
mod guest;
mod members;
mod peers;
mod policy;
mod probe;
mod share;
mod site;
mod tailnet;
mod talk;
mod tls;
mod trouble;

use crabbox_tests::World;
use serde_json::{Value, json};

use crate::support::assert_fits;

/// A provider that says of its leases what it is told to say.
fn provider(world: &World, name: &str, manifest: &Value, bridge: &str) {
    let mut all = json!({"methods": ["acquire", "run", "release", "bridge"]});
    for (key, value) in manifest.as_object().unwrap() {
        all[key] = value.clone();
    }
    let cases = format!(
        r#"acquire) ok '{{"lease":{{}}}}' ;; run) ok '{{"exitCode":0}}' ;; release) ok '{{"outcome":"released"}}' ;;
bridge) echo "$line" >>asked.{name}; {bridge} ;;"#
    );
    let cases = cases.replace("asked.", &format!("{}/asked.", world.root().display()));
    world.provider(name, &all, &cases);
}

fn peers(world: &World, more: &[&str]) -> Value {
    let peers = world.json(&[&["crew", "peers", "--crew", "team", "--json"], more].concat());
    assert_fits("crew-peers", &peers);
    peers["members"].clone()
}

/// The same, where some could not be asked, and that is an error.
fn failing_peers(world: &World, more: &[&str]) -> Value {
    let (code, stdout, stderr) = world.run(&[&["crew", "peers", "--crew", "team", "--json"], more].concat());
    assert!(code == 1 && stderr.contains("of crew team could not be asked"), "{code}: {stderr}");
    let peers = serde_json::from_str(&stdout).unwrap();
    assert_fits("crew-peers", &peers);
    peers["members"].clone()
}

fn asked(world: &World, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(world.root().join(format!("asked.{name}"))).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The rows in short: slug, transport, endpoint, and what the provider said.
fn listing(rows: &Value) -> Vec<String> {
    let row = |row: &Value| {
        let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
        [text("slug"), text("transport"), text("endpoint"), text("bridgeState")].join(" ")
    };
    rows.as_array().unwrap().iter().map(row).collect()
}
