//! The processes of allocations: what they are given, and how they are found.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use super::allocation::Allocation;

/// What a process of a task starts from.
pub(super) struct Surroundings {
    /// Where it starts.
    pub(super) directory: PathBuf,
    /// All of its environment.
    pub(super) environment: BTreeMap<String, String>,
}

/// What a task's main process and its execs are given.
///
/// raw_exec hands on the agent's own environment; a container has a small one. Either has `NOMAD_*`.
pub(super) fn surroundings(allocation: &Allocation, task: &str, region: &str, dc: &str) -> Surroundings {
    let job = allocation.task_of_job(task).cloned().unwrap_or_default();
    let root = allocation.directory.join(task);
    let raw = job["Driver"] != "docker";
    let mut environment: BTreeMap<String, String> = match raw {
        true => std::env::vars().filter(|(name, _)| !name.starts_with("NOMAD_")).collect(),
        false => {
            let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
            let host = allocation.id[..12].replace('-', "");
            [("PATH", path), ("HOME", "/root"), ("HOSTNAME", &host)].map(owned).into()
        }
    };
    let path = |it: &Path| it.to_string_lossy().into_owned();
    let index = allocation.name.rsplit_once('[').map_or("0", |(_, index)| index.trim_end_matches(']'));
    let nomad = [
        ("NOMAD_ALLOC_DIR", &*path(&allocation.directory.join("alloc"))),
        ("NOMAD_ALLOC_ID", &allocation.id),
        ("NOMAD_ALLOC_INDEX", index),
        ("NOMAD_ALLOC_NAME", &allocation.name),
        ("NOMAD_CPU_LIMIT", &job["Resources"]["CPU"].to_string()),
        ("NOMAD_DC", dc),
        ("NOMAD_GROUP_NAME", &allocation.group),
        ("NOMAD_JOB_ID", &allocation.job_id),
        ("NOMAD_JOB_NAME", allocation.job.text("Name")),
        ("NOMAD_MEMORY_LIMIT", &job["Resources"]["MemoryMB"].to_string()),
        ("NOMAD_NAMESPACE", &allocation.namespace),
        ("NOMAD_REGION", region),
        ("NOMAD_SECRETS_DIR", &path(&root.join("secrets"))),
        ("NOMAD_SHORT_ALLOC_ID", &allocation.id[..8]),
        ("NOMAD_TASK_DIR", &path(&root.join("local"))),
        ("NOMAD_TASK_NAME", task),
    ];
    environment.extend(nomad.map(owned));
    for port in &allocation.ports {
        let (label, value) = (&port.label, port.value);
        let inside = if port.to == 0 { u64::from(value) } else { port.to };
        environment.insert(format!("NOMAD_IP_{label}"), "127.0.0.1".to_owned());
        environment.insert(format!("NOMAD_ADDR_{label}"), format!("127.0.0.1:{value}"));
        environment.insert(format!("NOMAD_HOST_PORT_{label}"), value.to_string());
        environment.insert(format!("NOMAD_PORT_{label}"), inside.to_string());
        environment.insert(format!("NOMAD_ALLOC_PORT_{label}"), inside.to_string());
    }
    let group = allocation.group().cloned().unwrap_or_default();
    for (name, value) in
        [&allocation.job.body["Meta"], &group["Meta"], &job["Meta"]].into_iter().flat_map(text_fields)
    {
        environment.insert(format!("NOMAD_META_{}", name.replace(['.', '-'], "_")), value.clone());
        environment.insert(format!("NOMAD_META_{}", name.to_uppercase().replace(['.', '-'], "_")), value);
    }
    environment.extend(text_fields(&job["Env"]));
    let directory = ["work_dir", "cwd"].iter().find_map(|key| job["Config"][key].as_str());
    Surroundings { directory: directory.map_or(root, PathBuf::from), environment }
}

/// Makes an allocation's directories.
pub(super) fn make_directories(allocation: &Allocation, task: &str) -> std::io::Result<()> {
    for part in ["alloc/data", "alloc/logs", "alloc/tmp"] {
        std::fs::create_dir_all(allocation.directory.join(part))?;
    }
    for part in ["local", "secrets", "tmp"] {
        std::fs::create_dir_all(allocation.directory.join(task).join(part))?;
    }
    Ok(())
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn text_fields(of: &Value) -> impl Iterator<Item = (String, String)> {
    let fields = of.as_object().into_iter().flatten();
    fields.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
}

/// The code and the signal that Nomad tells of an end.
pub(super) fn code_of(status: ExitStatus) -> (i32, i32) {
    match status.signal() {
        Some(signal) => (128 + signal, signal),
        None => (status.code().unwrap_or(-1), 0),
    }
}

/// The live processes of an allocation, whichever way they were started.
///
/// They are told by their environment, so that one that hides in a session of its own is found, too. A process
/// that has ended, but that nobody has waited for, is none.
pub(super) fn processes_of(allocations: &[String]) -> Vec<u32> {
    let marks: Vec<String> = allocations.iter().map(|id| format!("NOMAD_ALLOC_ID={id}")).collect();
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_ours = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|it| marks.iter().any(|mark| mark.as_bytes() == it))
    };
    pids.filter(is_ours).filter(|&pid| is_running(pid)).collect()
}

pub(super) fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Sends a signal to a process.
pub(super) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = pid_of(pid) {
        // It may have ended in the meantime.
        let _ = kill_process(pid, signal);
    }
}

/// Kills the group that a process leads.
pub(super) fn kill_group(pid: u32) {
    if let Some(pid) = pid_of(pid) {
        // It may have ended in the meantime.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// Kills all processes of some allocations, until there are none.
pub(super) fn kill_all(allocations: &[String]) {
    for _ in 0..10 {
        let all = processes_of(allocations);
        if all.is_empty() {
            return;
        }
        for pid in all {
            signal(pid, Signal::KILL);
        }
    }
}

fn pid_of(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}
