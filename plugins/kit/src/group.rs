//! Process groups: signalling one, and knowing when nothing of it is alive.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::time::sleep;

use crate::processes;

/// Sends a signal to every member of a group. A group that is gone is no error.
pub fn signal(group: Pid, signal: Signal) {
    let _ = kill_process_group(group, signal);
}

/// Whether a member of the group is alive. A zombie is not.
///
/// `true` where it cannot be told, because death has to be proven.
pub fn alive(group: Pid) -> bool {
    if test_kill_process_group(group) == Err(rustix::io::Errno::SRCH) {
        return false;
    }
    // Zombies count for the kernel: look at each.
    let number = group.as_raw_nonzero().get();
    processes::all().map_or(true, |all| all.iter().any(|process| process.alive && process.group == number))
}

/// Waits until nothing of the group is alive, for as long as it takes.
pub async fn dead(group: Pid) {
    let mut pause = Duration::from_millis(1);
    while alive(group) {
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
