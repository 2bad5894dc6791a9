//! What a provider can be told, by whom, and what is said when that is wrong.

use std::fs;

use crabbox_tests::{World, ended, quoted};
use serde_json::{Value, json};

use crate::support::{assert_fits, assert_has};

/// A provider with a key of every kind. What it is configured with stands in the file `configured`; it
/// refuses to make leases.
fn acme(world: &World) {
    let config = json!({"type": "object", "properties": {
        "region": {"type": "string", "default": "eu", "description": "Where to run"},
        "size": {"type": "integer", "minimum": 1, "default": 2},
        "spot": {"type": "boolean", "default": false},
        "wait": {"type": "integer", "default": 60_000, "x-crabbox": {"duration": true}},
        "tags": {"type": "array", "items": {"type": "string"}},
        "mode": {"enum": ["fast", "slow"]},
        "caCert": {"type": "string", "x-crabbox": {"path": true}},
        "address": {"type": "string", "x-crabbox": {"userOnly": true, "env": ["ACME_ADDR"]}},
        "token": {"type": "string", "x-crabbox": {"secret": true, "env": ["ACME_TOKEN"]}},
    }});
    let file = quoted(world.root().join("configured").to_str().unwrap());
    let cases = format!(
        "configure) printf '%s\\n' \"$line\" >{file}; ok '{{\"scope\":\"here\"}}' ;;\n\
         acquire) no 'not today' '{{\"kind\":\"quota\",\"created\":false}}' ;;"
    );
    world.provider(
        "acme",
        &json!({"methods": ["configure", "acquire", "run", "release"], "config": config}),
        &cases,
    );
}

/// What the provider is configured with by a run with these flags.
fn configured(world: &World, flags: &[&str], variables: &[(&str, &str)]) -> Value {
    let mut command = world.crabbox(&[&["run", "--provider", "acme"], flags, &["true"]].concat());
    let (code, _, stderr) = ended(command.envs(variables.iter().copied()));
    assert_eq!(code, 5, "{stderr}");
    let request: Value =
        serde_json::from_str(&fs::read_to_string(world.root().join("configured")).unwrap()).unwrap();
    request["params"].clone()
}

