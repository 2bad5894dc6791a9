//! Hosts that are killed at a step of their own, or at random, whatever their provider.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::random;

/// How many hosts are killed at once.
pub(crate) const AT_ONCE: usize = 8;

/// How many steps a command has when nobody kills it.
pub(crate) fn steps(mut host: Command, log: &Path) -> usize {
    let _ = std::fs::remove_file(log);
    let output = host.env("CRABBOX_FAULT_LOG", log).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read_to_string(log).unwrap().lines().count()
}

/// `AT_ONCE` steps, spread over all that there are, and half as many zeros: at random.
pub(crate) fn spread(count: usize) -> impl Iterator<Item = usize> {
    let offset = random(count as u64) as usize;
    let at = (0..AT_ONCE).map(move |n| 1 + (offset + n * count / AT_ONCE) % count);
    at.chain(std::iter::repeat_n(0, AT_ONCE / 2))
}

/// Runs commands at once, each killed at its step, or within `longest` milliseconds where that is 0.
pub(crate) fn kill(hosts: impl IntoIterator<Item = (usize, Command)>, longest: u64) {
    let start = |(step, mut host): (usize, Command)| {
        host.env("CRABBOX_FAULT_AT", step.to_string());
        (step, host.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    };
    let hosts: Vec<_> = hosts.into_iter().map(start).collect();
    for (step, mut host) in hosts {
        if step == 0 {
            std::thread::sleep(Duration::from_millis(random(longest)));
            host.kill().unwrap();
        }
        let status = host.wait().unwrap();
        assert!(status.signal() == Some(9) || status.success(), "{step}: {status}");
    }
}
