//! The end of a lease: exactly what was asked for, and proof that it is so.

use std::time::Duration;

use crabbox_tests::coder::Transition;
use serde_json::{Value, json};

use super::{Site, lease};
use crate::support::assert_has;

/// Only the configuration's file says it, and neither a flag nor a variable.
#[test]
fn a_lease_is_stopped_unless_it_is_to_be_deleted_by_todays_configuration() {
    for (made_with, ended_with, left) in
        [(false, false, 1), (false, true, 0), (true, false, 1), (true, true, 0)]
    {
        let Some(site) = Site::new() else { return };
        site.configure(json!({"deleteOnRelease": made_with}));
        let id = site.warm();
        site.configure(json!({"deleteOnRelease": ended_with}));
        let (code, _, stderr) = site.run(&["stop", &id]);
        assert_eq!(code, 0, "{stderr}");
        assert_eq!(site.coder.workspaces().len(), left, "{made_with} {ended_with}");
        let ended = (site.coder.asked(&["stop"]), site.coder.asked(&["delete"]));
        assert_eq!(ended, if ended_with { (0, 1) } else { (1, 0) }, "{made_with} {ended_with}");
        site.nothing_is_left();
    }
}

#[test]
fn a_lease_is_deleted_whatever_is_configured_where_stop_is_told_to() {
    let Some(site) = Site::new() else { return };
    site.configure(json!({"deleteOnRelease": false}));
    let id = site.warm();
    let (code, _, stderr) = site.run(&["stop", &id]);
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stderr, &["is stopped, not deleted", "`crabbox stop demo --delete` deletes it"]);
    assert_eq!(site.workspace().status(), "stopped");
    let (code, _, stderr) = site.run(&["stop", "demo", "--delete"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(site.coder.workspaces().is_empty());
    assert_eq!(site.world.json(&["list", "--json"]), json!([]));
}

#[test]
fn the_printed_command_says_that_a_lease_is_deleted() {
    let Some(site) = Site::new() else { return };
    let (code, stdout, stderr) = site.run(&["warmup", "--coder-delete-on-release"]);
    assert_eq!(code, 0, "{stderr}");
    let said = stdout + &stderr;
    let id = said.split_whitespace().find(|word| word.starts_with("cbx_")).unwrap().to_owned();
    assert_has(&said, &[&format!("crabbox stop {id} --coder-delete-on-release=true")]);
    assert_eq!(site.run(&["stop", &id, "--coder-delete-on-release=true"]).0, 0);
    assert!(site.coder.workspaces().is_empty());
}

#[test]
fn cleanup_goes_by_what_the_lease_was_made_with() {
    for (made_with, left) in [(false, 1), (true, 0)] {
        let Some(site) = Site::new() else { return };
        site.configure(json!({"deleteOnRelease": made_with}));
        let mut run = crate::support::spawn(&mut site.crabbox(&["run", "--", "sleep", "600"]));
        crabbox_tests::wait_for("the run", || site.coder.asked(&["ssh"]) > 0);
        run.kill().unwrap();
        let _ = run.wait();
        site.configure(json!({"deleteOnRelease": !made_with}));
        site.coder.forget();
        let (code, _, stderr) = site.run(&["cleanup", "--dry-run"]);
        assert_eq!(code, 0, "{stderr}");
        assert_eq!(site.changes(), 0);
        // What the dead host has started holds the lease's lock a moment longer.
        crabbox_tests::wait_for("the end of the dead host's guard", || {
            let (code, stdout, stderr) = site.run(&["cleanup", "--wait"]);
            assert_eq!(code, 0, "{stderr}");
            !stdout.contains("it is in use")
        });
        assert_eq!(site.coder.workspaces().len(), left, "{made_with}: {:?}", site.coder.argv());
        site.nothing_is_left();
    }
}

/// A user's lease, whose time was over almost 12 hours ago, and a bit more than that.
#[test]
fn cleanup_leaves_a_lease_alone_for_12_hours_after_its_time() {
    let Some(site) = Site::new() else { return };
    let id = site.warm();
    let (file, mut claim) = crate::support::claim(&site.world);
    let idle = jiff::SignedDuration::from_millis(claim["idleTimeoutMs"].as_i64().unwrap());
    for (hours, action, status) in [(11, "kept", "running"), (13, "released", "stopped")] {
        let used = jiff::Timestamp::now() - idle - jiff::SignedDuration::from_hours(hours);
        claim["lastUsedAt"] = used.to_string().into();
        std::fs::write(&file, claim.to_string()).unwrap();
        let report = site.world.json(&["cleanup", "--json"]);
        assert_eq!((&report["rows"][0]["id"], &report["rows"][0]["action"]), (&json!(id), &json!(action)));
        assert_eq!(site.workspace().status(), status, "{hours} h: {report}");
    }
}

fn release(plugin: &mut crabbox_provider_kit::testing::Plugin, action: &str) -> Value {
    plugin.result("release", json!({"lease": lease(json!({})), "action": action, "reason": "user"}))
}

#[test]
fn what_is_stopped_is_not_stopped_again_and_what_is_gone_is_absent() {
    let Some(site) = Site::new() else { return };
    let mut plugin = site.talk(json!({}));
    plugin.result("acquire", json!({"lease": lease(json!({})), "keep": true}));
    assert_eq!(release(&mut plugin, "stop")["outcome"], "released");
    assert_eq!(release(&mut plugin, "stop")["outcome"], "released");
    assert_eq!(site.coder.asked(&["stop"]), 1);
    assert_eq!(release(&mut plugin, "delete")["outcome"], "released");
    assert!(site.coder.workspaces().is_empty());
    for action in ["stop", "delete"] {
        assert_eq!(release(&mut plugin, action)["outcome"], "absent");
    }
    assert!(plugin.close().success());
}

#[test]
fn a_build_that_is_under_way_is_waited_for() {
    let Some(site) = Site::new() else { return };
    let mut plugin = site.talk(json!({}));
    plugin.result("acquire", json!({"lease": lease(json!({})), "keep": true}));
    let name = site.workspace().name;
    // Somebody else stops it, which takes a while: then it is stopped, and nothing is to be done.
    site.coder.template(|template| template.stop = Duration::from_secs(2));
    site.coder.build(&name, Transition::Stop);
    assert_eq!(release(&mut plugin, "stop")["outcome"], "released");
    assert_eq!((site.workspace().status(), site.coder.asked(&["stop"])), ("stopped", 0));
    // Somebody starts it in between: the refusal is no end.
    site.coder.template(|template| template.stop = Duration::from_millis(50));
    plugin.result("resolve", json!({"lease": lease(json!({})), "intent": "use"}));
    site.coder.faults(|faults| faults.conflicts = 2);
    assert_eq!(release(&mut plugin, "stop")["outcome"], "released");
    assert_eq!((site.workspace().status(), site.coder.asked(&["stop"])), ("stopped", 3));
    assert!(plugin.close().success());
}

#[test]
fn what_fails_keeps_the_claim_and_can_be_repeated() {
    let Some(site) = Site::new() else { return };
    let id = site.warm();
    for fail in [
        (Transition::Stop, "agent image not found"),
        // Of something else than the workspace.
        (Transition::Stop, "Resource not found or you do not have access to this resource: disk"),
    ] {
        site.coder.faults(|faults| faults.builds = vec![(fail.0, fail.1.to_owned())]);
        let (code, _, stderr) = site.run(&["stop", &id]);
        assert_ne!(code, 0, "{stderr}");
        assert_has(&stderr, &["`coder stop` failed", fail.1]);
        assert_eq!(site.claim()["lease"]["id"], json!(id));
    }
    site.coder.faults(|faults| faults.signed_out = true);
    let (code, _, stderr) = site.run(&["stop", &id]);
    assert_eq!(code, 3, "{stderr}");
    site.coder.heal();
    assert_eq!(site.run(&["stop", &id]).0, 0);
    assert_eq!(site.workspace().status(), "stopped");
}

/// Only the list and the CLI's own sentence together are proof.
#[test]
fn a_workspace_that_is_only_not_listed_is_not_gone() {
    let Some(site) = Site::new() else { return };
    let mut plugin = site.talk(json!({}));
    plugin.result("acquire", json!({"lease": lease(json!({})), "keep": true}));
    site.coder.faults(|faults| faults.list_output = Some("[]".to_owned()));
    assert_eq!(release(&mut plugin, "stop")["outcome"], "released");
    assert_eq!((site.workspace().status(), site.coder.asked(&["stop"])), ("stopped", 1));
    assert!(plugin.close().success());
}
