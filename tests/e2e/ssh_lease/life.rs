//! From the working tree to an exit code, over one connection.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use crabbox_tests::{Plugin, World, ended, wait_for};
use serde_json::json;

use super::site::Site;
use crate::support::{assert_has, end, spawn};

#[test]
fn a_run_goes_there_and_leaves_nothing() {
    let Some(site) = Site::new() else { return };
    site.world.write("a b.txt", "content");
    let command = "cat 'a b.txt'; echo err >&2; pwd; printf '<%s>' \"$@\"; exit 7";
    let (code, stdout, stderr) =
        site.run(&["run", "--", "sh", "-c", command, "x", "it's", "", "$HOME", "a\nb"]);
    let expected = format!("content{}/ws\n<it's><><$HOME><a\nb>", site.root().display());
    assert_eq!((code, stdout.as_str()), (7, expected.as_str()), "{stderr}");
    assert_has(&stderr, &["err\n"]);
    assert_eq!(site.sshd.connections(), 1);
    site.nothing_is_left();
}

#[test]
fn a_kept_lease_is_reached_over_one_connection() {
    let Some(site) = Site::new() else { return };
    for name in ["one", "two", "three"] {
        site.world.write(name, name);
    }
    assert_eq!(site.run(&["warmup", "--slug", "there"]).0, 0);
    let (code, stdout, stderr) = site.world.run(&["run", "--id", "there", "--", "cat", "one"]);
    assert_eq!((code, stdout.as_str()), (0, "one"), "{stderr}");
    site.world.write("two", "changed");
    let (code, stdout, stderr) =
        site.world.run(&["run", "--id", "there", "--timing-json", "--", "cat", "two"]);
    assert_eq!((code, stdout.as_str()), (0, "changed"), "{stderr}");
    assert_has(&stderr, &["1 file"]);
    assert_eq!(site.sshd.connections(), 1, "every run went over the first connection");
    assert_eq!(site.world.run(&["stop", "there"]).0, 0);
    site.nothing_is_left();
}

#[test]
fn ctrl_c_ends_all_of_the_command_there() {
    let Some(site) = Site::new() else { return };
    let up = site.sshd.home().join("up");
    let line = format!("(trap '' TERM INT; sleep 600) & sleep 600 & touch '{}'; wait", up.display());
    let child = spawn(&mut site.world.crabbox(&["run", "--provider", "away", "--", "sh", "-c", &line]));
    wait_for("the command", || up.exists());
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap(),
        rustix::process::Signal::INT,
    )
    .unwrap();
    let (code, _, stderr) = end(child);
    assert_eq!(code, 130, "{stderr}");
    site.nothing_is_left();
}

#[test]
fn a_host_that_was_killed_leaves_no_command_and_what_cleanup_finds() {
    let Some(site) = Site::new() else { return };
    let up = site.sshd.home().join("up");
    let line = format!("sleep 600 & touch '{}'; wait", up.display());
    let mut child = spawn(&mut site.world.crabbox(&["run", "--provider", "away", "--", "sh", "-c", &line]));
    wait_for("the command", || up.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let sleeps = || {
        site.sshd.processes().iter().any(|pid| {
            fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.starts_with("sleep\x00600"))
        })
    };
    wait_for("the end of the command", || !sleeps());
    wait_for("cleanup", || site.world.run(&["cleanup"]).1.contains("released"));
    site.nothing_is_left();
}

#[test]
fn a_lease_that_is_stopped_is_the_users_and_can_be_started_again() {
    let Some(site) = Site::new() else { return };
    site.ends("stop");
    let (code, _, stderr) = site.run(&["run", "--slug", "there", "--", "touch", "../left"]);
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stderr, &["lease there is stopped, not deleted", "crabbox run --id there"]);
    wait_for("the end of the connection", || site.sshd.open_connections() == 0);
    let rows = site.world.json(&["list", "--json"]);
    assert_eq!((&rows[0]["state"], &rows[0]["owner"]), (&json!("stopped"), &json!("user")), "{rows}");
    let (code, stdout, _) = site.world.run(&["cleanup"]);
    assert_eq!(code, 0);
    assert_has(&stdout, &["yours, and stopped"]);
    site.stands("ready");
    let (code, stdout, stderr) = site.world.run(&["run", "--id", "there", "--", "ls", ".."]);
    assert_eq!((code, stdout.as_str()), (0, "left\nws\n"), "{stderr}");
    assert_eq!(site.world.json(&["list", "--json"])[0]["state"], json!(null));
    let (code, _, stderr) = site.world.run(&["stop", "there"]);
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stderr, &["stopped cbx_"]);
    let (code, _, stderr) = site.world.run(&["stop", "there", "--delete"]);
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stderr, &["released cbx_"]);
    site.nothing_is_left();
}

#[test]
fn a_shell_counts_as_a_run_and_is_ended_as_one() {
    let Some(site) = Site::new() else { return };
    assert_eq!(site.run(&["warmup", "--slug", "there"]).0, 0);
    let up = site.sshd.home().join("up");
    let mut shell = site.world.crabbox(&["connect", "there"]);
    let mut shell =
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut typed = shell.stdin.take().unwrap();
    typed.write_all(format!("touch '{}'\n", up.display()).as_bytes()).unwrap();
    wait_for("the shell", || up.exists());
    let (code, _, stderr) = site.world.run(&["stop", "there"]);
    assert_eq!(code, 4, "{stderr}");
    assert_has(&stderr, &["is on lease there", "--force"]);
    let (code, _, stderr) = site.world.run(&["stop", "there", "--force"]);
    assert_eq!(code, 0, "{stderr}");
    assert_ne!(shell.wait().unwrap().code(), Some(0));
    drop(typed);
    site.nothing_is_left();
}

#[test]
fn a_person_gets_a_shell_and_the_command_for_one() {
    let Some(site) = Site::new() else { return };
    site.world.write("file", "content");
    assert_eq!(site.run(&["warmup", "--slug", "there"]).0, 0);
    assert_eq!(site.world.run(&["run", "--id", "there", "--sync-only"]).0, 0);
    let line = site.world.ok(&["ssh", "--id", "there"]);
    let mut by_hand = site.world.command("sh");
    let (code, stdout, stderr) =
        ended(by_hand.args(["-c", &format!("{} 'echo there; exit 5'", line.trim())]));
    assert_eq!((code, stdout.as_str()), (5, "there\n"), "{line}: {stderr}");
    let mut shell = site.world.crabbox(&["connect", "there"]);
    let mut shell =
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(b"cat file; exit 3\n").unwrap();
    let (code, stdout, stderr) = end(shell);
    assert_eq!((code, stdout.as_str()), (3, "content"), "{stderr}");
    assert_eq!(site.sshd.connections(), 2, "the shell went over the lease's own, by hand not");
    assert_eq!(site.world.run(&["stop", "there"]).0, 0);
    site.nothing_is_left();
    let world = World::with(Plugin::Local).unwrap();
    world.ok(&["warmup", "--slug", "here"]);
    for command in ["ssh", "connect"] {
        let (code, _, stderr) = world.run(&[command, "here"]);
        assert_eq!(code, 2, "{stderr}");
        assert_has(&stderr, &["is not reached by SSH", "crabbox run --id here"]);
    }
    world.ok(&["stop", "here"]);
}
