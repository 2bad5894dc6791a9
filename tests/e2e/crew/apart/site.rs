//! Three machines: crabbox is on the first, and a crew `shop` has members on it and, by SSH, on the others.

use std::process::{Child, Command, Stdio};

use crabbox_tests::sshd::{Client, Identity, Options, Sshd};
use crabbox_tests::{Network, World, binary, ended, wait_for};
use serde_json::{Value, json};

use crate::support::assert_fits;

/// The machines are 0 for crabbox's own, 1 for the ssh host `one`, 2 for `two`.
pub(super) struct Site {
    pub(super) world: World,
    pub(super) network: Network,
    pub(super) sshds: [Sshd; 2],
}

/// A server of one file. Dropped, it is gone.
pub(super) struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Site {
    /// `None`: something is not here, and that has been said.
    pub(super) fn new() -> Option<Self> {
        let network = Network::of(3)?;
        let world = World::new();
        let key = Identity::new(&world.home().join(".ssh/id_box"));
        let options = Options { authorized: vec![key.public()], ..Options::default() };
        let sshds =
            [Sshd::at(network.place(1), options.clone())?, Sshd::at(network.place(2), options.clone())?];
        world.install(&binary("crabbox-provider-ssh"));
        let client = Client::install(&world);
        let host = |sshd: &Sshd| {
            client.knows(&format!("[{}]:{}", sshd.address(), sshd.port()), sshd);
            json!({
                "host": sshd.address(), "port": sshd.port(), "user": sshd.user(),
                "identityFile": key.path(),
            })
        };
        let hosts = json!({"one": host(&sshds[0]), "two": host(&sshds[1])});
        // JSON is YAML.
        world.write_config(&json!({"ssh": {"hosts": hosts}}).to_string());
        Some(Self { world, network, sshds })
    }

    /// crabbox, for [`Site::here`].
    pub(super) fn crabbox(&self, words: &[&str]) -> Command {
        self.world.crabbox(words)
    }

    /// Does something on crabbox's machine.
    pub(super) fn here<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.network.place(0).within(work)
    }

    /// Runs crabbox there.
    pub(super) fn run(&self, words: &[&str]) -> (i32, String, String) {
        self.here(|| ended(&mut self.crabbox(words)))
    }

    pub(super) fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&tell(self, words, 0).0).unwrap()
    }

    /// Makes a member, which promises a port.
    pub(super) fn warm(&self, slug: &str, port: u16, more: &[&str]) {
        let expose = format!("--expose={port}");
        tell(self, &[&["warmup", "--slug", slug, "--crew", "shop", &expose], more].concat(), 0);
    }

    /// Serves a text on a machine.
    pub(super) fn serve(&self, machine: usize, at: &str, text: &str) -> Server {
        let directory = self.world.root().join("served").join(text);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("text"), text).unwrap();
        let mut serve = self.world.command(binary("examples").join("talk"));
        serve.args(["serve", at]).current_dir(directory).stdin(Stdio::null()).stderr(Stdio::null());
        let place = self.network.place(machine);
        let server = Server(place.within(|| serve.spawn()).unwrap());
        wait_for("the server", || place.within(|| std::net::TcpStream::connect(at)).is_ok());
        server
    }

    /// The text that a member gets there.
    pub(super) fn get(&self, member: &str, at: &str) -> Option<String> {
        let (code, stdout, _) = self.talk(member, &["get", &format!("{at}/text")]);
        (code == 0).then_some(stdout)
    }

    fn talk(&self, member: &str, words: &[&str]) -> (i32, String, String) {
        let talk = binary("examples").join("talk");
        let run = ["run", "--id", member, "--no-sync", "--", talk.to_str().unwrap()];
        self.run(&[&run, words].concat())
    }

    /// Has each of these members try to reach each other one by the endpoint that `peers` gives, as far as commands run
    /// on it. From, to, the word of the matrix for how the two are reached, and whether it got there.
    pub(super) fn tried(&self, members: &[&str]) -> Vec<(String, String, String, bool)> {
        let peers = self.json(&["crew", "peers", "--crew", "shop", "--json"]);
        assert_fits("crew-peers", &peers);
        let row = |slug: &str| {
            let mut rows = peers["members"].as_array().unwrap().iter();
            rows.find(|row| row["slug"] == slug).unwrap_or_else(|| panic!("{peers:#}")).clone()
        };
        let report = self.json(&["doctor", "--crew", "shop", "--json"]);
        assert_fits("doctor", &report);
        let word = |from: &str, to: &str| {
            let [from, to] = [from, to].map(|slug| row(slug)["transport"].clone());
            let mut cells = report["checks"].as_array().unwrap().iter().map(|row| &row["details"]);
            let cell = cells.find(|cell| cell["from"] == from && cell["to"] == to);
            cell.unwrap_or_else(|| panic!("{from} {to}: {report:#}"))["reach"].as_str().unwrap().to_owned()
        };
        let mut tried = Vec::new();
        for from in members.iter().filter(|slug| ["here", "also", "one", "two"].contains(slug)) {
            for to in members.iter().filter(|to| *to != from) {
                let row = row(to);
                let reached = match row["endpoint"].as_str().and_then(|endpoint| endpoint.split_once("://")) {
                    Some(("http", at)) => self.get(from, at).as_deref() == Some(to),
                    Some(("ssh", at)) => self.talk(from, &["knock", at.rsplit('@').next().unwrap()]).0 == 0,
                    other => {
                        assert!(
                            other.is_none()
                                && ["none", "pending"].contains(&row["transport"].as_str().unwrap())
                        );
                        false
                    }
                };
                tried.push(((*from).to_owned(), (*to).to_owned(), word(from, to), reached));
            }
        }
        tried
    }

    /// Connects in the background, and returns the record.
    pub(super) fn connected_aside(&self) -> Value {
        let record = self.json(&["crew", "connect", "shop", "--export", "--json"]);
        assert_fits("crew-connect", &record);
        record
    }

    /// Releases all, after which nothing of it is left anywhere. A machine that was cut off may still have connections
    /// of whose end it never heard.
    pub(super) fn release(&self) {
        tell(self, &["crew", "release", "shop", "--force"], 0);
        for sshd in &self.sshds {
            let leases = sshd.home().join(".crabbox/leases");
            assert_eq!(std::fs::read_dir(leases).into_iter().flatten().count(), 0);
        }
    }
}

/// Runs crabbox, which has to exit so, and returns what it printed and said.
pub(super) fn tell(site: &Site, words: &[&str], expected: i32) -> (String, String) {
    let (code, stdout, stderr) = site.run(words);
    assert_eq!(code, expected, "{words:?}: {stdout}{stderr}");
    (stdout, stderr)
}
