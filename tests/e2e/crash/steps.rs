//! SIGKILL of the host at each step of a run, of a run on a lease that stays, of `stop`, and of `cleanup`.

use std::collections::BTreeSet;

use crabbox_tests::{Plugin, World};

use super::kills;
use super::scene::{AT_ONCE, PROMPT, SLOW, Scene};

/// What the command does. When it is killed half way, there is a process more to be found.
const COMMAND: &str = "sleep 60 & sleep 0.2; kill $!";

fn words(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|word| (*word).to_owned()).collect()
}

/// At most so many of the steps, in an order that spreads them, beginning anywhere.
fn some_of(steps: usize, most: usize) -> Vec<usize> {
    let (most, offset) = (most.min(steps), super::random(steps as u64) as usize);
    (0..most).map(|n| 1 + (offset + n * steps / most) % steps).collect()
}

/// How many steps of each of the four commands are tried: on `local`, where that costs least, more.
fn share(scene: &Scene) -> usize {
    let share = (kills() / 8).max(2);
    if scene.plugin == Plugin::Local { 3 * share } else { share }
}

#[test]
fn every_step_is_reached() {
    let known = World::new().ok(&["__faults"]);
    let mut reached = BTreeSet::new();
    for plugin in [Plugin::Local, Plugin::Rude] {
        let Some(mut scene) = Scene::new(plugin) else { continue };
        let name = plugin.name();
        reached.extend(scene.steps_of(&["run", "--provider", name, "--", "true"]));
        reached.extend(scene.steps_of(&["warmup", "--provider", name, "--slug", "kept"]));
        reached.extend(scene.steps_of(&["run", "--id", "kept", "--", "true"]));
        // A run whose host is dead is killed before the lease is used again.
        let steps = scene.steps_of(&["run", "--id", "kept", "--no-sync", "--", "true"]);
        let at = 1 + steps.iter().rposition(|step| step == "run sent").unwrap();
        let arguments = words(&["run", "--id", "kept", "--no-sync", "--", "sleep", "60"]);
        assert_eq!(scene.kill(&[(at, arguments)]), [true]);
        scene.wait_for_guards();
        reached.extend(scene.steps_of(&["run", "--id", "kept", "--no-sync", "--", "true"]));
        reached.extend(scene.steps_of(&["stop", "kept"]));
        scene.assert_cleaned_up("after all");
        scene.end();
    }
    let never: Vec<_> = known.lines().filter(|name| !reached.contains(*name)).collect();
    assert!(never.is_empty(), "no test comes by: {never:?}");
}

#[test]
fn killed_at_each_step_on_local() {
    at_each_step(Plugin::Local);
}

#[test]
fn killed_at_each_step_on_python() {
    at_each_step(Plugin::Python);
}

#[test]
fn killed_at_each_step_on_sh() {
    at_each_step(Plugin::Sh);
}

#[test]
fn killed_at_each_step_where_leases_land_late() {
    at_each_step(Plugin::Rude);
}

fn at_each_step(plugin: Plugin) {
    let Some(mut scene) = Scene::new(plugin) else { return };
    probes(&mut scene);
    runs(&mut scene);
    kept(&mut scene);
    cleanups(&mut scene);
    assert!(scene.kills >= share(&scene) * 2, "{plugin:?}: {} hosts were killed", scene.kills);
    scene.end();
}

/// The plugins are asked who they are.
fn probes(scene: &mut Scene) {
    let probe = ["plugins", "list", "--probe"];
    let count = scene.steps_of(&probe).len();
    let commands: Vec<_> = (1..=count).map(|step| (step, words(&probe))).collect();
    assert!(scene.kill(&commands).contains(&true), "{:?}", scene.plugin);
    scene.assert_cleaned_up("a list that was killed");
}

/// A run on a lease of its own.
fn runs(scene: &mut Scene) {
    if scene.plugin == Plugin::Rude {
        scene.world.be(SLOW);
    }
    let run = ["run", "--provider", scene.plugin.name(), "--", "sh", "-c", COMMAND];
    let count = scene.steps_of(&run).len();
    for steps in some_of(count, share(scene)).chunks(AT_ONCE) {
        let commands: Vec<_> = steps.iter().map(|step| (*step, words(&run))).collect();
        scene.kill(&commands);
        scene.assert_cleaned_up(&format!("a run that was killed at {steps:?}"));
    }
    if scene.plugin == Plugin::Rude {
        scene.world.be(PROMPT);
    }
}

/// A run on a lease that stays, and then `stop`. In between the lease is as good as before.
fn kept(scene: &mut Scene) {
    let warmup = ["warmup", "--provider", scene.plugin.name()];
    scene.world.ok(&[&warmup[..], &["--slug", "first"]].concat());
    scene.world.write("changed", "0");
    let run = scene.steps_of(&["run", "--id", "first", "--", "sh", "-c", COMMAND]).len();
    let stop = scene.steps_of(&["stop", "first"]).len();
    let runs = some_of(run, share(scene));
    let stops = some_of(stop, runs.len());
    for (round, steps) in runs.chunks(AT_ONCE).enumerate() {
        for _ in steps {
            scene.world.ok(&warmup);
        }
        scene.world.write("changed", round.to_string());
        let leases = scene.leases();
        let on =
            |lease: &String, step: &usize| (*step, words(&["run", "--id", lease, "--", "sh", "-c", COMMAND]));
        let commands: Vec<_> = leases.iter().zip(steps).map(|(lease, step)| on(lease, step)).collect();
        scene.kill(&commands);
        for lease in &leases {
            let output = scene.world.ok(&["run", "--id", lease, "--", "cat", "changed"]);
            assert_eq!(
                output,
                round.to_string(),
                "{:?}: a run that was killed at one of {steps:?}",
                scene.plugin
            );
        }
        let at = |(n, lease): (usize, &String)| {
            (stops[(round * AT_ONCE + n) % stops.len()], words(&["stop", lease]))
        };
        let commands: Vec<_> = leases.iter().enumerate().map(at).collect();
        scene.kill(&commands);
        // What was not begun has to be asked for again; cleanup does the rest.
        for lease in scene.leases() {
            let (code, _, stderr) = scene.world.run(&["stop", &lease]);
            assert!(code == 0 || code == 4, "{:?}: stop, killed in {commands:?}: {stderr}", scene.plugin);
        }
        scene.assert_cleaned_up(&format!("stop that was killed in {commands:?}"));
    }
}

/// `cleanup` after runs that were killed, killed itself.
fn cleanups(scene: &mut Scene) {
    let run = ["run", "--provider", scene.plugin.name(), "--no-sync", "--", "sh", "-c", COMMAND];
    let steps = scene.steps_of(&run);
    let sent = 1 + steps.iter().rposition(|step| step == "run sent").unwrap();
    let acquired = 1 + steps.iter().position(|step| step == "acquire sent").unwrap();
    // What one lease takes is about as much as a release after a run.
    let count = steps.len() - sent + 8;
    for at in some_of(count, share(scene)).chunks(AT_ONCE) {
        let dead = |n: usize| (if n.is_multiple_of(2) { sent } else { acquired }, words(&run));
        let commands: Vec<_> = (0..at.len()).map(dead).collect();
        let killed = scene.kill(&commands);
        assert!(killed.iter().all(|killed| *killed), "{:?}: {commands:?}", scene.plugin);
        // Each cleanup finds those that the ones before left.
        scene.wait_for_guards();
        for step in at {
            scene.kill(&[(*step, words(&["cleanup"]))]);
        }
        scene.assert_cleaned_up(&format!("cleanup that was killed at {at:?}"));
    }
}