/// The value and the source of a key, by `config show`.
fn shown(world: &World, key: &str, variables: &[(&str, &str)]) -> (Value, String) {
    let mut command = world.crabbox(&["config", "show", "--provider", "acme", "--json"]);
    let (code, stdout, stderr) = ended(command.envs(variables.iter().copied()));
    assert_eq!(code, 0, "{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_fits("config", &report);
    let values = report["values"].as_array().unwrap();
    let value = values.iter().find(|value| value["key"] == key).unwrap_or_else(|| panic!("{report:#}"));
    (value["value"].clone(), value["source"].as_str().unwrap().to_owned())
}

#[test]
fn a_flag_wins_over_a_variable_that_over_the_repository_that_over_the_user_that_over_the_default() {
    let world = World::new();
    acme(&world);
    let variable = [("CRABBOX_ACME_REGION", "by-variable")];
    let repository = world.repo().join("crabbox.yaml").display().to_string();
    let user = world.config().display().to_string();
    assert_eq!(shown(&world, "acme.region", &[]), (json!("eu"), "default".to_owned()));
    world.write_config("acme: {region: by-user}\n");
    assert_eq!(shown(&world, "acme.region", &[]), (json!("by-user"), user));
    world.write("crabbox.yaml", "acme: {region: by-repository}\n");
    assert_eq!(shown(&world, "acme.region", &[]), (json!("by-repository"), repository));
    let by_variable = (json!("by-variable"), "variable CRABBOX_ACME_REGION".to_owned());
    assert_eq!(shown(&world, "acme.region", &variable), by_variable);
    assert_eq!(configured(&world, &[], &variable)["config"]["region"], "by-variable");
    let by_flag = configured(&world, &["--acme-region", "by-flag"], &variable);
    assert_eq!(by_flag["config"]["region"], "by-flag");
}

#[test]
fn values_of_every_kind_arrive_as_the_provider_wants_them() {
    let world = World::new();
    acme(&world);
    let yaml = "acme: {size: 3, spot: true, wait: 90s, tags: [a, 'b,c'], mode: fast, caCert: certs/ca.pem}\n";
    world.write("crabbox.yaml", yaml);
    let certificate = world.repo().join("certs/ca.pem");
    assert_eq!(
        configured(&world, &[], &[])["config"],
        json!({"region": "eu", "size": 3, "spot": true, "wait": 90_000, "tags": ["a", "b,c"], "mode": "fast",
               "caCert": certificate})
    );
    assert_eq!(shown(&world, "acme.wait", &[]).0, "1m30s");
    let flags =
        ["--acme-size=5", "--acme-spot=false", "--acme-wait", "2m", "--acme-tags", "x", "--acme-tags", "y"];
    let by_flags = &configured(
        &world,
        &[&flags[..], &["--acme-mode=slow", "--acme-ca-cert", "/ca"]].concat(),
        &[],
    )["config"];
    assert_eq!(
        *by_flags,
        json!({"region": "eu", "size": 5, "spot": false, "wait": 120_000, "tags": ["x", "y"], "mode": "slow",
               "caCert": "/ca"})
    );
    let variables = [("CRABBOX_ACME_SIZE", "7"), ("CRABBOX_ACME_TAGS", "m,n"), ("ACME_ADDR", "https://a")];
    let by_variables = &configured(&world, &[], &variables)["config"];
    assert_eq!([&by_variables["size"], &by_variables["tags"]], [&json!(7), &json!(["m", "n"])]);
    assert_eq!(by_variables["address"], "https://a");
}

#[test]
fn a_secret_comes_from_the_environment_only_and_is_never_shown_nor_sent() {
    let world = World::new();
    acme(&world);
    world.write("crabbox.yaml", "acme: {token: hunter2}\n");
    let variables = [("ACME_TOKEN", "hunter3")];
    assert_eq!(shown(&world, "acme.token", &[]), (json!("missing"), "default".to_owned()));
    assert_eq!(
        shown(&world, "acme.token", &variables),
        (json!("configured"), "variable ACME_TOKEN".to_owned())
    );
    let mut all = String::new();
    for arguments in [
        &["config", "show", "--provider", "acme"][..],
        &["plugins", "describe", "acme"],
        &["run", "--provider", "acme", "true"],
        &["run", "--provider", "acme", "--help"],
        &["doctor", "--provider", "acme"],
    ] {
        let (_, stdout, stderr) = ended(world.crabbox(arguments).envs(variables));
        all += &format!("{stdout}{stderr}");
    }
    let params = configured(&world, &[], &variables);
    assert_eq!(params["secrets"], json!({"token": {"env": "ACME_TOKEN"}}));
    assert!(!params["config"].as_object().unwrap().contains_key("token"), "{params}");
    all += &params.to_string();
    assert!(!all.contains("hunter"), "{all}");
    assert_has(&all, &["`acme.token` in", "is ignored: a secret is set in the environment", "ACME_TOKEN"]);
    let (code, _, stderr) = world.run(&["run", "--provider", "acme", "--acme-token", "hunter4", "true"]);
    assert_eq!(code, 2, "{stderr}");
}

#[test]
fn a_password_in_a_url_reaches_no_claim_and_no_message() {
    let world = World::new();
    acme(&world);
    let flags = ["run", "--provider", "acme", "--acme-region", "https://me:hunter22@host/", "true"];
    let (code, stdout, stderr) = world.run(&flags);
    assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
    assert_has(
        &stderr,
        &[
            "error: `acme.region`: there is a password in the URL",
            "(from flag --acme-region)",
            "hint: take it out, and set the secret in the environment: CRABBOX_ACME_TOKEN or ACME_TOKEN",
        ],
    );
    assert!(!stderr.contains("hunter22"), "{stderr}");
    assert!(!world.state().exists() && !world.root().join("configured").exists());
}

#[test]
fn a_doctor_says_that_a_required_secret_is_missing_and_where_to_set_it() {
    let world = World::new();
    let config = json!({"type": "object", "required": ["token"], "properties": {
        "token": {"type": "string", "x-crabbox": {"secret": true, "env": ["ACME_TOKEN"]}},
    }});
    let manifest = json!({"methods": ["configure", "acquire", "run", "release"], "config": config});
    world.provider("acme", &manifest, "configure) ok '{\"scope\":\"here\"}' ;;");
    let doctor = |variables: &[(&str, &str)]| {
        let mut command = world.crabbox(&["doctor", "--provider", "acme", "--json"]);
        let (code, stdout, stderr) = ended(command.envs(variables.iter().copied()));
        let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stderr}"));
        assert_fits("doctor", &report);
        (code, report)
    };
    let (code, report) = doctor(&[]);
    assert_eq!((code, &report["ok"]), (1, &json!(false)));
    let rows = report["checks"].as_array().unwrap();
    let failed: Vec<_> = rows.iter().filter(|row| row["status"] == "fail").collect();
    assert_eq!((failed.len(), &failed[0]["provider"]), (1, &json!("acme")), "{report:#}");
    let message = failed[0]["message"].as_str().unwrap();
    assert_has(message, &["`acme.token` is not set: it is a secret, set CRABBOX_ACME_TOKEN or ACME_TOKEN"]);
    assert_has(failed[0]["hint"].as_str().unwrap(), &["`crabbox plugins describe acme`"]);
    let (code, report) = doctor(&[("ACME_TOKEN", "hunter2")]);
    assert_eq!((code, &report["ok"]), (0, &json!(true)), "{report:#}");
    let (code, _, stderr) = world.run(&["run", "--provider", "acme", "true"]);
    assert_eq!(code, 3, "{stderr}");
    assert_has(&stderr, &["`acme.token` is not set", "hint: `crabbox plugins describe acme`"]);
}

