//! SIGKILL of the host at its steps and at random moments: no workspace is lost, and none appears when nobody looks any
//! more, because the CLI does not outlive its host either.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Site;
use crate::crash::kills;
use crate::crash::victims::{self, kill, spread};

/// A run of its own, in a directory of its own: all workspaces are on this machine.
fn run(site: &Site, number: usize) -> Command {
    let root = site.world.root().join(format!("work {number}")).display().to_string();
    let mut host =
        site.crabbox(&["run", "--coder-work-root", &root, "--", "sh", "-c", "sleep 60 & sleep 0.2; kill $!"]);
    host.env("CRABBOX_CREATE_SETTLE", "1");
    host
}

/// Cleans up until there is no claim; then there is no workspace either, nor a process.
fn clean(site: &Site) {
    let begun = Instant::now();
    loop {
        let (code, stdout, stderr) = site.run(&["cleanup", "--wait"]);
        if code == 0 && site.world.ok(&["list"]).is_empty() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(180), "{code}: {stdout}{stderr}");
        std::thread::sleep(Duration::from_millis(300));
    }
    crabbox_tests::wait_for("the end of all processes", || site.world.processes().is_empty());
    let left: Vec<_> = site.coder.workspaces().into_iter().map(|it| (it.name.clone(), it.status())).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn killed_at_its_steps_and_at_random() {
    let Some(site) = Site::new() else { return };
    site.configure(json!({"deleteOnRelease": true}));
    site.coder.template(|template| {
        // Long enough to be killed before there is a workspace, and before it is built.
        template.plan = Duration::from_millis(400);
        template.start = Duration::from_millis(400);
    });
    let count = victims::steps(run(&site, 0), &site.world.root().join("steps"));
    for _ in 0..(kills() / 64).max(1) {
        let steps = spread(count).enumerate();
        kill(steps.map(|(number, step)| (step, run(&site, number + 1))), 4000);
        clean(&site);
    }
}

/// The CLI plans before it asks for the workspace. Left alone it would ask long after the claim is gone.
#[test]
fn a_host_that_is_killed_while_the_cli_plans_gets_no_workspace_later() {
    let Some(site) = Site::new() else { return };
    site.coder.template(|template| template.plan = Duration::from_secs(8));
    let mut host = crate::support::spawn(&mut run(&site, 0));
    crabbox_tests::wait_for("the CLI", || site.coder.asked(&["create"]) == 1);
    host.kill().unwrap();
    host.wait().unwrap();
    clean(&site);
    assert_eq!(site.coder.asked(&["create"]), 1);
}
