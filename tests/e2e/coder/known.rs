//! Which workspace is meant, and what looking at it does.

use crabbox_tests::coder::Transition;
use serde_json::{Value, json};

use super::{Site, lease};

fn look(plugin: &mut crabbox_provider_kit::testing::Plugin, more: Value, intent: &str) -> Value {
    plugin.result("resolve", json!({"lease": lease(more), "intent": intent}))
}

#[test]
fn a_workspace_is_known_by_name_or_owner_and_name_whatever_the_case() {
    let Some(site) = Site::new() else { return };
    site.coder.add("alice", "crabbox-x-1");
    site.coder.add("bob", "crabbox-y-1");
    let mut plugin = site.talk(json!({}));
    for (text, state) in [
        ("crabbox-x-1", "ready"),
        ("Crabbox-X-1", "ready"),
        ("alice/crabbox-x-1", "ready"),
        ("ALICE/crabbox-x-1", "ready"),
        ("bob/crabbox-y-1", "ready"),
        ("crabbox-y-1", "ready"),
        ("crabbox-z-1", "missing"),
        ("alice/crabbox-z-1", "missing"),
        // That alice does not see it proves nothing.
        ("carol/crabbox-z-1", "unknown"),
    ] {
        let found = look(&mut plugin, json!({"ref": text}), "observe");
        assert_eq!(found["state"], state, "{text}: {found}");
    }
    for text in ["!!!", "", "a/b/c", "-x"] {
        let error =
            plugin.error("resolve", json!({"lease": lease(json!({"ref": text})), "intent": "observe"}));
        assert_eq!(error["data"]["kind"], "notFound", "{text}: {error}");
    }
    // What crabbox has not made is nobody's lease.
    site.coder.add("alice", "my-own");
    let error = plugin.error("resolve", json!({"lease": lease(json!({"ref": "my-own"})), "intent": "use"}));
    assert_eq!(error["data"]["kind"], "conflict", "{error}");
    assert_eq!(site.changes(), 0);
    assert!(plugin.close().success());
}

#[test]
fn the_same_name_of_two_owners_is_ambiguous_unless_one_of_them_is_asked() {
    let Some(site) = Site::new() else { return };
    site.coder.deployment(|it| it.others.push("carol".to_owned()));
    site.coder.add("bob", "crabbox-x-1");
    site.coder.add("carol", "crabbox-x-1");
    let mut plugin = site.talk(json!({}));
    let found = look(&mut plugin, json!({"ref": "crabbox-x-1"}), "observe");
    assert_eq!(found["state"], "ambiguous", "{found}");
    assert_eq!(found["candidates"], json!(["bob/crabbox-x-1", "carol/crabbox-x-1"]));
    let error = plugin.error(
        "release",
        json!({"lease": lease(json!({"ref": "crabbox-x-1"})), "action": "stop", "reason": "user"}),
    );
    assert_eq!(error["data"]["kind"], "ambiguous", "{error}");
    // One's own comes first, and nobody else's is asked for.
    site.coder.add("alice", "crabbox-x-1");
    site.coder.forget();
    let found = look(&mut plugin, json!({"ref": "crabbox-x-1"}), "observe");
    assert_eq!(found["lease"]["ref"], "alice/crabbox-x-1");
    assert_eq!(site.coder.argv(), [["list", "-o", "json"]]);
    assert_eq!(site.changes(), 0);
    assert!(plugin.close().success());
}

#[test]
fn what_changes_something_names_the_owner() {
    let Some(site) = Site::new() else { return };
    site.coder.add("bob", "crabbox-x-1");
    let mut plugin = site.talk(json!({}));
    let params = json!({"lease": lease(json!({"ref": "crabbox-x-1"})), "action": "stop", "reason": "user"});
    assert_eq!(plugin.result("release", params)["outcome"], "released");
    let stop = site.coder.argv().into_iter().find(|argv| argv[0] == "stop").unwrap();
    assert_eq!(stop, ["stop", "--yes", "bob/crabbox-x-1"]);
    assert!(plugin.close().success());
}

/// Whatever the prefix is by now, and whoever has made another of that name.
#[test]
fn what_was_said_of_a_lease_wins_over_its_name() {
    let Some(site) = Site::new() else { return };
    let mut plugin = site.talk(json!({}));
    let made = plugin.result("acquire", json!({"lease": lease(json!({})), "keep": true}));
    let known = json!({"ref": made["lease"]["ref"], "state": made["lease"]["state"]});
    let mut renamed = site.talk(json!({"workspacePrefix": "other-"}));
    assert_eq!(look(&mut renamed, known.clone(), "observe")["state"], "ready");
    assert_eq!(look(&mut renamed, json!({}), "observe")["state"], "missing", "the name would be another");
    // Deleted, and made again by somebody: another workspace, which is left alone.
    let name = site.workspace().name;
    site.coder.build(&name, Transition::Delete);
    crabbox_tests::wait_for("the end of the workspace", || site.coder.workspaces().is_empty());
    site.coder.add("alice", &name);
    let found = look(&mut plugin, known.clone(), "use");
    assert_eq!(found["state"], "missing", "{found}");
    let mut params = json!({"lease": lease(known), "action": "delete", "reason": "user"});
    assert_eq!(plugin.result("release", params.take())["outcome"], "absent");
    assert_eq!(site.workspace().status(), "running");
    assert!(plugin.close().success() && renamed.close().success());
}

#[test]
fn looking_starts_nothing_and_using_starts_what_is_stopped() {
    let Some(site) = Site::new() else { return };
    let id = site.warm();
    let name = site.workspace().name;
    site.coder.build(&name, Transition::Stop);
    crabbox_tests::wait_for("the stop", || site.workspace().status() == "stopped");
    site.coder.forget();
    let status = site.world.json(&["status", &id, "--json"]);
    assert_eq!(status["state"], "stopped", "{status}");
    assert_eq!(site.changes() + site.coder.asked(&["ssh"]), 0, "{:?}", site.coder.argv());
    let (code, stdout, stderr) = site.run(&["run", "--id", &id, "--", "cat", "README.md"]);
    assert_eq!((code, stdout.as_str()), (0, "hello\n"), "{stderr}");
    assert_eq!((site.coder.asked(&["start"]), site.coder.asked(&["create"])), (1, 0));
    let (code, _, stderr) = site.run(&["stop", &id]);
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn the_list_has_what_crabbox_made_of_this_user() {
    let Some(site) = Site::new() else { return };
    site.coder.add("alice", "my-own");
    site.coder.add("bob", "crabbox-theirs-1");
    site.coder.add("alice", "crabbox-mine-1");
    let mut plugin = site.talk(json!({}));
    let list = plugin.result("list", json!({}));
    let refs: Vec<_> = list["leases"].as_array().unwrap().iter().map(|lease| lease["ref"].clone()).collect();
    assert_eq!((refs, &list["complete"]), (vec![json!("alice/crabbox-mine-1")], &json!(true)));
    assert!(plugin.close().success());
}
