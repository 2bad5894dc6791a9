//! A world with a machine, leases on it by SSH, and connections of the crew `shop`.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Child;

use crabbox_tests::sshd::{Client, Identity, Options, Sshd};
use crabbox_tests::{World, binary, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{assert_fits, spawn};

/// A world whose default provider makes leases on the machine `box`.
pub(super) struct Site {
    pub(super) world: World,
    pub(super) client: Client,
    pub(super) sshd: Sshd,
}

impl Site {
    /// `None` where there is no sshd and the test is skipped.
    pub(super) fn new() -> Option<Self> {
        let world = World::new();
        let key = Identity::new(&world.home().join(".ssh/id_box"));
        let sshd = Sshd::with(Options { authorized: vec![key.public()], ..Options::default() })?;
        world.install(&binary("crabbox-provider-ssh"));
        let client = Client::install(&world);
        client.host("box", &sshd, &key).knows("box", &sshd);
        // JSON is YAML.
        world.write_config(&json!({"provider": "ssh", "ssh": {"host": "box"}}).to_string());
        Some(Self { world, client, sshd })
    }

    /// Makes a lease of the crew that promises these ports.
    pub(super) fn warm(&self, slug: &str, ports: &[u16], more: &[&str]) {
        let ports: Vec<String> = ports.iter().map(|port| format!("--expose={port}")).collect();
        let mut words = vec!["warmup", "--slug", slug, "--crew", "shop"];
        words.extend(ports.iter().map(String::as_str).chain(more.iter().copied()));
        self.world.ok(&words);
    }

    /// Where the files of the crew's connection are.
    pub(super) fn directory(&self) -> PathBuf {
        self.world.state().join("crews/shop")
    }

    /// The record of the connection that stands.
    pub(super) fn record(&self) -> Option<Value> {
        let record =
            serde_json::from_slice(&fs::read(self.directory().join("connection.json")).ok()?).unwrap();
        assert_fits("crew-connect", &record);
        Some(record)
    }

    /// Connects in the foreground, and waits until it stands.
    pub(super) fn connected(&self, more: &[&str]) -> Child {
        let child = spawn(&mut self.world.crabbox(&[&["crew", "connect", "shop"], more].concat()));
        wait_for("the connection", || self.record().is_some());
        child
    }

    /// Connects in the background, and returns the record.
    pub(super) fn connected_aside(&self) -> Value {
        let record = self.world.json(&["crew", "connect", "shop", "--export", "--json"]);
        assert_eq!(Some(&record), self.record().as_ref());
        record
    }

    /// The processes that hold forwards.
    pub(super) fn ssh(&self) -> Vec<String> {
        let all = self.world.processes().into_iter();
        all.filter(|line| line.contains(" -M ") && line.contains("fwd_")).collect()
    }

    /// Their numbers.
    pub(super) fn ssh_pids(&self) -> Vec<Pid> {
        let lines = self.ssh();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let is = |path: &std::path::Path| {
            let words = fs::read(path.join("cmdline")).unwrap_or_default();
            lines.contains(&String::from_utf8_lossy(&words).replace('\0', " "))
        };
        let found = entries.filter(|entry| is(&entry.path()));
        found.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)).collect()
    }

    /// Where ssh keeps its sockets for ports of these leases.
    pub(super) fn places(&self) -> Vec<PathBuf> {
        let base = format!("/tmp/crabbox-{}", rustix::process::geteuid().as_raw());
        let ids: Vec<String> = self
            .world
            .json(&["list", "--json"])
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["id"].as_str().unwrap().replacen("cbx_", "fwd_", 1))
            .collect();
        let entries = fs::read_dir(base).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| ids.iter().any(|id| path.to_string_lossy().ends_with(id.as_str()))).collect()
    }

    /// Fails unless nothing is left of any connection of the crew, now.
    pub(super) fn is_disconnected(&self) {
        assert_eq!(self.ssh(), Vec::<String>::new());
        assert_eq!(self.places(), Vec::<PathBuf>::new());
        assert!(
            !self.directory().exists(),
            "{:?}",
            fs::read_dir(self.directory()).map(Iterator::collect::<Vec<_>>)
        );
        assert_eq!(self.world.unfinished(), Vec::<PathBuf>::new());
    }

    /// The same, a moment later.
    pub(super) fn gets_disconnected(&self) {
        wait_for("the end of the connection", || self.ssh().is_empty() && !self.directory().exists());
        self.is_disconnected();
    }

    pub(super) fn release(&self) {
        self.world.ok(&["crew", "release", "shop", "--force"]);
        wait_for("the end of all connections", || self.sshd.open_connections() == 0);
    }
}

/// The ports here, by forward.
pub(super) fn local(record: &Value) -> Vec<u16> {
    let forwards = record["forwards"].as_array().unwrap().iter();
    forwards.map(|forward| u16::try_from(forward["localPort"].as_u64().unwrap()).unwrap()).collect()
}

/// Whether somebody listens there.
pub(super) fn accepts(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

pub(super) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id().try_into().unwrap()).unwrap(), signal).unwrap();
}
