//! Connections that cannot be made, that break, and that are killed.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;

use crabbox_tests::{binary, wait_for};
use rustix::process::{Pid, Signal, kill_process};

use super::site::{Site, accepts, local, signal};
use crate::support::{assert_has, end, spawn};

#[test]
fn what_cannot_be_connected_is_told_by_its_member_and_nothing_is_left() {
    let Some(mut site) = Site::new() else { return };
    site.warm("one", &[4020], &[]);
    for more in [&[][..], &["--export"]] {
        site.sshd.stop();
        let words = [&["crew", "connect", "shop"], more].concat();
        let (code, stdout, stderr) = site.world.run(&words);
        assert_eq!((code, stdout.as_str()), (5, ""), "{stderr}");
        assert_has(
            &stderr,
            &["error: member one: cannot connect to", "Connection refused", "crabbox run --id one"],
        );
        site.is_disconnected();
        site.sshd.resume();
    }
    site.sshd.replace_host_key();
    for more in [&[][..], &["--export"]] {
        let (code, stdout, stderr) = site.world.run(&[&["crew", "connect", "shop"], more].concat());
        assert_eq!((code, stdout.as_str()), (3, ""), "{stderr}");
        assert_has(&stderr, &["another host key than the one that is known"]);
        site.is_disconnected();
    }
}

#[test]
fn one_that_cannot_be_connected_keeps_the_others_from_it() {
    let Some(site) = Site::new() else { return };
    site.warm("one", &[4021], &[]);
    site.warm("two", &[4021], &[]);
    site.sshd.faults(|faults| faults.drops = 1);
    let (code, _, stderr) = site.world.run(&["crew", "connect", "shop"]);
    assert_eq!(code, 5, "{stderr}");
    assert_has(&stderr, &["error: member "]);
    site.is_disconnected();
    site.release();
}

#[test]
fn a_connection_that_breaks_ends_all_of_it_and_is_told() {
    let Some(site) = Site::new() else { return };
    site.warm("one", &[4022], &[]);
    site.warm("two", &[4022], &[]);
    let child = site.connected(&[]);
    let ports = local(&site.record().unwrap());
    // One of the two.
    kill_process(site.ssh_pids()[0], Signal::KILL).unwrap();
    let (code, _, stderr) = end(child);
    assert_eq!(code, 7, "{stderr}");
    assert_has(&stderr, &["error: member ", "the SSH connection to", "broke"]);
    site.is_disconnected();
    assert!(!ports.into_iter().any(accepts));
    // In the background nobody is there to be told, so whoever asks is.
    site.connected_aside();
    site.sshd.cut();
    wait_for("the end", || site.ssh().is_empty() && site.record().is_none());
    wait_for("its words", || {
        site.directory().join("log").exists() && !site.directory().join("lock").exists()
    });
    let (code, _, stderr) = site.world.run(&["crew", "disconnect", "shop"]);
    assert_eq!(code, 0);
    assert_has(&stderr, &["crew shop is not connected", "ended by itself", "the SSH connection to"]);
    site.is_disconnected();
    assert_eq!(site.world.run(&["crew", "disconnect", "shop"]).2, "crew shop is not connected\n");
    site.release();
}

#[test]
fn a_machine_that_goes_away_ends_it_with_7() {
    let Some(mut site) = Site::new() else { return };
    site.warm("one", &[4023], &[]);
    let child = site.connected(&[]);
    site.sshd.stop();
    let (code, _, stderr) = end(child);
    assert_eq!(code, 7, "{stderr}");
    assert_has(&stderr, &["error: member one: the SSH connection to", "broke", "caused by:"]);
    site.is_disconnected();
    site.sshd.resume();
    site.release();
}

