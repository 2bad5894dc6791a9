//! How a workspace stands, by its last build and the agent that a connection leads to.

use crabbox_provider_kit::{Error, Result};

use crate::cli::{Agent, Workspace};
use crate::config::Wait;
use crate::settings::Settings;

/// How a workspace stands.
#[derive(Debug)]
pub(crate) enum Standing<'a> {
    /// A connection to this agent can succeed. With a word about startup scripts that failed.
    Ready(&'a Agent, Option<String>),
    /// It will be, as far as anybody can tell: what it waits for.
    Starting(String),
    /// It exists and does not run, or is about to.
    Stopped(String),
    /// It exists, and something failed; starting it again may help.
    Failed(String),
    /// It is being deleted, or that failed.
    Leaving(String),
}

/// Says how a workspace stands.
///
/// # Errors
///
/// `configInvalid` when it runs, and it cannot be told which agent is meant; `unsupported` when that is no Linux.
pub(crate) fn standing<'a>(workspace: &'a Workspace, settings: &Settings) -> Result<Standing<'a>> {
    let build = &workspace.latest_build;
    let failed = |what: &str| {
        let why = build.job.error.as_deref().filter(|why| !why.trim().is_empty());
        let why = why.map(|why| format!(": {}", crate::cli::clean(why))).unwrap_or_default();
        format!("the workspace's last build, {what}, {}{why}", build.status)
    };
    Ok(match (build.status.as_str(), build.transition.as_str()) {
        ("deleting" | "deleted", _) | (_, "delete") => {
            Standing::Leaving(format!("the workspace is being deleted: {}", build.status))
        }
        ("running", _) => return agent_standing(workspace, settings),
        ("pending" | "starting", "start" | "") => {
            Standing::Starting(format!("the workspace's build is {}", build.status))
        }
        ("stopped" | "stopping" | "pending", _) => {
            let dormant = if workspace.dormant_at.is_some() { ", and dormant" } else { "" };
            Standing::Stopped(format!("the workspace is {}{dormant}", build.status))
        }
        (_, "stop") => Standing::Failed(failed("to stop")),
        _ => Standing::Failed(failed("to start")),
    })
}

fn agent_standing<'a>(workspace: &'a Workspace, settings: &Settings) -> Result<Standing<'a>> {
    let agents = workspace.agents();
    if agents.is_empty() {
        let template = &workspace.template_name;
        return Ok(Standing::Failed(format!("the template `{template}` gives its workspaces no agent")));
    }
    let agent = choose(&agents, settings.agent.as_deref())?;
    if !matches!(agent.operating_system.as_str(), "linux" | "") {
        let system = &agent.operating_system;
        return Err(Error::unsupported(format!(
            "the agent `{}` is on {system}, and leases are on linux",
            agent.name
        ))
        .hint("`--coder-agent` names another agent"));
    }
    let name = &agent.name;
    let waiting = |what: &str| Ok(Standing::Starting(format!("agent {name} {what}")));
    match agent.status.as_str() {
        "connected" => {}
        "connecting" => return waiting("is connecting"),
        "timeout" => return waiting("has not connected in time"),
        other => return waiting(&format!("is {other}")),
    }
    match agent.lifecycle_state.as_str() {
        "created" | "starting" if settings.wait == Wait::Yes => waiting("runs its startup scripts"),
        "created" | "starting" if settings.wait == Wait::Auto && agent.blocks_login() => {
            waiting("runs a startup script that blocks logins")
        }
        "shutting_down" | "shutdown_timeout" | "shutdown_error" | "off" => waiting("is shutting down"),
        "start_error" => Ok(Standing::Ready(agent, Some(format!("a startup script of agent {name} failed")))),
        "start_timeout" => {
            Ok(Standing::Ready(agent, Some(format!("a startup script of agent {name} takes too long"))))
        }
        _ => Ok(Standing::Ready(agent, None)),
    }
}

