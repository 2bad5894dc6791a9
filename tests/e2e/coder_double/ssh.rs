//! `ssh --stdio`, with a real ssh before it and a real sshd behind it.

use std::io::{BufRead, BufReader};
use std::process::Command;
use std::time::Duration;

use crabbox_tests::coder::{AgentTemplate, Coder, Outcome, Transition};
use crabbox_tests::{ended, skip, wait_for};
use rustix::process::{Pid, Signal, kill_process};

use super::{Site, failure};
use crate::support::{assert_has, end, spawn};

impl Site {
    /// ssh to a workspace through `coder ssh --stdio` with these arguments.
    fn ssh(&self, proxy: &str, command: &[&str]) -> Command {
        let mut ssh = self.world.command("ssh");
        let coder = self.coder.path();
        ssh.arg(format!("-oProxyCommand={} ssh --stdio {proxy}", coder.display()));
        ssh.args(["-oStrictHostKeyChecking=accept-new", "-oBatchMode=yes"]).args(command);
        ssh.stdin(std::process::Stdio::null());
        ssh
    }

    /// Runs a command in the workspace `w`.
    fn on(&self, proxy: &str, command: &str) -> (i32, String, String) {
        ended(&mut self.ssh(proxy, &["-oHostKeyAlias=w", "coder@w", command]))
    }
}

#[test]
fn a_command_runs_in_the_workspace() {
    let Some(site) = Site::new() else { return };
    site.create();
    let (code, stdout, _) = site.on("w", "pwd; echo $HOME $CODER_WORKSPACE_NAME; exit 7");
    let home = site.coder.home("w");
    assert_eq!((code, stdout), (7, format!("{0}\n{0} w\n", home.display())));
    assert_eq!(site.coder.sessions("w"), ["pwd; echo $HOME $CODER_WORKSPACE_NAME; exit 7"]);
    assert_has(&site.coder.host_key("w", "main"), &["ssh-rsa "]);
}

#[test]
fn nobody_needs_a_key() {
    let Some(site) = Site::new() else { return };
    if !Coder::needs_no_key() {
        return skip("nss_wrapper", "there is no libnss_wrapper.so");
    }
    site.create();
    let alone = ["-oPubkeyAuthentication=no", "-oHostKeyAlias=w", "-v", "coder@w", "true"];
    let (code, _, stderr) = ended(&mut site.ssh("w", &alone));
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stderr, &["Authenticated to w (via proxy) using \"none\""]);
}

#[test]
fn the_host_key_is_the_workspaces_own() {
    let Some(site) = Site::new() else { return };
    site.create();
    assert_eq!(site.on("w", "touch kept").0, 0);
    let key = site.coder.host_key("w", "main");
    site.ok(&["stop", "w", "-y"]);
    site.ok(&["start", "w", "-y"]);
    assert_eq!(site.on("w", "ls").1, "kept\n");
    assert_eq!(site.coder.host_key("w", "main"), key);
    site.ok(&["delete", "w", "-y"]);
    site.create();
    let (code, _, stderr) = site.on("w", "ls");
    assert_eq!(code, 255);
    assert_has(&stderr, &["REMOTE HOST IDENTIFICATION HAS CHANGED"]);
    std::fs::remove_file(site.client.directory().join("known_hosts")).unwrap();
    assert_eq!(site.on("w", "ls").1, "");
    assert_ne!(site.coder.host_key("w", "main"), key);
}

#[test]
fn a_client_that_is_killed_leaves_the_command_and_a_stop_ends_it() {
    let Some(site) = Site::new() else { return };
    site.create();
    let up = site.coder.home("w").join("up");
    let start = || {
        let child = spawn(&mut site.ssh("w", &["-oHostKeyAlias=w", "coder@w", "touch up; exec sleep 600"]));
        wait_for("the command", || up.exists());
        std::fs::remove_file(&up).unwrap();
        child
    };
    let mut child = start();
    child.kill().unwrap();
    end(child);
    let second = start();
    assert!(site.coder.processes("w").len() >= 2);
    site.ok(&["stop", "w", "-y"]);
    assert_eq!(end(second).0, 255);
    assert_eq!(site.coder.processes("w"), Vec::<u32>::new());
}

#[test]
fn a_stopped_workspace_is_started_unless_that_is_forbidden() {
    let Some(site) = Site::new() else { return };
    site.create();
    site.ok(&["stop", "w", "-y"]);
    let (code, _, stderr) = site.on("--disable-autostart w", "true");
    assert_eq!(code, 255);
    assert_has(&stderr, &[&failure("ssh", "workspace must be started")]);
    assert_eq!(site.coder.workspace("w").unwrap().builds.len(), 2);
    let (code, _, stderr) = site.on("w", "true");
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stderr, &["Workspace was stopped, starting workspace to allow connecting to \"w\"..."]);
    assert_eq!(site.coder.workspace("w").unwrap().latest().reason, "ssh_connection");
}

#[test]
fn a_workspace_in_another_state_is_refused() {
    let Some(site) = Site::new() else { return };
    site.create();
    site.coder.template(|it| it.stop = Duration::from_secs(600));
    site.coder.build("w", Transition::Stop);
    let text = "workspace must be started; was unable to autostart as the last build job is \"stopping\", expected \
                \"stopped\"";
    assert_eq!(site.fails(&["ssh", "--stdio", "w"]), failure("ssh", text));
    site.coder.add("alice", "x");
    site.coder.faults(|it| it.builds = vec![(Transition::Delete, "in use".to_owned())]);
    site.fails(&["delete", "x", "-y"]);
    assert_eq!(site.fails(&["ssh", "--stdio", "x"]), failure("ssh", "workspace \"x\" is deleted"));
}

