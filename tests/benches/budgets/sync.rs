//! Sync: a first bundle, an unchanged tree, one changed file, and whether ten times as many files take ten times
//! as long.
//!
//! Nothing is deleted before all has been measured: for minutes after files were deleted, ext4 makes new ones
//! many times slower than ever (it looks for an inode that was not in use lately, one by one).

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crabbox_tests::World;
use serde_json::{Value, json};

use crate::measure::{median, mib, ms, quietly, row, watched};
use crate::repository::{path, repository};

/// What a run's timing record says, and what it sent.
struct Synced {
    wall: Duration,
    /// Until the bundle is ready: reading the tree, hashing and packing.
    ready: Duration,
    phases: Vec<(String, Duration)>,
    sent: String,
    memory: u64,
}

pub(crate) fn syncs() {
    let world = repository(10_000, 10_000);
    // `local` itself is nearby: its bundles are not compressed.
    world.local_as("far", &json!({}));
    firsts(&world);
    kept(&world, "10,000 files, 100 MB", 15);
    let growth = growth();
    drop((world, growth));
}

/// A new lease each time, as far as a bundle and as far as the lease, against git, tar and gzip.
fn firsts(world: &World) {
    let list = "git ls-files -z | tar --null -T - -c";
    let [packed, archive] = ["packed", "archive"].map(|name| world.root().join(name));
    let yardsticks = [
        format!("{list} | gzip -1 >/dev/null"),
        format!("{list} | gzip -1 >{}", packed.display()),
        format!("{list} >{}", archive.display()),
    ];
    let mut times = [const { Vec::new() }; 3];
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        for (yardstick, times) in yardsticks.iter().zip(&mut times) {
            let begun = Instant::now();
            quietly(world.command("sh").args(["-c", yardstick]));
            times.push(begun.elapsed());
        }
        near.push(first(world, "local"));
        far.push(first(world, "far"));
    }
    let [to_null, to_file, plain] = times.map(median);
    println!("{}, 10,000 files, a new lease", near[0].sent);
    row("yardstick: git ls-files | tar | gzip -1 >/dev/null", ms(to_null), "");
    row("yardstick: git ls-files | tar | gzip -1 >FILE", ms(to_file), "");
    row("yardstick: git ls-files | tar >FILE", ms(plain), "");
    let size = |path| fs::metadata(path).unwrap().len() as f64;
    row("  the archive, to the compressed one", format!("{:.2}", size(&archive) / size(&packed)), "");
    for (what, runs, yardstick) in [("as it is", &near, plain), ("compressed", &far, to_null)] {
        let ready = median(runs.iter().map(|run| run.ready).collect());
        row(&format!("first bundle, {what}: until it is ready"), ms(ready), "");
        row("  to git ls-files | tar | gzip -1 >/dev/null", ratio(ready, to_null), "1.00");
        if yardstick != to_null {
            row("  to git ls-files | tar >FILE", ratio(ready, yardstick), "");
        }
        phases(runs);
        row("  run --sync-only, from start to end", ms(walls(runs)), "");
        most_memory(runs);
    }
}

/// Nothing has been read before: the first sync of a repository, to a new lease.
fn first(world: &World, provider: &str) -> Synced {
    let _ = fs::remove_dir_all(world.home().join(".cache/crabbox/trees"));
    sync(world, &["--provider", provider, "--keep"])
}

/// A lease that stays: nothing changed, and one file changed.
fn kept(world: &World, what: &str, rounds: usize) {
    world.ok(&["warmup", "--slug", "bench"]);
    sync(world, &["--id", "bench"]);
    let (mut unchanged, mut changed) = (Vec::new(), Vec::new());
    for n in 0..rounds {
        unchanged.push(sync(world, &["--id", "bench"]));
        world.write(&path(4321), format!("the content of round {n}\n").repeat(400));
        changed.push(sync(world, &["--id", "bench"]));
    }
    for (change, runs, budget) in [("unchanged", &unchanged, "150 ms"), ("one file changed", &changed, "")] {
        let wall = walls(runs);
        row(&format!("{what}, a kept lease, {change}: {}", runs[0].sent), ms(wall), budget);
        phases(runs);
        most_memory(runs);
    }
}

/// Ten times the files of the same size: what takes how many times as long.
fn growth() -> Vec<World> {
    let (mut worlds, mut small) = (Vec::new(), Vec::new());
    for (files, what, rounds) in [(10_000, "10,000 files, 10 MB", 5), (100_000, "100,000 files, 100 MB", 3)] {
        let world = repository(files, 1_000);
        let firsts: Vec<_> = (0..rounds).map(|_| first(&world, "local")).collect();
        world.ok(&["warmup", "--slug", "bench"]);
        sync(&world, &["--id", "bench"]);
        let unchanged: Vec<_> = (0..rounds).map(|_| sync(&world, &["--id", "bench"])).collect();
        for (n, (how, runs)) in
            [("a new lease", &firsts), ("a kept lease, unchanged", &unchanged)].into_iter().enumerate()
        {
            let wall = walls(runs);
            row(&format!("{what}, {how}"), ms(wall), "");
            match small.get(n) {
                None => small.push(wall),
                Some(small) => row("  to 10,000 files of that size", ratio(wall, *small), "10.00"),
            }
            phases(runs);
            most_memory(runs);
        }
        worlds.push(world);
    }
    worlds
}

/// Syncs, and says what that took.
fn sync(world: &World, lease: &[&str]) -> Synced {
    let log = world.root().join("log");
    let mut host = world.crabbox(&[&["run", "--sync-only", "--timing-json"], lease].concat());
    host.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
    let begun = Instant::now();
    let (ended, memory) = watched(&mut host.spawn().unwrap());
    let wall = begun.elapsed();
    let said = fs::read_to_string(&log).unwrap();
    assert!(ended.success(), "{said}");
    let record: Value =
        serde_json::from_str(said.lines().find(|line| line.starts_with('{')).unwrap()).unwrap();
    let phase = |phase: &Value| (phase["name"].as_str().unwrap().to_owned(), millis(&phase["ms"]));
    let phases: Vec<_> = record["syncPhases"].as_array().unwrap().iter().map(phase).collect();
    let applied: Duration = phases.iter().filter(|(name, _)| name == "apply").map(|(_, took)| *took).sum();
    let ready = millis(&record["totalMs"])
        .saturating_sub(applied)
        .saturating_sub(millis(&record["leaseMs"]))
        .saturating_sub(millis(&record["releaseMs"]));
    let sent = said.lines().find(|line| line.contains("sync complete")).unwrap();
    let sent = sent.rsplit(": ").next().unwrap().to_owned();
    Synced { wall, ready, phases, sent, memory }
}

fn millis(value: &Value) -> Duration {
    Duration::from_millis(value.as_u64().unwrap_or(0))
}

/// The parts of a sync, by name.
fn phases(runs: &[Synced]) {
    for (n, (name, _)) in runs[0].phases.iter().enumerate() {
        let took = runs.iter().filter_map(|run| Some(run.phases.get(n)?.1)).collect();
        row(&format!("  of this: {name}"), ms(median(took)), "");
    }
}

fn walls(runs: &[Synced]) -> Duration {
    median(runs.iter().map(|run| run.wall).collect())
}

fn most_memory(runs: &[Synced]) {
    let memory = runs.iter().map(|run| run.memory).max().unwrap_or(0);
    row("  the most memory that the host had", mib(memory), "");
}

fn ratio(one: Duration, other: Duration) -> String {
    format!("{:.2}", one.as_secs_f64() / other.as_secs_f64())
}
