//! SIGKILL of the host at its steps and at random moments: leases, connections and commands are found again.

use std::time::{Duration, Instant};

use super::Site;
use crate::crash::kills;
use crate::crash::victims::{self, kill, spread};

/// What the command does. When it is killed half way, there is a process more to be found.
const COMMAND: [&str; 4] = ["--", "sh", "-c", "sleep 60 & sleep 0.2; kill $!"];

/// How many rounds there are.
fn rounds() -> usize {
    (kills() / 64).max(1)
}

fn run(site: &Site, arguments: &[&str]) -> std::process::Command {
    let mut host = site.crabbox(&[&["run"], arguments, &COMMAND].concat());
    host.env("CRABBOX_CREATE_SETTLE", "1");
    host
}

/// Cleans up until nothing is left.
fn clean(site: &Site) {
    let begun = Instant::now();
    loop {
        let (code, stdout, stderr) = site.run(&["cleanup", "--wait"]);
        if code == 0 && site.world.ok(&["list"]).is_empty() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{code}: {stdout}{stderr}");
        std::thread::sleep(Duration::from_millis(300));
    }
    site.nothing_is_left();
}

#[test]
fn killed_at_its_steps_and_at_random() {
    let Some(site) = Site::new() else { return };
    let count = victims::steps(run(&site, &[]), &site.world.root().join("steps"));
    for _ in 0..rounds() {
        kill(spread(count).map(|step| (step, run(&site, &[]))), 600);
        clean(&site);
    }
}

#[test]
fn a_lease_that_is_kept_is_as_good_as_before() {
    let Some(site) = Site::new() else { return };
    let names = ["a", "b", "c", "d"];
    for name in names {
        site.warm(&["--slug", name]);
    }
    let count = victims::steps(run(&site, &["--id", "a"]), &site.world.root().join("steps"));
    site.world.write("changed", "1");
    let steps = spread(count).take(names.len());
    kill(steps.zip(names).map(|(step, name)| (step, run(&site, &["--id", name]))), 600);
    for name in names {
        let (code, stdout, stderr) = site.run(&["run", "--id", name, "--", "cat", "README.md", "changed"]);
        assert_eq!((code, stdout.as_str()), (0, "hello\n1"), "{name}: {stderr}");
        assert_eq!(site.run(&["stop", name, "--force"]).0, 0);
    }
    clean(&site);
}