/// The agent to connect to: the configured one, the only one, or the only one on Linux that is not part of another.
fn choose<'a>(agents: &[&'a Agent], wanted: Option<&str>) -> Result<&'a Agent> {
    let main = |agent: &&&Agent| agent.parent_id.is_none() && agent.operating_system == "linux";
    let only = match (wanted, agents) {
        (Some(name), _) => agents.iter().find(|agent| agent.name == name),
        (None, [one]) => Some(one),
        (None, _) => Some(agents.iter().filter(main))
            .filter(|all| all.clone().count() == 1)
            .and_then(|mut all| all.next()),
    };
    only.copied().ok_or_else(|| {
        let names: Vec<_> = agents.iter().map(|agent| agent.name.as_str()).collect();
        let names = names.join(", ");
        let error = match wanted {
            Some(name) => {
                format!("the workspace has no agent `{}`: its agents are {names}", name.escape_debug())
            }
            None => format!("the workspace has several agents: {names}"),
        };
        Error::config_invalid(error)
            .hint("`--coder-agent`, or `agent` in the block `coder`, names the one to connect to")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settings(config: Value) -> Settings {
        Settings::new(serde_json::from_value(config).unwrap()).unwrap()
    }

    fn agent(name: &str, status: &str, lifecycle: &str) -> Value {
        json!({"name": name, "parent_id": null, "status": status, "lifecycle_state": lifecycle,
            "operating_system": "linux",
            "scripts": [{"start_blocks_login": false, "run_on_start": true}]})
    }

    fn workspace(transition: &str, status: &str, agents: Value) -> Workspace {
        serde_json::from_value(json!({"id": "1", "name": "x", "owner_name": "ada", "created_at": null,
            "dormant_at": null, "template_name": "t", "latest_build": {"transition": transition, "status": status,
                "job": {"status": status, "error": "no room"},
                "resources": [{"name": "r"}, {"name": "s", "agents": agents}]}}))
        .unwrap()
    }

    fn word(workspace: &Workspace, config: Value) -> String {
        match standing(workspace, &settings(config)) {
            Ok(Standing::Ready(agent, warning)) => {
                format!("ready {} {}", agent.name, warning.unwrap_or_default())
            }
            Ok(Standing::Starting(why)) => format!("starting {why}"),
            Ok(Standing::Stopped(why)) => format!("stopped {why}"),
            Ok(Standing::Failed(why)) => format!("failed {why}"),
            Ok(Standing::Leaving(_)) => "leaving".to_owned(),
            Err(error) => format!("error {error}"),
        }
    }

    #[test]
    fn the_last_build_decides_and_failed_says_of_what() {
        for (transition, status, want) in [
            ("start", "pending", "starting "),
            ("start", "starting", "starting "),
            ("stop", "pending", "stopped "),
            ("stop", "stopping", "stopped "),
            ("stop", "stopped", "stopped "),
            ("start", "failed", "failed the workspace's last build, to start, failed: no room"),
            ("stop", "failed", "failed the workspace's last build, to stop, failed: no room"),
            ("start", "canceled", "failed "),
            ("start", "canceling", "failed "),
            ("delete", "pending", "leaving"),
            ("delete", "deleting", "leaving"),
            ("delete", "failed", "leaving"),
            ("start", "running", "failed the template `t` gives"),
        ] {
            let found = word(&workspace(transition, status, json!([])), json!({}));
            assert!(found.starts_with(want), "{transition} {status}: {found}");
        }
    }

    #[test]
    fn a_workspace_that_runs_is_ready_when_its_agent_is() {
        let of = |status, lifecycle, wait| {
            word(
                &workspace("start", "running", json!([agent("main", status, lifecycle)])),
                json!({"wait": wait}),
            )
        };
        for (status, lifecycle, wait, want) in [
            ("connected", "ready", "yes", "ready main"),
            ("connecting", "created", "no", "starting agent main is connecting"),
            ("timeout", "created", "no", "starting agent main has not"),
            ("disconnected", "ready", "no", "starting agent main is disconnected"),
            ("connected", "starting", "yes", "starting agent main runs its startup"),
            ("connected", "starting", "no", "ready main"),
            ("connected", "starting", "auto", "ready main"),
            ("connected", "start_error", "yes", "ready main a startup script of agent main failed"),
            ("connected", "start_timeout", "yes", "ready main a startup script of agent main takes"),
            ("connected", "shutting_down", "no", "starting agent main is shutting"),
        ] {
            let found = of(status, lifecycle, wait);
            assert!(found.starts_with(want), "{status} {lifecycle} {wait}: {found}");
        }
        let mut blocking = agent("main", "connected", "starting");
        blocking["scripts"][0]["start_blocks_login"] = json!(true);
        let found = word(&workspace("start", "running", json!([blocking])), json!({"wait": "auto"}));
        assert!(found.contains("blocks logins"), "{found}");
    }

    #[test]
    fn which_agent_is_meant() {
        let mut part = agent("container", "connected", "ready");
        part["parent_id"] = json!("1");
        let mut windows = agent("win", "connected", "ready");
        windows["operating_system"] = json!("windows");
        let main = || agent("main", "connected", "ready");
        let other = || agent("other", "connected", "ready");
        for (agents, config, want) in [
            (json!([main()]), json!({}), "ready main"),
            (json!([main(), part, windows]), json!({}), "ready main"),
            (json!([main(), part]), json!({"agent": "container"}), "ready container"),
            (json!([main(), other()]), json!({}), "error the workspace has several agents: main, other"),
            (json!([main(), other()]), json!({"agent": "other"}), "ready other"),
            (
                json!([main()]),
                json!({"agent": "nope"}),
                "error the workspace has no agent `nope`: its agents are main",
            ),
            (json!([windows]), json!({}), "error the agent `win` is on windows"),
        ] {
            let found = word(&workspace("start", "running", agents), config);
            assert!(found.starts_with(want), "{found}");
        }
    }
}
