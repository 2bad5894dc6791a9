//! The life of a lease on Freestyle, and what becomes of it when nobody waits any more.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crabbox_tests::wait_for;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::site::{Site, noise};
use crate::support::{assert_has, end, spawn};

#[test]
fn the_whole_life_of_a_lease() {
    let Some(site) = Site::new() else { return };
    assert_has(&site.ok(&["doctor"]), &["api", "key", "leases"]);
    assert_eq!(site.asked("GET"), site.cloud.requests().len(), "doctor only reads");
    site.ok(&["warmup", "--slug", "demo"]);
    let vm = site.cloud.vms().remove(0);
    assert_eq!((&vm["metadata"]["crabbox"], &vm["autoDeleteSeconds"]), (&json!("true"), &json!(0)));
    let status: Value = serde_json::from_str(&site.ok(&["status", "demo", "--json"])).unwrap();
    assert_eq!((&status["state"], &status["ready"]), (&json!("ready"), &json!(true)), "{status}");

    // What the first command built is there for the second, and only what changed is sent.
    let build = ["run", "--id", "demo", "--", "sh", "-c", "mkdir -p target; cat src/main.c >>target/log"];
    site.ok(&build);
    site.world.write("src/main.c", "int main(void) { return 3; }\n");
    let (_, _, stderr) = site.run(&build);
    assert_has(&stderr, &["1 file, "]);
    let log = site.ok(&["run", "--id", "demo", "--", "cat", "target/log"]);
    assert_eq!(log, "int main(void) { return 0; }\nint main(void) { return 3; }\n");

    let both = [
        "run",
        "--id",
        "demo",
        "--allow-env",
        "GREETING",
        "--",
        "sh",
        "-c",
        "echo $GREETING; echo err >&2; exit 7",
    ];
    let (code, stdout, stderr) = crabbox_tests::ended(site.crabbox(&both).env("GREETING", "hi there"));
    assert_eq!((code, stdout.as_str()), (7, "hi there\n"), "{stderr}");
    assert_has(&stderr, &["err\n"]);
    assert!(
        site.cloud.execs().iter().all(|exec| !exec.command.contains("hi there")),
        "it goes on standard input"
    );
    for (script, code) in [("kill -9 $$", 137), ("exit 255", 255), ("nonesuch", 127)] {
        assert_eq!(
            site.run(&["run", "--id", "demo", "--no-sync", "--", "sh", "-c", script]).0,
            code,
            "{script}"
        );
    }
    site.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn output_is_whole_and_comes_while_the_command_runs() {
    let Some(site) = Site::new() else { return };
    let script = "head -c 9000000 /dev/zero; printf '\\303' >&2; echo up >&2; read line <../go; printf '\\251\\000\\377'";
    let mut child = spawn(&mut site.crabbox(&[
        "run",
        "--keep",
        "--slug",
        "demo",
        "--",
        "sh",
        "-c",
        &format!("mkfifo ../go; {script}"),
    ]));
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut seen = Vec::new();
    while !seen.ends_with(b"\xc3up\n") {
        assert_ne!(stderr.read_until(b'\n', &mut seen).unwrap(), 0, "{}", String::from_utf8_lossy(&seen));
    }
    let reader = std::thread::spawn(move || child.wait_with_output().unwrap());
    site.ok(&["run", "--id", "demo", "--no-sync", "--", "sh", "-c", "echo >../go"]);
    let output = reader.join().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout.len(), 9_000_003);
    assert!(output.stdout.ends_with(b"\0\xa9\0\xff"));
    site.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn a_large_tree_goes_in_pieces_and_a_change_alone() {
    let Some(site) = Site::new() else { return };
    let bytes = noise(12 << 20);
    site.world.write("large.bin", &bytes);
    site.ok(&["warmup", "--slug", "demo"]);
    let sum = site.ok(&["run", "--id", "demo", "--", "sh", "-c", "cksum <large.bin; wc -c <large.bin"]);
    assert!(sum.ends_with(&format!("{}\n", bytes.len())), "{sum}");
    let pieces = site.cloud.requests().iter().filter(|request| request.path.contains("/fs/uploads/")).count();
    assert!(pieces >= 3, "{pieces} requests");
    site.cloud.forget();
    site.world.write("README.md", "changed\n");
    assert_eq!(site.ok(&["run", "--id", "demo", "--", "cat", "README.md"]), "changed\n");
    let sent: usize = site.cloud.requests().iter().map(|request| request.body.len()).sum();
    assert!(sent < 200_000, "{sent} bytes were sent for one small file");
    site.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn ctrl_c_ends_the_command_where_it_runs() {
    let Some(site) = Site::new() else { return };
    site.ok(&["warmup", "--slug", "demo"]);
    let before = site.cloud.processes();
    let mut child = spawn(&mut site.crabbox(&[
        "run",
        "--id",
        "demo",
        "--",
        "sh",
        "-c",
        "echo up; sleep 600; echo never",
    ]));
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let (code, _, stderr) = end(child);
    assert_eq!(code, 130, "{stderr}");
    wait_for("the end of the command's processes", || site.cloud.processes() == before);
    site.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn a_host_that_was_killed_leaves_what_cleanup_finds() {
    let Some(site) = Site::new() else { return };
    let mut command = site.crabbox(&["run", "--", "sh", "-c", "echo up; exec sleep 600"]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(site.cloud.vms().len(), 1);
    wait_for("cleanup to find the lease without an owner", || {
        site.ok(&["cleanup", "--wait"]);
        site.cloud.vms().is_empty()
    });
    site.nothing_is_left();
}

#[test]
fn the_checker_is_content() {
    let Some(site) = Site::new() else { return };
    let (code, stdout, stderr) = site.run(&["plugins", "check", "freestyle", "--live"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    site.nothing_is_left();
}
