//! A provider whose runs outlive it, and whose transport nobody closes: signs of life say who is still there.

use std::fs;
use std::process::{Child, Stdio};

use crabbox_tests::{Plugin, World, wait_for};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::repository;

/// Starts a command that says that it is up and ends by no signal that can be ignored.
fn start(world: &World, text: &str) -> Child {
    let mut command = world.crabbox(&["run", "--provider", "rude", "--", "sh", "-c", text]);
    command.env("CRABBOX_ORPHAN_GRACE", "5");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// What runs on the lease.
fn of_the_run(world: &World) -> Vec<String> {
    world.processes_with("CRABBOX_LEASE_ID=")
}

const STUBBORN: &str = "trap '' TERM INT HUP; touch up; sleep 600 & while :; do sleep 0.1; done";

fn is_up(world: &World) -> bool {
    let leases = fs::read_dir(Plugin::Rude.leases(world)).unwrap().flatten();
    leases.into_iter().any(|lease| lease.path().join("ws/up").exists())
}

/// The plugin's process.
fn plugin(world: &World) -> Pid {
    let root = world.root().into_os_string().into_encoded_bytes();
    let has = |path: std::path::PathBuf, text: &[u8]| {
        fs::read(path).is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text))
    };
    let mut all = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let found = all.find(|path| has(path.join("cmdline"), b"--stdio") && has(path.join("environ"), &root));
    let pid = found.and_then(|path| path.file_name()?.to_str()?.parse().ok());
    pid.and_then(Pid::from_raw).expect("the plugin is there")
}

/// Nobody hangs up, and the connection stays open.
#[test]
fn a_command_is_ended_by_silence_when_host_and_plugin_are_killed() {
    if !std::path::Path::new("/proc/self/environ").exists() {
        return;
    }
    let world = World::rude("lifeline run");
    let mut run = start(&world, STUBBORN);
    wait_for("the command", || is_up(&world));
    // Longer than the silence that would end it.
    std::thread::sleep(std::time::Duration::from_secs(7));
    assert_ne!(of_the_run(&world), Vec::<String>::new(), "signs of life keep it");
    signal(&run, Signal::STOP);
    kill_process(plugin(&world), Signal::KILL).unwrap();
    signal(&run, Signal::KILL);
    run.wait().unwrap();
    wait_for("the end of the plugin", || !world.processes().iter().any(|line| line.contains("--stdio")));
    assert_ne!(of_the_run(&world), Vec::<String>::new(), "nothing else ends it");
    wait_for("the end of the command", || world.processes().is_empty());
    world.ok(&["cleanup"]);
    assert_eq!(world.ok(&["list"]), "");
}

#[test]
fn a_command_is_ended_when_its_host_is_killed_because_the_plugin_hangs_up() {
    let world = World::rude("lifeline run");
    let mut run = start(&world, STUBBORN);
    wait_for("the command", || is_up(&world));
    signal(&run, Signal::KILL);
    run.wait().unwrap();
    wait_for("the end of the command", || world.processes().is_empty());
    world.ok(&["cleanup"]);
    assert_eq!(world.ok(&["list"]), "");
}

#[test]
fn ctrl_c_closes_the_commands_input_and_the_run_is_dead() {
    for text in ["touch up; exec sleep 600", STUBBORN] {
        // It waits longer for the end than the wrapper takes.
        let world = World::rude("lifeline run 9");
        let mut run = start(&world, text);
        wait_for("the command", || is_up(&world));
        signal(&run, Signal::INT);
        assert_eq!(run.wait().unwrap().code(), Some(130), "{text}");
        assert_eq!(of_the_run(&world), Vec::<String>::new(), "{text}");
        wait_for("the end of the connection", || world.processes().is_empty());
        assert_eq!(world.ok(&["list"]), "");
    }
}

/// The plugin does not hang up, and cannot say what became of the command: the host kills it.
#[test]
fn ctrl_c_ends_the_command_also_where_its_input_stays_open() {
    let world = World::rude("clinging run");
    let mut run = start(&world, STUBBORN);
    wait_for("the command", || is_up(&world));
    signal(&run, Signal::INT);
    assert_eq!(run.wait().unwrap().code(), Some(130));
    assert_eq!(of_the_run(&world), Vec::<String>::new());
    wait_for("the end of the connection", || world.processes().is_empty());
}

#[test]
fn the_exit_code_and_the_output_are_as_without() {
    let world = World::rude("lifeline run");
    let (code, stdout, stderr) =
        world.run(&["run", "--provider", "rude", "--", "sh", "-c", "cat; echo out; echo err >&2; exit 7"]);
    assert_eq!((code, stdout.as_str()), (7, "out\n"), "{stderr}");
    assert!(stderr.contains("err\n"), "{stderr}");
    wait_for("the end of the connection", || world.processes().is_empty());
}

/// A plugin that does not declare the feature, or takes it back, never hears of it.
#[test]
fn signs_of_life_are_asked_for_where_they_are_declared() {
    let traced = |world: &World, provider: &str| {
        let trace = world.root().join("trace.jsonl");
        let mut run = world.crabbox(&["run", "--provider", provider, "--", "true"]);
        let (code, _, stderr) = crabbox_tests::ended(run.env("CRABBOX_PLUGIN_TRACE", &trace));
        assert_eq!(code, 0, "{stderr}");
        let text = fs::read_to_string(trace).unwrap();
        (text.matches("lifelineMs").count(), text.contains("lifelineMs\\\":15000"))
    };
    // The command's alone: what the host itself executes is short.
    assert_eq!(traced(&World::rude("lifeline run"), "rude"), (1, true));
    assert_eq!(traced(&World::rude(""), "rude"), (0, false));
    let world = World::rude("lifeline run");
    let good = repository().join("tests/providers/python/crabbox-provider-pydir");
    let Some(python) = crabbox_tests::tool("python3") else { return };
    std::os::unix::fs::symlink(python, world.bin().join("python3")).unwrap();
    let good = fs::read_to_string(good).unwrap();
    let withdrawn = good
        .replace(r#""features": ["cancel"]"#, r#""features": ["cancel", "lifeline"]"#)
        .replace(r#"return {"scope": root,"#, r#"return {"scope": root, "withdrawn": ["lifeline"],"#);
    assert_eq!(withdrawn.matches("lifeline").count(), 2);
    world.script("crabbox-provider-pydir", &withdrawn);
    assert_eq!(traced(&world, "pydir"), (0, false));
}
