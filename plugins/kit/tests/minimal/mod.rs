//! A conversation with the very example that the documentation shows.

use std::path::{Path, PathBuf};

use crabbox_provider_kit::testing::{Answer, Plugin};
use serde_json::{Value, json};

/// The example, configured and with a lease.
pub(crate) struct Conversation {
    pub(crate) plugin: Plugin,
    home: tempfile::TempDir,
}

impl Conversation {
    pub(crate) fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut plugin = Plugin::start(executable(), [("HOME", home.path())]);
        plugin.initialize();
        plugin.result("configure", json!({"config": {"root": home.path().join("leases")}}));
        plugin.result("acquire", json!({"lease": lease(), "keep": false}));
        Self { plugin, home }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file and says how a `run` refers to it.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> Value {
        std::fs::write(self.path(name), content).unwrap();
        json!({"path": self.path(name), "size": content.len(), "sha256": "0".repeat(64)})
    }

    pub(crate) fn ask(&mut self, argv: &[&str], extra: Value) -> u64 {
        let mut params = json!({"lease": lease(), "runId": "run_000000000001", "argv": argv});
        params.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        self.plugin.ask("run", params)
    }

    pub(crate) fn run_with(&mut self, argv: &[&str], extra: Value) -> Answer {
        let request = self.ask(argv, extra);
        self.plugin.answer(request)
    }
}

pub(crate) fn lease() -> Value {
    json!({"id": "cbx_0123456789ab", "slug": "tidy-crab", "name": "crabbox-tidy-crab-01234567"})
}

/// Where cargo puts examples, which it builds before it runs the tests of a package.
pub(crate) fn executable() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let example = test.parent().and_then(Path::parent).unwrap().join("examples/minimal");
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/minimal.rs");
    assert!(
        modified(&example) >= modified(&source),
        "`{}` is not current; run `cargo test -p crabbox-provider-kit` without `--test`",
        example.display()
    );
    example
}
