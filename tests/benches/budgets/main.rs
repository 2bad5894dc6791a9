//! The budgets of docs/performance.md, measured: `cargo bench -p crabbox-tests`.
//!
//! Each line is the median of interleaved rounds. Where another program is the yardstick, it runs in the same
//! rounds. Nothing fails here for being slow: the numbers depend on the machine. `-- sync` and the like
//! measure one part only.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and stops where it cannot go on"
)]

mod crew;
mod delay;
mod measure;
mod relay;
mod repository;
mod ssh;
mod sync;

use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;

use crabbox_tests::{Profile, World, binaries};

use measure::{ms, quietly, rounds, row};

/// What can be measured alone, by its name.
type Part = (&'static str, fn(&World));

fn main() {
    let world = World::of(Profile::Release);
    println!("{:<66} {:>12} {:>12}", "what", "median", "budget");
    let parts: [Part; 8] = [
        ("start", start_up),
        ("plugins", plugins_list),
        ("run", runs),
        ("relay", relay::relays),
        ("delay", delay::delays),
        ("sync", |_| sync::syncs()),
        ("ssh", |_| ssh::runs()),
        ("crew", |_| crew::peers()),
    ];
    // cargo adds `--bench`.
    let wanted: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for (name, part) in parts {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            part(&world);
        }
    }
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
