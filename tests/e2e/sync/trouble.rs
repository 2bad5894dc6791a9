//! What is in the way of a sync: files that cannot be read, tools that are not there, links where our files
//! were, a user who has changed their mind.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Child, Stdio};

use crabbox_tests::{Plugin, World, ended, skip, wait_for};
use rustix::process::{Pid, Signal, kill_process};

use super::Demo;
use super::size::noise;
use crate::support::{ALL, assert_has, assert_nothing_left, end, files, spawn};

#[test]
fn a_file_that_cannot_be_read_is_named_before_there_is_a_lease() {
    let world = World::new();
    let secret = world.write("dir/secret", "1");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&secret).is_ok() {
        return skip("unprivileged", "this user reads every file, whatever its permissions");
    }
    let (code, stdout, stderr) = world.run(&["run", "--", "true"]);
    assert_eq!((code, stdout.as_str()), (6, ""), "{stderr}");
    assert_has(&stderr, &["error: cannot read `dir/secret`", "hint: make it readable"]);
    assert!(!stderr.contains("leased"), "{stderr}");
    assert_nothing_left(&world, Plugin::Local);
}

#[test]
fn a_lease_without_tar_is_named_and_released() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let tools = world.root().join("tools");
        fs::create_dir(&tools).unwrap();
        for directory in ["/usr/bin", "/bin"] {
            for tool in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap()) {
                if tool.file_name() != "tar" {
                    let _ = symlink(tool.path(), tools.join(tool.file_name()));
                }
            }
        }
        let path = format!("{}:{}", world.bin().display(), tools.display());
        let mut run = world.crabbox(&["run", "--provider", plugin.name(), "--", "true"]);
        let (code, stdout, stderr) = ended(run.env("PATH", path));
        assert_eq!((code, stdout.as_str()), (6, ""), "{plugin:?}: {stderr}");
        assert_has(&stderr, &["error: this lease lacks what sync needs: tar\n", "hint: "]);
        assert_nothing_left(&world, plugin);
    }
}

#[test]
fn links_in_the_place_of_our_files_lead_the_next_sync_nowhere() {
    for demo in Demo::all() {
        for path in ["dir/file", "dir/sub/file", "dir/gone", "top", "other/file"] {
            demo.world.write(path, "ours");
        }
        demo.sync();
        let outside = demo.world.root().join("outside");
        fs::create_dir_all(outside.join("sub")).unwrap();
        for path in ["file", "sub/file", "gone", "top"] {
            fs::write(outside.join(path), "theirs").unwrap();
        }
        let theirs = files(&outside);
        let plant = |place: &str| {
            demo.run_with(&[
                "--",
                "sh",
                "-c",
                include_str!("plant_links.sh"),
                place,
                outside.to_str().unwrap(),
            ]);
        };
        for place in ["files", "directories", "workspace"] {
            plant(place);
            for path in ["dir/file", "top"] {
                demo.world.write(path, format!("ours, after {place}"));
            }
            let _ = fs::remove_file(demo.world.repo().join("dir/gone"));
            demo.sync();
            assert_eq!(files(&outside), theirs, "{:?}: {place}", demo.plugin);
            assert!(fs::symlink_metadata(demo.ws()).unwrap().is_dir(), "{:?}: {place}", demo.plugin);
            demo.has_ours_and(&[]);
        }
        // Among the sync's own files there may be no links at all.
        plant("records");
        demo.world.write("top", "ours, after records");
        let (code, _, stderr) = demo.world.run(&["run", "--id", "demo", "--", "true"]);
        assert_eq!(files(&outside), theirs, "{:?}: {stderr}", demo.plugin);
        assert_eq!(code, 6, "{:?}: {stderr}", demo.plugin);
        assert_has(&stderr, &[".crabbox/sync is a symbolic link"]);
    }
}

/// A `tar` for the lease that stands still while there is a file called `hang`, and says so by another.
pub(crate) fn slow_tar(world: &World) {
    let [hang, begun] = ["hang", "begun"].map(|name| world.root().join(name).display().to_string());
    let tar = which::which("tar").unwrap();
    world.script(
        "tar",
        &format!(
            "#!/bin/sh\nif [ -e '{hang}' ]; then touch '{begun}'; while [ -e '{hang}' ]; do sleep 0.02; done; fi\n\
             exec '{}' \"$@\"\n",
            tar.display()
        ),
    );
    fs::write(hang, "").unwrap();
}

/// A run whose sync has begun on the lease, and stands still there.
pub(super) fn stands_still(world: &World, arguments: &[&str]) -> Child {
    slow_tar(world);
    let run = spawn(&mut world.crabbox(&[&["run"], arguments, &["--", "true"]].concat()));
    wait_for("tar", || world.root().join("begun").exists());
    run
}

pub(crate) fn goes_on(world: &World) {
    fs::remove_file(world.root().join("hang")).unwrap();
}

#[test]
fn ctrl_c_while_the_lease_is_synced_releases_it() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        world.write("large", noise(1_000_000));
        let run = stands_still(&world, &["--provider", plugin.name()]);
        kill_process(Pid::from_child(&run), Signal::INT).unwrap();
        let (code, _, stderr) = end(run);
        assert_eq!(code, 130, "{plugin:?}: {stderr}");
        assert_nothing_left(&world, plugin);
        wait_for("the end of every process", || world.processes().is_empty());
    }
}

#[test]
fn ctrl_c_while_a_kept_lease_is_synced_leaves_its_tree_and_it_can_be_used() {
    for demo in Demo::all() {
        demo.run("echo built >out");
        let before = files(&demo.ws());
        demo.world.write("large", noise(1_000_000));
        let run = stands_still(&demo.world, &["--id", "demo"]);
        kill_process(Pid::from_child(&run), Signal::INT).unwrap();
        let (code, _, stderr) = end(run);
        assert_eq!(code, 130, "{:?}: {stderr}", demo.plugin);
        // What watched the first run may live a little longer than the run.
        wait_for("the end of all", || demo.world.processes().is_empty());
        assert_eq!(files(&demo.ws()), before, "{:?}", demo.plugin);
        goes_on(&demo.world);
        demo.run_with(&["--no-sync", "--", "true"]);
        assert_eq!(files(&demo.ws()), before, "{:?}", demo.plugin);
        demo.sync();
        demo.has_ours_and(&[("out", "644 built\n")]);
    }
}

#[test]
fn ctrl_c_at_any_moment_of_a_large_sync_leaves_nothing() {
    let world = World::new();
    for n in 0..200 {
        world.write(&format!("large/file{n}"), noise(50_000));
    }
    for after in [0, 10, 30, 60, 100, 150] {
        let seen = world.root().join("seen");
        let mut run = world.crabbox(&["run", "--", "sleep", "60"]);
        let run = run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&seen).unwrap());
        let mut run = run.spawn().unwrap();
        let said = || fs::read_to_string(&seen).unwrap();
        wait_for("the sync", || said().contains("sync candidate"));
        std::thread::sleep(std::time::Duration::from_millis(after));
        kill_process(Pid::from_child(&run), Signal::INT).unwrap();
        assert_eq!(run.wait().unwrap().code(), Some(130), "{after} ms: {}", said());
        assert_nothing_left(&world, Plugin::Local);
        wait_for("the end of every process", || world.processes().is_empty());
    }
}
