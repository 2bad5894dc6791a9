//! Output on its way from a lease to the user.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crabbox_tests::{Profile, World, binaries, flood};

use crate::measure::{median, mib, quietly, rounds, row, watched};

/// Output through the host: how fast, and with how much memory.
pub(crate) fn relays(world: &World) {
    const GIB: u64 = 1 << 30;
    let notes = 512 * (1 << 20);
    let generator = |bytes: u64| format!("dd if=/dev/zero bs=1M count={} 2>/dev/null", bytes >> 20);
    let text = format!("yes 'ok  test \"a name\" passed in 0.12 s, with 3 assertions' | head -c {notes}");
    let examples = binaries(Profile::Release).join("examples");
    for name in ["crabbox-provider-flood", "crabbox-provider-notes"] {
        world.install(&examples.join(name));
    }
    let cases: [(&str, &str, u64, Vec<&str>, String); 3] = [
        (
            "notification, the host alone",
            "300 MB/s",
            notes,
            vec!["run", "--provider", "flood", "--no-sync", "--"],
            "x".into(),
        ),
        (
            "notification, kit and host",
            "",
            notes,
            vec!["run", "--provider", "notes", "--no-sync", "--"],
            text,
        ),
        ("path", "2000 MB/s", 4 * GIB, vec!["run", "--no-sync", "--"], generator(4 * GIB)),
    ];
    for (what, budget, bytes, mut arguments, command) in cases {
        arguments.extend(["sh", "-c", &command]);
        for (to, through) in [("to /dev/null", false), ("through a pipe", true)] {
            let mut speeds = Vec::new();
            let mut memory = 0;
            for _ in 0..5 {
                let mut host = world.crabbox(&arguments);
                host.env("FLOOD_MIB", (bytes >> 20).to_string()).stdin(Stdio::null()).stderr(Stdio::null());
                let (took, peak, count) = relay(host, through);
                assert!(!through || count == bytes, "{what}: {count} of {bytes} bytes");
                speeds.push(took);
                memory = memory.max(peak);
            }
            let speed = bytes as f64 / median(speeds).as_secs_f64() / 1e6;
            row(&format!("output by {what}, {to}"), format!("{speed:.0} MB/s"), budget);
            row("  the most memory that the host had", mib(memory), "32 MiB");
        }
    }
    exactly(world);
    let [local] = rounds(
        5,
        [&mut || quietly(world.command("sh").args(["-c", &format!("{} | cat", generator(4 * GIB))]))],
    );
    row(
        "yardstick: the same 4 GiB through cat",
        format!("{:.0} MB/s", 4.0 * GIB as f64 / local.as_secs_f64() / 1e6),
        "",
    );
}

/// With `CRABBOX_BENCH_GIB`: as much output as that, each way, with every byte checked.
fn exactly(world: &World) {
    let Some(gib) = std::env::var("CRABBOX_BENCH_GIB").ok().and_then(|text| text.parse::<u64>().ok()) else {
        return;
    };
    let flood = binaries(Profile::Release).join("examples/crabbox-provider-flood");
    std::os::unix::fs::symlink(flood, world.bin().join("crabbox-provider-flood-path")).unwrap();
    for (provider, way, budget) in
        [("flood", "notification", "300 MB/s"), ("flood-path", "path", "2000 MB/s")]
    {
        let mut host = world.crabbox(&["run", "--provider", provider, "--no-sync", "--", "x"]);
        host.env("FLOOD_MIB", (gib << 10).to_string()).stdin(Stdio::null()).stderr(Stdio::null());
        let begun = Instant::now();
        let mut host = host.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = host.stdout.take().unwrap();
        let reader = std::thread::spawn(move || flood::check(stdout));
        let (ended, peak) = watched(&mut host);
        let took = begun.elapsed();
        assert!(ended.success());
        assert_eq!(reader.join().unwrap().unwrap(), gib << 15, "blocks of 32 KiB");
        let speed = (gib << 30) as f64 / took.as_secs_f64() / 1e6;
        row(&format!("{gib} GiB by {way}, every byte checked"), format!("{speed:.0} MB/s"), budget);
        row("  the most memory that the host had", mib(peak), "32 MiB");
    }
}

/// Runs the host and says how long it took, its peak memory in KiB, and how many bytes came through.
fn relay(mut host: Command, through: bool) -> (Duration, u64, u64) {
    host.stdout(if through { Stdio::piped() } else { Stdio::null() });
    let begun = Instant::now();
    let mut host = host.spawn().unwrap();
    let reader = host.stdout.take().map(|mut stdout| {
        std::thread::spawn(move || {
            let (mut buffer, mut count) = (vec![0; 1 << 20], 0);
            while let Ok(read @ 1..) = stdout.read(&mut buffer) {
                count += read as u64;
            }
            count
        })
    });
    let (ended, peak) = watched(&mut host);
    let took = begun.elapsed();
    assert!(ended.success());
    (took, peak, reader.map_or(0, |reader| reader.join().unwrap()))
}
