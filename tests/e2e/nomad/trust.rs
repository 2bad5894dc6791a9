//! Where requests go, and where the token does not: settings, redirects, answers that want to know too much.

use std::collections::BTreeSet;
use std::fs;

use crabbox_tests::ended;
use crabbox_tests::nomad::{Acl, Effect, Emulator, Grants, Options, Rule};
use serde_json::json;

use super::Site;
use crate::support::{assert_has, files, spawn};

/// A token of the form that Nomad's have.
const TOKEN: &str = "6d3f9a52-0b1e-4c7d-9f8a-2e5b7c1d4a60";

fn guarded() -> Site {
    let acl = Acl::new().token(TOKEN, Grants::management());
    Site::with(Options { acl: Some(acl), ..Options::default() })
}

#[test]
fn a_flag_wins_over_our_variable_that_over_nomads_and_that_over_the_file() {
    let agents: Vec<Emulator> = (0..4).map(|_| Emulator::start()).collect();
    let site = Site::new();
    let addresses: Vec<_> = agents.iter().map(Emulator::address).collect();
    let asked = |who: usize, flags: &[&str], variables: &[(&str, &str)]| {
        agents.iter().for_each(Emulator::forget);
        site.configure(json!({"address": addresses[3]}));
        let mut run = site.crabbox(&[&["run"], flags, &["--", "true"]].concat());
        let (code, _, stderr) = ended(run.envs(variables.iter().copied()));
        assert_eq!(code, 0, "{stderr}");
        for (index, agent) in agents.iter().enumerate() {
            assert_eq!(agent.requests().is_empty(), index != who, "{index}");
        }
    };
    let ours = ("CRABBOX_NOMAD_ADDR", addresses[1].as_str());
    let nomads = ("NOMAD_ADDR", addresses[2].as_str());
    asked(0, &["--nomad-address", &addresses[0]], &[ours, nomads]);
    asked(1, &[], &[ours, nomads]);
    asked(2, &[], &[nomads]);
    asked(3, &[], &[]);
}

#[test]
fn a_repository_may_set_nothing_and_nothing_goes_where_it_says() {
    let (site, theirs) = (guarded(), Emulator::start());
    let schema = site.world.json(&["plugins", "describe", "nomad", "--json"]);
    let keys: BTreeSet<_> =
        schema["manifest"]["config"]["properties"].as_object().unwrap().keys().cloned().collect();
    assert!(keys.len() >= 23 && keys.contains("tokenEnv"), "{keys:?}");
    for key in &keys {
        let value = match key.as_str() {
            "address" => json!(theirs.address()),
            "skipVerify" => json!(true),
            "datacenters" => json!(["dc9"]),
            "cpu" | "memoryMb" | "diskMb" => json!(77),
            "allocReadyTimeout" | "evalTimeout" | "execTimeout" => json!("77s"),
            "workdir" => json!("/tmp/theirs"),
            _ => json!("evil"),
        };
        site.world.write("crabbox.yaml", json!({"nomad": {key: value}}).to_string());
        let (code, stdout, stderr) = ended(site.crabbox(&["doctor"]).env("NOMAD_TOKEN", TOKEN));
        assert_eq!(code, 0, "{key}: {stdout}{stderr}");
        assert_has(&stderr, &[&format!("warning: the repository's `nomad.{key}` is ignored")]);
    }
    let all =
        json!({"address": theirs.address(), "tokenEnv": "HOME", "driver": "docker", "skipVerify": true});
    site.world.write("crabbox.yaml", json!({"provider": "nomad", "nomad": all}).to_string());
    let mut run = site.crabbox(&["run", "--", "echo", "here"]);
    let (code, stdout, stderr) = ended(run.env("NOMAD_TOKEN", TOKEN));
    assert_eq!((code, stdout.as_str()), (0, "here\n"), "{stderr}");
    assert!(theirs.requests().is_empty() && !site.agent.requests().is_empty());
    assert!(site.agent.requests().iter().all(|it| it.token() == Some(TOKEN)));
    site.nothing_is_left();
}

#[test]
fn the_token_is_in_the_header_and_nowhere_else() {
    let site = guarded();
    site.configure(json!({"tokenEnv": "TEAM_TOKEN"}));
    let trace = site.world.root().join("trace.jsonl");
    let crabbox = |arguments: &[&str]| {
        let mut command = site.crabbox(arguments);
        command.env("TEAM_TOKEN", TOKEN).env("CRABBOX_PLUGIN_TRACE", &trace);
        command
    };
    let mut said = String::new();
    for arguments in [
        &["doctor"][..],
        &["warmup", "--slug", "demo"],
        &["status", "demo", "--json"],
        &["list", "--refresh", "--json"],
        &["config", "show", "--json"],
        &["run", "--id", "demo", "--allow-env", "TEAM_*,NOMAD_*,CI", "--", "env"],
    ] {
        let (code, stdout, stderr) = ended(&mut crabbox(arguments));
        assert_eq!(code, 0, "{arguments:?}: {stderr}");
        said += &(stdout + &stderr);
    }
    let started = site.world.root().join("started");
    let command = format!("touch {}; sleep 600", started.display());
    let mut run = spawn(&mut crabbox(&["run", "--id", "demo", "--no-sync", "--", "sh", "-c", &command]));
    crabbox_tests::wait_for("the run", || started.exists());
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&words).contains(TOKEN), "{:?}", entry.path());
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&run), rustix::process::Signal::INT)
        .unwrap();
    run.wait().unwrap();
    site.agent.rule(Rule::status("/v1/job/", 403, "Permission denied: {token} may not"));
    let (code, stdout, stderr) = ended(&mut crabbox(&["status", "demo"]));
    assert_eq!(code, 3, "{stderr}");
    assert_has(&stderr, &["Permission denied: [secret] may not", "the token in TEAM_TOKEN"]);
    said += &(stdout + &stderr);
    site.agent.heal();
    for (path, bytes) in files(&site.world.root()) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(TOKEN), "{} has the token", path.display());
    }
    assert!(!said.contains(TOKEN), "{said}");
    assert!(fs::metadata(&trace).unwrap().len() > 1000);
    for request in site.agent.requests() {
        assert_eq!(request.headers["x-nomad-token"], TOKEN);
        let other = format!("{}?{} {}", request.path, request.query, String::from_utf8_lossy(&request.body));
        assert!(!other.contains(TOKEN), "{other}");
    }
    assert!(site.agent.execs().iter().all(|exec| !exec.command.join(" ").contains(TOKEN)));
    let (code, ..) = ended(&mut crabbox(&["stop", "demo"]));
    assert_eq!(code, 0);
    site.nothing_is_left();
}

