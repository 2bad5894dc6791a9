//! What is configured, by whom, and what makes no sense.

use crabbox_tests::{ended, wait_for};
use serde_json::{Value, json};

use super::Site;
use crate::support::assert_has;

/// The value of a setting and who set it.
fn shown(site: &Site, key: &str, variables: &[(&str, &str)]) -> (Value, String) {
    let mut show = site.crabbox(&["config", "show", "--provider", "nomad", "--json"]);
    let (code, stdout, stderr) = ended(show.envs(variables.iter().copied()));
    assert_eq!(code, 0, "{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let key = format!("nomad.{key}");
    let row = report["values"].as_array().unwrap().iter().find(|row| row["key"] == *key).cloned().unwrap();
    (row["value"].clone(), row["source"].as_str().unwrap().to_owned())
}

#[test]
fn nomads_own_variables_come_after_ours_and_before_the_file() {
    let site = Site::new();
    for (key, ours, nomads) in [
        ("address", "CRABBOX_NOMAD_ADDR", "NOMAD_ADDR"),
        ("region", "CRABBOX_NOMAD_REGION", "NOMAD_REGION"),
        ("namespace", "CRABBOX_NOMAD_NAMESPACE", "NOMAD_NAMESPACE"),
        ("caCert", "CRABBOX_NOMAD_CA_CERT", "NOMAD_CACERT"),
        ("caPath", "CRABBOX_NOMAD_CA_PATH", "NOMAD_CAPATH"),
        ("clientCert", "CRABBOX_NOMAD_CLIENT_CERT", "NOMAD_CLIENT_CERT"),
        ("clientKey", "CRABBOX_NOMAD_CLIENT_KEY", "NOMAD_CLIENT_KEY"),
        ("tlsServerName", "CRABBOX_NOMAD_TLS_SERVER_NAME", "NOMAD_TLS_SERVER_NAME"),
    ] {
        site.configure(json!({key: "/by-file"}));
        assert_eq!(shown(&site, key, &[]).0, "/by-file", "{key}");
        let (value, source) = shown(&site, key, &[(nomads, "/by-nomads")]);
        assert_eq!(value, "/by-nomads", "{key}");
        assert_has(&source, &[nomads]);
        let both = [(nomads, "/by-nomads"), (ours, "/by-ours")];
        let (value, source) = shown(&site, key, &both);
        assert_eq!(value, "/by-ours", "{key}");
        assert_has(&source, &[ours]);
    }
    site.configure(json!({"skipVerify": false}));
    assert_eq!(shown(&site, "skipVerify", &[("NOMAD_SKIP_VERIFY", "true")]).0, true);
    let both = [("NOMAD_SKIP_VERIFY", "true"), ("CRABBOX_NOMAD_SKIP_VERIFY", "false")];
    assert_eq!(shown(&site, "skipVerify", &both).0, false);
    // The token is no setting: only where it is.
    site.configure(json!({}));
    let mut show = site.crabbox(&["config", "show", "--provider", "nomad", "--json"]);
    let (_, stdout, _) = ended(show.env("NOMAD_TOKEN", "6d3f9a52-0b1e-4c7d-9f8a-2e5b7c1d4a60"));
    assert!(stdout.contains("nomad.tokenEnv") && !stdout.contains("6d3f9a52"), "{stdout}");
}

#[test]
fn what_makes_no_sense_is_refused_with_its_key_before_anything_is_asked() {
    let site = Site::new();
    for (key, value) in [
        ("cpu", json!(-1)),
        ("cpu", json!(0)),
        ("memoryMb", json!(-5)),
        ("memoryMb", json!(9)),
        ("diskMb", json!(-1)),
        ("diskMb", json!(0)),
        ("evalTimeout", json!("0s")),
        ("evalTimeout", json!(-1)),
        ("allocReadyTimeout", json!("0s")),
        ("allocReadyTimeout", json!("-5s")),
        ("execTimeout", json!("-1s")),
        ("execTimeout", json!(-1)),
        ("tokenEnv", json!("1TOKEN")),
        ("tokenEnv", json!("MY-TOKEN")),
        ("tokenEnv", json!("")),
        ("workdir", json!("relative")),
        ("workdir", json!("/workspace/")),
        ("workdir", json!("/srv/../etc")),
        ("address", json!("unix://nomad.sock")),
        ("address", json!("http://nomad?x=1")),
        ("namespace", json!("*")),
        ("task", json!("")),
        ("driver", json!("")),
        ("jobspecTemplate", json!("/srv/job.hcl")),
    ] {
        site.configure(json!({key: value}));
        let (code, stdout, stderr) = site.run(&["run", "--", "true"]);
        assert_eq!((code, stdout.as_str()), (2, ""), "{key} {value}: {stderr}");
        assert_has(&stderr, &[&format!("`nomad.{key}`")]);
    }
    site.configure(json!({}));
    for (flag, value) in
        [("--nomad-eval-timeout", "0s"), ("--nomad-alloc-ready-timeout", "0s"), ("--nomad-cpu", "-3")]
    {
        let (code, _, stderr) = site.run(&["run", &format!("{flag}={value}"), "--", "true"]);
        assert_eq!(code, 2, "{flag}: {stderr}");
    }
    site.configure(json!({"image": "", "driver": "docker"}));
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["`nomad.image`"]);
    assert!(site.agent.requests().is_empty());
}