#[test]
fn what_only_the_user_may_set_is_ignored_in_a_repository_with_a_warning() {
    let world = World::new();
    acme(&world);
    world.write("crabbox.yaml", "acme: {address: 'https://evil', region: us}\n");
    let (_, _, stderr) = world.run(&["run", "--provider", "acme", "true"]);
    let warning =
        "warning: the repository's `acme.address` is ignored: only you may set it, by --acme-address";
    assert_eq!(stderr.matches(warning).count(), 1, "{stderr}");
    assert_has(&stderr, &[world.config().to_str().unwrap()]);
    let config = &configured(&world, &[], &[])["config"];
    assert_eq!((config.get("address"), &config["region"]), (None, &json!("us")));
    world.write_config("acme: {address: 'https://mine'}\n");
    assert_eq!(configured(&world, &[], &[])["config"]["address"], "https://mine");
    // A file that is named is trusted only where the repository does not reach.
    let named = [("CRABBOX_CONFIG", "crabbox.yaml")];
    assert_eq!(configured(&world, &[], &named)["config"].get("address"), None);
    let outside = world.root().join("outside.yaml");
    fs::write(&outside, "acme: {address: 'https://outside'}\n").unwrap();
    let named = [("CRABBOX_CONFIG", outside.to_str().unwrap())];
    assert_eq!(configured(&world, &[], &named)["config"]["address"], "https://outside");
}

#[test]
fn what_is_wrong_is_named_with_its_key_and_its_source() {
    let world = World::new();
    acme(&world);
    let file = world.repo().join("crabbox.yaml").display().to_string();
    for (yaml, parts) in [
        (
            "acme: {regoin: us}",
            &["`acme.regoin` in ", &file, "there is no such key; did you mean `acme.region`?"][..],
        ),
        ("acme: {size: big}", &["`acme.size`: ", &file]),
        ("acme: {size: 0}", &["`acme.size`: ", "minimum", &file]),
        ("acme: {spot: 3}", &["`acme.spot`: ", &file]),
        ("acme: {wait: soon}", &["`acme.wait`: `soon` is not a duration", &file]),
        ("acme: {mode: medium}", &["`acme.mode`: ", "fast", "slow", &file]),
        ("acme: [a]", &["`acme` in ", &file, "has to be a mapping"]),
        ("acme: {size: big, wait: soon}", &["has 2 problems", "`acme.size`", "`acme.wait`"]),
    ] {
        world.write("crabbox.yaml", yaml);
        let (code, stdout, stderr) = world.run(&["run", "--provider", "acme", "true"]);
        assert_eq!((code, stdout.as_str()), (2, ""), "{yaml}: {stderr}");
        assert_has(&stderr, &[&["error: "], parts].concat());
        assert!(!world.root().join("configured").exists(), "{yaml}: the provider heard of it");
    }
    world.write("crabbox.yaml", "");
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = world.crabbox(&[&["run", "--provider", "acme"], arguments, &["true"]].concat());
        let (code, _, stderr) = ended(command.envs(variables.iter().copied()));
        assert_eq!(code, 2, "{stderr}");
        stderr
    };
    assert_has(&run(&["--acme-size", "big"], &[]), &["`acme.size`: ", "(from flag --acme-size)"]);
    assert_has(
        &run(&[], &[("CRABBOX_ACME_SPOT", "perhaps")]),
        &["`acme.spot`: ", "(from variable CRABBOX_ACME_SPOT)"],
    );
    assert_has(&run(&["--acme-mode", "medium"], &[]), &["--acme-mode", "fast, slow"]);
}

