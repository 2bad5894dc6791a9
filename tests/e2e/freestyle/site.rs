//! A world with the provider, and a cloud of its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use crabbox_tests::freestyle::{Emulator, KEY, Options};
use crabbox_tests::{World, binary, ended, skip, wait_for};
use serde_json::{Value, json};

pub(super) struct Site {
    pub(super) world: World,
    pub(super) cloud: Emulator,
}

impl Site {
    /// `None`: machines cannot be kept apart from this one here, and that has been said.
    pub(super) fn new() -> Option<Self> {
        Self::with(Options::default())
    }

    /// The same, with a cloud that is like this.
    pub(super) fn with(options: Options) -> Option<Self> {
        let site = Self { world: World::new(), cloud: Emulator::with(options) };
        if !site.cloud.isolation().has_paths() {
            skip("unshare", "a machine of the emulator's needs a mount namespace of its own");
            return None;
        }
        site.world.install(&binary("crabbox-provider-freestyle"));
        site.configure(json!({}));
        Some(site)
    }

    /// Writes the user's configuration: what `changes` says, and the cloud's address.
    pub(super) fn configure(&self, changes: Value) {
        let mut block = json!({"apiUrl": self.cloud.url()});
        block.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        // JSON is YAML.
        self.world.write_config(&json!({"provider": "freestyle", "freestyle": block}).to_string());
    }

    pub(super) fn crabbox(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.crabbox(arguments);
        command.env("FREESTYLE_API_KEY", KEY);
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        ended(&mut self.crabbox(arguments))
    }

    /// What crabbox prints when all is well.
    pub(super) fn ok(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {stderr}");
        stdout
    }

    /// Makes a machine as somebody else in the account does, and returns its identifier.
    pub(super) fn make(&self, order: &Value) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.cloud.port())).unwrap();
        let (order, port) = (order.to_string(), self.cloud.port());
        write!(
            stream,
            "POST /v5/vms HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
             Authorization: Bearer {KEY}\r\nContent-Length: {}\r\n\r\n{order}",
            order.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let made: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        made["id"].as_str().unwrap().to_owned()
    }

    pub(super) fn asked(&self, method: &str) -> usize {
        self.cloud.requests().iter().filter(|request| request.method == method).count()
    }

    /// Cleans up until there is nothing more. What guarded a run that has just ended may hold its lock a moment longer.
    pub(super) fn clean(&self) {
        wait_for("cleanup to find everything", || {
            self.ok(&["cleanup", "--wait"]);
            self.ok(&["list", "--json"]).trim() == "[]"
        });
    }

    pub(super) fn nothing_is_left(&self) {
        assert_eq!(self.ok(&["list", "--json"]).trim(), "[]");
        assert_eq!(self.cloud.vms(), Vec::<Value>::new());
        assert_eq!(self.cloud.tls_rules(), Vec::<Value>::new());
        assert_eq!(self.cloud.processes(), Vec::<u32>::new());
    }
}

/// Bytes that do not get smaller, always the same.
pub(super) fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}
