//! The machines behind agents: what a session reaches, what outlives a stop, and how they end.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::deployment::AgentTemplate;
use super::state::Store;
use super::workspace::Workspace;
use crate::sshd::{Machine, MachineOptions, end_all, end_server, marked, user};

/// The home directory of a workspace, which outlives a stop.
pub(super) fn home(store: &Store, workspace: &str) -> PathBuf {
    directory(store, workspace).join("home")
}

/// The machine of an agent, which is made for the first who connects. Its host key stays the same as long as the
/// workspace exists.
pub(super) fn machine(
    store: &Store,
    workspace: &Workspace,
    agent: &AgentTemplate,
    no_file_transfer: bool,
) -> io::Result<Machine> {
    let home = home(store, &workspace.id);
    let start = home.join(&agent.directory);
    fs::create_dir_all(&start)?;
    let directory = directory(store, &workspace.id).join("agents").join(&agent.name);
    fs::create_dir_all(&directory)?;
    let lock = File::create(directory.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let mut environment = agent.environment.clone();
    for (name, value) in [
        ("CODER", "true"),
        ("CODER_WORKSPACE_NAME", &workspace.name),
        ("CODER_WORKSPACE_AGENT_NAME", &agent.name),
    ] {
        environment.insert(name.to_owned(), value.to_owned());
    }
    let blocked: &[&str] =
        if no_file_transfer { &["nc", "rsync", "scp", "sftp", "sftp-server"] } else { &[] };
    let options = MachineOptions {
        authorized: vec![fs::read_to_string(store.directory.join("id.pub"))?.trim().to_owned()],
        environment,
        home: Some(home),
        start: Some(start),
        blocked: blocked.iter().map(|&it| it.to_owned()).collect(),
        open_to: vec!["coder".to_owned(), user()],
        rsa: true,
        ..MachineOptions::default()
    };
    Machine::new(&directory, options)
}

/// Notes that this process is about to become the server of a connection.
pub(super) fn connected(store: &Store, workspace: &str) -> io::Result<()> {
    let directory = directory(store, workspace).join("connections");
    fs::create_dir_all(&directory)?;
    File::create(directory.join(std::process::id().to_string())).map(|_| ())
}

/// The processes of the sessions of all agents.
pub(super) fn processes(store: &Store, workspace: &str) -> Vec<u32> {
    machines(store, workspace).iter().flat_map(|it| marked(it)).collect()
}

/// What was asked for in the sessions of all agents.
pub(super) fn sessions(store: &Store, workspace: &str) -> Vec<String> {
    machines(store, workspace).iter().flat_map(|it| Machine::sessions_in(it)).collect()
}

/// The public host key of an agent that somebody has connected to.
pub(super) fn host_key(store: &Store, workspace: &str, agent: &str) -> String {
    Machine::host_key_in(&directory(store, workspace).join("agents").join(agent))
}

/// Cuts all connections. What sessions have started goes on.
pub(super) fn cut(store: &Store, workspace: &str) {
    let entries = fs::read_dir(directory(store, workspace).join("connections"));
    for entry in entries.into_iter().flatten().flatten() {
        if let Some(pid) = entry.file_name().to_str().and_then(|it| it.parse().ok()) {
            end_server(pid);
        }
        // Another may have removed it.
        let _ = fs::remove_file(entry.path());
    }
}

/// Ends all connections and all that runs. The home stays.
pub(super) fn switch_off(store: &Store, workspace: &str) {
    cut(store, workspace);
    machines(store, workspace).iter().for_each(|it| end_all(it));
}

/// Takes away what is left of a workspace.
pub(super) fn remove(store: &Store, workspace: &str) {
    switch_off(store, workspace);
    // Somebody may be making a file there.
    let _ = fs::remove_dir_all(directory(store, workspace));
}

/// Ends all that runs anywhere.
pub(super) fn end_everything(store: &Store) {
    for entry in fs::read_dir(store.directory.join("workspaces")).into_iter().flatten().flatten() {
        if let Some(id) = entry.file_name().to_str() {
            switch_off(store, id);
        }
    }
}

fn machines(store: &Store, workspace: &str) -> Vec<PathBuf> {
    let agents = fs::read_dir(directory(store, workspace).join("agents"));
    agents.into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn directory(store: &Store, workspace: &str) -> PathBuf {
    Path::new(&store.directory).join("workspaces").join(workspace)
}
