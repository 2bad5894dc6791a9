//! Providers for a test, written on the spot: in sh, or `local` under another name.

use std::fs;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::{World, binaries};

/// What every provider of a test says about itself, unless the test says otherwise.
fn manifest(name: &str, changes: &Value) -> String {
    let mut manifest = json!({
        "protocol": 1, "name": name, "version": "1.0.0", "lifecycle": "leased", "limits": {"createSettleMs": 0},
    });
    let none = Map::new();
    for (key, value) in changes.as_object().unwrap_or(&none) {
        manifest[key] = value.clone();
    }
    manifest.to_string()
}

/// A text as one word of sh.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

impl World {
    /// Writes a provider in sh. `manifest` replaces parts of what it says about itself; `cases` are the
    /// methods that it has besides `initialize`, as branches of `case $method`. There, `ok RESULT` answers,
    /// `no MESSAGE DATA` refuses, `$line` is the request.
    pub fn provider(&self, name: &str, changes: &Value, cases: &str) -> PathBuf {
        let manifest = quoted(&manifest(name, changes));
        let unknown = r#"*) no "no method $method" '{"kind":"unsupported"}' ;;"#;
        let answer = format!("case $method in initialize) ok {manifest} ;;\n{cases}\n{unknown}\nesac");
        self.provider_that(name, &format!("{ANSWERS}while IFS= read -r line; do request; {answer}; done"))
    }

    /// Writes a provider in sh that does whatever it does. Every start of one is written down: see
    /// [`World::starts`].
    pub fn provider_that(&self, name: &str, does: &str) -> PathBuf {
        let log = quoted(&self.started().display().to_string());
        self.script(&format!("crabbox-provider-{name}"), &format!("#!/bin/sh\necho {name} >>{log}\n{does}\n"))
    }

    /// Writes a provider that does what `local` does, and says something else about itself.
    pub fn local_as(&self, name: &str, changes: &Value) -> PathBuf {
        let mut all = json!({
            "methods": ["configure", "acquire", "run", "release", "resolve", "kill", "list"],
            "features": ["cancel", "outputPaths"],
        });
        for (key, value) in changes.as_object().unwrap_or(&Map::new()) {
            all[key] = value.clone();
        }
        let local = quoted(&binaries(self.profile()).join("crabbox-provider-local").display().to_string());
        let manifest = quoted(&manifest(name, &all));
        let first = format!("IFS= read -r line; request; ok {manifest}");
        self.provider_that(name, &format!("{ANSWERS}{local} --stdio | {{ {first}; exec cat; }}"))
    }

    /// How often a provider that was written here has been started.
    pub fn starts(&self, name: &str) -> usize {
        let log = fs::read_to_string(self.started()).unwrap_or_default();
        log.lines().filter(|line| *line == name).count()
    }

    fn started(&self) -> PathBuf {
        self.root().join("started")
    }
}

/// `ok RESULT` and `no MESSAGE DATA` answer the request that `request` took apart.
const ANSWERS: &str = r#"
ok() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"; }
no() { printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32000,"message":"%s","data":%s}}\n' "$id" "$1" "$2"; }
request() {
  id=${line#*'"id":'}; id=${id%%[,\}]*}
  method=${line#*'"method":"'}; method=${method%%\"*}
}
"#;
