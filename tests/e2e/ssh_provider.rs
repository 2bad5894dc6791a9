//! The provider of machines that are there already, from crabbox down to OpenSSH's own server.

mod check;
mod crash;
mod destination;
mod life;
mod own_config;
mod refused;

use std::path::PathBuf;
use std::process::Command;

use crabbox_provider_kit::testing::Plugin;
use crabbox_tests::sshd::{Client, Identity, Options, Sshd};
use crabbox_tests::{World, binary, ended, wait_for};
use serde_json::{Value, json};

/// A world with the provider, and a machine that its ssh calls `box`.
struct Site {
    world: World,
    client: Client,
    key: Identity,
    sshd: Sshd,
}

impl Site {
    /// `None` where there is no sshd and the test is skipped.
    fn new() -> Option<Self> {
        Self::with(Options::default())
    }

    fn with(mut options: Options) -> Option<Self> {
        let world = World::new();
        let key = Identity::new(&world.home().join(".ssh/id_box"));
        options.authorized.push(key.public());
        let sshd = Sshd::with(options)?;
        world.install(&binary("crabbox-provider-ssh"));
        let client = Client::install(&world);
        client.host("box", &sshd, &key).knows("box", &sshd);
        let site = Self { world, client, key, sshd };
        site.configure(&json!({"host": "box"}));
        Some(site)
    }

    /// Writes the user's configuration.
    fn configure(&self, ssh: &Value) {
        // JSON is YAML.
        self.world.write_config(&json!({"provider": "ssh", "ssh": ssh}).to_string());
    }

    fn crabbox(&self, arguments: &[&str]) -> Command {
        self.world.crabbox(arguments)
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        ended(&mut self.crabbox(arguments))
    }

    /// Where leases are on the machine.
    fn root(&self) -> PathBuf {
        self.sshd.home().join(".crabbox/leases")
    }

    /// What is there: leases, and what is on its way to be one.
    fn leases(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.root()).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }

    /// The provider, started as the host does it, with these variables besides.
    fn plugin<'a>(&self, more: impl IntoIterator<Item = (&'a str, &'a str)>) -> Plugin {
        let more = more.into_iter().map(|(name, value)| (name, value.into()));
        let environment = self.world.env().into_iter().chain(more);
        let mut plugin = Plugin::start(binary("crabbox-provider-ssh"), environment);
        plugin.initialize();
        plugin
    }

    /// Makes a lease that stays, and returns its id.
    fn warm(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(&[&["warmup"], arguments].concat());
        assert_eq!(code, 0, "{stderr}");
        stdout.split_whitespace().find(|word| word.starts_with("cbx_")).unwrap().to_owned()
    }

    /// Cuts the connection that stands to a lease: the next run asks the provider again.
    fn cut(&self) {
        self.sshd.cut();
        wait_for("the end of the connection here", || self.world.processes().is_empty());
    }

    /// Fails unless nothing is left: no lease, no claim, no connection, no process.
    fn nothing_is_left(&self) {
        assert_eq!(self.leases(), Vec::<PathBuf>::new());
        assert_eq!(self.world.unfinished(), Vec::<PathBuf>::new());
        assert_eq!(self.world.json(&["list", "--json"]), json!([]));
        wait_for("the end of all connections", || self.sshd.open_connections() == 0);
        wait_for("the end of all processes", || self.sshd.processes().is_empty());
    }
}
