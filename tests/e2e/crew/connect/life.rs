//! From the first connection to the end of the last.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::Stdio;

use crabbox_tests::{binary, ended, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::site::{Site, accepts, local, signal};
use crate::support::{assert_fits, assert_has, end, spawn};

#[test]
fn two_members_talk_over_the_port_that_was_brought_here() {
    let Some(site) = Site::new() else { return };
    let talk = binary("examples").join("talk");
    let talk = talk.to_str().unwrap();
    site.world.write("greeting", "hello from the web\n");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    site.warm("web-1", &[port], &["--role", "web"]);
    site.world.ok(&["warmup", "--provider", "local", "--slug", "client", "--crew", "shop"]);
    let serve = ["run", "--id", "web-1", "--", talk, "serve", &port.to_string()];
    let server = spawn(&mut site.world.crabbox(&serve));
    wait_for("the server", || accepts(port));
    // As in a shell of the user's, by each of the names.
    site.world.install(&binary("crabbox"));
    let script = format!(
        "eval \"$(crabbox crew connect shop --export)\" || exit
for name in WEB_1 WEB; do
  crabbox run --id client --no-sync --allow-env 'CRABBOX_CREW_*' -- sh -c '{talk} get $CRABBOX_CREW_'$name'_{port}/greeting' || exit
done
. \"$HOME/.local/state/crabbox/crews/shop/env\"; echo \"$CRABBOX_CREW_WEB_{port}\""
    );
    let (code, stdout, stderr) = ended(site.world.command("sh").args(["-c", &script]));
    let here = local(&site.record().unwrap())[0];
    let expected = format!("hello from the web\nhello from the web\n127.0.0.1:{here}\n");
    assert_eq!((code, stdout), (0, expected), "{stderr}");
    assert_has(
        &stderr,
        &["not forwarded: client: not reached by SSH", "connected crew shop: 1 port, in the background"],
    );
    assert_ne!(here, port);
    let (code, _, stderr) = site.world.run(&["crew", "disconnect", "shop"]);
    assert_eq!((code, stderr.as_str()), (0, "disconnected crew shop\n"));
    site.is_disconnected();
    assert!(!accepts(here) && accepts(port), "the server goes on");
    let get =
        ["run", "--id", "client", "--no-sync", "--", talk, "get", &format!("127.0.0.1:{here}/greeting")];
    assert_ne!(site.world.run(&get).0, 0);
    let (code, _, stderr) = site.world.run(&["crew", "disconnect", "shop"]);
    assert_eq!((code, stderr.as_str()), (0, "crew shop is not connected\n"));
    site.release();
    end(server);
}

#[test]
fn in_the_foreground_it_stands_until_ctrl_c_and_the_leases_are_as_free_as_before() {
    let Some(site) = Site::new() else { return };
    // What the user's own configuration forwards is not forwarded here.
    let other = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    site.client.configure(&format!("Host box\n  LocalForward 127.0.0.1:{other} 127.0.0.1:1\n"));
    site.warm("one", &[4001, 4002], &[]);
    site.warm("two", &[4001], &["--role", "db"]);
    let last_used = |site: &Site| site.world.json(&["list", "--json"])[0]["lastUsedAt"].clone();
    let before = last_used(&site);
    let child = site.connected(&[]);
    let record = site.record().unwrap();
    assert!(local(&record).into_iter().all(accepts) && !accepts(other));
    assert_eq!(record["pid"], json!(child.id()));
    assert_eq!(site.ssh().len(), 2, "one for each member");
    assert_eq!(last_used(&site), before, "it is no use of the lease");
    let (code, stdout, stderr) = site.world.run(&["run", "--id", "one", "--", "echo", "beside"]);
    assert_eq!((code, stdout.as_str()), (0, "beside\n"), "{stderr}");
    let (code, _, stderr) = site.world.run(&["crew", "connect", "shop"]);
    assert_eq!(code, 4, "{stderr}");
    assert_has(
        &stderr,
        &[&format!("connected already, by process {}", child.id()), "`crabbox crew disconnect shop`"],
    );
    signal(&child, Signal::INT);
    let (code, stdout, stderr) = end(child);
    assert_eq!(code, 0, "{stderr}");
    let ports = local(&record);
    let rows: Vec<Vec<&str>> = stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let here: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    assert_eq!(
        rows,
        [
            ["MEMBER", "ROLE", "PORT", "HERE"],
            ["one", "-", "4001", &here[0]],
            ["one", "-", "4002", &here[1]],
            ["two", "db", "4001", &here[2]],
        ]
    );
    assert_has(&stderr, &["connected crew shop: 3 ports; Ctrl-C", "crews/shop/hosts", "crews/shop/env"]);
    site.is_disconnected();
    assert!(!ports.into_iter().any(accepts));
    site.release();
}

#[test]
fn json_is_one_document_once_it_stands_and_disconnect_ends_it() {
    let Some(site) = Site::new() else { return };
    site.warm("one", &[4003], &["--role", "db"]);
    let child = site.connected(&["--json"]);
    let record = site.record().unwrap();
    let (code, stdout, stderr) = site.world.run(&["crew", "connect", "shop", "--export"]);
    assert_eq!(code, 0, "what stands is told again: {stderr}");
    let port = local(&record)[0];
    let exports = ["ONE", "DB"].map(|name| format!("export CRABBOX_CREW_{name}_4003=127.0.0.1:{port}\n"));
    assert_eq!(stdout, exports.concat());
    assert_eq!(site.ssh().len(), 1);
    assert_eq!(site.world.run(&["crew", "disconnect", "Shop"]).0, 0);
    let (code, stdout, stderr) = end(child);
    assert_eq!(code, 0, "{stderr}");
    let printed: Value = serde_json::from_str(&stdout).unwrap();
    assert_fits("crew-connect", &printed);
    assert_eq!(printed, record);
    site.is_disconnected();
    site.release();
}

#[test]
fn a_member_that_is_stopped_ends_it_and_a_crew_that_is_released_is_disconnected() {
    let Some(site) = Site::new() else { return };
    site.warm("one", &[4004], &[]);
    site.warm("two", &[4004], &[]);
    let child = site.connected(&[]);
    assert_eq!(site.world.run(&["stop", "one"]).0, 0, "nothing holds the lease");
    let (code, _, stderr) = end(child);
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stderr, &["crew shop is not connected any more: lease one"]);
    site.is_disconnected();
    site.connected_aside();
    let (code, _, stderr) = site.world.run(&["crew", "release", "shop"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.starts_with("disconnected crew shop\nreleasing crew shop: 1 lease\n"), "{stderr}");
    site.is_disconnected();
    // In the background, and only one of them.
    site.warm("one", &[4004], &[]);
    site.warm("two", &[4004], &[]);
    site.connected_aside();
    site.world.ok(&["stop", "two"]);
    site.gets_disconnected();
    site.release();
}

#[test]
fn whoever_connects_first_has_it_and_the_others_are_told_the_same() {
    let Some(site) = Site::new() else { return };
    site.warm("one", &[4005], &[]);
    let all = |more: &[&str]| {
        let words = [&["crew", "connect", "shop"], more].concat();
        (0..4).map(|_| spawn(&mut site.world.crabbox(&words))).collect::<Vec<_>>()
    };
    let ended: Vec<_> = all(&["--export"]).into_iter().map(end).collect();
    for (code, stdout, stderr) in &ended {
        assert_eq!((code, stdout), (&0, &ended[0].1), "{stderr}");
    }
    assert!(ended[0].1.starts_with("export CRABBOX_CREW_ONE_4005=127.0.0.1:"), "{}", ended[0].1);
    assert_eq!(site.ssh().len(), 1);
    site.world.ok(&["crew", "disconnect", "shop"]);
    let mut all = all(&[]);
    wait_for("the connection", || site.record().is_some());
    let pid = json!(site.record().unwrap()["pid"]);
    let first = all.iter().position(|child| json!(child.id()) == pid).unwrap();
    let first = all.remove(first);
    for (code, stdout, stderr) in all.into_iter().map(end) {
        assert_eq!((code, stdout.as_str()), (4, ""), "{stderr}");
    }
    signal(&first, Signal::INT);
    assert_eq!(end(first).0, 0);
    site.world.ok(&["crew", "connect", "shop", "--export"]);
    // Another member, and it is not the same any more.
    site.warm("two", &[4005], &[]);
    let (code, stdout, stderr) = site.world.run(&["crew", "connect", "shop", "--export"]);
    assert_eq!((code, stdout.as_str()), (4, ""), "{stderr}");
    assert_has(&stderr, &["is not what the crew has now", "crew disconnect shop"]);
    site.world.ok(&["crew", "disconnect", "shop"]);
    site.is_disconnected();
    site.release();
}

#[test]
fn when_nobody_reads_any_more_it_ends() {
    let Some(site) = Site::new() else { return };
    site.warm("one", &[4006], &[]);
    let mut command = site.world.crabbox(&["crew", "connect", "shop"]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    // The reader goes with the end of this.
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("MEMBER"), "{line}");
    let (code, _, stderr) = end(child);
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stderr, &["nobody reads its output any more"]);
    site.is_disconnected();
    site.release();
}