#[test]
fn what_cannot_be_sent_is_known_before_a_job_is_registered() {
    let site = Site::new();
    let config = json!({"provider": "nomad", "sync": {"failFiles": 1},
        "nomad": {"address": site.agent.address(), "driver": "raw_exec"}});
    site.world.write_config(&config.to_string());
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 6, "{stderr}");
    assert!(site.agent.requests().is_empty(), "{stderr}");
    site.configure(json!({}));
    // A reused lease is asked for before the tree is.
    for arguments in [&["run"][..], &["run", "--id", "nobody", "--", "true"]] {
        let (code, _, stderr) = site.run(arguments);
        assert_eq!(code, if arguments.len() == 1 { 2 } else { 4 }, "{stderr}");
    }
    assert!(site.agent.requests().is_empty());
    // A lease of another provider is none of Nomad's.
    site.world.ok(&["warmup", "--provider", "local", "--slug", "other"]);
    let (code, _, stderr) = site.run(&["run", "--provider", "nomad", "--id", "other", "--", "true"]);
    assert_ne!(code, 0, "{stderr}");
    assert!(site.agent.requests().is_empty(), "{stderr}");
    site.world.ok(&["stop", "other"]);
}

#[test]
fn a_lease_without_a_command_in_it_says_what_it_is() {
    let site = Site::new();
    let (code, stdout, stderr) = site.run(&["warmup", "--slug", "demo"]);
    assert_eq!(code, 0, "{stderr}");
    let job = site.agent.jobs()[0]["ID"].as_str().unwrap().to_owned();
    let allocation = site.agent.allocations()[0]["ID"].as_str().unwrap().to_owned();
    let id = job.replace("crabbox-", "cbx_");
    assert_eq!(stdout, format!("leased {id} slug=demo provider=nomad\n"));
    assert_has(&stderr, &[&format!("allocation {allocation} on node "), "warmup complete"]);
    let row = &site.world.json(&["list", "--json"])[0];
    assert_eq!((&row["labels"]["job"], &row["labels"]["allocation"]), (&json!(job), &json!(allocation)));
    let used = || site.world.json(&["list", "--json"])[0]["lastUsedAt"].clone();
    let before = used();
    wait_for("another second", || {
        assert_eq!(site.on_demo(&["true"]).0, 0);
        used() != before
    });
    site.world.ok(&["stop", "demo"]);
    site.nothing_is_left();
}
