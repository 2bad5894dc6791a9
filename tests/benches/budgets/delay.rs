//! How long a line that a command prints takes to the user, where the provider has no stream to read: on Freestyle's
//! emulator, whose machines have this one's clock.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crabbox_tests::freestyle::{Emulator, KEY};
use crabbox_tests::{Profile, World, binaries};
use serde_json::json;

use crate::measure::{median, ms, row};

/// How many lines are waited for.
const LINES: usize = 150;

pub(crate) fn delays(world: &World) {
    let cloud = Emulator::start();
    if !cloud.isolation().has_paths() {
        println!("a line of output on Freestyle: the kernel allows no mount namespaces");
        return;
    }
    world.install(&binaries(Profile::Release).join("crabbox-provider-freestyle"));
    world.write_config(&json!({"freestyle": {"apiUrl": cloud.url()}}).to_string());
    // `date` looks at the clock when it has been started, and prints at once.
    let script = format!("for line in $(seq {LINES}); do date +%s%N; sleep 0.2; done");
    let mut host = world.crabbox(&["run", "--provider", "freestyle", "--no-sync", "--", "sh", "-c", &script]);
    host.env("FREESTYLE_API_KEY", KEY).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut host = host.spawn().unwrap();
    let mut delays = Vec::new();
    for line in BufReader::new(host.stdout.take().unwrap()).lines() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let printed = Duration::from_nanos(line.unwrap().parse().unwrap());
        delays.push(now.saturating_sub(printed));
    }
    assert!(host.wait().unwrap().success());
    assert_eq!(delays.len(), LINES);
    let worst = delays.iter().max().copied().unwrap_or_default();
    row("a line of output on Freestyle, every 200 ms: its delay", ms(median(delays)), "300 ms");
    row("  the worst", ms(worst), "300 ms");
}
