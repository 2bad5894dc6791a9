//! The script where there is no room, where a block was cut off, with an old node that has a new one's name, and with
//! more nodes than a variable holds.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crabbox_tests::ended;
use serde_json::{Value, json};

use super::{Guest, HOSTS, NAMES, TAG, block, guests, plain, status};
use crate::support::{assert_has, repository};

impl Guest {
    /// Has `hosts` be a link, which is written into as a file is that is mounted there.
    fn linked(&self, text: &str) -> PathBuf {
        let real = self.world.root().join("real");
        fs::write(&real, text).unwrap();
        fs::remove_file(self.etc().join("hosts")).unwrap();
        symlink(&real, self.etc().join("hosts")).unwrap();
        real
    }

    /// Runs the script where no file can be longer than 4 KiB, as on a disk that is full.
    fn cramped(&self, before: &str) -> (i32, String, String) {
        let within = format!("{before}; ulimit -f 8; exec \"$@\"");
        let mut command = self.world.command(Path::new("/bin/sh"));
        command.args(["-c", &within, "sh"]).args(&self.shell);
        command.env("CBX_HOSTS", self.etc().join("hosts")).env("CBX_NAMES", self.etc().join("hosts.cbx"));
        ended(command.arg(repository().join("host/src/crew/guest.sh")).arg(TAG))
    }
}

/// A node with as little as there can be.
fn node(name: &str, address: &str, online: bool) -> Value {
    json!({"HostName": name, "TailscaleIPs": [address], "Tags": [TAG], "Online": online})
}

/// One whose key has expired, as the control plane goes on to say that it is online.
fn expired(name: &str, address: &str) -> Value {
    let mut node = node(name, address, true);
    (node["Expired"], node["KeyExpiry"]) = (json!(true), json!("2026-11-21T22:00:55Z"));
    node
}

#[test]
fn a_file_that_has_to_stay_loses_nothing_where_there_is_no_room_in_every_shell() {
    let tail = format!("10.0.0.1 after\n{}10.0.0.2 last\n", "# mine\n".repeat(566));
    let around = |lines: &str| format!("127.0.0.1 localhost\n{}{tail}", block(lines));
    let old = around("100.64.7.7 old.cbx\n");
    assert!(old.len() < 4096 && around(NAMES).len() > 4096, "{}", old.len());
    for guest in guests() {
        let real = guest.linked(&old);
        let read = || fs::read_to_string(&real).unwrap();
        fs::write(guest.world.root().join("status.json"), status().to_string()).unwrap();
        // A write that fails, and one that kills.
        for before in ["trap '' XFSZ", ":"] {
            let (code, stdout, stderr) = guest.cramped(before);
            assert_eq!((code, stdout.as_str()), (1, ""), "{:?}: {stderr}", guest.shell);
            assert_has(&stderr, &["cannot write", "which is as it was"]);
            assert!(read() == old, "{:?}: {}", guest.shell, read());
        }
        // With room it is written, longer and shorter.
        assert_eq!(guest.run(&status().to_string()).1, "written: 3 names\n", "{:?}", guest.shell);
        assert!(read() == around(NAMES), "{:?}: {}", guest.shell, read());
        let mut nobody = status();
        (nobody["Self"]["Tags"], nobody["Peer"]) = (Value::Null, Value::Null);
        assert_eq!(guest.run(&nobody.to_string()).1, "written: 0 names\n", "{:?}", guest.shell);
        assert!(read() == around("").replace(&block(""), ""), "{:?}: {}", guest.shell, read());
    }
}

#[test]
fn a_block_that_was_cut_off_is_replaced_wherever_that_was() {
    let (text, whole) = (status().to_string(), format!("{HOSTS}{}", block(NAMES)));
    let guests = guests();
    let least = HOSTS.len() + "# BEGIN crabbox".len();
    for (at, guest) in (least..whole.len()).zip(guests.iter().cycle()) {
        fs::write(guest.etc().join("hosts"), &whole[..at]).unwrap();
        let (code, _, stderr) = guest.run(&text);
        assert_eq!((code, stderr.as_str()), (0, ""), "{:?}: {:?}", guest.shell, &whole[HOSTS.len()..at]);
        assert_eq!(guest.read("hosts"), whole, "{:?}: {:?}", guest.shell, &whole[HOSTS.len()..at]);
    }
    // A line that could be somebody's is.
    for guest in guests {
        for rest in [
            "100.64.0.1 web.cbx\n10.0.0.1 mine\n",
            "100.64.0.1 web.cbx\n10.0.0.1 mine",
            "100.64.0.1 we\n100.64.0.20 db.cbx\n",
            "# mine",
            "10.0.0.1 mine.example.com\n",
        ] {
            fs::write(guest.etc().join("hosts"), format!("{HOSTS}# BEGIN crabbox crew\n{rest}")).unwrap();
            assert_has(&guest.refuses(&text), &["has no end"]);
        }
    }
}

