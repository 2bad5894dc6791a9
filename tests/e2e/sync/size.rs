//! Bundles that are larger than the way to the lease.

use std::fs;

use crabbox_tests::{Plugin, World};
use serde_json::{Value, json};

use super::Demo;
use crate::support::{assert_has, assert_nothing_left, warm};

/// Content that no compressor makes smaller, always the same.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

/// A provider called `narrow` that does what `local` does, with other limits, and whose requests are kept.
pub(crate) fn narrow(world: &World, limits: &Value, puts: bool) {
    let mut all = json!({"createSettleMs": 0});
    all.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
    let mut methods = vec!["configure", "acquire", "run", "release", "resolve", "kill", "list"];
    methods.extend(puts.then_some("put"));
    let path = world.local_as("narrow", &json!({"limits": all, "methods": methods}));
    let text = fs::read_to_string(&path).unwrap();
    let log = world.root().join("requests");
    let text = text.replacen("'/", &format!("tee -a '{}' | '/", log.display()), 2);
    // The first of the two is the log of starts.
    let text = text.replacen(&format!(">>tee -a '{}' | ", log.display()), ">>", 1);
    fs::write(path, text).unwrap();
}

/// What the provider was asked for.
pub(crate) fn asked(world: &World) -> Vec<Value> {
    let log = fs::read_to_string(world.root().join("requests")).unwrap_or_default();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_bundle_that_standard_input_does_not_take_goes_by_put() {
    let world = World::new();
    narrow(&world, &json!({"stdinMax": 200_000}), true);
    world.ok(&["warmup", "--provider", "narrow", "--slug", "demo"]);
    let id = world.json(&["list", "--json"])[0]["id"].as_str().unwrap().to_owned();
    let demo = Demo { world, plugin: Plugin::Local, id };
    let puts = || {
        let asked = asked(&demo.world);
        let puts = asked.iter().filter(|request| request["method"] == "put");
        puts.map(|put| put["params"]["size"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    demo.sync();
    assert!(puts().is_empty(), "a small one goes with the script");
    demo.world.write("large", noise(300_000));
    demo.sync();
    assert!(matches!(puts()[..], [size] if size > 300_000), "{:?}", puts());
    demo.has_ours_and(&[]);
    demo.world.write("README.md", "changed\n");
    assert_eq!(demo.sync(), "1 file, 8 B sent");
    assert_eq!(puts().len(), 1);
    let left = fs::read_dir(demo.ws().with_file_name(".crabbox").join("sync")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".bundle")), "{left:?}");
}

#[test]
fn a_bundle_that_the_provider_does_not_take_is_refused_before_there_is_a_lease() {
    let refused = "the working tree makes a bundle of";
    for (limits, puts, fits) in [
        (json!({"stdinMax": 200_000}), false, 100_000),
        (json!({"bundleMax": 200_000}), true, 150_000),
        (json!({"bundleMax": 200_000}), false, 150_000),
        (json!({"bundleMax": 200_000, "stdinMax": 100_000}), true, 150_000),
    ] {
        let world = World::new();
        narrow(&world, &limits, puts);
        world.write("large", noise(fits));
        assert_eq!(
            world.ok(&["run", "--provider", "narrow", "--", "wc", "-c", "large"]),
            format!("{fits} large\n")
        );
        let before = asked(&world).len();
        world.write("large", noise(300_000));
        let (code, stdout, stderr) = world.run(&["run", "--provider", "narrow", "--", "true"]);
        assert_eq!((code, stdout.as_str()), (6, ""), "{limits}: {stderr}");
        assert_has(&stderr, &[refused, "the provider takes at most", "hint: "]);
        let methods: Vec<_> =
            asked(&world)[before..].iter().map(|request| request["method"].clone()).collect();
        assert!(!methods.contains(&json!("acquire")), "{methods:?}");
        assert_nothing_left(&world, Plugin::Local);
        // Compressed it is small enough.
        world.write("large", "x".repeat(300_000));
        let said = world.ok(&["run", "--provider", "narrow", "--", "wc", "-c", "large"]);
        assert_eq!(said, "300000 large\n");
    }
}

#[test]
fn a_disk_that_fills_up_while_the_bundle_is_written_ends_with_its_name() {
    for plugin in [Plugin::Local, Plugin::Sh] {
        let Some(world) = World::with(plugin) else { continue };
        world.write("large", noise(3_000_000));
        // No file of this process may grow beyond a megabyte: to it, it is as if the disk were full.
        let run = |lease: &str| {
            let program = world.crabbox(&[]).get_program().to_owned();
            let mut shell = world.command("sh");
            shell.args(["-c", "ulimit -f 2000; trap '' XFSZ; exec \"$@\"", "sh"]).arg(program);
            shell.args(["run", lease, if lease == "--id" { "demo" } else { plugin.name() }, "--", "true"]);
            let output = shell.output().unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        let (code, stderr) = run("--provider");
        assert_eq!(code, Some(6), "{plugin:?}: {stderr}");
        assert_has(&stderr, &["error: cannot write", "/bundle", "hint: "]);
        assert_nothing_left(&world, plugin);

        let id = warm(&world, plugin);
        assert_eq!(run("--id").0, Some(6), "{plugin:?}");
        let demo = Demo { world, plugin, id };
        demo.sync();
        demo.has_ours_and(&[]);
    }
}
