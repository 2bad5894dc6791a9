//! A plugin that prints without an end: however much it is, every byte arrives, and the host stays small.

use std::process::Stdio;

use crabbox_tests::{Ended, Plugin, World, flood};

use crate::support::assert_nothing_left;

/// How much is printed, in MiB. `CRABBOX_TEST_FLOOD_MIB` has more: with 10240 it takes a few minutes.
fn mebibytes() -> u64 {
    std::env::var("CRABBOX_TEST_FLOOD_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(256)
}

fn floods(provider: &str) {
    let world = World::new();
    let executable = crabbox_tests::binary("examples/crabbox-provider-flood");
    let name = format!("crabbox-provider-{provider}");
    std::os::unix::fs::symlink(executable, world.bin().join(name)).unwrap();
    let mut host = world.crabbox(&["run", "--provider", provider, "--no-sync", "--", "x"]);
    host.env("FLOOD_MIB", mebibytes().to_string()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut host = host.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = host.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let checked = flood::check(&mut stdout);
        // Where it is wrong it is read to its end all the same, for the host to end.
        std::io::copy(&mut stdout, &mut std::io::sink()).unwrap();
        checked
    });
    let ended = Ended::of_child(host, || ());
    assert_eq!(ended.code, 0, "{provider}: {}", ended.stderr);
    assert_eq!(reader.join().unwrap().map_err(|error| error.to_string()), Ok(mebibytes() * 32), "{provider}");
    assert!(ended.peak < 32 * 1024, "{provider}: the host had {} KiB", ended.peak);
    assert_nothing_left(&world, Plugin::Local);
}

#[test]
fn by_notification() {
    floods("flood");
}

#[test]
fn by_path() {
    floods("flood-path");
}
