//! Workspaces as `coder list -o json` tells them, with every key that it has.
//!
//! Source: `codersdk` and the golden files of `cli/testdata` in coder/coder.

use jiff::{Timestamp, Unit};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::deployment::Deployment;
use super::workspace::{Agent, Build, CONNECTION_TIMEOUT, Transition, Workspace};

/// A UUID that a name always has.
pub(super) fn id_of(kind: &str, name: &str) -> String {
    let digest = Sha256::digest(format!("{kind}:{name}"));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

/// A workspace.
pub(super) fn workspace(it: &Workspace, deployment: &Deployment, now: Timestamp) -> Value {
    let build = it.latest();
    let agents = build.agents(now);
    let failing: Vec<&str> = agents
        .iter()
        .filter(|agent| !["", "connecting"].contains(&health(agent, build, now)))
        .map(|agent| agent.id.as_str())
        .collect();
    let mut value = json!({
        "id": it.id,
        "created_at": time(it.created),
        "updated_at": time(build.created),
        "owner_id": id_of("user", &it.owner),
        "owner_name": it.owner,
        "owner_avatar_url": "",
        "organization_id": id_of("organization", &it.organization),
        "organization_name": it.organization,
        "template_id": id_of("template", &it.template),
        "template_name": it.template,
        "template_display_name": "",
        "template_icon": "/icon/docker.png",
        "template_allow_user_cancel_workspace_jobs": true,
        "template_active_version_id": id_of("version", &it.template),
        "template_require_active_version": false,
        "template_use_classic_parameter_flow": false,
        "latest_build": latest_build(it, deployment, now),
        "latest_app_status": null,
        "outdated": false,
        "name": it.name,
    });
    let rest = json!({
        "last_used_at": time(it.last_used),
        "deleting_at": null,
        "dormant_at": it.dormant.map(time),
        "health": {"healthy": failing.is_empty(), "failing_agents": failing},
        "automatic_updates": it.automatic_updates,
        "allow_renames": false,
        "favorite": false,
        "next_start_at": null,
        "is_prebuild": false,
        "task_id": null,
    });
    if let Some(ttl) = it.ttl_ms {
        value["ttl_ms"] = ttl.into();
    }
    extend(&mut value, rest);
    value
}

fn latest_build(it: &Workspace, deployment: &Deployment, now: Timestamp) -> Value {
    let build = it.latest();
    let user = |name: &str| id_of("user", name);
    json!({
        "id": build.id,
        "created_at": time(build.created),
        "updated_at": time(build.created),
        "workspace_id": it.id,
        "workspace_name": it.name,
        "workspace_owner_id": user(&it.owner),
        "workspace_owner_name": it.owner,
        "template_version_id": id_of("version", &it.template),
        "template_version_name": "quizzical_hopper7",
        "build_number": it.builds.len(),
        "transition": build.transition.name(),
        "initiator_id": user(&build.initiator),
        "initiator_name": build.initiator,
        "job": job(build, it, now),
        "reason": build.reason,
        "resources": resources(build, it, deployment, now),
        "deadline": null,
        "max_deadline": null,
        "status": build.status(now),
        "daily_cost": 0,
        "matched_provisioners": {"count": 1, "available": 1, "most_recently_seen": time(build.created)},
        "template_version_preset_id": it.preset.as_ref().map(|name| id_of("preset", name)),
        "has_ai_task": false,
        "has_external_agent": false,
    })
}

fn job(build: &Build, it: &Workspace, now: Timestamp) -> Value {
    let id = id_of("job", &build.id);
    let mut job = json!({"id": id, "created_at": time(build.created)});
    if build.started <= now {
        job["started_at"] = time(build.started).into();
    }
    if build.ended <= now {
        job["completed_at"] = time(build.ended).into();
    }
    if let (Some(error), true) = (&build.error, build.ended <= now) {
        job["error"] = error.as_str().into();
    }
    job["status"] = build.job(now).into();
    if build.started <= now {
        job["worker_id"] = id_of("worker", "built-in").into();
        job["worker_name"] = "built-in-0".into();
    }
    let rest = json!({
        "file_id": id_of("file", &it.template),
        "tags": {"owner": "", "scope": "organization"},
        "queue_position": usize::from(build.started > now),
        "queue_size": usize::from(build.started > now),
        "organization_id": id_of("organization", &it.organization),
        "initiator_id": id_of("user", &build.initiator),
        "input": {"workspace_build_id": build.id},
        "type": "workspace_build",
        "metadata": {
            "template_version_name": "quizzical_hopper7",
            "template_id": id_of("template", &it.template),
            "template_name": it.template,
            "template_display_name": "",
            "template_icon": "/icon/docker.png",
            "workspace_id": it.id,
            "workspace_name": it.name,
            "workspace_build_transition": build.transition.name(),
        },
        "logs_overflowed": false,
    });
    extend(&mut job, rest);
    job
}

/// The resources that a build has made, once it has. A stopped workspace keeps its volume, without agents.
fn resources(build: &Build, it: &Workspace, deployment: &Deployment, now: Timestamp) -> Value {
    let resource = |kind: &str, name: &str| {
        json!({
            "id": id_of(kind, &build.id),
            "created_at": time(build.ended),
            "job_id": id_of("job", &build.id),
            "workspace_transition": build.transition.name(),
            "type": kind,
            "name": name,
            "hide": false,
            "icon": "",
        })
    };
    if build.job(now) != "succeeded" {
        return json!([]);
    }
    let mut container = resource("docker_container", "workspace");
    let agents: Vec<Value> = build.agents(now).iter().map(|it| agent(it, build, deployment, now)).collect();
    if !agents.is_empty() {
        container["agents"] = agents.into();
    }
    container["daily_cost"] = 0.into();
    let mut volume = resource("docker_volume", "home_volume");
    volume["metadata"] =
        json!([{"key": "name", "value": format!("coder-{}-home", it.id), "sensitive": false}]);
    volume["daily_cost"] = 0.into();
    match build.transition {
        Transition::Start => json!([container, volume]),
        Transition::Stop | Transition::Delete => json!([volume]),
    }
}

fn agent(it: &Agent, build: &Build, deployment: &Deployment, now: Timestamp) -> Value {
    let status = it.status(build.ended, now);
    let parent = build.agents.iter().find(|other| Some(&other.template.name) == it.template.parent.as_ref());
    let mut value = json!({
        "id": it.id,
        "parent_id": parent.map(|it| it.id.as_str()),
        "created_at": time(build.ended),
        "updated_at": time(build.ended),
    });
    if let Some(at) = it.connected(build.ended).filter(|at| *at <= now) {
        value["first_connected_at"] = time(at).into();
        value["last_connected_at"] = time(now).into();
        if status == "disconnected" {
            value["disconnected_at"] = time(now).into();
        }
        value["started_at"] = time(at).into();
        if let Some(at) = it.ready(build.ended).filter(|at| *at <= now) {
            value["ready_at"] = time(at).into();
        }
    }
    let health = health(it, build, now);
    let mut told = json!({"healthy": health.is_empty()});
    if !health.is_empty() {
        told["reason"] = reason(health).into();
    }
    let directory = if it.template.directory.is_empty() { "/home/coder" } else { &it.template.directory };
    let rest = json!({
        "status": status,
        "lifecycle_state": it.lifecycle(build.ended, now),
        "name": it.template.name,
        "resource_id": id_of("docker_container", &build.id),
        "architecture": "amd64",
        "environment_variables": it.template.environment,
        "operating_system": it.template.os,
        "logs_length": 0,
        "logs_overflowed": false,
        "directory": directory,
        "expanded_directory": directory,
        "version": if status == "connecting" { String::new() } else { Deployment::version_text(deployment.version) },
        "api_version": if status == "connecting" { "" } else { "2.8" },
        "apps": [],
        "connection_timeout_seconds": CONNECTION_TIMEOUT.as_secs(),
        "troubleshooting_url": "",
        "subsystems": [],
        "health": told,
        "display_apps": ["vscode", "web_terminal", "ssh_helper", "port_forwarding_helper"],
        "log_sources": [{
            "workspace_agent_id": it.id,
            "id": id_of("log", &it.id),
            "created_at": time(build.ended),
            "display_name": "Startup Script",
            "icon": "/emojis/25b6-fe0f.png",
        }],
        "scripts": [{
            "id": id_of("script", &it.id),
            "log_source_id": id_of("log", &it.id),
            "log_path": "coder-startup-script.log",
            "script": "# prepares the workspace\n",
            "cron": "",
            "run_on_start": true,
            "run_on_stop": false,
            "start_blocks_login": it.template.blocks_login,
            "timeout": 0,
            "display_name": "Startup Script",
        }],
        "startup_script_behavior": if it.template.blocks_login { "blocking" } else { "non-blocking" },
    });
    extend(&mut value, rest);
    value
}

/// What is wrong with an agent, as one word; nothing is the empty text.
fn health<'a>(it: &'a Agent, build: &Build, now: Timestamp) -> &'a str {
    let lifecycle = it.lifecycle(build.ended, now);
    match it.status(build.ended, now) {
        "connected" if ["start_error", "start_timeout"].contains(&lifecycle) => lifecycle,
        "connected" if lifecycle.starts_with("shut") || lifecycle == "off" => "shutting_down",
        "connected" => "",
        other => other,
    }
}

fn reason(health: &str) -> &'static str {
    match health {
        "connecting" => "agent has not yet connected",
        "timeout" => "agent is taking too long to connect",
        "disconnected" => "agent has lost connection",
        "start_error" => "agent startup script exited with an error",
        "start_timeout" => "agent startup script timed out",
        _ => "agent is shutting down",
    }
}

fn time(moment: Timestamp) -> String {
    moment.round(Unit::Microsecond).unwrap_or(moment).to_string()
}

fn extend(value: &mut Value, more: Value) {
    let more = match more {
        Value::Object(more) => more,
        _ => Map::new(),
    };
    if let Some(object) = value.as_object_mut() {
        object.extend(more);
    }
}
