//! Making a workspace, and what is left when that fails.

use std::time::Duration;

use crabbox_tests::coder::{Parameter, Preset, Transition};
use serde_json::json;

use super::{ID, Site, lease};
use crate::support::assert_has;

fn create(site: &Site) -> Vec<String> {
    let mut all = site.coder.argv().into_iter().filter(|argv| argv[0] == "create");
    let first = all.next().unwrap();
    assert_eq!(all.next(), None, "once");
    first
}

#[test]
fn the_cli_is_asked_for_what_is_configured_and_for_nothing_else() {
    let Some(site) = Site::new() else { return };
    // It knows no flag that came later.
    site.coder.deployment(|it| it.version = (2, 18, 0));
    let (code, _, stderr) = site.run(&["run", "--slug", "demo", "--coder-wait", "no", "--", "true"]);
    assert_eq!(code, 0, "{stderr}");
    let words = create(&site);
    assert_eq!(words[..4], ["create", "--yes", "--template", "docker"]);
    let name = &words[4];
    assert!(
        name.starts_with("crabbox-demo-") && name.len() == "crabbox-demo-".len() + 6 && words.len() == 5,
        "{words:?}"
    );
    site.nothing_is_left();

    let Some(site) = Site::new() else { return };
    site.coder.template(|template| {
        template.parameters = vec![
            Parameter::text("cpus", None),
            Parameter::text("image", None),
            Parameter::text("zone", Some("eu")),
        ];
        template.presets = vec![Preset { name: "big".to_owned(), ..Preset::default() }];
    });
    let file = site.world.root().join("values.yaml");
    std::fs::write(&file, "image: \"a:1\"\n").unwrap();
    site.configure(
        json!({"preset": "big", "parameters": {"cpus": "1,2 \"x\""}, "useParameterDefaults": true,
        "richParameterFile": file}),
    );
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 0, "{stderr}");
    let parameters = site.workspace().parameters;
    assert_eq!(parameters["cpus"], "1,2 \"x\"", "however the CLI reads its flags");
    assert_eq!((parameters["image"].as_str(), parameters["zone"].as_str()), ("a:1", "eu"));
    let words = create(&site);
    let at =
        |word: &str| words.iter().position(|it| it == word).unwrap_or_else(|| panic!("{word}: {words:?}"));
    let order = [
        "create",
        "--yes",
        "--template",
        "--preset",
        "--use-parameter-defaults",
        "--parameter",
        "--rich-parameter-file",
    ];
    assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{words:?}");
    assert!(!words.iter().any(|word| word.contains("wait")), "{words:?}");
    site.nothing_is_left();
}

#[test]
fn a_lease_that_is_asked_for_again_is_the_same_workspace() {
    let Some(site) = Site::new() else { return };
    let mut plugin = site.talk(json!({}));
    let params = json!({"lease": lease(json!({})), "keep": true});
    let first = plugin.result("acquire", params.clone());
    let again = plugin.result("acquire", params);
    assert_eq!((site.coder.asked(&["create"]), &first["lease"]["ref"]), (1, &again["lease"]["ref"]));
    assert_eq!(first["lease"]["state"]["id"], site.workspace().id);
    assert!(plugin.close().success());
}

/// The claim has the name before the workspace is there.
#[test]
fn what_it_will_be_called_is_said_before_it_is_made() {
    let Some(site) = Site::new() else { return };
    site.coder.faults(|faults| faults.hangs = vec!["create".to_owned()]);
    let mut plugin = site.talk(json!({}));
    let request = plugin.ask("acquire", json!({"lease": lease(json!({})), "keep": true}));
    let note = loop {
        let message = plugin.message();
        if message["method"] == "lease" {
            break message;
        }
    };
    let reference = note["params"]["lease"]["ref"].as_str().unwrap();
    assert!(reference.starts_with("alice/crabbox-demo-"), "{note}");
    assert_eq!(note["params"]["lease"]["state"]["owner"], "alice");
    crabbox_tests::wait_for("the CLI", || site.coder.asked(&["create"]) == 1);
    plugin.cancel(request);
    assert_eq!(plugin.answer(request).error()["data"]["kind"], "cancelled");
    assert!(plugin.close().success());
    crabbox_tests::wait_for("the end of the CLI", || site.world.processes().is_empty());
    assert!(site.coder.workspaces().is_empty());
}

#[test]
fn what_is_refused_leaves_no_claim_and_nothing_is_ended() {
    let Some(site) = Site::new() else { return };
    for (flags, exit, said) in [
        (&["--coder-template", "nope"][..], 2, "no template found with the name"),
        (&["--coder-preset", "nope"], 2, "preset \"nope\" not found"),
        (&["--coder-parameters", "nope=1"], 2, "is not present in the template"),
    ] {
        site.coder.template(|it| {
            it.presets = vec![Preset { name: "big".to_owned(), default: true, ..Preset::default() }]
        });
        let (code, _, stderr) = site.run(&[&["run"], flags, &["--", "true"]].concat());
        assert_eq!(code, exit, "{flags:?}: {stderr}");
        assert_has(&stderr, &["`coder create` failed", said]);
        site.nothing_is_left();
    }
    site.coder.template(|it| {
        it.presets.clear();
        it.parameters = vec![Parameter::text("cpus", None)];
    });
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 2, "a question that nobody answers: {stderr}");
    assert_has(&stderr, &["EOF", "`useParameterDefaults`"]);
    site.coder.deployment(|it| it.version = (2, 18, 0));
    let (code, _, stderr) = site.run(&["run", "--coder-use-parameter-defaults", "--", "true"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["this CLI is too old"]);
    assert_eq!(site.coder.asked(&["stop"]) + site.coder.asked(&["delete"]), 0);
    site.nothing_is_left();
}

