//! Ctrl-C and its relatives, and readers that go away: the command ends, the lease is released.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use crabbox_tests::{Plugin, World, wait_for};
use rustix::process::{Pid, Signal, kill_process};

const ALL: [Plugin; 3] = [Plugin::Local, Plugin::Python, Plugin::Sh];

fn start(world: &World, arguments: &[&str]) -> Child {
    let mut command = world.crabbox(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Waits for a line on the command's standard output: it runs.
fn first_line(child: &mut Child) -> BufReader<std::process::ChildStdout> {
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "up\n", "{}", rest(child));
    stdout
}

fn rest(child: &mut Child) -> String {
    let mut text = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut text).unwrap();
    }
    text
}

fn nothing_is_left(world: &World, plugin: Plugin) {
    assert_eq!(world.leftovers(plugin), Vec::<std::path::PathBuf>::new(), "{plugin:?}");
    wait_for("the end of every process", || world.processes().is_empty());
}

/// A provider whose `acquire` and `release` do what the test says; the rest is as in the guide.
fn provider(world: &World, acquire: &str, release: &str) {
    // Where this file is, a run never ends.
    let hang = world.root().join("hang").display().to_string();
    world.script(
        "crabbox-provider-slow",
        &format!(
            r#"#!/bin/sh
ok() {{ printf '{{"jsonrpc":"2.0","id":%s,"result":%s}}\n' "$id" "$1"; }}
while IFS= read -r line; do
  id=${{line#*'"id":'}}; id=${{id%%,*}}
  case $line in
    *'"method":"initialize"'*) ok '{{"protocol":1,"name":"slow","version":"1","lifecycle":"leased","limits":{{"createSettleMs":0}}}}' ;;
    *'"method":"acquire"'*) {acquire} ;;
    *'"method":"release"'*) {release} ;;
    *'"method":"run"'*) [ ! -e {hang} ] || {{ touch {hang}.seen; sleep 60 & wait $!; }}; ok '{{"exitCode":0}}' ;;
  esac
done
"#
        ),
    );
}

#[test]
fn ctrl_c_ends_the_command_with_its_children_and_releases_the_lease() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let mut run = start(
            &world,
            &["run", "--provider", plugin.name(), "--", "sh", "-c", "echo up; sleep 60 & sleep 60; echo no"],
        );
        let mut stdout = first_line(&mut run);
        signal(&run, Signal::INT);
        let said = rest(&mut run);
        assert_eq!(run.wait().unwrap().code(), Some(130), "{plugin:?}: {said}");
        let mut more = String::new();
        stdout.read_to_string(&mut more).unwrap();
        assert_eq!(more, "", "{plugin:?}");
        nothing_is_left(&world, plugin);
    }
}

#[test]
fn sigterm_and_sighup_have_their_own_exit_codes() {
    for (number, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        let world = World::new();
        let mut run = start(&world, &["run", "--", "sh", "-c", "echo up; sleep 60"]);
        let _stdout = first_line(&mut run);
        signal(&run, number);
        assert_eq!(run.wait().unwrap().code(), Some(code));
        nothing_is_left(&world, Plugin::Local);
    }
}

#[test]
fn a_command_that_ignores_sigterm_ends_all_the_same() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let mut run = start(
            &world,
            &[
                "run",
                "--provider",
                plugin.name(),
                "--",
                "sh",
                "-c",
                "trap '' TERM INT; echo up; while :; do sleep 0.2; done",
            ],
        );
        let _stdout = first_line(&mut run);
        signal(&run, Signal::INT);
        let said = rest(&mut run);
        assert_eq!(run.wait().unwrap().code(), Some(130), "{plugin:?}: {said}");
        nothing_is_left(&world, plugin);
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_run_quietly() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let mut run =
            start(&world, &["run", "--provider", plugin.name(), "--", "sh", "-c", "echo up; exec yes"]);
        drop(first_line(&mut run));
        let said = rest(&mut run);
        assert_eq!(run.wait().unwrap().code(), Some(141), "{plugin:?}: {said}");
        assert!(!said.contains("error"), "{plugin:?}: {said}");
        nothing_is_left(&world, plugin);
    }
}

