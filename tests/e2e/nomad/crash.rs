//! SIGKILL of the host at its steps and at random moments: what it leaves on the cluster is found again.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crabbox_tests::nomad::{Late, Request};
use crabbox_tests::wait_for;
use serde_json::{Value, json};

use super::Site;
use crate::crash::kills;
use crate::crash::victims::{self, kill, spread};

/// What the command does. When it is killed half way, there is a process more to be found.
const COMMAND: [&str; 4] = ["--", "sh", "-c", "sleep 60 & sleep 0.2; kill $!"];

/// How many rounds there are: each waits for what may still land.
fn rounds() -> usize {
    (kills() / 64).max(1)
}

/// A site with room for many leases.
fn roomy() -> Site {
    let site = Site::new();
    site.configure(json!({"cpu": 50, "memoryMb": 32}));
    site
}

fn run(site: &Site, arguments: &[&str]) -> std::process::Command {
    site.crabbox(&[&["run"], arguments, &COMMAND].concat())
}

/// Cleans up until nothing is left anywhere.
fn clean(site: &Site) {
    let begun = Instant::now();
    loop {
        let (code, stdout, stderr) = site.run(&["cleanup", "--wait"]);
        let left = (site.agent.jobs(), site.agent.processes(), site.world.ok(&["list"]));
        if code == 0 && left.0.is_empty() && left.1.is_empty() && left.2.is_empty() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{code}: {left:#?}\n{stdout}{stderr}");
        std::thread::sleep(Duration::from_millis(300));
    }
    site.nothing_is_left();
}

#[test]
fn killed_at_its_steps_and_at_random() {
    let site = roomy();
    let count = victims::steps(run(&site, &[]), &site.world.root().join("steps"));
    for _ in 0..rounds() {
        kill(spread(count).map(|step| (step, run(&site, &[]))), 200);
        clean(&site);
    }
}

/// The registration of a lease takes effect when its host is long dead.
#[test]
fn killed_while_a_lease_is_made_that_lands_late() {
    let site = roomy();
    for late in [Late::AfterRequest(Duration::from_secs(7)), Late::AfterHangUp(Duration::from_secs(5))] {
        site.agent.faults(|faults| faults.late_register = Some(late));
        let asked = || site.agent.requests().iter().filter(|it| it.method != "GET").count();
        let before = asked();
        let start = || {
            let mut host = site.crabbox(&["run", "--no-sync", "--", "true"]);
            host.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let mut hosts: Vec<_> = (0..4).map(|_| start()).collect();
        wait_for("the registrations", || asked() == before + hosts.len());
        for host in &mut hosts {
            host.kill().unwrap();
            host.wait().unwrap();
        }
    }
    assert_eq!(site.agent.jobs(), Vec::<Value>::new(), "none has landed yet");
    clean(&site);
    // Nothing being left is no proof: what lands when nobody looks any more is not seen. Each has landed and was ended.
    let requests = site.agent.requests();
    let ids = |method: &str| {
        let these = requests.iter().filter(|it| it.method == method);
        these
            .filter(|it| method == "PUT" || it.query.contains("purge=true"))
            .map(job_id)
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(ids("PUT").len(), 8);
    assert_eq!(ids("DELETE"), ids("PUT"));
}

/// The job that a request is about.
fn job_id(request: &Request) -> String {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let of_path = || request.path.rsplit('/').next().unwrap().to_owned();
    body["Job"]["ID"].as_str().map_or_else(of_path, str::to_owned)
}

#[test]
fn a_lease_that_is_kept_is_as_good_as_before() {
    let site = roomy();
    let names = ["a", "b", "c", "d", "e", "f"];
    for name in names {
        let (code, _, stderr) = site.run(&["warmup", "--slug", name]);
        assert_eq!(code, 0, "{stderr}");
    }
    let count = victims::steps(run(&site, &["--id", "a"]), &site.world.root().join("steps"));
    site.world.write("changed", "1");
    let steps: Vec<_> = spread(count).take(names.len()).collect();
    let each = steps.iter().zip(names);
    kill(each.map(|(step, name)| (*step, run(&site, &["--id", name]))), 200);
    for name in names {
        let (code, stdout, stderr) = site.run(&["run", "--id", name, "--", "cat", "README.md", "changed"]);
        assert_eq!((code, stdout.as_str()), (0, "hello\n1"), "{name}, killed at one of {steps:?}: {stderr}");
        assert_eq!(site.run(&["stop", name, "--force"]).0, 0);
    }
    clean(&site);
}
