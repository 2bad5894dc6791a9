//! `coder ssh --stdio`: finds the agent, starts the workspace if it may, waits for the agent, and becomes its server.

use std::os::unix::process::CommandExt;

use jiff::Timestamp;
use tokio::signal::unix::SignalKind;

use super::build::PERIOD;
use super::output::{Failure, to_stderr};
use super::{Cli, end_silently_on, output};
use crate::coder::agent;
use crate::coder::workspace::{Agent, Build, Transition, Workspace};

impl Cli {
    pub(super) fn ssh(&self) -> Result<(), Failure> {
        let target = self.flags.arguments.first();
        let target = target.ok_or_else(|| Failure::text("expected the name of a workspace"))?;
        if !self.flags.is_set("stdio") {
            return Err(Failure::text("only --stdio is emulated"));
        }
        end_silently_on([SignalKind::interrupt(), SignalKind::hangup(), SignalKind::terminate()])?;
        self.login()?;
        let (workspace, agent) = self.find(target)?;
        self.warn()?;
        let waits = match self.flags.text("wait").unwrap_or("auto") {
            _ if self.flags.is_set("no-wait") => false,
            "yes" => true,
            "no" => false,
            "auto" => agent.template.blocks_login,
            other => return Err(Failure::text(&format!("unknown wait value \"{other}\""))),
        };
        self.wait_for_agent(&workspace, &agent, waits)?;
        self.serve(&workspace, &agent)
    }

    /// The workspace, which runs, and the agent.
    fn find(&self, target: &str) -> Result<(Workspace, Agent), Failure> {
        let (name, agent_name) = normal(self.without_affixes(target));
        let mut workspace = self.ask(|state| state.find(&name).cloned())?;
        if workspace.latest().transition != Transition::Start {
            self.autostart(&workspace)?;
            workspace = self.ask(|state| state.find(&name).cloned())?;
        }
        if workspace.latest().is_active(Timestamp::now()) {
            self.wait_for_build(&workspace.id, workspace.latest())?;
            workspace = self.ask(|state| state.find(&name).cloned())?;
        }
        if workspace.latest().transition == Transition::Delete {
            return Err(Failure::text(&format!("workspace \"{}\" is being deleted", workspace.name)));
        }
        let agent = self.agent(&workspace, agent_name.as_deref())?;
        Ok((workspace, agent))
    }

    /// Starts a workspace that is stopped, unless that is forbidden.
    fn autostart(&self, workspace: &Workspace) -> Result<(), Failure> {
        let name = &workspace.name;
        if self.flags.is_set("disable-autostart") || !self.ask(|state| Ok(state.deployment.since(5)))? {
            return Err(Failure::text("workspace must be started"));
        }
        let build = workspace.latest();
        match (build.transition, build.job(Timestamp::now()), build.status(Timestamp::now())) {
            (Transition::Delete, _, _) => Err(Failure::text(&format!("workspace \"{name}\" is deleted"))),
            (_, "failed", _) => Err(Failure::text(&format!(
                "workspace \"{name}\" is in failed state, unable to autostart the workspace"
            ))),
            (_, _, "stopped") => {
                to_stderr(&format!(
                    "Workspace was stopped, starting workspace to allow connecting to \"{name}\"...\n"
                ));
                match self.build_start(workspace, "ssh_connection") {
                    Ok(_) => Ok(()),
                    Err(why) if why.is_conflict() => {
                        to_stderr(
                            "Unable to start the workspace due to conflict, the workspace may be starting, retrying \
                             without autostart...\n",
                        );
                        Err(Failure::text("workspace must be started"))
                    }
                    Err(why) => Err(why.during("start workspace with current template version")),
                }
            }
            (_, _, status) => Err(Failure::text(&format!(
                "workspace must be started; was unable to autostart as the last build job is \"{status}\", expected \
                 \"stopped\""
            ))),
        }
    }

    /// The agent that is named, or the only one.
    fn agent(&self, workspace: &Workspace, name: Option<&str>) -> Result<Agent, Failure> {
        let agents = workspace.latest().agents(Timestamp::now());
        let mut names: Vec<&str> = agents.iter().map(|it| it.template.name.as_str()).collect();
        names.sort_unstable();
        let names = names.join(" ");
        match (agents, name) {
            ([], _) => Err(Failure::text(&format!("workspace \"{}\" has no agents", workspace.name))),
            (all, Some(name)) => all.iter().find(|it| it.template.name == name).cloned().ok_or_else(|| {
                Failure::text(&format!("agent not found by name \"{name}\", available agents: [{names}]"))
            }),
            ([one], None) => Ok(one.clone()),
            // An older CLI takes any.
            (all, None) if !self.ask(|state| Ok(state.deployment.since(24)))? => {
                Ok(all[fastrand::usize(..all.len())].clone())
            }
            (all, None) => {
                let line = |it: &Agent| {
                    format!("\t$ ssh {}.{}.{}\n", it.template.name, workspace.name, workspace.owner)
                };
                Err(Failure::text(&format!(
                    "multiple agents found, please specify the agent name, available agents: [{names}]\nTry \
                     running:\n{}",
                    all.iter().map(line).collect::<String>()
                )))
            }
        }
    }

