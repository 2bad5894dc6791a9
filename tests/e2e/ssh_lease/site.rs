//! A world with a machine, and a provider that says how the machine is reached.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crabbox_tests::sshd::{Client, Identity, Options, Sshd};
use crabbox_tests::{World, quoted};
use serde_json::{Value, json};

/// A world, a machine, and the provider `away`.
pub(super) struct Site {
    pub(super) world: World,
    pub(super) client: Client,
    pub(super) key: Identity,
    pub(super) sshd: Sshd,
}

impl Site {
    /// `None` where there is no sshd and the test is skipped.
    pub(super) fn new() -> Option<Self> {
        Self::with(Options::default())
    }

    pub(super) fn with(mut options: Options) -> Option<Self> {
        let world = World::new();
        let key = Identity::new(&world.home().join(".ssh/id_box"));
        options.authorized.push(key.public());
        let sshd = Sshd::with(options)?;
        let client = Client::install(&world);
        let site = Self { world, client, key, sshd };
        site.leads(&json!({}));
        site.stands("ready");
        site.ends("delete");
        let (ssh, state) =
            (quoted(&site.said().display().to_string()), quoted(&site.stood().display().to_string()));
        let (root, action) =
            (quoted(&site.root().display().to_string()), quoted(&site.action().display().to_string()));
        let cases = format!(
            r#"acquire) ok "{{\"lease\":{{\"ssh\":$(cat {ssh})}}}}" ;;
resolve) ok "{{\"state\":\"$(cat {state})\",\"lease\":{{\"ssh\":$(cat {ssh})}}}}" ;;
configure) ok "{{\"scope\":\"here\",\"release\":\"$(cat {action})\"}}" ;;
release) case $line in *'"action":"delete"'*) rm -rf {root} ;; *) echo stopped >{state} ;; esac; ok '{{"outcome":"released"}}' ;;"#
        );
        let manifest = json!({"methods": ["configure", "acquire", "resolve", "release"], "env": ["SSH_AUTH_SOCK", "AWAY_*"]});
        site.world.provider("away", &manifest, &cases);
        Some(site)
    }

    /// What the provider says of the way, besides what leads to the machine.
    pub(super) fn leads(&self, changes: &Value) {
        let mut ssh = json!({
            "user": self.sshd.user(), "host": "127.0.0.1", "port": self.sshd.port(),
            "identityFile": self.key.path(), "hostKeyId": "the machine", "workRoot": self.root(),
        });
        for (key, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => _ = ssh.as_object_mut().unwrap().remove(key),
                value => ssh[key] = value.clone(),
            }
        }
        fs::write(self.said(), ssh.to_string()).unwrap();
    }

    /// How the provider says that the lease stands.
    pub(super) fn stands(&self, state: &str) {
        fs::write(self.stood(), state).unwrap();
    }

    /// How the provider's leases end.
    pub(super) fn ends(&self, action: &str) {
        fs::write(self.action(), action).unwrap();
    }

    fn action(&self) -> PathBuf {
        self.world.root().join("action")
    }

    fn said(&self) -> PathBuf {
        self.world.root().join("ssh.json")
    }

    fn stood(&self) -> PathBuf {
        self.world.root().join("state")
    }

    /// The lease's directory on the machine.
    pub(super) fn root(&self) -> PathBuf {
        self.sshd.home().join("work root")
    }

    /// Where crabbox keeps the connection to the only lease.
    pub(super) fn place(&self) -> PathBuf {
        let id = self.world.json(&["list", "--json"])[0]["id"].as_str().unwrap().to_owned();
        let base = format!("/tmp/crabbox-{}", rustix::process::geteuid().as_raw());
        let places = fs::read_dir(base).unwrap().map(|entry| entry.unwrap().path());
        places.into_iter().find(|path| path.to_string_lossy().ends_with(&id)).unwrap()
    }

    /// The connection was last used an hour ago.
    pub(super) fn unused_for_an_hour(&self) {
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        let ready = fs::File::options().append(true).open(self.place().join("ready")).unwrap();
        ready.set_modified(hour_ago).unwrap();
    }

    pub(super) fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        self.world.run(&[&arguments[..1], &["--provider", "away"], &arguments[1..]].concat())
    }

    /// Fails unless nothing is left: no lease, no connection, no process there.
    pub(super) fn nothing_is_left(&self) {
        assert_eq!(self.world.unfinished(), Vec::<PathBuf>::new());
        crabbox_tests::wait_for("the end of all connections", || self.sshd.open_connections() == 0);
        crabbox_tests::wait_for("the end of all processes", || self.sshd.processes().is_empty());
        assert!(!self.root().exists());
        assert_eq!(self.world.json(&["list", "--json"]), json!([]));
    }
}
