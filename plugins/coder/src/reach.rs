//! How crabbox reaches a workspace: by OpenSSH, through the CLI.

use std::path::Path;

use crabbox_provider_kit::protocol::{LeaseReport, Ssh};
use crabbox_provider_kit::{Error, Result};

use crate::cli::{Agent, Workspace};
use crate::name::digest;
use crate::settings::Settings;

/// How long a connection may take to say its first word: the CLI asks the deployment, finds a way to the agent, and may
/// wait for startup scripts. Cut off and tried again, it would begin anew.
const CONNECT_MS: u64 = 120_000;

/// What the host is told about a workspace, and of the way to it where its agent is there.
///
/// # Errors
///
/// `internal` when the CLI's path is not text.
pub(crate) fn report(
    workspace: &Workspace,
    agent: Option<&Agent>,
    cli: &Path,
    settings: &Settings,
) -> Result<LeaseReport> {
    let reference = workspace.reference().to_string();
    let ssh = agent.map(|agent| ssh(workspace, agent, cli, settings)).transpose()?;
    Ok(LeaseReport {
        r#ref: Some(reference.clone()),
        state: Some(workspace.state()),
        root: Some(settings.work_root.clone()),
        labels: [("workspace".to_owned(), reference)].into(),
        ssh,
        ..LeaseReport::default()
    })
}

/// The way to an agent.
///
/// A workspace that was stopped meanwhile is not started by a late connection (`--disable-autostart`), because it would
/// cost money again that nobody knows of. The host key is the workspace's and the agent's, and so is the name that it is
/// kept by; the host's name is only that, with no dot in it, which would make `Host *.coder` mean it.
fn ssh(workspace: &Workspace, agent: &Agent, cli: &Path, settings: &Settings) -> Result<Ssh> {
    let path = cli.to_str().ok_or_else(|| Error::internal("the coder CLI's path is not UTF-8"))?;
    let mut target = workspace.reference().to_string();
    if workspace.agents().len() > 1 || settings.agent.is_some() {
        target = format!("{target}.{}", agent.name);
    }
    let words = [path, "ssh", "--stdio", "--wait", settings.wait.name(), "--disable-autostart", &target];
    Ok(Ssh {
        // The agent does not ask who it is.
        user: "coder".to_owned(),
        host: format!("coder-{}-{}", workspace.name.to_lowercase(), digest(&workspace.id, 6)),
        port: None,
        proxy_command: words.map(str::to_owned).into(),
        identity_file: None,
        host_key_id: Some(format!("{}.{}", workspace.id, agent.name)),
        connect_timeout_ms: Some(CONNECT_MS),
        ready_command: None,
        work_root: settings.work_root.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn way(agents: &[&str], config: Value, chosen: usize) -> Ssh {
        let agents: Vec<_> = agents.iter().map(|name| json!({"name": name, "parent_id": null})).collect();
        let workspace: Workspace =
            serde_json::from_value(json!({"id": "11111111-2222", "name": "crabbox-Blue-1",
            "owner_name": "ada", "created_at": null, "dormant_at": null,
            "latest_build": {"resources": [{"agents": agents}]}}))
            .unwrap();
        let settings = Settings::new(serde_json::from_value(config).unwrap()).unwrap();
        let agents = workspace.agents();
        report(&workspace, Some(agents[chosen]), Path::new("/opt/coder"), &settings).unwrap().ssh.unwrap()
    }

    #[test]
    fn the_way_goes_through_the_cli_and_starts_nothing() {
        let way = way(&["main"], json!({}), 0);
        let words =
            ["/opt/coder", "ssh", "--stdio", "--wait", "yes", "--disable-autostart", "ada/crabbox-Blue-1"];
        assert_eq!(way.proxy_command, words);
        assert_eq!(way.work_root, "/home/coder/crabbox");
        assert!(way.connect_timeout_ms.unwrap() > 60_000);
    }

    #[test]
    fn an_agent_is_named_where_there_are_several_or_one_is_configured() {
        assert!(way(&["a", "b"], json!({}), 1).proxy_command.ends_with(&["ada/crabbox-Blue-1.b".to_owned()]));
        let named = way(&["a"], json!({"agent": "a", "wait": "no"}), 0).proxy_command;
        assert!(named.ends_with(&["ada/crabbox-Blue-1.a".to_owned()]) && named[4] == "no");
    }

    #[test]
    fn host_and_key_are_the_workspaces_own() {
        let way = way(&["main"], json!({}), 0);
        assert!(
            way.host.starts_with("coder-crabbox-blue-1-")
                && way.host.len() < 64
                && !way.host.contains(['.', '/'])
        );
        assert_eq!(way.host_key_id.as_deref(), Some("11111111-2222.main"));
    }
}
