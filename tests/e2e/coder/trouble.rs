//! A CLI that says something else, or nothing, or is not there; and what `doctor` says of it.

use crabbox_tests::coder::Coder;
use serde_json::{Value, json};

use super::{Site, lease};
use crate::support::assert_has;

#[test]
fn an_empty_list_is_empty_and_anything_else_is_an_error() {
    let Some(site) = Site::new() else { return };
    let mut plugin = site.talk(json!({}));
    for text in ["[]", "", "\n", "No workspaces found!\n"] {
        site.coder.faults(|faults| faults.list_output = Some(text.to_owned()));
        assert_eq!(plugin.result("list", json!({}))["leases"], json!([]), "{text}");
    }
    for text in
        ["{", "[1]", "[{}]", "null", "{\"workspaces\": []}", "[{\"name\": \"secret-in-the-environment\"}]"]
    {
        site.coder.faults(|faults| faults.list_output = Some(text.to_owned()));
        let error = plugin.error("resolve", json!({"lease": lease(json!({})), "intent": "observe"}));
        assert_eq!(error["data"]["kind"], "provider", "{text}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    site.coder.heal();
    // Old versions print nothing at all.
    site.coder.deployment(|it| it.version = (2, 18, 0));
    assert_eq!(plugin.result("list", json!({}))["leases"], json!([]));
    assert!(plugin.close().success());
}

/// One that cannot say who is logged in as JSON.
#[test]
fn a_cli_that_is_old_will_do() {
    let Some(site) = Site::new() else { return };
    let refused = "echo \"error: unknown shorthand flag: 'o' in -o\" >&2; exit 1";
    let script = format!("#!/bin/sh\n[ \"$1\" != whoami ] || {{ {refused}; }}\nexec coder \"$@\"\n");
    let cli = site.world.script("old-coder", &script);
    site.coder.deployment(|it| it.version = (2, 18, 0));
    site.configure(json!({"cli": cli, "deleteOnRelease": true}));
    let (code, stdout, stderr) = site.run(&["run", "--", "cat", "README.md"]);
    assert_eq!((code, stdout.as_str()), (0, "hello\n"), "{stderr}");
    assert!(site.coder.workspaces().is_empty());
    site.nothing_is_left();
}

#[test]
fn what_the_cli_says_besides_disturbs_nothing() {
    let Some(site) = Site::new() else { return };
    site.coder.faults(|faults| {
        faults.warnings = vec!["Your license expires in 3 days.".to_owned(), "{\"odd\": 1}".to_owned()]
    });
    site.coder.deployment(|it| it.server_version = Some((2, 34, 0)));
    let (code, stdout, stderr) = site.run(&["run", "--", "echo", "x"]);
    assert_eq!((code, stdout.as_str()), (0, "x\n"), "{stderr}");
    site.nothing_is_left();
}

#[test]
fn a_missing_login_an_expired_one_and_a_server_that_is_down_are_told_apart() {
    let Some(site) = Site::new() else { return };
    let id = site.warm();
    let before = site.workspace();
    let fails = |exit: i32, said: &[&str]| {
        for arguments in [&["run", "--", "true"][..], &["stop", &id]] {
            let (code, _, stderr) = site.run(arguments);
            assert_eq!(code, exit, "{arguments:?}: {stderr}");
            assert_has(&stderr, said);
        }
        assert_eq!(site.world.json(&["list", "--json"]).as_array().unwrap().len(), 1, "nothing is forgotten");
    };
    site.coder.faults(|faults| faults.signed_out = true);
    fails(3, &["not logged in, or its session is over", "`coder login URL`"]);
    site.coder.heal();
    site.coder.faults(|faults| faults.unreachable = true);
    fails(5, &["cannot be reached", "no such host"]);
    site.coder.heal();
    site.coder
        .faults(|faults| faults.server_error = Some((500, "An internal server error occurred.".to_owned())));
    fails(1, &["An internal server error occurred."]);
    site.coder.heal();
    std::fs::remove_file(Coder::config_dir(&site.world).join("session")).unwrap();
    fails(3, &["not logged in, or its session is over"]);
    site.coder.log_in(&site.world);
    assert_eq!(site.workspace().id, before.id);
    assert_eq!(site.run(&["stop", &id]).0, 0);
    site.nothing_is_left();
}

/// The rows of the provider: exit code, and status and details by name.
fn doctor(site: &Site) -> (i32, Vec<(String, String, Value)>) {
    let (code, stdout, stderr) = site.run(&["doctor", "--json"]);
    let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}"));
    let rows = report["checks"].as_array().unwrap().iter().filter(|row| row["provider"] == "coder");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (code, rows.map(|row| (text(&row["check"]), text(&row["status"]), row["details"].clone())).collect())
}

fn row<'a>(rows: &'a [(String, String, Value)], name: &str) -> (&'a str, &'a Value) {
    let row = rows.iter().find(|(check, ..)| check == name);
    row.map(|(_, status, details)| (status.as_str(), details)).unwrap_or_else(|| panic!("{name}: {rows:?}"))
}

#[test]
fn doctor_only_asks() {
    let Some(site) = Site::new() else { return };
    let (code, rows) = doctor(&site);
    assert_eq!(code, 0, "{rows:?}");
    for name in ["cli", "auth", "leases", "template"] {
        let (status, details) = row(&rows, name);
        assert_eq!((status, &details["mutation"]), ("ok", &json!(false)), "{name}: {rows:?}");
    }
    let asked: Vec<_> = site.coder.argv().into_iter().map(|argv| argv[0].clone()).collect();
    assert_eq!(asked, ["version", "whoami", "list"]);
    site.configure(json!({"template": null}));
    let (code, rows) = doctor(&site);
    assert_eq!((code, row(&rows, "template").0), (0, "warn"));
}

#[test]
fn doctor_tells_what_is_missing() {
    let Some(site) = Site::new() else { return };
    site.coder.faults(|faults| faults.signed_out = true);
    let (code, rows) = doctor(&site);
    assert_eq!(
        (code, row(&rows, "auth").0, &row(&rows, "auth").1["auth"]),
        (1, "fail", &json!("missing_login"))
    );
    assert_eq!((row(&rows, "cli").0, row(&rows, "leases").0), ("ok", "skip"));
    site.coder.heal();
    site.coder.faults(|faults| faults.unreachable = true);
    assert_eq!(row(&doctor(&site).1, "auth").1["auth"], "failed");
    site.coder.heal();
    site.coder.faults(|faults| faults.list_output = Some("{".to_owned()));
    let (code, rows) = doctor(&site);
    assert_eq!(code, 1);
    let status: Vec<_> = ["cli", "auth", "leases"].iter().map(|name| row(&rows, name).0).collect();
    assert_eq!(status, ["ok", "ok", "fail"]);
    site.coder.heal();
    site.configure(json!({"cli": "no-such-coder"}));
    let (code, rows) = doctor(&site);
    assert_eq!((code, row(&rows, "cli").0), (1, "fail"));
    assert_eq!(
        (&row(&rows, "auth").1["auth"], &row(&rows, "leases").1["inventory"]),
        (&json!("unchecked"), &json!("unchecked"))
    );
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 3, "{stderr}");
    assert_has(&stderr, &["there is no coder CLI `no-such-coder`"]);
    site.nothing_is_left();
}
