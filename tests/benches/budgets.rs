//! The budgets of docs/performance.md, measured: `cargo bench -p crabbox-tests`.
//!
//! Each line is the median of interleaved rounds. Where another program is the yardstick, it runs in the same
//! rounds. Nothing fails here for being slow: the numbers depend on the machine.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and stops where it cannot go on"
)]

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crabbox_tests::{Profile, World, binaries};

fn main() {
    let world = World::of(Profile::Release);
    let examples = binaries(Profile::Release).join("examples");
    for name in ["crabbox-provider-flood", "crabbox-provider-notes"] {
        world.install(&examples.join(name));
    }
    println!("{:<58} {:>12} {:>12}", "what", "median", "budget");
    start_up(&world);
    plugins_list(&world);
    runs(&world);
    relays(&world);
}

fn row(what: &str, measured: impl std::fmt::Display, budget: &str) {
    println!("{what:<58} {measured:>12} {budget:>12}");
}

fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Times each of several things in turn, again and again.
fn rounds<const N: usize>(count: usize, mut things: [&mut dyn FnMut(); N]) -> [Duration; N] {
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

fn quietly(command: &mut Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}");
}

fn start_up(world: &World) {
    let hello = br#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"versions":[1],"host":{"name":"bench","version":"1"}}}"#;
    let local = binaries(Profile::Release).join("crabbox-provider-local");
    let [nothing, help, handshake] = rounds(
        50,
        [
            &mut || quietly(&mut world.command("true")),
            &mut || quietly(&mut world.crabbox(&["--help"])),
            &mut || {
                let mut plugin = world.command(&local);
                let plugin = plugin.arg("--stdio").stdin(Stdio::piped()).stdout(Stdio::piped());
                let mut plugin = plugin.spawn().unwrap();
                let mut stdin = plugin.stdin.take().unwrap();
                stdin.write_all(hello).unwrap();
                stdin.write_all(b"\n").unwrap();
                let mut answer = [0; 64];
                assert!(plugin.stdout.take().unwrap().read(&mut answer).unwrap() > 0);
                drop(stdin);
                // What is timed is the answer; the end comes after it.
                std::mem::forget(plugin);
            },
        ],
    );
    row("yardstick: true", ms(nothing), "");
    row("--help", ms(help), "10 ms");
    row("plugin local: start, initialize, answer", ms(handshake), "3 ms");
}

fn plugins_list(world: &World) {
    for n in 0..20 {
        world.script(
            &format!("crabbox-provider-p{n}"),
            &format!(
                "#!/bin/sh\nread -r line\nprintf '%s\\n' '{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{\"protocol\":1,\
                 \"name\":\"p{n}\",\"version\":\"1\",\"lifecycle\":\"leased\"}}}}'\n"
            ),
        );
    }
    let count = || world.json(&["plugins", "list", "--json"]).as_array().unwrap().len();
    let installed = count();
    let [cached] = rounds(50, [&mut || quietly(&mut world.crabbox(&["plugins", "list"]))]);
    row(&format!("plugins list, {installed} plugins, cached"), ms(cached), "20 ms");
    for n in 0..20 {
        fs::remove_file(world.bin().join(format!("crabbox-provider-p{n}"))).unwrap();
    }
}

fn runs(world: &World) {
    for n in 0..98 {
        world.write(&format!("src/file{n}.txt"), format!("{n}\n").repeat(500));
    }
    world.git(&["add", "--all"]);
    world.ok(&["warmup", "--slug", "bench"]);
    let [fresh, kept, unsynced] = rounds(
        25,
        [
            &mut || quietly(&mut world.crabbox(&["run", "--", "true"])),
            &mut || quietly(&mut world.crabbox(&["run", "--id", "bench", "--", "true"])),
            &mut || quietly(&mut world.crabbox(&["run", "--id", "bench", "--no-sync", "--", "true"])),
        ],
    );
    world.ok(&["stop", "bench"]);
    row("run -- true, 100 files, a new lease", ms(fresh), "60 ms");
    row("run --id -- true, 100 files, a kept lease", ms(kept), "");
    row("run --id --no-sync -- true, a kept lease", ms(unsynced), "");
}

/// Output through the host: how fast, and with how much memory.
fn relays(world: &World) {
    const GIB: u64 = 1 << 30;
    let notes = 512 * (1 << 20);
    let generator = |bytes: u64| format!("dd if=/dev/zero bs=1M count={} 2>/dev/null", bytes >> 20);
    let text = format!("yes 'ok  test \"a name\" passed in 0.12 s, with 3 assertions' | head -c {notes}");
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
            let memory = format!("{:.1} MiB", memory as f64 / 1024.0);
            row(&format!("output by {what}, {to}"), format!("{speed:.0} MB/s"), budget);
            row("  the most memory that the host had", memory, "32 MiB");
        }
    }
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

/// Runs the host and says how long it took, its peak memory in KiB, and how many bytes came through.
fn relay(mut host: Command, through: bool) -> (Duration, u64, u64) {
    host.stdout(if through { Stdio::piped() } else { Stdio::null() });
    let begun = Instant::now();
    let mut host = host.spawn().unwrap();
    let status = format!("/proc/{}/status", host.id());
    let reader = host.stdout.take().map(|mut stdout| {
        std::thread::spawn(move || {
            let (mut buffer, mut count) = (vec![0; 1 << 20], 0);
            while let Ok(read @ 1..) = stdout.read(&mut buffer) {
                count += read as u64;
            }
            count
        })
    });
    let mut peak = 0;
    let ended = loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        peak = peak.max(kib.unwrap_or(0));
        if let Some(ended) = host.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let took = begun.elapsed();
    assert!(ended.success());
    (took, peak, reader.map_or(0, |reader| reader.join().unwrap()))
}