    /// Waits until the agent has connected, and for its startup scripts, if that is wanted. It may take for ever.
    fn wait_for_agent(&self, workspace: &Workspace, agent: &Agent, waits: bool) -> Result<(), Failure> {
        let (mut said, mut shown) = (false, false);
        loop {
            let build = self.build_of(workspace)?;
            let now = Timestamp::now();
            let agent = build.agents.iter().find(|it| it.id == agent.id).unwrap_or(agent).clone();
            let (status, lifecycle) = (agent.status(build.ended, now), agent.lifecycle(build.ended, now));
            let starting = ["created", "starting"].contains(&lifecycle);
            if lifecycle.starts_with("shut") || lifecycle == "off" {
                return Err(Failure::text("agent is shutting down"));
            }
            if status != "connected" {
                if !said {
                    said = true;
                    to_stderr(match status {
                        "disconnected" => "==> ⧗ The workspace agent lost connection\n",
                        _ => "==> ⧗ Waiting for the workspace agent to connect\n",
                    });
                }
            } else if waits && starting {
                if !shown {
                    shown = true;
                    to_stderr(
                        "==> ⧗ Running workspace agent startup scripts\n==> ℹ︎ To connect immediately, reconnect with \
                         --wait=no or CODER_SSH_WAIT=no, see --help for more information.\n",
                    );
                }
            } else {
                match lifecycle {
                    "start_error" => to_stderr(
                        "Warning: A startup script exited with an error and your workspace may be incomplete.\n",
                    ),
                    "start_timeout" => {
                        to_stderr(
                            "Warning: A startup script timed out and your workspace may be incomplete.\n",
                        );
                    }
                    _ if starting => to_stderr(
                        "==> ⧗ Running workspace agent startup scripts (non-blocking)\nNotice: The startup scripts \
                         are still running and your workspace may be incomplete.\n",
                    ),
                    _ => {}
                }
                return Ok(());
            }
            std::thread::sleep(PERIOD);
        }
    }

    /// The build that the agent is of. The real CLI asks for the agent by its id, which a later build does not end.
    fn build_of(&self, workspace: &Workspace) -> Result<Build, Failure> {
        let build = &workspace.latest().id;
        let found = self.ask(|state| {
            let workspace = state.workspaces.iter().find(|it| it.id == workspace.id);
            Ok(workspace.and_then(|it| it.builds.iter().find(|it| it.id == *build)).cloned())
        })?;
        found.ok_or_else(|| {
            Failure::text(
                "fetch: fetch workspace agent: Resource not found or you do not have access to this resource",
            )
        })
    }

    /// Becomes the agent's server.
    fn serve(&self, workspace: &Workspace, agent: &Agent) -> Result<(), Failure> {
        let no_file_transfer = self.ask(|state| {
            if let Some(it) = state.workspaces.iter_mut().find(|it| it.id == workspace.id) {
                it.last_used = Timestamp::now();
            }
            Ok(state.deployment.faults.no_file_transfer)
        })?;
        let machine = agent::machine(&self.store, workspace, &agent.template, no_file_transfer)?;
        agent::connected(&self.store, &workspace.id)?;
        let failed = machine.server().exec();
        output::to_stderr(&format!("{failed}\n"));
        Err(failed.into())
    }

    /// The name without what a configuration of ssh puts around it.
    fn without_affixes<'a>(&self, target: &'a str) -> &'a str {
        let prefix = self.flags.text("ssh-host-prefix").unwrap_or_default();
        let suffix = self.flags.text("hostname-suffix").map(|it| format!(".{it}")).unwrap_or_default();
        match target.strip_prefix(prefix) {
            Some(rest) if !prefix.is_empty() => rest,
            _ if !suffix.is_empty() => target.strip_suffix(&suffix).unwrap_or(target),
            _ => target,
        }
    }
}

/// What a target names: `workspace`, `owner/workspace`, `owner--workspace`, with an agent behind a `.`, `/` or `--`;
/// or `agent.workspace.owner`.
fn normal(target: &str) -> (String, Option<String>) {
    let unified = target.replace("--", "/").replace('.', "/");
    let parts: Vec<&str> = unified.split('/').filter(|it| !it.is_empty()).collect();
    let only_dots = !target.contains('/') && !target.contains("--");
    match parts.as_slice() {
        [agent, workspace, owner] if only_dots => (format!("{owner}/{workspace}"), Some((*agent).to_owned())),
        [owner, workspace, agent] => (format!("{owner}/{workspace}"), Some((*agent).to_owned())),
        // With a dot, the second part is an agent; else the first is an owner.
        [first, second] if target.contains('.') => ((*first).to_owned(), Some((*second).to_owned())),
        [first, second] => (format!("{first}/{second}"), None),
        _ => (target.to_owned(), None),
    }
}
