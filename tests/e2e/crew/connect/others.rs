//! Connections that others end, or have no hand in.

use std::fs;
use std::time::Duration;

use crabbox_tests::wait_for;

use super::site::Site;
use crate::support::{assert_has, end, spawn};

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