#[test]
fn when_it_is_killed_nothing_stays_and_the_next_one_stands() {
    let Some(site) = Site::new() else { return };
    site.warm("one", &[4024], &[]);
    let mut child = site.connected(&[]);
    let port = local(&site.record().unwrap())[0];
    child.kill().unwrap();
    child.wait().unwrap();
    // What is left of it is waited for.
    let record = site.connected_aside();
    assert_eq!(local(&record), [port]);
    assert_eq!(site.ssh().len(), 1);
    let pid = Pid::from_raw(record["pid"].as_i64().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    wait_for("the end of ssh", || site.ssh().is_empty() && !accepts(port));
    assert!(site.record().is_some(), "nobody was there to remove it");
    let (code, _, stderr) = site.world.run(&["crew", "disconnect", "shop"]);
    assert_eq!((code, stderr.as_str()), (0, "cleared away what a dead connection of crew shop had left\n"));
    site.is_disconnected();
    // What nobody disconnects goes with the lease.
    let record = site.connected_aside();
    let pid = Pid::from_raw(record["pid"].as_i64().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let sockets = site.places();
    assert_eq!(sockets.len(), 1);
    wait_for("the end of ssh", || site.ssh().is_empty());
    fs::remove_dir_all(site.directory()).unwrap();
    site.release();
    assert!(!sockets[0].exists());
    site.is_disconnected();
    // And that of a lease that was lost.
    fs::DirBuilder::new().mode(0o700).create(&sockets[0]).unwrap();
    assert_eq!(site.world.run(&["cleanup"]).0, 0);
    assert!(!sockets[0].exists());
}

#[test]
fn a_port_that_ssh_cannot_have_costs_another_attempt_and_in_the_end_the_connection() {
    let Some(site) = Site::new() else { return };
    site.warm("one", &[4029], &[]);
    // Somebody may be faster than ssh. Here that is everybody for whom there is a file.
    let (faster, bin) = (site.world.root().join("faster"), site.world.bin());
    fs::create_dir(&faster).unwrap();
    fs::rename(bin.join("ssh"), bin.join("real-ssh")).unwrap();
    let script = format!(
        "#!/bin/sh\ncase $* in *'-O forward'*) for it in {0}/*; do [ -e \"$it\" ] || break; rm \"$it\"; \
         echo 'Port forwarding failed' >&2; exit 255; done ;; esac\nexec {1}/real-ssh \"$@\"\n",
        faster.display(),
        bin.display()
    );
    site.world.script("ssh", &script);
    let somebody = |count: usize| (0..count).for_each(|n| fs::write(faster.join(n.to_string()), "").unwrap());
    somebody(2);
    let port = local(&site.connected_aside())[0];
    assert!(accepts(port));
    assert_eq!(fs::read_dir(&faster).unwrap().count(), 0);
    site.world.ok(&["crew", "disconnect", "shop"]);
    somebody(4);
    let (code, stdout, stderr) = site.world.run(&["crew", "connect", "shop"]);
    assert_eq!((code, stdout.as_str()), (7, ""), "{stderr}");
    assert_has(&stderr, &["member one: cannot forward port 4029 of", "caused by: Port forwarding failed"]);
    assert_eq!(fs::read_dir(&faster).unwrap().count(), 1, "three attempts");
    site.is_disconnected();
    site.release();
}

#[test]
fn a_proxy_ends_with_the_connection_that_it_carries() {
    let Some(site) = Site::new() else { return };
    let talk = binary("examples").join("talk");
    site.client.configure(&format!("Host box\n  ProxyCommand {} pipe %h:%p\n", talk.display()));
    site.warm("one", &[4028], &[]);
    let proxies = || site.world.processes().iter().filter(|line| line.contains("talk pipe")).count();
    let before = proxies();
    let child = site.connected(&[]);
    assert_eq!(proxies(), before + 1);
    signal(&child, Signal::TERM);
    assert_eq!(end(child).0, 0);
    assert_eq!(proxies(), before);
    let mut child = site.connected(&[]);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for("the end of the proxy", || proxies() == before);
    site.world.ok(&["crew", "disconnect", "shop"]);
    site.is_disconnected();
    site.release();
}

#[test]
fn one_that_does_not_listen_is_killed() {
    let Some(site) = Site::new() else { return };
    site.warm("one", &[4025], &[]);
    let mut child = site.connected(&[]);
    signal(&child, Signal::STOP);
    let (code, _, stderr) = site.world.run(&["crew", "disconnect", "shop"]);
    assert_eq!((code, stderr.lines().last()), (0, Some("disconnected crew shop")));
    assert!(!child.wait().unwrap().success());
    site.is_disconnected();
    site.release();
}

#[test]
fn ctrl_c_before_it_stands_leaves_nothing() {
    let Some(site) = Site::new() else { return };
    site.warm("one", &[4026], &[]);
    for more in [&[][..], &["--export"]] {
        let before = site.sshd.connections();
        site.sshd.faults(|faults| faults.delay = std::time::Duration::from_secs(600));
        let child = spawn(&mut site.world.crabbox(&[&["crew", "connect", "shop"], more].concat()));
        wait_for("the attempt", || site.sshd.connections() > before);
        signal(&child, Signal::INT);
        let (code, stdout, stderr) = end(child);
        assert_eq!((code, stdout.as_str()), (130, ""), "{stderr}");
        site.gets_disconnected();
        site.sshd.faults(|faults| faults.delay = std::time::Duration::ZERO);
    }
    // The machine still has the connections that it was slow to answer.
    site.world.ok(&["crew", "release", "shop"]);
}

#[test]
fn a_connection_whose_files_are_gone_ends() {
    let Some(site) = Site::new() else { return };
    site.warm("one", &[4027], &[]);
    let child = site.connected(&[]);
    fs::remove_dir_all(site.directory()).unwrap();
    let (code, _, stderr) = end(child);
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stderr, &["its directory was removed"]);
    site.is_disconnected();
    site.release();
}
