//! From the working tree to an exit code, over one connection.

use std::fs;

use crabbox_tests::wait_for;

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
