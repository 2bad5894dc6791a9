//! Connections that others end, or have no hand in.

use std::fs;
use std::time::Duration;

use crabbox_tests::wait_for;
use rustix::process::{Pid, Signal, getpgid, kill_process};
use serde_json::{Value, json};

use super::site::{Site, accepts, local, signal};
use crate::support::{assert_has, end, spawn};

/// The process that a record names.
fn holder(record: &Value) -> Pid {
    Pid::from_raw(record["pid"].as_i64().unwrap().try_into().unwrap()).unwrap()
}

/// Kills what holds a connection of one member, and its guard: nobody is left to end ssh.
fn kill_all_but_ssh(site: &Site, record: &Value) {
    for ssh in site.ssh_pids() {
        kill_process(getpgid(Some(ssh)).unwrap(), Signal::KILL).unwrap();
    }
    kill_process(holder(record), Signal::KILL).unwrap();
    assert!(local(record).into_iter().all(accepts));
}

#[cfg(target_os = "linux")]
#[test]
fn a_lock_that_no_process_has_is_nobodys_to_be_signalled() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    let (Some(site), Some(python)) = (Site::new(), crabbox_tests::tool("python3")) else { return };
    site.warm("one", &[4030], &[]);
    fs::create_dir_all(site.directory()).unwrap();
    // The system says -1 of a lock of an open file.
    let script = "
import fcntl, os, struct, sys
lock, holder = (os.open(sys.argv[1] + name, os.O_RDWR | os.O_CREAT, 0o600) for name in ('/lock', '/holder'))
fcntl.flock(lock, fcntl.LOCK_EX)
fcntl.fcntl(holder, fcntl.F_OFD_SETLK, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 0, 0))
print('locked', flush=True)
sys.stdin.read()
";
    let mut command = Command::new(python);
    command.args(["-c", script]).arg(site.directory()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut other = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(other.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "locked\n");
    // Those first that send no signal: if they take it for a process, the others are not tried.
    for words in [&["connect", "shop"][..], &["connect", "shop", "--export"], &["disconnect", "shop"]] {
        let (code, stdout, stderr) = site.world.run(&[&["crew"], words].concat());
        assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
        assert_has(&stderr, &["nobody is there whose lock it is", "another machine's"]);
    }
    let (code, _, stderr) = site.world.run(&["crew", "release", "shop"]);
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stderr, &["another machine's", "releasing crew shop: 1 lease"]);
    assert_eq!(other.try_wait().unwrap(), None);
    drop(other.stdin.take());
    assert!(other.wait().unwrap().success());
}

#[test]
fn a_crew_of_which_only_others_are_released_stays_connected() {
    let Some(site) = Site::new() else { return };
    site.warm("one", &[4031], &[]);
    let release_local = || {
        site.world.ok(&["warmup", "--provider", "local", "--slug", "here", "--crew", "shop"]);
        let (code, _, stderr) = site.world.run(&["crew", "release", "shop", "--provider", "local"]);
        assert_eq!(code, 0, "{stderr}");
        assert!(stderr.starts_with("releasing crew shop: 1 lease\n"), "{stderr}");
    };
    let record = site.connected_aside();
    release_local();
    assert_eq!(site.world.run(&["crew", "release", "shop", "--provider", "local"]).0, 0);
    assert_eq!(site.record().as_ref(), Some(&record));
    assert!(accepts(local(&record)[0]));
    let (code, _, stderr) = site.world.run(&["crew", "release", "shop", "--provider", "ssh"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.starts_with("disconnected crew shop\nreleasing crew shop: 1 lease\n"), "{stderr}");
    site.is_disconnected();
    // One that does not stand yet.
    site.warm("two", &[4031], &[]);
    let before = site.sshd.connections();
    site.sshd.faults(|faults| faults.delay = Duration::from_secs(600));
    let mut child = spawn(&mut site.world.crabbox(&["crew", "connect", "shop"]));
    wait_for("the attempt", || site.sshd.connections() > before);
    release_local();
    assert_eq!(child.try_wait().unwrap(), None);
    signal(&child, Signal::INT);
    assert_eq!(end(child).0, 130);
    site.sshd.faults(|faults| faults.delay = Duration::ZERO);
    site.world.ok(&["crew", "release", "shop"]);
}

#[test]
fn when_its_guard_is_killed_too_whoever_comes_next_ends_ssh() {
    let Some(site) = Site::new() else { return };
    site.warm("one", &[4032], &[]);
    kill_all_but_ssh(&site, &site.connected_aside());
    assert_eq!(site.ssh().len(), 1);
    let (code, _, stderr) = site.world.run(&["crew", "disconnect", "shop"]);
    assert_eq!((code, stderr.as_str()), (0, "cleared away what a dead connection of crew shop had left\n"));
    wait_for("the end of ssh", || site.ssh().is_empty());
    site.is_disconnected();
    // Whoever connects, also what is not connected any more.
    site.warm("two", &[4032], &[]);
    kill_all_but_ssh(&site, &site.connected_aside());
    for entry in fs::read_dir(site.world.state().join("claims")).unwrap() {
        let path = entry.unwrap().path();
        let mut claim: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        if claim["lease"]["slug"] == "two" {
            claim["expose"] = json!([]);
            fs::write(&path, claim.to_string()).unwrap();
        }
    }
    let record = site.connected_aside();
    assert_eq!(record["forwards"].as_array().unwrap().len(), 1);
    wait_for("the end of the other ssh", || site.ssh().len() == 1);
    assert_eq!(site.places().len(), 1);
    // Whoever releases the lease.
    kill_all_but_ssh(&site, &record);
    fs::remove_dir_all(site.directory()).unwrap();
    assert_eq!(site.world.run(&["stop", "one"]).0, 0);
    wait_for("the end of ssh", || site.ssh().is_empty());
    site.is_disconnected();
    site.release();
}

#[test]
fn one_that_is_killed_before_it_stands_leaves_nothing_after_disconnect() {
    let Some(site) = Site::new() else { return };
    site.warm("one", &[4033], &[]);
    let before = site.sshd.connections();
    site.sshd.faults(|faults| faults.delay = Duration::from_secs(600));
    let mut child = spawn(&mut site.world.crabbox(&["crew", "connect", "shop"]));
    wait_for("the attempt", || site.sshd.connections() > before);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(site.places().len(), 1);
    assert_eq!(site.world.run(&["crew", "disconnect", "shop"]).0, 0);
    site.is_disconnected();
    site.sshd.faults(|faults| faults.delay = Duration::ZERO);
    site.world.ok(&["crew", "release", "shop"]);
}

#[test]
fn whoever_waits_for_it_is_told_that_another_has_disconnected() {
    let Some(site) = Site::new() else { return };
    site.warm("one", &[4034], &[]);
    let before = site.sshd.connections();
    site.sshd.faults(|faults| faults.delay = Duration::from_secs(600));
    let child = spawn(&mut site.world.crabbox(&["crew", "connect", "shop", "--export"]));
    wait_for("the attempt", || site.sshd.connections() > before);
    let (code, _, stderr) = site.world.run(&["crew", "disconnect", "shop"]);
    assert_eq!((code, stderr.lines().last()), (0, Some("disconnected crew shop")));
    let (code, stdout, stderr) = end(child);
    assert_eq!((code, stdout.as_str()), (4, ""), "{stderr}");
    assert_has(&stderr, &["crew shop was disconnected by another crabbox", "crew connect shop"]);
    site.is_disconnected();
    site.sshd.faults(|faults| faults.delay = Duration::ZERO);
    site.world.ok(&["crew", "release", "shop"]);
}