#[test]
fn in_a_tailnet_without_ipv4_names_lead_to_the_other_addresses_in_every_shell() {
    let mut status = json!({
        "BackendState": "Running",
        "Self": node("crabbox-web", "fd7a:115c:a1e0::1", true),
        "Peer": {
            "nodekey:01": node("crabbox-db", "fd7a:115c:a1e0:ab12:4843:cd96:6240:2", true),
            "nodekey:02": node("both", "fd7a:115c:a1e0::3", true),
        },
    });
    status["Peer"]["nodekey:02"]["TailscaleIPs"] = json!(["fd7a:115c:a1e0::3", "100.64.0.3"]);
    let names =
        "100.64.0.3 both.cbx\nfd7a:115c:a1e0::1 web.cbx\nfd7a:115c:a1e0:ab12:4843:cd96:6240:2 db.cbx\n";
    let whole = format!("{HOSTS}{}", block(names));
    let guests = guests();
    for guest in &guests {
        assert_eq!(guest.run(&status.to_string()).1, "written: 3 names\n", "{:?}", guest.shell);
        assert_eq!((guest.read("hosts.cbx").as_str(), guest.read("hosts")), (names, whole.clone()));
    }
    // Where it was cut off, too.
    let least = HOSTS.len() + "# BEGIN crabbox".len();
    for (at, guest) in (least..whole.len()).zip(guests.iter().cycle()) {
        fs::write(guest.etc().join("hosts"), &whole[..at]).unwrap();
        let (code, _, stderr) = guest.run(&status.to_string());
        assert_eq!((code, stderr.as_str()), (0, ""), "{:?}: {:?}", guest.shell, &whole[HOSTS.len()..at]);
        assert_eq!(guest.read("hosts"), whole, "{:?}: {:?}", guest.shell, &whole[HOSTS.len()..at]);
    }
}

#[test]
fn a_node_that_is_gone_has_no_name_that_another_one_has_in_every_shell() {
    let mut status = json!({
        "BackendState": "Running",
        "Self": node("crabbox-web", "100.64.0.9", false),
        "Peer": {
            "nodekey:01": node("crabbox-web", "100.64.0.1", false),
            "nodekey:02": node("crabbox-db", "100.64.0.2", false),
            "nodekey:03": node("DB", "100.64.0.3", true),
            "nodekey:04": node("db", "100.64.0.4", false),
            "nodekey:05": node("asleep", "100.64.0.5", false),
            "nodekey:06": node("unsaid", "100.64.0.6", false),
            // A key that has expired makes nobody go offline at once.
            "nodekey:08": expired("crabbox-cache", "100.64.0.8"),
            "nodekey:10": node("crabbox-cache", "100.64.0.10", true),
            "nodekey:11": expired("crabbox-old", "100.64.0.11"),
            "nodekey:07": {"HostName": "unsaid", "TailscaleIPs": ["100.64.0.7"], "Tags": [TAG]},
        },
    });
    for guest in guests() {
        guest.run(&status.to_string());
        let names = "100.64.0.10 cache.cbx\n100.64.0.11 old.cbx\n100.64.0.3 DB.cbx\n100.64.0.5 asleep.cbx\n\
                     100.64.0.7 unsaid.cbx\n100.64.0.9 web.cbx\n";
        assert_eq!(guest.read("hosts.cbx"), names, "{:?}", guest.shell);
    }
    // One that another crew's has is free here.
    status["Peer"]["nodekey:03"]["Tags"] = json!(["tag:other"]);
    let guest = plain();
    guest.run(&status.to_string());
    assert_has(&guest.read("hosts.cbx"), &["100.64.0.2 db.cbx\n", "100.64.0.4 db.cbx\n"]);
}

#[test]
fn a_crew_of_thousands_has_all_its_names_in_every_shell() {
    let address = |n: usize| format!("100.64.{}.{}", 1 + n / 250, 1 + n % 250);
    let peers: serde_json::Map<_, _> = (0..4500)
        .map(|n| (format!("nodekey:{n}"), node(&format!("a-rather-long-name-{n}"), &address(n), true)))
        .collect();
    let status = json!({"BackendState": "Running", "Peer": peers}).to_string();
    for guest in guests() {
        let (code, stdout, stderr) = guest.run(&status);
        assert_eq!((code, stdout.as_str()), (0, "written: 4500 names\n"), "{:?}: {stderr}", guest.shell);
        assert!(guest.read("hosts").len() > 128 * 1024, "no variable of a command holds as much");
        assert_eq!(guest.read("hosts").lines().count(), HOSTS.lines().count() + 4502);
    }
}
