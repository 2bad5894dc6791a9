//! The processes of sessions, and those of the servers.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// The variable that marks the processes of sessions; its value is the machine's directory.
pub(super) const MARK: &str = "CRABBOX_TEST_MACHINE";

/// The live processes of a machine's sessions. They are told by their environment, so that one that has left its
/// session and its parent is found, too.
pub(crate) fn marked(machine: &Path) -> Vec<u32> {
    let mark = [MARK.as_bytes(), b"=", machine.as_os_str().as_bytes()].concat();
    let has = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|it| it == mark)
    };
    all().filter(has).filter(|&pid| stat(pid).is_some_and(|it| it.runs)).collect()
}

/// Kills the processes of a machine's sessions, until there are none.
pub(crate) fn end_all(machine: &Path) {
    for _ in 0..10 {
        let all = marked(machine);
        if all.is_empty() {
            return;
        }
        all.into_iter().for_each(kill);
    }
}

/// A server and its children that are servers, too: one for each stage of a connection.
pub(super) fn servers(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let all: Vec<(u32, Stat)> = all().filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        let children = all.iter().filter(|(_, it)| it.parent == parent && it.is_server);
        found.extend(children.map(|(pid, _)| pid));
        next += 1;
    }
    found
}

/// Ends a connection by its server, if the process still is one.
pub(crate) fn end_server(pid: u32) {
    if stat(pid).is_some_and(|it| it.is_server) {
        servers(pid).into_iter().for_each(kill);
    }
}

pub(super) fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

/// Stops a process, or lets it go on.
pub(super) fn pause(pid: u32, stop: bool) {
    signal(pid, if stop { Signal::STOP } else { Signal::CONT });
}

struct Stat {
    parent: u32,
    runs: bool,
    is_server: bool,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (name, rest) = text.rsplit_once(") ")?;
    let mut words = rest.split(' ');
    let runs = !matches!(words.next()?, "Z" | "X");
    Some(Stat { parent: words.next()?.parse().ok()?, runs, is_server: name.contains("(sshd") })
}

fn all() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended in the meantime.
        let _ = kill_process(pid, signal);
    }
}
