//! What is measured is timed, sorted and printed here.

use std::fs;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub(crate) fn row(what: &str, measured: impl std::fmt::Display, budget: &str) {
    println!("{what:<66} {measured:>12} {budget:>12}");
}

pub(crate) fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Times each of several things in turn, again and again.
pub(crate) fn rounds<const N: usize>(count: usize, mut things: [&mut dyn FnMut(); N]) -> [Duration; N] {
    let mut times = [const { Vec::new() }; N];
    for _ in 0..count {
        for (thing, times) in things.iter_mut().zip(&mut times) {
            let begun = Instant::now();
            thing();
            times.push(begun.elapsed());
        }
    }
    times.map(median)
}

pub(crate) fn quietly(command: &mut Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}");
}

/// Waits for a program's end, and says how much memory it had at the most, in KiB. Only where there is `/proc`.
pub(crate) fn watched(child: &mut Child) -> (ExitStatus, u64) {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        peak = peak.max(kib.unwrap_or(0));
        if let Some(ended) = child.try_wait().unwrap() {
            return (ended, peak);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// So many KiB.
pub(crate) fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}
