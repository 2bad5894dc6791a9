//! The way to a control plane that is somewhere else: TLS, and a proxy.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use crabbox_tests::tailnet::ControlPlane;
use crabbox_tests::{World, ended};
use serde_json::{Value, json};

use super::policy::{WITH_ROWS, to, world};
use crate::support::assert_has;

/// A proxy that leads every connection to one address, and tells what it was told.
fn proxy(address: SocketAddr) -> (String, Receiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (heard, hear) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut here = stream.unwrap();
            let mut reader = BufReader::new(here.try_clone().unwrap());
            let mut lines = Vec::new();
            while !lines.last().is_some_and(String::is_empty) {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                lines.push(line.trim_end().to_owned());
            }
            let mut there = TcpStream::connect(address).unwrap();
            here.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let (mut back, mut client) = (there.try_clone().unwrap(), here.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut back, &mut client));
            std::thread::spawn(move || pass(&mut reader, &mut there));
            if heard.send(lines).is_err() {
                return;
            }
        }
    });
    (url, hear)
}

/// Passes on what is there as it comes.
fn pass(from: &mut impl Read, to: &mut impl Write) {
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..length]).is_err() {
            return;
        }
    }
}

/// What `doctor --crew` says of the policy.
fn row(world: &World, url: &str, vars: &[(&str, &str)]) -> Value {
    let mut command = world.crabbox(&["doctor", "--crew", "team", "--json"]);
    let (_, stdout, stderr) = ended(to(&mut command, url).envs(vars.iter().copied()));
    let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    let rows = report["checks"].as_array().unwrap();
    rows.iter().find(|row| row["check"] == "crew-policy").unwrap().clone()
}

#[test]
fn the_key_goes_only_to_whom_this_machine_trusts_and_no_proxy_sees_it() {
    let world = world();
    let authority = world.root().join("authority.pem");
    let plane = ControlPlane::start_by_tls(WITH_ROWS, "control.example", &authority);
    let trusted = ("SSL_CERT_FILE", authority.to_str().unwrap());
    let found = row(&world, &plane.url(), &[trusted]);
    assert_eq!(found["status"], "ok", "{found}");
    let other = world.root().join("other.pem");
    let stranger = ControlPlane::start_by_tls(WITH_ROWS, "control.example", &other);
    let found = row(&world, &stranger.url(), &[trusted]);
    assert_eq!(found["status"], "fail", "{found}");
    assert_has(found["message"].as_str().unwrap(), &["cannot read the policy", "invalid peer certificate"]);
    assert_eq!(stranger.requests(), []);
    // Elsewhere, by the environment's proxy. The plane itself is on this machine, where no proxy is asked.
    let (proxy, heard) = proxy(plane.address());
    let far = "https://control.example";
    let found = row(&world, far, &[trusted, ("HTTPS_PROXY", &proxy)]);
    assert_eq!((&found["status"], &found["details"]["api"]), (&json!("ok"), &json!(far)), "{found}");
    let said = heard.recv().unwrap();
    assert_eq!(said[0], "CONNECT control.example:443 HTTP/1.1");
    assert!(!said.iter().any(|line| line.to_lowercase().contains("authorization")), "{said:?}");
    let found = row(&world, &plane.url(), &[trusted, ("HTTPS_PROXY", &proxy), ("ALL_PROXY", &proxy)]);
    assert_eq!(found["status"], "ok", "{found}");
    assert!(heard.try_recv().is_err());
    // Another name than the certificate's.
    let found = row(&world, "https://other.example", &[trusted, ("HTTPS_PROXY", &proxy)]);
    assert_eq!(found["status"], "fail", "{found}");
    // No proxy that the environment names is passed by.
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for scheme in ["http", "https", "socks5h"] {
        let found = row(&world, far, &[trusted, ("ALL_PROXY", &format!("{scheme}://{dead}"))]);
        assert_has(found["message"].as_str().unwrap(), &["refused"]);
    }
    assert_eq!((plane.requests().len(), plane.complaints()), (3, Vec::new()));
    world.ok(&["stop", "one"]);
}
