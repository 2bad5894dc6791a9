//! What an agent leaves behind: processes of its allocations, and mounts.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::process;

/// The live processes of the allocations of the agent that has its files here.
///
/// A task and what is exec'd in it are told by `NOMAD_ALLOC_DIR` in their environment, which lies in the agent's
/// directory; one that has cleaned its environment is told by the directory that it is in, and one in a container by
/// what is mounted there.
pub(super) fn of_allocations(directory: &Path) -> Vec<u32> {
    let mark = [b"NOMAD_ALLOC_DIR=", directory.as_os_str().as_bytes()].concat();
    let tasks = directory.join("tmp/NomadClient");
    processes(|pid| {
        environment(pid).split(|&byte| byte == 0).any(|it| it.starts_with(&mark))
            || working_directory_starts(pid, tasks.as_os_str().as_bytes())
            || is_in_container(pid, directory)
    })
}

/// Whether a process is in a container of an allocation: what is mounted there as `/local` lies in the agent's
/// directory, whose name nobody else has (`man 5 proc_pid_mountinfo`: field 4 is what is mounted, 5 is where).
fn is_in_container(pid: u32, directory: &Path) -> bool {
    let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let ours = format!("/{name}/tmp/NomadClient");
    mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(3);
        fields.next().is_some_and(|what| what.contains(&ours)) && fields.next() == Some("/local")
    })
}

/// Removes the containers that an agent which was killed has left: those with something of its directory in them.
pub(super) fn remove_containers(directory: &Path) {
    let mut list = Command::new("docker");
    list.args(["ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Mounts}}"]);
    let Ok(listed) = list.output() else { return };
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let ours = listed.lines().filter(|line| line.contains(&*name));
    for container in ours.filter_map(|line| line.split(' ').next()) {
        // Another may be faster.
        let _ = Command::new("docker").args(["rm", "--force", container]).output();
    }
}

/// Kills processes.
pub(super) fn kill(all: &[u32]) {
    for &pid in all {
        process::signal(pid, Signal::KILL);
    }
}

/// Kills everything that an ended agent has left, helpers of its own among them, and undoes its mounts, so that its
/// directory can be removed.
pub(super) fn clear(directory: &Path) {
    // The agent's helpers and all tasks have its TMPDIR.
    let mark = [b"TMPDIR=", directory.as_os_str().as_bytes()].concat();
    for _ in 0..20 {
        let mut all = of_allocations(directory);
        all.extend(processes(|pid| {
            environment(pid).split(|&byte| byte == 0).any(|it| it.starts_with(&mark))
        }));
        if all.is_empty() {
            break;
        }
        kill(&all);
        std::thread::sleep(Duration::from_millis(20));
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for target in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
        if Path::new(target).starts_with(directory) {
            // It is there only when the agent was killed.
            let _ = Command::new("umount").args(["-l", target]).status();
        }
    }
}

fn processes(is_it: impl Fn(u32) -> bool) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|&pid| is_it(pid) && process::is_running(pid)).collect()
}

fn environment(pid: u32) -> Vec<u8> {
    std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()
}

fn working_directory_starts(pid: u32, with: &[u8]) -> bool {
    std::fs::read_link(format!("/proc/{pid}/cwd"))
        .is_ok_and(|path| path.as_os_str().as_bytes().starts_with(with))
}
