//! SIGKILL of the host at its steps, at random moments, and while a machine is made: what it leaves at Freestyle is
//! found again, and a run beside it notices nothing.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crabbox_tests::freestyle::Late;
use crabbox_tests::{Ended, Plugin, wait_for};
use serde_json::Value;

use super::site::Site;
use crate::crash::{kills, random};
use crate::support::{assert_has, claim};

/// What the command does. When it is killed half way, there is a process more to be found.
const COMMAND: [&str; 4] = ["--", "sh", "-c", "sleep 60 & sleep 0.2; kill $!"];

/// How many hosts are killed at once.
const AT_ONCE: usize = 8;

/// How many rounds there are.
fn rounds() -> usize {
    (kills() / 64).max(1)
}

/// A host that is to be killed: at its Nth step, or not by itself with 0. Its lease appears within a second, or not
/// at all: the provider's five minutes are for a real cloud.
fn victim(site: &Site, step: usize, arguments: &[&str]) -> Command {
    let mut host = site.crabbox(arguments);
    host.env("CRABBOX_FAULT_AT", step.to_string()).env("CRABBOX_CREATE_SETTLE", "1");
    host.env("TMPDIR", temporary(site)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    host
}

/// The directory for temporary files of those that are to be killed.
fn temporary(site: &Site) -> PathBuf {
    let directory = site.world.root().join("tmp");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// How many steps a command has when nobody kills it.
fn steps(site: &Site, arguments: &[&str]) -> usize {
    let log = site.world.root().join("steps");
    let _ = std::fs::remove_file(&log);
    let mut host = victim(site, 0, arguments);
    assert!(host.args(COMMAND).env("CRABBOX_FAULT_LOG", &log).status().unwrap().success());
    std::fs::read_to_string(log).unwrap().lines().count()
}

/// Runs commands at once, each killed at a step of its own, or after a time where that is none.
fn kill(site: &Site, all: &[(usize, Vec<&str>)]) {
    let start = |(step, arguments): &(usize, Vec<&str>)| {
        victim(site, *step, arguments).args(COMMAND).spawn().unwrap()
    };
    let hosts: Vec<_> = all.iter().map(start).collect();
    for ((step, arguments), mut host) in all.iter().zip(hosts) {
        if *step == 0 {
            std::thread::sleep(Duration::from_millis(random(300)));
            host.kill().unwrap();
        }
        let status = host.wait().unwrap();
        assert!(status.signal() == Some(9) || status.success(), "{step} of {arguments:?}: {status}");
    }
}

/// What is there beyond what belongs to a run that is alive: machines, claims, files of runs, and temporary ones.
fn left(site: &Site, alive: &Bystander) -> (Vec<String>, Vec<PathBuf>) {
    let machines = site.cloud.vms().into_iter().map(|vm| vm["id"].as_str().unwrap().to_owned());
    let all = site.world.leftovers(Plugin::Local).into_iter().chain(site.world.unfinished());
    let all = all.chain(std::fs::read_dir(temporary(site)).unwrap().map(|entry| entry.unwrap().path()));
    (
        machines.filter(|id| alive.machine.as_ref() != Some(id)).collect(),
        all.filter(|path| !alive.files.contains(path)).collect(),
    )
}

/// Cleans up until nothing is left anywhere. The guards of the dead hold their locks for a while.
fn clean(site: &Site, alive: &Bystander) {
    let begun = Instant::now();
    loop {
        let (code, stdout, stderr) = site.run(&["cleanup", "--wait"]);
        let left = left(site, alive);
        if code == 0 && left == (vec![], vec![]) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{code}: {left:#?}\n{stdout}{stderr}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A run that must not notice anything.
struct Bystander {
    child: Option<Child>,
    machine: Option<String>,
    files: Vec<PathBuf>,
}

impl Bystander {
    /// Nobody.
    const NONE: Self = Self { child: None, machine: None, files: Vec::new() };

    /// A run that waits for a word.
    fn new(site: &Site) -> Self {
        let script = "echo up; while [ ! -e ../go ]; do sleep 0.2; done; echo end; exit 5";
        let mut run = site.crabbox(&["run", "--no-sync", "--", "sh", "-c", script]);
        let mut child =
            run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = Vec::new();
        while line != *b"up\n" {
            // A byte at a time: the rest is read at the end.
            let mut one = BufReader::with_capacity(1, child.stdout.as_mut().unwrap());
            assert!(one.read_until(b'\n', &mut line).unwrap() > 0);
        }
        let machine = site.cloud.vms()[0]["id"].as_str().unwrap().to_owned();
        Self { child: Some(child), machine: Some(machine), files: site.world.leftovers(Plugin::Local) }
    }

    /// It goes on as if nothing had been.
    fn end(self, site: &Site) {
        let root = site.cloud.root(self.machine.as_ref().unwrap());
        std::fs::write(root.join("workspace/crabbox/go"), "").unwrap();
        let begun = Instant::now();
        let ended = Ended::of_child(self.child.unwrap(), || {
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not end");
        });
        assert_eq!((ended.code, ended.stdout.as_str()), (5, "end\n"), "{}", ended.stderr);
    }
}

#[test]
fn killed_at_its_steps_and_at_random() {
    let Some(site) = Site::new() else { return };
    let alive = Bystander::new(&site);
    let count = steps(&site, &["run"]);
    for _ in 0..rounds() {
        let offset = random(count as u64) as usize;
        let at = (0..AT_ONCE).map(|n| (1 + (offset + n * count / AT_ONCE) % count, vec!["run"]));
        let any = (0..AT_ONCE / 2).map(|_| (0, vec!["run"]));
        kill(&site, &at.chain(any).collect::<Vec<_>>());
        clean(&site, &alive);
    }
    alive.end(&site);
    site.nothing_is_left();
}

/// The creation takes effect when its host is long dead: of some after five seconds, and of one only after somebody
/// has looked for it.
#[test]
fn killed_while_a_machine_is_made_that_lands_late() {
    let Some(site) = Site::new() else { return };
    let creations = || {
        let is = |it: &&crabbox_tests::freestyle::Request| it.method == "POST" && it.length > 0;
        site.cloud.requests().iter().filter(is).count()
    };
    let kill = |late, hosts: usize| {
        site.cloud.faults(|faults| faults.late_create = Some(late));
        let before = creations();
        let start = |_| {
            let mut host = site.crabbox(&["run", "--no-sync", "--", "true"]);
            host.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let mut hosts: Vec<_> = (0..hosts).map(start).collect();
        wait_for("the creations", || creations() == before + hosts.len());
        for host in &mut hosts {
            host.kill().unwrap();
            host.wait().unwrap();
        }
    };
    kill(Late::WhenHealed, 1);
    let (_, before) = claim(&site.world);
    let id = before["lease"]["id"].as_str().unwrap();
    let mut said = String::new();
    wait_for("the end of its guard", || {
        let (code, stdout, stderr) = site.run(&["cleanup"]);
        said = format!("{stdout}{stderr}");
        // Until then it is in use.
        assert_eq!(code, i32::from(!said.contains("in use")), "{said}");
        code == 1
    });
    assert_has(
        &said,
        &[id, "pending", "it may still appear", "run `crabbox cleanup` again after 20", "--wait"],
    );
    let (_, kept) = claim(&site.world);
    assert_eq!((&kept["lease"]["id"], &kept["state"]), (&before["lease"]["id"], &before["state"]));
    assert_eq!(site.cloud.vms(), Vec::<Value>::new(), "it has not landed yet");

    kill(Late::AfterHangUp(Duration::from_secs(5)), 3);
    wait_for("all that land", || site.cloud.vms().len() == 4);
    site.cloud.heal();
    clean(&site, &Bystander::NONE);
    let deleted = site.cloud.requests().iter().filter(|it| it.method == "DELETE" && it.status < 300).count();
    assert_eq!(deleted, 4);
    site.nothing_is_left();
}

#[test]
fn a_lease_that_is_kept_is_as_good_as_before() {
    let Some(site) = Site::new() else { return };
    let names = ["a", "b", "c", "d"];
    for name in names {
        site.ok(&["warmup", "--slug", name]);
    }
    let count = steps(&site, &["run", "--id", "a"]);
    site.world.write("changed", "1");
    let offset = random(count as u64) as usize;
    let each = names.iter().enumerate();
    let each =
        each.map(|(n, name)| (1 + (offset + n * count / names.len()) % count, vec!["run", "--id", name]));
    kill(&site, &each.collect::<Vec<_>>());
    for name in names {
        let (code, stdout, stderr) = site.run(&["run", "--id", name, "--", "cat", "README.md", "changed"]);
        assert_eq!((code, stdout.as_str()), (0, "hello\n1"), "{name}, from step {offset}: {stderr}");
        site.ok(&["stop", name, "--force"]);
    }
    clean(&site, &Bystander::NONE);
    site.nothing_is_left();
}
