//! The whole life of a lease.

use std::fs;

use crabbox_tests::coder::{Coder, Transition};

use super::Site;
use crate::support::assert_has;

#[test]
fn a_run_makes_a_workspace_and_stops_it() {
    let Some(site) = Site::new() else { return };
    let (code, stdout, stderr) = site.run(&[
        "run",
        "--",
        "sh",
        "-c",
        "cat README.md; echo $CODER_WORKSPACE_NAME; echo err >&2; exit 7",
    ]);
    assert_eq!(code, 7, "{stderr}");
    assert_eq!(stdout, format!("hello\n{}\n", site.workspace().name));
    assert_has(&stderr, &["err\n", "workspace alice/crabbox-", "is stopped, not deleted"]);
    assert_eq!(site.workspace().status(), "stopped");
    assert!(site.coder.processes(&site.workspace().name).is_empty());
    site.nothing_is_left();
}

#[test]
fn a_lease_keeps_its_tree_over_a_stop() {
    let Some(site) = Site::new() else { return };
    let id = site.warm();
    assert_eq!(site.run(&["run", "--id", "demo", "--", "sh", "-c", "echo built >out"]).0, 0);
    assert_eq!(site.coder.asked(&["ssh"]), 1, "one connection for all of it");
    site.world.write("README.md", "hello again\n");
    let (code, stdout, stderr) = site.run(&["run", "--id", "demo", "--", "cat", "README.md", "out"]);
    assert_eq!((code, stdout.as_str()), (0, "hello again\nbuilt\n"), "{stderr}");
    let name = site.workspace().name;
    site.coder.build(&name, Transition::Stop);
    crabbox_tests::wait_for("the stop", || site.workspace().status() == "stopped");
    let (code, stdout, stderr) = site.run(&["run", "--id", "demo", "--", "cat", "README.md", "out"]);
    assert_eq!((code, stdout.as_str()), (0, "hello again\nbuilt\n"), "{stderr}");
    assert_eq!(site.run(&["stop", &id]).0, 0);
    assert_eq!(site.workspace().status(), "stopped");
    fs::remove_dir_all(site.root()).unwrap();
}

/// Neither a connection that comes late nor one that is made by hand.
#[test]
fn a_workspace_that_was_stopped_is_started_only_to_be_used() {
    let Some(site) = Site::new() else { return };
    let id = site.warm();
    let way = site.claim()["ssh"]["proxyCommand"].clone();
    let words: Vec<&str> = way.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert!(words[0].starts_with('/') && words.contains(&"--disable-autostart"), "{words:?}");
    assert_eq!(site.run(&["stop", &id]).0, 0);
    let (code, _, stderr) = crabbox_tests::ended(site.world.command(words[0]).args(&words[1..]));
    assert_eq!(code, 1, "{stderr}");
    assert_has(&stderr, &["workspace must be started"]);
    assert_eq!((site.workspace().status(), site.coder.asked(&["start"])), ("stopped", 0));
}

#[test]
fn a_workspace_that_was_made_again_is_another_machine() {
    let Some(site) = Site::new() else { return };
    let id = site.warm();
    let first = site.claim()["ssh"].clone();
    assert_eq!(site.run(&["run", "--id", &id, "--", "true"]).0, 0);
    assert_eq!(site.run(&["stop", &id, "--coder-delete-on-release"]).0, 0);
    let id = site.warm();
    let second = site.claim()["ssh"].clone();
    assert_ne!(first["hostKeyId"], second["hostKeyId"]);
    assert_ne!(first["host"], second["host"]);
    assert!(second["hostKeyId"].as_str().unwrap().starts_with(&site.workspace().id));
    assert_eq!(site.run(&["run", "--id", &id, "--", "true"]).0, 0, "with a host key of its own");
    assert_eq!(site.run(&["stop", &id]).0, 0);
    assert!(Coder::config_dir(&site.world).exists());
}