#[test]
fn only_the_block_of_the_provider_in_use_is_checked() {
    let world = World::new();
    acme(&world);
    world.write("crabbox.yaml", "acme: {regoin: us}\nhetzner: {anything: goes}\n");
    assert_eq!(world.ok(&["run", "--provider", "local", "echo", "fine"]), "fine\n");
}

#[test]
fn a_file_that_is_no_yaml_is_named_with_line_and_column() {
    let world = World::new();
    let path = world.write("crabbox.yaml", "provider: local\nlease:\n  ttl: 1h\n idleTimeout: 2h\n");
    for arguments in [&["run", "true"][..], &["list"], &["plugins", "list"], &["config", "show"]] {
        let (code, stdout, stderr) = world.run(arguments);
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
        assert_has(&stderr, &[&format!("error: {}:4:2: invalid YAML", path.display())]);
    }
}

#[test]
fn unknown_keys_at_the_top_are_warned_of_and_those_of_upstream_are_no_typos() {
    let world = World::new();
    world.write(
        "crabbox.yaml",
        "proivder: local\nprofile: big\nclass: beast\nsync: {checksum: true, delte: true}\n",
    );
    let (code, stdout, stderr) = world.run(&["run", "echo", "fine"]);
    assert_eq!((code, stdout.as_str()), (0, "fine\n"), "{stderr}");
    let warnings: Vec<_> = stderr.lines().filter(|line| line.contains("crabbox does not use")).collect();
    assert_eq!(warnings.len(), 1, "{stderr}");
    let parts = ["`proivder` (did you mean `provider`?)", "`sync.delte` (did you mean `sync.delete`?)"];
    assert_has(warnings[0], &parts);
    assert_has(warnings[0], &["`profile`", "`class`", "`sync.checksum`"]);
    assert_eq!(warnings[0].matches("did you mean").count(), 2, "{}", warnings[0]);
}

#[test]
fn help_shows_the_flags_of_the_provider_in_use_and_where_else_each_is_set() {
    let world = World::new();
    acme(&world);
    let help = world.ok(&["run", "--provider", "acme", "--help"]);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_has(
        &help,
        &[
            "--provider <NAME> Use this provider [installed: acme, local]",
            "Options of provider acme:",
            "--acme-region <VALUE> Where to run [default: eu] [env: CRABBOX_ACME_REGION] [config: acme.region]",
            "--acme-wait <DURATION> [default: 1m]",
            "--acme-tags <VALUE> [can be repeated]",
            "--acme-address <VALUE> [env: CRABBOX_ACME_ADDRESS, ACME_ADDR] [config: acme.address in your own file]",
            "CRABBOX_ACME_TOKEN, ACME_TOKEN",
        ],
    );
    assert!(!help.contains("--acme-token"), "{help}");
    assert!(!world.ok(&["run", "--help"]).contains("--acme-region"));
    world.write("crabbox.yaml", "provider: acme\n");
    assert_has(&world.ok(&["run", "--help"]), &["--acme-region"]);
}

#[test]
fn a_lease_keeps_the_configuration_that_it_was_made_with() {
    let world = World::new();
    world.local_as(
        "acme",
        &json!({"config": {"type": "object", "properties": {
            "root": {"type": "string", "x-crabbox": {"path": true, "userOnly": true}},
        }}}),
    );
    let place = world.root().join("place");
    world.ok(&["warmup", "--provider", "acme", "--slug", "demo", "--acme-root", place.to_str().unwrap()]);
    world.write_config("acme: {root: /elsewhere}\n");
    assert_eq!(world.ok(&["run", "--id", "demo", "--", "cat", "README.md"]), "hello\n");
    let (code, _, stderr) = world.run(&["stop", "demo", "--acme-root", "/elsewhere"]);
    assert_eq!(code, 4, "another scope: {stderr}");
    world.ok(&["stop", "demo"]);
    assert_eq!(fs::read_dir(place).unwrap().count(), 0);
}