#[test]
fn no_redirect_is_followed_wherever_it_leads() {
    let (site, other) = (guarded(), Emulator::start());
    let here = format!("{}/v1/elsewhere", site.agent.address());
    let elsewhere =
        [other.address() + "/v1/jobs", here, "//evil.invalid/".to_owned(), "::: not a URL".to_owned()];
    let token = |arguments: &[&str]| ended(site.crabbox(arguments).env("NOMAD_TOKEN", TOKEN));
    assert_eq!(token(&["warmup", "--slug", "demo"]).0, 0);
    for (status, location) in [301, 302, 307, 308].into_iter().zip(&elsewhere) {
        for path in ["/v1/job", "/exec"] {
            site.agent.heal();
            site.agent.rule(Rule::redirect(path, status, location));
            site.agent.forget();
            let run: &[&str] = match path {
                "/exec" => &["run", "--id", "demo", "--no-sync", "--", "true"],
                _ => &["warmup"],
            };
            let (code, stdout, stderr) = token(run);
            assert!(matches!(code, 1 | 7), "{path} {status}: {code}, {stderr}");
            assert_has(&stderr, &[&status.to_string(), "redirect"]);
            assert!(!format!("{stdout}{stderr}").contains(TOKEN) && !stderr.contains(location), "{stderr}");
            let followed = site.agent.requests().into_iter().find(|it| it.path.contains("elsewhere"));
            assert!(followed.is_none() && other.requests().is_empty(), "{path} {status}: {followed:?}");
        }
    }
    site.agent.heal();
    assert_eq!(token(&["stop", "demo"]).0, 0);
    site.nothing_is_left();
}

#[test]
fn the_address_of_a_node_is_not_gone_to() {
    let other = Emulator::start();
    let node_address = Some(other.address().trim_start_matches("http://").to_owned());
    let site = Site::with(Options { node_address, ..Options::default() });
    assert_eq!(site.run(&["run", "--", "echo", "here"]).1, "here\n");
    assert!(other.requests().is_empty());
    site.nothing_is_left();
}

#[test]
fn a_proxy_is_not_used() {
    let (site, proxy) = (Site::new(), Emulator::start());
    let mut run = site.crabbox(&["run", "--", "echo", "here"]);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        run.env(name, proxy.address());
    }
    let (code, stdout, stderr) = ended(&mut run);
    assert_eq!((code, stdout.as_str()), (0, "here\n"), "{stderr}");
    assert!(proxy.requests().is_empty());
    site.nothing_is_left();
}

#[test]
fn a_huge_answer_costs_no_more_than_its_beginning() {
    let site = Site::new();
    for (status, body, code) in
        [(500, "x".repeat(8 << 20), 1), (200, format!("\"{}\"", "x".repeat(70 << 20)), 5)]
    {
        site.agent.heal();
        let headers = Vec::new();
        site.agent.rule(Rule::new("/v1/job/", Effect::Answer { status, headers, body }));
        let (was, _, stderr) = site.run(&["warmup"]);
        assert_eq!(was, code, "{stderr}");
        assert!(stderr.len() < 4000, "{}", stderr.len());
    }
    site.agent.heal();
    site.nothing_is_left();
}

#[test]
fn what_cannot_be_an_address_is_refused_without_repeating_a_password() {
    let site = Site::new();
    for address in
        ["http://user:hunter2@127.0.0.1:4646", "unix://nomad.sock", "nomad", "ftp://nomad", "http://"]
    {
        site.configure(json!({"address": address}));
        let (code, stdout, stderr) = site.run(&["run", "--", "true"]);
        assert_eq!(code, 2, "{stderr}");
        assert_has(&stderr, &["error: ", "`nomad.address`"]);
        assert!(!format!("{stdout}{stderr}").contains("hunter2"), "{stderr}");
    }
    site.configure(json!({"workdir": "/tmp", "driver": "", "task": "a/b"}));
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["3 problems", "`nomad.workdir`", "`nomad.driver`", "`nomad.task`"]);
    assert!(site.agent.requests().is_empty());
}