#[test]
fn of_several_agents_one_has_to_be_named() {
    let Some(site) = Site::new() else { return };
    site.coder.template(|it| {
        let sub = AgentTemplate { parent: Some("main".to_owned()), ..AgentTemplate::named("web") };
        it.agents.push(sub);
    });
    site.create();
    let stderr = site.fails(&["ssh", "--stdio", "w"]);
    assert_has(
        &stderr,
        &[
            "multiple agents found, please specify the agent name, available agents: [main web]",
            "Try running:",
        ],
    );
    let text = "agent not found by name \"db\", available agents: [main web]";
    assert_eq!(site.fails(&["ssh", "--stdio", "w.db"]), failure("ssh", text));
    for (target, agent) in [("w.web", "web"), ("alice/w.main", "main"), ("alice--w--web", "web")] {
        let host = format!("-oHostKeyAlias={agent}");
        let (code, stdout, stderr) =
            ended(&mut site.ssh(target, &[&host, "coder@w", "echo $CODER_WORKSPACE_AGENT_NAME"]));
        assert_eq!((code, stdout), (0, format!("{agent}\n")), "{stderr}");
    }
    let agents = &site.list()[0]["latest_build"]["resources"][0]["agents"];
    assert_eq!(agents[1]["parent_id"], agents[0]["id"]);
}

#[test]
fn an_older_version_takes_any_of_several_agents() {
    let Some(site) = Site::new() else { return };
    site.coder.template(|it| it.agents.push(AgentTemplate::named("web")));
    site.coder.deployment(|it| it.version = (2, 22, 0));
    site.create();
    let (code, stdout, stderr) = site.on("w", "echo $CODER_WORKSPACE_AGENT_NAME");
    assert_eq!(code, 0, "{stderr}");
    assert!(["main\n", "web\n"].contains(&&*stdout), "{stdout}");
}

#[test]
fn a_signal_ends_the_wait_without_a_word() {
    let Some(site) = Site::new() else { return };
    site.coder.template(|it| it.agents[0].connect = None);
    site.create();
    for signal in [Signal::INT, Signal::HUP, Signal::TERM] {
        let mut child = spawn(&mut site.command(&["ssh", "--stdio", "w"]));
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        assert_eq!(line, "==> ⧗ Waiting for the workspace agent to connect\n");
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(end(child).0, 1);
        assert_eq!(stderr.lines().count(), 0);
    }
}

#[test]
fn an_agent_that_never_connects_is_waited_for() {
    let Some(site) = Site::new() else { return };
    site.coder.template(|it| it.agents[0].connect = None);
    site.create();
    let (code, _, stderr) =
        ended(&mut site.ssh("w", &["-oConnectTimeout=1", "-oHostKeyAlias=w", "coder@w", "true"]));
    assert_eq!(code, 255);
    assert_has(&stderr, &["==> ⧗ Waiting for the workspace agent to connect", "timed out"]);
}

#[test]
fn startup_scripts_are_waited_for_as_told() {
    let Some(site) = Site::new() else { return };
    site.coder.template(|it| it.agents[0].startup = None);
    site.create();
    let (code, _, stderr) = site.on("--wait no w", "true");
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stderr, &["The startup scripts are still running"]);
    assert_eq!(site.on("w", "true").0, 0);
    let child = spawn(&mut site.ssh("--wait yes w", &["-oHostKeyAlias=w", "coder@w", "true"]));
    site.coder.change("w", |it| {
        let agent = &mut it.latest_mut().agents[0].template;
        (agent.startup, agent.outcome) = (Some(Duration::ZERO), Outcome::Error);
    });
    let (code, _, stderr) = end(child);
    assert_eq!(code, 0);
    assert_has(&stderr, &["A startup script exited with an error and your workspace may be incomplete."]);
    assert_eq!(
        site.fails(&["ssh", "--stdio", "--wait", "maybe", "w"]),
        failure("ssh", "unknown wait value \"maybe\"")
    );
}

#[test]
fn an_agent_that_shuts_down_is_refused() {
    let Some(site) = Site::new() else { return };
    site.create();
    site.coder.change("w", |it| it.latest_mut().agents[0].lifecycle = Some("shutting_down".to_owned()));
    assert_eq!(site.fails(&["ssh", "--stdio", "w"]), failure("ssh", "agent is shutting down"));
}

#[test]
fn file_transfers_can_be_blocked() {
    let Some(site) = Site::new() else { return };
    site.coder.faults(|it| it.no_file_transfer = true);
    site.create();
    let (code, _, stderr) = site.on("w", "rsync --server");
    assert_eq!(code, 65);
    assert_has(&stderr, &["File transfer has been disabled."]);
    assert_eq!(site.on("w", "true").0, 0);
}

#[test]
fn nothing_of_it_survives() {
    let Some(site) = Site::new() else { return };
    site.create();
    assert_eq!(site.on("w", "setsid sleep 600 >/dev/null 2>&1 </dev/null & true").0, 0);
    let (processes, directory) = (site.coder.processes("w"), site.coder.directory().to_owned());
    assert!(!processes.is_empty());
    drop(site.coder);
    let runs = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    };
    wait_for("the end of every process", || !processes.iter().any(runs));
    assert!(!directory.exists());
}
