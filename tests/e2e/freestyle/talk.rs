//! The provider spoken to as a host does: for what crabbox itself never asks for, or not at will.

use std::path::Path;

use crabbox_provider_kit::testing::{Answer, Plugin};
use crabbox_tests::freestyle::{Emulator, KEY, Options};
use crabbox_tests::{binary, skip};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(super) const ID: &str = "cbx_0123456789ab";
pub(super) const NAME: &str = "crabbox-0123456789ab";

/// The provider, configured, and a cloud of its own.
pub(super) struct Talk {
    pub(super) cloud: Emulator,
    pub(super) plugin: Plugin,
    /// What is known of the lease, as the host would have recorded it.
    pub(super) lease: Value,
}

impl Talk {
    /// `None`: machines cannot be kept apart from this one here, and that has been said.
    pub(super) fn with(options: Options, config: Value) -> Option<Self> {
        let cloud = Emulator::with(options);
        if !cloud.isolation().has_paths() {
            skip("unshare", "a machine of the emulator's needs a mount namespace of its own");
            return None;
        }
        let plugin = Self::start(&cloud, config);
        Some(Self { cloud, plugin, lease: json!({"id": ID, "slug": "demo", "name": "demo"}) })
    }

    /// A provider of a cloud, configured.
    pub(super) fn start(cloud: &Emulator, changes: Value) -> Plugin {
        let environment = [("HOME", "/nowhere"), ("FREESTYLE_API_KEY", KEY)];
        let mut plugin = Plugin::start(binary("crabbox-provider-freestyle"), environment);
        plugin.initialize();
        let mut config = json!({"apiUrl": cloud.url()});
        config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let secrets = json!({"apiKey": {"env": "FREESTYLE_API_KEY"}});
        let configured = plugin.result("configure", json!({"config": config, "secrets": secrets}));
        assert_eq!(configured.get("problems").unwrap_or(&json!([])), &json!([]), "{configured}");
        plugin
    }

    /// Makes the lease and records what is said of it. The machine's identifier.
    pub(super) fn acquire(&mut self) -> String {
        let made = self.plugin.result("acquire", json!({"lease": self.lease, "keep": true}));
        for key in ["ref", "state", "root"] {
            self.lease[key] = made["lease"][key].clone();
        }
        self.lease["state"]["vm"].as_str().unwrap().to_owned()
    }

    /// The lease as one of whose making nothing was recorded.
    pub(super) fn bare(&self) -> Value {
        json!({"id": ID, "slug": "demo", "name": "demo"})
    }

    /// How the lease stands.
    pub(super) fn resolve(&mut self, lease: &Value, intent: &str) -> Value {
        self.plugin.result("resolve", json!({"lease": lease, "intent": intent}))
    }

    /// Runs a script on the lease.
    pub(super) fn sh(&mut self, script: &str) -> Answer {
        let run = json!({"lease": self.lease, "runId": "run_0123456789ab", "argv": ["sh", "-c", script]});
        self.plugin.call("run", run)
    }

    /// What a script on the lease writes.
    pub(super) fn says(&mut self, script: &str) -> String {
        let answer = self.sh(script);
        let said = String::from_utf8(answer.stdout.clone()).unwrap();
        assert_eq!(answer.result()["exitCode"], 0, "{script}");
        said
    }

    /// Puts bytes onto the lease, by way of a file in `directory`.
    pub(super) fn put(&mut self, directory: &Path, bytes: &[u8], to: &str) -> Answer {
        let path = directory.join("file");
        std::fs::write(&path, bytes).unwrap();
        let sha256: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let put = json!({
            "lease": self.lease, "path": path, "to": to, "size": bytes.len(), "sha256": sha256, "mode": 0o640,
        });
        self.plugin.call("put", put)
    }

    /// Asks what is published of the lease, or publishes a port.
    pub(super) fn bridge(&mut self, port: u16, publish: bool, ttl_ms: Option<u64>) -> Value {
        let mut ask = json!({"lease": self.lease, "port": port, "publish": publish});
        if let Some(ttl) = ttl_ms {
            ask["ttlMs"] = json!(ttl);
        }
        self.plugin.result("bridge", ask)
    }

    /// Deletes what the lease has.
    pub(super) fn release(&mut self) -> Value {
        let ask = json!({"lease": self.lease, "action": "delete", "reason": "user"});
        self.plugin.result("release", ask)["outcome"].clone()
    }

    /// Ends the lease and the provider; nothing is left.
    pub(super) fn over(mut self) {
        assert_eq!(self.release(), "released");
        assert_eq!(self.cloud.vms(), Vec::<Value>::new());
        assert_eq!((self.cloud.tls_rules(), self.cloud.mappings()), (vec![], vec![]));
        assert_eq!(self.cloud.processes(), Vec::<u32>::new());
        assert!(self.plugin.close().success());
    }
}
