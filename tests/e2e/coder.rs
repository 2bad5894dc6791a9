//! The provider of Coder, from crabbox down to a double of its CLI, behind which are real SSH servers.
//!
//! What upstream's provider does, line by line of our list of it, and where it is tested. *Host* is what the host does
//! for every provider, and its own tests show. *Not so* is what is different here on purpose.
//!
//! | line | what | where |
//! | --- | --- | --- |
//! | 1, 2 | options of other providers, defaults | `configuration`; `settings` of the provider |
//! | 3, 4, 5, 6 | values that are refused, no token anywhere | `configuration` |
//! | 7, 8 | no template; the words of `create` | `create` |
//! | 9 | names | `name` of the provider; `create` |
//! | 10 | a name that is there | not so: it is the lease's own (`create`) |
//! | 11 to 16 | a creation that fails, is lost, or is never ready | `create`, `agents`; not so: also what was to be kept is undone |
//! | 17, 18 | undoing that fails | `create`; *host* |
//! | 19, 21, 22, 23, 25 | who is meant by a name | `known` |
//! | 20 | which list is asked | `known` |
//! | 24 | a lease that is adopted | `known`; the id is the *host's* |
//! | 26, 27, 28 | looking starts nothing, using does | `known` |
//! | 29 | labels and times of the claim | *host* |
//! | 30, 31, 32 | the way there | `reach` of the provider; `life`, `agents` |
//! | 33 | programs that have to be there | not so: the sync says what it lacks |
//! | 34 | what is listed | `known` |
//! | 35 | lists that are empty, and that are none | `trouble` |
//! | 36, 37 | stop or delete, and what is gone | `ending` |
//! | 38 | which name is used | `known` |
//! | 39 to 43 | cleanup | `ending`; *host* |
//! | 44, 45, 46 | doctor | `trouble` |

mod agents;
mod check;
mod configuration;
mod crash;
mod create;
mod ending;
mod known;
mod life;
mod trouble;

use std::path::PathBuf;
use std::process::Command;

use crabbox_provider_kit::testing::Plugin;
use crabbox_tests::coder::{Coder, Workspace};
use crabbox_tests::{World, binary, ended};
use serde_json::{Value, json};

/// A world with the provider, and a deployment that it is logged in to.
struct Site {
    world: World,
    coder: Coder,
}

impl Site {
    /// `None` where there is no sshd and the test is skipped.
    fn new() -> Option<Self> {
        let site = Self { world: World::new(), coder: Coder::start()? };
        site.world.install(&binary("crabbox-provider-coder"));
        site.coder.install(&site.world);
        site.configure(json!({}));
        Some(site)
    }

    /// Writes the user's configuration: what `changes` says, and template and directory.
    fn configure(&self, changes: Value) {
        // JSON is YAML.
        self.world.write_config(&json!({"provider": "coder", "coder": self.config(changes)}).to_string());
    }

    fn config(&self, changes: Value) -> Value {
        let mut config = json!({"template": "docker", "workRoot": self.root()});
        config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        config.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        config
    }

    /// The lease's directory: all workspaces are on this machine.
    fn root(&self) -> PathBuf {
        self.world.root().join("work root")
    }

    fn crabbox(&self, arguments: &[&str]) -> Command {
        self.world.crabbox(arguments)
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        ended(&mut self.crabbox(arguments))
    }

    /// Makes a lease that stays, and returns its id.
    fn warm(&self) -> String {
        let (code, stdout, stderr) = self.run(&["warmup", "--slug", "demo"]);
        assert_eq!(code, 0, "{stderr}");
        stdout.split_whitespace().find(|word| word.starts_with("cbx_")).unwrap().to_owned()
    }

    /// The only workspace.
    fn workspace(&self) -> Workspace {
        let mut all = self.coder.workspaces();
        assert_eq!(all.len(), 1, "{all:?}");
        all.pop().unwrap()
    }

    /// The only claim.
    fn claim(&self) -> Value {
        crate::support::claim(&self.world).1
    }

    /// How often something was asked of the CLI that changes something.
    fn changes(&self) -> usize {
        ["create", "start", "stop", "delete"].iter().map(|verb| self.coder.asked(&[verb])).sum()
    }

    /// Fails unless every workspace is stopped, which is what a lease leaves, and so says every claim.
    fn nothing_is_left(&self) {
        for claim in self.world.json(&["list", "--json"]).as_array().unwrap() {
            assert_eq!((&claim["state"], &claim["owner"]), (&json!("stopped"), &json!("user")), "{claim}");
        }
        assert_eq!(self.world.unfinished(), Vec::<PathBuf>::new());
        for workspace in self.coder.workspaces() {
            assert_eq!(workspace.status(), "stopped", "{}", workspace.full_name());
        }
    }

    /// The provider, spoken to as a host does, and configured.
    fn talk(&self, changes: Value) -> Plugin {
        let environment = self.world.env();
        let mut plugin = Plugin::start(binary("crabbox-provider-coder"), environment);
        plugin.initialize();
        let configured = plugin.result("configure", json!({"config": self.config(changes)}));
        assert_eq!(configured.get("problems").unwrap_or(&json!([])), &json!([]), "{configured}");
        plugin
    }
}

const ID: &str = "cbx_0123456789ab";

/// A lease as the host has it; `more` is what the provider said of it, or what is adopted.
fn lease(more: Value) -> Value {
    let mut lease = json!({"id": ID, "slug": "demo", "name": "crabbox-demo-12345678"});
    lease.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    lease
}
