//! A crew of 50: what is recorded, what has to be asked, and a plugin that says nothing.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crabbox_tests::{Profile, World, tool};
use serde_json::{Value, json};

use crate::measure::{median, ms, quietly, row};

const MEMBERS: usize = 50;

/// Answers everything at once.
const ANSWERS: &str = r#"acquire) ok '{"lease":{}}' ;; release) ok '{"outcome":"released"}' ;; run) ok '{"exitCode":0}' ;;
bridge) ok '{"state":"ready","transport":"url","endpoint":"https://a.example.com"}' ;;"#;

/// Says nothing more when the lease is made.
const HANGS: &str = r#"acquire) ok '{"lease":{}}' ;; bridge) sleep 600 ;;"#;

/// The same, but what there is to know comes with the lease.
const TOLD: &str = r#"acquire) ok '{"lease":{"endpoints":[{"transport":"url","endpoint":"https://a.example.com"}]}}' ;;
bridge) sleep 600 ;;"#;

pub(crate) fn peers() {
    recorded_and_not();
    hanging();
    python();
}

/// 50 members of five providers: `local` and four shell scripts.
fn recorded_and_not() {
    let names = ["local", "one", "two", "three", "four"];
    let world = world(&names[1..], ANSWERS);
    for n in 0..MEMBERS {
        warm(&world, names[n % names.len()], n);
    }
    let (mut known, mut asked) = (Vec::new(), Vec::new());
    for _ in 0..30 {
        forget(&world);
        asked.push(timed(&world, "ready"));
        known.push(timed(&world, "url"));
    }
    said("crew peers, 50 members of 5 providers, endpoints recorded", known, "300 ms");
    said("crew peers, the same, each provider asked first", asked, "");
}

/// A plugin that does not answer: some of the members, all of them, and where nobody has to ask it.
fn hanging() {
    let deadline = "10 s";
    let some = world(&["good", "hangs"], ANSWERS);
    provider(&some, "hangs", HANGS);
    for n in 0..MEMBERS {
        warm(&some, if n % 5 == 0 { "hangs" } else { "good" }, n);
    }
    let times = (0..3).map(|_| timed(&some, "error")).collect();
    said("crew peers, 10 of 50 members of a plugin that hangs", times, deadline);
    let all = world(&["hangs"], HANGS);
    for n in 0..MEMBERS {
        warm(&all, "hangs", n);
    }
    let before = all.starts("hangs");
    let times = (0..3).map(|_| timed(&all, "error")).collect();
    said("crew peers, 50 of 50", times, deadline);
    row("  processes of the plugin", (all.starts("hangs") - before) / 3, "8");
    let told = world(&["told"], TOLD);
    for n in 0..MEMBERS {
        warm(&told, "told", n);
    }
    let before = told.starts("told");
    let times = (0..30).map(|_| timed(&told, "url")).collect();
    said("crew peers, 50 of 50, endpoints recorded", times, "300 ms");
    row("  processes of the plugin", told.starts("told") - before, "0");
}

/// A provider in Python that has nothing to say of its leases, so that it is asked each time.
fn python() {
    let Some(python) = tool("python3") else { return };
    let world = World::of(Profile::Release);
    std::os::unix::fs::symlink(python, world.bin().join("python3")).unwrap();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    world.install(&manifest.join("providers/python/crabbox-provider-tailnet"));
    for n in 0..MEMBERS {
        warm(&world, "tailnet", n);
    }
    let times = (0..20).map(|_| timed(&world, "unsupported")).collect();
    said("crew peers, 50 members of a provider in Python, asked", times, "");
    world.ok(&["crew", "release", "team"]);
}

fn world(names: &[&str], cases: &str) -> World {
    let world = World::of(Profile::Release);
    names.iter().for_each(|name| provider(&world, name, cases));
    world
}

fn provider(world: &World, name: &str, cases: &str) {
    let methods = ["acquire", "run", "release", "bridge"];
    let size = json!({"type": "string", "default": "small", "description": "The size of a machine"});
    let config = json!({"type": "object", "properties": {"size": size}});
    let manifest = json!({"methods": methods, "transports": ["url"], "config": config});
    world.provider(name, &manifest, cases);
}

fn warm(world: &World, provider: &str, n: usize) {
    let slug = format!("m{n:02}");
    let words = ["warmup", "--provider", provider, "--slug", &slug, "--crew", "team"];
    quietly(&mut world.crabbox(&words));
}

/// Takes the endpoints out of the claims.
fn forget(world: &World) {
    for entry in fs::read_dir(world.state().join("claims")).unwrap() {
        let path = entry.unwrap().path();
        let mut claim: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        claim.as_object_mut().unwrap().remove("endpoints");
        fs::write(path, claim.to_string()).unwrap();
    }
}

/// How long the listing takes, which has to have all members and this word.
fn timed(world: &World, word: &str) -> Duration {
    let begun = Instant::now();
    // Where all members hang, that is an error.
    let (_, text, _) = world.run(&["crew", "peers", "--crew", "team", "--json"]);
    let took = begun.elapsed();
    let rows: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(rows["members"].as_array().unwrap().len(), MEMBERS);
    assert!(text.contains(&format!("\"{word}\"")), "{text}");
    took
}

fn said(what: &str, times: Vec<Duration>, budget: &str) {
    let most = times.iter().max().copied().unwrap_or_default();
    row(what, ms(median(times)), budget);
    row("  the worst", ms(most), budget);
}