#[test]
fn a_reader_that_stands_still_stops_the_command_and_not_ctrl_c() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let mut run =
            start(&world, &["run", "--provider", plugin.name(), "--", "sh", "-c", "echo up; exec yes"]);
        let stdout = first_line(&mut run);
        std::thread::sleep(std::time::Duration::from_millis(300));
        signal(&run, Signal::INT);
        let said = rest(&mut run);
        assert_eq!(run.wait().unwrap().code(), Some(130), "{plugin:?}: {said}");
        assert!(said.contains("bytes of output were dropped"), "{plugin:?}: {said}");
        drop(stdout);
        nothing_is_left(&world, plugin);
    }
}

#[test]
fn ctrl_c_while_the_lease_is_made_takes_it_back() {
    let world = World::new();
    let made = world.root().join("made");
    provider(
        &world,
        &format!("touch {0}; sleep 60 & wait $!; ok '{{\"lease\":{{}}}}'", made.display()),
        &format!(
            "if [ -e {0} ]; then rm {0}; ok '{{\"outcome\":\"released\"}}'; else ok '{{\"outcome\":\"absent\"}}'; fi",
            made.display()
        ),
    );
    let mut run = start(&world, &["run", "--provider", "slow", "--", "true"]);
    wait_for("acquire", || made.exists());
    signal(&run, Signal::INT);
    let said = rest(&mut run);
    assert_eq!(run.wait().unwrap().code(), Some(130), "{said}");
    assert!(!made.exists(), "{said}");
    nothing_is_left(&world, Plugin::Local);
}

#[test]
fn ctrl_c_while_releasing_warns_and_another_leaves_the_lease_named() {
    let world = World::new();
    let asked = world.root().join("asked");
    provider(&world, "ok '{\"lease\":{}}'", &format!("touch {}; sleep 60 & wait $!", asked.display()));
    let mut run = start(&world, &["run", "--provider", "slow", "--no-sync", "--", "true"]);
    wait_for("release", || asked.exists());
    signal(&run, Signal::INT);
    let mut stderr = BufReader::new(run.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("again to leave it") {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
    }
    signal(&run, Signal::INT);
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(130), "{said}");
    let claims = world.json(&["list", "--json"]);
    let id = claims[0]["id"].as_str().unwrap();
    assert!(said.contains(&format!("`crabbox stop {id}`")), "{said}");
    assert_eq!(claims[0]["claim"], "releasing");
    // The lease is there for whoever asks again.
    provider(&world, "ok '{\"lease\":{}}'", "ok '{\"outcome\":\"released\"}'");
    wait_for("cleanup", || world.run(&["cleanup"]).0 == 0 && world.ok(&["list"]).is_empty());
    wait_for("the end of the old plugin", || world.processes().is_empty());
}

