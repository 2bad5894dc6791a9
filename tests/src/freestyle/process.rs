//! Processes: how those of a guest are found, and signals.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How often it is looked whether a process that was killed has ended, which takes long where many want to run, and
/// the time between two looks.
pub(super) const LOOKS: usize = 6000;
pub(super) const PAUSE: Duration = Duration::from_millis(5);

/// The live processes in the same PID namespace as another.
pub(super) fn of_namespace(init: u32) -> Vec<u32> {
    let namespace = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let Some(own) = namespace(init) else { return Vec::new() };
    all().filter(|&pid| namespace(pid).as_ref() == Some(&own) && is_running(pid)).collect()
}

/// The live processes that have this variable, as `NAME=value`.
pub(super) fn marked(mark: &str) -> Vec<u32> {
    let has = |pid: u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|it| it == mark.as_bytes())
    };
    all().filter(|&pid| has(pid) && is_running(pid)).collect()
}

fn all() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Says whether a process runs, or is stopped. One that has ended, but that nobody has waited for, does not.
pub(super) fn is_running(pid: u32) -> bool {
    state(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Says whether a process is stopped.
pub(super) fn is_stopped(pid: u32) -> bool {
    matches!(state(pid), Some('T' | 't'))
}

fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

pub(super) fn stop(pid: u32) {
    signal(pid, Signal::STOP);
}

pub(super) fn go_on(pid: u32) {
    signal(pid, Signal::CONT);
}

pub(super) fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

/// Kills the group that a process leads.
pub(super) fn kill_group(pid: u32) {
    if let Some(pid) = pid_of(pid) {
        // It may have ended in the meantime.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = pid_of(pid) {
        // It may have ended in the meantime.
        let _ = kill_process(pid, signal);
    }
}

fn pid_of(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}