#[test]
fn a_build_that_fails_is_undone_as_configured_and_its_error_is_kept() {
    for (delete, left) in [(false, 1), (true, 0)] {
        let Some(site) = Site::new() else { return };
        site.configure(json!({"deleteOnRelease": delete}));
        site.coder.faults(|faults| {
            faults.builds = vec![(Transition::Start, "no room for an image not found".to_owned())]
        });
        let (code, _, stderr) = site.run(&["run", "--", "true"]);
        assert_eq!(code, 1, "{stderr}");
        assert_has(&stderr, &["`coder create` failed", "no room for an image not found"]);
        assert_eq!(
            (site.coder.asked(&["stop"]), site.coder.asked(&["delete"])),
            if delete { (0, 1) } else { (1, 0) }
        );
        assert_eq!(site.coder.workspaces().len(), left);
        site.nothing_is_left();
    }
}

/// Their words are much like Coder's own refusals, after which nothing would be there.
#[test]
fn what_terraform_says_is_no_refusal_of_coders() {
    for error in [
        "pods is forbidden: User \"system:serviceaccount:coder:coder\" cannot create resource \"pods\"",
        "UnauthorizedOperation: You are not authorized to perform this operation",
        "machine_type is invalid: there is no e2-enormous",
    ] {
        for (delete, left) in [(false, 1), (true, 0)] {
            let Some(site) = Site::new() else { return };
            site.configure(json!({"deleteOnRelease": delete}));
            site.coder.faults(|faults| faults.builds = vec![(Transition::Start, error.to_owned())]);
            let (code, _, stderr) = site.run(&["run", "--", "true"]);
            assert_eq!(code, 1, "{stderr}");
            assert_has(&stderr, &["`coder create` failed", error]);
            let ended = (site.coder.asked(&["stop"]), site.coder.asked(&["delete"]));
            assert_eq!(ended, if delete { (0, 1) } else { (1, 0) }, "{error}");
            assert_eq!(site.coder.workspaces().len(), left, "{error}");
            site.nothing_is_left();
        }
    }
}

#[test]
fn undoing_that_fails_is_said_with_the_command_that_ends_it() {
    let Some(site) = Site::new() else { return };
    site.configure(json!({"deleteOnRelease": true}));
    site.coder.faults(|faults| {
        faults.builds =
            vec![(Transition::Start, "no room".to_owned()), (Transition::Delete, "stuck".to_owned())];
    });
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 1, "{stderr}");
    assert_has(
        &stderr,
        &["no room", "undoing it failed", "stuck", "crabbox stop cbx_", "--coder-delete-on-release=true"],
    );
    let claim = site.claim();
    assert!(claim["lease"]["ref"].as_str().unwrap().starts_with("alice/crabbox-"), "{claim}");
    let (code, _, stderr) = site.run(&["cleanup"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(site.coder.workspaces().is_empty());
    site.nothing_is_left();
}

#[test]
fn a_workspace_that_is_listed_late_is_waited_for() {
    let Some(site) = Site::new() else { return };
    site.coder.faults(|faults| faults.late_row = Duration::from_secs(3));
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(site.coder.asked(&["create"]), 1);
    site.nothing_is_left();
}

/// The CLI dies after it has asked for the workspace, as when the connection breaks; the list has it later.
#[test]
fn a_workspace_whose_creation_was_not_answered_is_found_by_its_name() {
    let Some(site) = Site::new() else { return };
    site.coder.template(|template| template.start = Duration::from_secs(4));
    let mut plugin = site.talk(json!({}));
    let request = plugin.ask("acquire", json!({"lease": lease(json!({})), "keep": true}));
    crabbox_tests::wait_for("the workspace", || site.coder.workspaces().len() == 1);
    plugin.cancel(request);
    assert!(plugin.answer(request).outcome.unwrap().is_err());
    // Another session, and no state.
    let mut fresh = site.talk(json!({}));
    let found = fresh.result("resolve", json!({"lease": lease(json!({})), "intent": "release"}));
    assert!(["starting", "ready"].contains(&found["state"].as_str().unwrap()), "{found}");
    let released =
        fresh.result("release", json!({"lease": lease(json!({})), "action": "stop", "reason": "rollback"}));
    assert_eq!(released["outcome"], "released", "the build is waited for: {released}");
    assert_eq!(site.workspace().status(), "stopped");
    assert!(fresh.close().success() && ID.starts_with("cbx_"));
}

#[test]
fn the_cli_does_not_outlive_a_provider_that_is_killed() {
    let Some(site) = Site::new() else { return };
    site.coder.faults(|faults| faults.hangs = vec!["create".to_owned()]);
    let mut plugin = site.talk(json!({}));
    plugin.ask("acquire", json!({"lease": lease(json!({})), "keep": true}));
    crabbox_tests::wait_for("the CLI", || site.coder.asked(&["create"]) == 1);
    let pid = rustix::process::Pid::from_raw(plugin.pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    crabbox_tests::wait_for("the end of the CLI", || site.world.processes().is_empty());
}

#[test]
fn a_cli_that_hangs_is_ended_at_its_deadline() {
    let Some(site) = Site::new() else { return };
    site.configure(json!({"buildTimeout": "1s"}));
    site.coder.template(|template| template.external_auth = true);
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 5, "{stderr}");
    assert_has(&stderr, &["`coder create` has not ended within 1 s"]);
    crabbox_tests::wait_for("the end of the CLI", || site.world.processes().is_empty());
    assert!(site.coder.workspaces().is_empty());
}
