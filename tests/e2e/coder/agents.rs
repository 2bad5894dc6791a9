//! From a build that is through to a machine that can be used.

use std::time::Duration;

use crabbox_tests::coder::{AgentTemplate, Outcome};
use serde_json::json;

use super::{Site, lease};
use crate::support::assert_has;

#[test]
fn an_agent_is_waited_for_by_the_list_and_not_by_connections() {
    let Some(site) = Site::new() else { return };
    site.coder.template(|template| {
        template.agents[0].connect = Some(Duration::from_millis(1500));
        template.agents[0].startup = Some(Duration::from_millis(1500));
    });
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stderr, &["waiting: agent main"]);
    // One connection, when it can succeed.
    assert_eq!(site.coder.asked(&["ssh"]), 1);
    site.nothing_is_left();
}

#[test]
fn startup_scripts_are_waited_for_as_configured() {
    for (wait, blocks, waits) in
        [("yes", false, true), ("no", true, false), ("auto", false, false), ("auto", true, true)]
    {
        let Some(site) = Site::new() else { return };
        site.coder.template(|template| {
            template.agents[0].startup = None;
            template.agents[0].blocks_login = blocks;
        });
        site.configure(json!({"wait": wait, "readyTimeout": "2s"}));
        let (code, _, stderr) = site.run(&["run", "--", "true"]);
        assert_eq!(code, if waits { 5 } else { 0 }, "{wait} {blocks}: {stderr}");
        if waits {
            assert_has(&stderr, &["is not ready after 2 s", "startup script", "`readyTimeout`"]);
            assert_eq!((site.coder.asked(&["ssh"]), site.coder.asked(&["stop"])), (0, 1), "it is undone");
        }
        site.nothing_is_left();
    }
}

#[test]
fn a_startup_script_that_failed_is_said_and_hinders_nobody() {
    for outcome in [Outcome::Error, Outcome::Timeout] {
        let Some(site) = Site::new() else { return };
        site.coder.template(|template| template.agents[0].outcome = outcome);
        let (code, _, stderr) = site.run(&["run", "--", "true"]);
        assert_eq!(code, 0, "{stderr}");
        assert_has(&stderr, &["a startup script of agent main"]);
        site.nothing_is_left();
    }
}

#[test]
fn an_agent_that_never_connects_has_a_deadline() {
    let Some(site) = Site::new() else { return };
    site.coder.template(|template| template.agents[0].connect = None);
    site.configure(json!({"readyTimeout": "2s", "deleteOnRelease": true}));
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 5, "{stderr}");
    assert_has(&stderr, &["is not ready after 2 s", "agent main is connecting"]);
    assert!(site.coder.workspaces().is_empty());
    // One that is kept is undone all the same: it was never there for anybody.
    let (code, _, stderr) = site.run(&["warmup"]);
    assert_eq!(code, 5, "{stderr}");
    site.nothing_is_left();
}

#[test]
fn of_several_agents_one_has_to_be_named_unless_only_one_can_be_meant() {
    let Some(site) = Site::new() else { return };
    let part = AgentTemplate { parent: Some("main".to_owned()), ..AgentTemplate::named("container") };
    let windows = AgentTemplate { os: "windows".to_owned(), ..AgentTemplate::named("win") };
    site.coder.template(|template| template.agents.extend([part, windows]));
    let script = "echo $CODER_WORKSPACE_AGENT_NAME";
    let (code, stdout, stderr) = site.run(&["run", "--", "sh", "-c", script]);
    assert_eq!((code, stdout.as_str()), (0, "main\n"), "{stderr}");
    site.coder.template(|template| template.agents.push(AgentTemplate::named("other")));
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["several agents", "main", "other", "--coder-agent"]);
    let (code, stdout, stderr) = site.run(&["run", "--coder-agent", "other", "--", "sh", "-c", script]);
    assert_eq!((code, stdout.as_str()), (0, "other\n"), "{stderr}");
    let (code, _, stderr) = site.run(&["run", "--coder-agent", "nope", "--", "true"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["has no agent `nope`"]);
    site.nothing_is_left();
}

#[test]
fn a_lease_that_is_not_ready_is_looked_at_and_nobody_connects() {
    let Some(site) = Site::new() else { return };
    site.coder.template(|template| template.agents[0].connect = None);
    site.coder.add("alice", "crabbox-x-1");
    let mut plugin = site.talk(json!({}));
    let observed =
        plugin.result("resolve", json!({"lease": lease(json!({"ref": "crabbox-x-1"})), "intent": "observe"}));
    assert_eq!(
        (observed["state"].as_str(), &observed["lease"]["ssh"]),
        (Some("starting"), &json!(null)),
        "{observed}"
    );
    assert_eq!(site.changes() + site.coder.asked(&["ssh"]), 0);
    assert!(plugin.close().success());
}
