//! What may be configured, by whom, and what is refused before the CLI is asked anything.

use serde_json::json;

use super::Site;
use crate::support::assert_has;

#[test]
fn what_is_wrong_is_refused_before_the_cli_is_asked_anything() {
    let Some(site) = Site::new() else { return };
    for (flags, said) in [
        (&["--class", "large"][..], "--class"),
        (&["--type", "large"], "--type"),
        (&["--coder-token", "secret"], "--coder-token"),
        (&["--target", "windows"], "--target"),
        (&["--coder-wait", "later"], "invalid value `later`"),
        (&["--coder-parameters", "cpus"], "NAME=VALUE"),
        (&["--coder-parameters", "=4"], "`` is empty"),
        (&["--coder-cli", ""], "`coder.cli`"),
        (&["--coder-work-root", "relative"], "is not an absolute path"),
        (&["--coder-work-root", "/tmp"], "is a directory of the system"),
        (&["--coder-workspace-prefix", "a--b"], "two dashes in a row"),
    ] {
        let (code, _, stderr) = site.run(&[&["run"], flags, &["--", "true"]].concat());
        assert_eq!(code, 2, "{flags:?}: {stderr}");
        assert_has(&stderr, &[said]);
    }
    assert_eq!(site.coder.argv(), Vec::<Vec<String>>::new());
    site.nothing_is_left();
}

#[test]
fn a_repository_says_what_it_needs_and_not_what_is_executed_or_deleted() {
    let Some(site) = Site::new() else { return };
    let evil = site.world.script("evil", "#!/bin/sh\ntouch \"$HOME/trapped\"\nexit 1\n");
    let file = site.world.write("values.yaml", "cpus: 4\n");
    let block = json!({"cli": evil, "richParameterFile": file, "deleteOnRelease": true, "workRoot": "/x/y",
        "workspacePrefix": "other-", "wait": "no"});
    site.world.write("crabbox.yaml", json!({"coder": block}).to_string());
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 0, "{stderr}");
    for key in ["cli", "deleteOnRelease", "richParameterFile", "workRoot", "workspacePrefix"] {
        assert_has(&stderr, &[&format!("`coder.{key}`"), "is ignored"]);
    }
    assert!(!site.world.home().join("trapped").exists());
    let ssh = site.coder.argv().into_iter().find(|argv| argv[0] == "ssh").unwrap();
    assert!(ssh.windows(2).any(|pair| pair == ["--wait", "no"]), "{ssh:?}");
    site.nothing_is_left();
}

#[test]
fn the_token_reaches_the_cli_by_its_environment_and_nothing_else() {
    let Some(site) = Site::new() else { return };
    std::fs::remove_dir_all(crabbox_tests::coder::Coder::config_dir(&site.world)).unwrap();
    let token = site.coder.env()["CODER_SESSION_TOKEN"].clone();
    let mut command = site.crabbox(&[
        "run",
        "--keep",
        "--allow-env",
        "CODER_*",
        "--",
        "sh",
        "-c",
        "env; cat /proc/$PPID/environ",
    ]);
    let (code, stdout, stderr) = crabbox_tests::ended(command.envs(site.coder.env()).env("UNRELATED", "x"));
    assert_eq!(code, 0, "{stderr}");
    assert!(!stdout.contains(&token) && !stderr.contains(&token), "{stdout}{stderr}");
    assert_has(&stderr, &["CODER_SESSION_TOKEN is not forwarded: it is a credential of provider coder"]);
    let calls = site.coder.calls();
    assert!(calls.iter().any(|call| call.argv[0] == "ssh"), "{calls:?}");
    for call in &calls {
        assert!(call.env.iter().any(|name| name == "CODER_SESSION_TOKEN"), "{call:?}");
        assert!(!call.env.iter().any(|name| name == "UNRELATED"), "{call:?}");
        assert!(!call.argv.iter().any(|word| word.contains(&token)), "{call:?}");
    }
    let claim = site.claim();
    assert!(!claim.to_string().contains(&token), "{claim}");
    let id = claim["lease"]["id"].as_str().unwrap();
    let mut wrong = site.crabbox(&["run", "--", "true"]);
    let (code, _, stderr) = crabbox_tests::ended(wrong.env("CRABBOX_CODER_SESSION_TOKEN", &token));
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["does not read CRABBOX_CODER_SESSION_TOKEN"]);
    let (code, _, stderr) = crabbox_tests::ended(site.crabbox(&["stop", id]).envs(site.coder.env()));
    assert_eq!(code, 0, "{stderr}");
    site.nothing_is_left();
}

#[test]
fn without_a_template_nothing_is_made_and_everything_else_works() {
    let Some(site) = Site::new() else { return };
    let id = site.warm();
    site.configure(json!({"template": null}));
    site.coder.forget();
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["no template is configured", "--coder-template"]);
    assert_eq!(site.coder.argv(), Vec::<Vec<String>>::new());
    assert_eq!(site.world.json(&["list", "--json"]).as_array().unwrap().len(), 1);
    let (code, _, stderr) = site.run(&["stop", &id]);
    assert_eq!(code, 0, "{stderr}");
    site.nothing_is_left();
}
