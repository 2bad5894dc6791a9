//! SIGKILL of the host, at each step and at random moments: nothing outlives it, and nothing is lost.

mod scene;
mod steps;
pub(crate) mod victims;

use std::process::Stdio;
use std::time::Duration;

use crabbox_tests::{Plugin, World, wait_for};

use scene::{AT_ONCE, NEVER, PROMPT, SLOW, Scene};

/// How many hosts are killed, about, for each of four providers: half of them at a step, half at random.
/// `CRABBOX_TEST_KILLS` has more.
pub(crate) fn kills() -> usize {
    std::env::var("CRABBOX_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(32)
}

/// A number that differs from run to run, so that the moments do.
pub(crate) fn random(below: u64) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish() % below
}

#[test]
fn killed_at_random_on_local() {
    at_random(Plugin::Local, 250);
}

#[test]
fn killed_at_random_on_python() {
    at_random(Plugin::Python, 600);
}

#[test]
fn killed_at_random_on_sh() {
    at_random(Plugin::Sh, 600);
}

#[test]
fn killed_at_random_where_leases_land_late() {
    at_random(Plugin::Rude, 400);
}

fn at_random(plugin: Plugin, longest: u64) {
    let Some(mut scene) = Scene::new(plugin) else { return };
    for _ in 0..(kills() / 2).div_ceil(AT_ONCE) {
        if plugin == Plugin::Rude {
            scene.world.be([PROMPT, SLOW, NEVER][random(3) as usize]);
        }
        let command = "echo up; sleep 60 & sleep 60";
        let run = ["run", "--provider", plugin.name(), "--", "sh", "-c", command];
        let mut hosts: Vec<_> = (0..AT_ONCE).map(|_| scene.victim(0, &run).spawn().unwrap()).collect();
        for host in &mut hosts {
            std::thread::sleep(Duration::from_millis(random(longest / 4)));
            host.kill().unwrap();
            host.wait().unwrap();
        }
        scene.kills += AT_ONCE;
        scene.assert_cleaned_up("runs that were killed at random");
    }
    scene.end();
}

#[test]
fn cleanup_does_no_harm_to_a_run_that_is_alive() {
    let world = World::new();
    let go = world.root().join("go");
    let command = format!("echo up; while [ ! -e {} ]; do sleep 0.05; done; exit 5", go.display());
    let mut run = world.crabbox(&["run", "--", "sh", "-c", &command]);
    let mut run = run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the lease", || world.ok(&["list"]).contains("leased"));
    assert!(world.ok(&["cleanup"]).contains("in use"));
    std::fs::write(go, "").unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(5));
}

#[test]
fn the_run_of_a_dead_host_is_ended_before_the_lease_is_used_again() {
    for plugin in [Plugin::Local, Plugin::Python, Plugin::Sh] {
        let Some(world) = World::with(plugin) else { continue };
        world.ok(&["warmup", "--provider", plugin.name(), "--slug", "kept"]);
        let alive = world.root().join("alive");
        let command = format!("while :; do touch {}; sleep 0.1; done", alive.display());
        let mut run = world.crabbox(&["run", "--id", "kept", "--", "sh", "-c", &command]);
        let mut run = run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for("the command", || alive.exists());
        run.kill().unwrap();
        run.wait().unwrap();
        // The second run changes something, so it waits for the lock that the first one's guard holds, and
        // finds nobody there.
        world.write("changed", "1");
        let (code, stdout, stderr) = world.run(&["run", "--id", "kept", "--", "echo", "mine"]);
        assert_eq!((code, stdout.as_str()), (0, "mine\n"), "{plugin:?}: {stderr}");
        std::fs::remove_file(&alive).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        assert!(!alive.exists(), "{plugin:?}: the command of the dead host lives");
        world.ok(&["stop", "kept"]);
        assert_eq!(world.leftovers(plugin), Vec::<std::path::PathBuf>::new(), "{plugin:?}");
    }
}
