//! `version`, `whoami` and `list`.

use serde_json::{Value, json};

use super::Site;
use crate::support::assert_has;

#[test]
fn version_needs_no_login() {
    let Some(site) = Site::new() else { return };
    site.coder.faults(|it| it.unreachable = true);
    let told: Value = serde_json::from_str(&site.ok(&["version", "-o", "json"])).unwrap();
    assert_eq!(told["version"], "v2.33.1+1a2b3c4");
    let keys: Vec<&String> = told.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["agpl", "boring_crypto", "build_time", "external_url", "slim", "version"]);
    assert_has(&site.ok(&["version"]), &["Coder v2.33.1", "\r\n"]);
}

#[test]
fn whoami_is_a_list_of_one() {
    let Some(site) = Site::new() else { return };
    let told: Value = serde_json::from_str(&site.ok(&["whoami", "-o", "json"])).unwrap();
    assert_eq!((told.as_array().unwrap().len(), &told[0]["username"]), (1, &json!("alice")));
    assert_eq!(told[0]["url"], "https://coder.test");
    assert_has(
        &site.ok(&["whoami"]),
        &["Coder is running at https://coder.test, You're authenticated as alice !"],
    );
}

#[test]
fn list_tells_every_key_of_a_workspace_that_runs() {
    let Some(site) = Site::new() else { return };
    site.coder.add("alice", "w");
    let list = site.list();
    let workspace = &list[0];
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(
        keys(workspace),
        "allow_renames automatic_updates created_at deleting_at dormant_at favorite health id is_prebuild \
         last_used_at latest_app_status latest_build name next_start_at organization_id organization_name outdated \
         owner_avatar_url owner_id owner_name task_id template_active_version_id \
         template_allow_user_cancel_workspace_jobs template_display_name template_icon template_id template_name \
         template_require_active_version template_use_classic_parameter_flow updated_at"
    );
    let build = &workspace["latest_build"];
    assert_eq!(
        keys(build),
        "build_number created_at daily_cost deadline has_ai_task has_external_agent id initiator_id initiator_name \
         job matched_provisioners max_deadline reason resources status template_version_id \
         template_version_name template_version_preset_id transition updated_at workspace_id workspace_name \
         workspace_owner_id workspace_owner_name"
    );
    assert_eq!((&build["status"], &build["transition"]), (&json!("running"), &json!("start")));
    assert_eq!((&build["job"]["status"], &workspace["owner_name"]), (&json!("succeeded"), &json!("alice")));
    let agent = &build["resources"][0]["agents"][0];
    assert_eq!(
        keys(agent),
        "api_version apps architecture connection_timeout_seconds created_at directory display_apps \
         environment_variables expanded_directory first_connected_at health id last_connected_at lifecycle_state \
         log_sources logs_length logs_overflowed name operating_system parent_id ready_at resource_id scripts \
         started_at startup_script_behavior status subsystems troubleshooting_url updated_at version"
    );
    assert_eq!((&agent["status"], &agent["lifecycle_state"]), (&json!("connected"), &json!("ready")));
}

#[test]
fn list_is_of_the_own_workspaces_unless_asked_otherwise() {
    let Some(site) = Site::new() else { return };
    for (owner, name) in [("alice", "one"), ("alice", "two"), ("bob", "one")] {
        site.coder.add(owner, name);
    }
    let names = |arguments: &[&str]| {
        let list = site.ok(&[&["list", "-o", "json"], arguments].concat());
        let list: Value = serde_json::from_str(&list).unwrap();
        let name =
            |it: &Value| format!("{}/{}", it["owner_name"].as_str().unwrap(), it["name"].as_str().unwrap());
        list.as_array().unwrap().iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), ["alice/one", "alice/two"]);
    assert_eq!(names(&["--all"]), ["alice/one", "alice/two", "bob/one"]);
    assert_eq!(names(&["--search", "owner:me name:tw"]), ["alice/two"]);
    assert_eq!(names(&["--search", "name:on status:running template:docker"]), ["alice/one", "bob/one"]);
    assert_eq!(names(&["--all", "--search", "name:two"]).len(), 3);
}

#[test]
fn an_empty_list_is_nothing_at_all_in_an_older_version() {
    let Some(site) = Site::new() else { return };
    assert_eq!(site.run(&["list", "-o", "json"]), (0, "[]\n".to_owned(), String::new()));
    site.coder.deployment(|it| it.version = (2, 18, 5));
    let (code, stdout, stderr) = site.run(&["list", "-o", "json"]);
    assert_eq!((code, &*stdout), (0, ""));
    assert_has(&stderr, &["No workspaces found! Create one:", "coder create <name>"]);
    site.coder.faults(|it| it.list_output = Some("<html>".to_owned()));
    assert_eq!(site.ok(&["list", "-o", "json"]), "<html>");
}

#[test]
fn an_agent_connects_and_gets_ready_in_its_own_time() {
    let Some(site) = Site::new() else { return };
    let agent = || site.list()[0]["latest_build"]["resources"][0]["agents"][0].clone();
    let states =
        |it: &Value| [&it["status"], &it["lifecycle_state"]].map(|it| it.as_str().unwrap().to_owned());
    site.coder.template(|it| it.agents[0].connect = None);
    site.create();
    let connecting = agent();
    assert_eq!(states(&connecting), ["connecting", "created"]);
    assert_eq!(connecting["health"], json!({"healthy": false, "reason": "agent has not yet connected"}));
    assert_eq!(connecting.get("first_connected_at"), None);
    site.coder.change("w", |it| it.latest_mut().agents[0].template.connect = Some(std::time::Duration::ZERO));
    site.coder.change("w", |it| it.latest_mut().agents[0].template.startup = None);
    assert_eq!(states(&agent()), ["connected", "starting"]);
    site.coder.change("w", |it| it.latest_mut().agents[0].template.startup = Some(std::time::Duration::ZERO));
    assert_eq!(states(&agent()), ["connected", "ready"]);
    site.coder.change("w", |it| it.latest_mut().agents[0].status = Some("disconnected".to_owned()));
    assert_eq!(agent()["health"]["reason"], "agent has lost connection");
}