#[test]
fn a_plugin_that_does_not_obey_is_killed_when_the_user_insists() {
    let world = World::new();
    let begun = world.root().join("begun");
    provider(
        &world,
        &format!("touch {}; trap '' TERM; while :; do sleep 1; done", begun.display()),
        "ok '{\"outcome\":\"absent\"}'",
    );
    let mut run = start(&world, &["run", "--provider", "slow", "--no-sync", "--", "true"]);
    wait_for("acquire", || begun.exists());
    for _ in 0..3 {
        signal(&run, Signal::INT);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let said = rest(&mut run);
    assert_eq!(run.wait().unwrap().code(), Some(130), "{said}");
    wait_for("its end", || world.processes().is_empty());
    assert_eq!(world.ok(&["list"]), "", "{said}");
}

#[test]
fn a_transport_that_hangs_cannot_hold_the_user() {
    let world = World::new();
    let hang = world.root().join("hang");
    std::fs::write(&hang, "").unwrap();
    provider(&world, "ok '{\"lease\":{}}'", "ok '{\"outcome\":\"released\"}'");
    let mut run = start(&world, &["run", "--provider", "slow", "--no-sync", "--", "true"]);
    wait_for("the run", || world.root().join("hang.seen").exists());
    // The first ends the run, the others the attempt to kill it, which hangs as well.
    let mut code = None;
    wait_for("the end", || {
        signal(&run, Signal::INT);
        std::thread::sleep(std::time::Duration::from_millis(300));
        code = run.try_wait().unwrap();
        code.is_some()
    });
    assert!(code.is_some_and(|code| code.code() == Some(130)), "{code:?}: {}", rest(&mut run));
    wait_for("its end", || world.processes().is_empty());
    std::fs::remove_file(&hang).unwrap();
    wait_for("cleanup", || world.run(&["cleanup"]).0 == 0 && world.ok(&["list"]).is_empty());
}

#[test]
fn ctrl_c_leaves_a_rollback_that_hangs_and_names_the_lease() {
    let world = World::new();
    let asked = world.root().join("asked");
    let refuse = r#"printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32000,"message":"no room"}}\n' "$id""#;
    provider(&world, refuse, &format!("touch {}; sleep 60 & wait $!", asked.display()));
    let mut run = start(&world, &["run", "--provider", "slow", "--no-sync", "--", "true"]);
    wait_for("the rollback", || asked.exists());
    let mut code = None;
    wait_for("the end", || {
        signal(&run, Signal::INT);
        std::thread::sleep(std::time::Duration::from_millis(300));
        code = run.try_wait().unwrap();
        code.is_some()
    });
    let said = rest(&mut run);
    assert_eq!(code.unwrap().code(), Some(130), "{said}");
    assert!(said.contains("no room") && said.contains("`crabbox stop cbx_"), "{said}");
    assert_eq!(world.json(&["list", "--json"])[0]["claim"], "acquiring");
    wait_for("its end", || world.processes().is_empty());
}

#[test]
fn cleanup_that_waits_can_be_interrupted() {
    let world = World::new();
    let refuse = r#"printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32000,"message":"no room"}}\n' "$id""#;
    provider(&world, refuse, "ok '{\"outcome\":\"absent\"}'");
    // A backend that is slow to show what it made.
    let text = std::fs::read_to_string(world.bin().join("crabbox-provider-slow")).unwrap();
    world.script(
        "crabbox-provider-slow",
        &text.replace(r#""createSettleMs":0"#, r#""createSettleMs":600000"#),
    );
    assert_eq!(world.run(&["run", "--provider", "slow", "--no-sync", "--", "true"]).0, 1);
    let mut cleanup = start(&world, &["cleanup", "--wait"]);
    let mut said = BufReader::new(cleanup.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("looking again in"), "{line}");
    signal(&cleanup, Signal::INT);
    assert_eq!(cleanup.wait().unwrap().code(), Some(130));
    assert_eq!(world.json(&["list", "--json"])[0]["claim"], "acquiring");
}

#[test]
fn cleanup_that_waits_ends_the_lease_of_a_host_that_was_just_killed() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let words = ["run", "--provider", plugin.name(), "--no-sync", "--", "sh", "-c", "echo up; sleep 600"];
        let mut run = start(&world, &words);
        let _stdout = first_line(&mut run);
        signal(&run, Signal::KILL);
        run.wait().unwrap();
        // Whoever does not wait is told that it is in use, and nothing else.
        let said = world.ok(&["cleanup"]);
        assert!(said.contains("it is in use") || said.contains("removed=1"), "{plugin:?}: {said}");
        let said = world.ok(&["cleanup", "--wait"]);
        assert_eq!(world.ok(&["list"]), "", "{plugin:?}: {said}");
    }
}

#[test]
fn a_plugin_that_does_not_obey_dies_with_its_host() {
    let world = World::new();
    let begun = world.root().join("begun");
    let stubborn = format!("touch {}; trap '' TERM HUP INT; while :; do sleep 1; done", begun.display());
    provider(&world, &stubborn, "ok '{\"outcome\":\"absent\"}'");
    let mut run = start(&world, &["run", "--provider", "slow", "--no-sync", "--", "true"]);
    wait_for("acquire", || begun.exists());
    signal(&run, Signal::KILL);
    run.wait().unwrap();
    wait_for("the end of the plugin", || world.processes().is_empty());
    wait_for("cleanup", || world.run(&["cleanup"]).0 == 0 && world.ok(&["list"]).is_empty());
}
