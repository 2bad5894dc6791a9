//! The keys of a configuration file, and a warning about those that nobody reads.

use serde_json::Value;

use super::{Files, nearest};
use crate::output::foreign;

/// The keys at the top of a file that crabbox itself reads. No provider can have such a name.
pub(crate) const HOST_KEYS: &[&str] = &["provider", "lease", "ttl", "idleTimeout", "sync", "env", "plugins"];

/// The keys below them.
const BELOW: &[(&str, &[&str])] = &[("lease", &["ttl", "idleTimeout"]), ("sync", SYNC), ("env", &["allow"])];

const SYNC: &[&str] =
    &["delete", "exclude", "include", "warnFiles", "warnBytes", "failFiles", "failBytes", "allowLarge"];

/// Keys that a file of the Go crabbox has and this one does not read. They are no typos.
const UPSTREAM_KEYS: &[&str] = &[
    "broker",
    "target",
    "architecture",
    "os",
    "windows",
    "profile",
    "class",
    "serverType",
    "network",
    "workRoot",
    "capacity",
    "results",
    "cache",
    "run",
    "tailscale",
    "actions",
    "ssh",
    "static",
    "profiles",
    "presets",
    "proofTemplates",
    "jobs",
    "sync.checksum",
    "sync.gitSeed",
    "sync.fingerprint",
    "sync.baseRef",
    "sync.timeout",
];

/// Whether a block of this name can be one of the Go crabbox's, so that keys in it that a provider of the
/// same name does not know are no mistakes.
pub(super) fn is_upstream_block(name: &str) -> bool {
    UPSTREAM_KEYS.contains(&name)
}

/// One line per file that has keys which nobody reads. `is_provider` says whether a provider of that name
/// is installed: its block is its own affair.
pub(super) fn unknown(files: &Files, is_provider: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut warnings = Vec::new();
    for file in files.iter() {
        let mut unread: Vec<String> = Vec::new();
        for (key, value) in file.content() {
            if let Some((_, below)) = BELOW.iter().find(|(name, _)| name == key) {
                let keys = value.as_object().into_iter().flatten().map(|(key, _)| key);
                let unknown = keys.filter(|key| !below.contains(&key.as_str()));
                unread.extend(unknown.map(|name| describe(&format!("{key}."), name, below)));
            } else if !HOST_KEYS.contains(&key.as_str()) && !is_provider(key) {
                let known = HOST_KEYS.iter().chain(UPSTREAM_KEYS).copied().collect::<Vec<_>>();
                unread.push(describe("", key, &known));
            }
        }
        if let Some(Value::Object(plugins)) = file.get(&["plugins"]) {
            for (name, settings) in plugins {
                let keys = settings.as_object().into_iter().flatten().map(|(key, _)| key);
                let unknown = keys.filter(|key| !["path", "env"].contains(&key.as_str()));
                unread
                    .extend(unknown.map(|key| describe(&format!("plugins.{name}."), key, &["path", "env"])));
            }
        }
        if !unread.is_empty() {
            let path = file.path.display();
            warnings.push(format!("{path} has keys that crabbox does not use: {}", unread.join(", ")));
        }
    }
    warnings
}

fn describe(prefix: &str, key: &str, known: &[&str]) -> String {
    let name = format!("{prefix}{key}");
    let meant = nearest(key, known.iter().copied()).filter(|_| !UPSTREAM_KEYS.contains(&name.as_str()));
    match meant {
        Some(meant) => format!("`{}` (did you mean `{prefix}{meant}`?)", foreign(&name)),
        None => format!("`{}`", foreign(&name)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Env;
    use super::*;
    use crate::paths::Paths;

    #[test]
    fn keys_that_nobody_reads_are_named_in_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let text = "proivder: x\nbroker: {url: y}\nnimbo: {a: 1}\nhetzner: {}\nttl: 1h\n\
                    sync: {checksum: true, exlude: [a], delete: true}\n";
        std::fs::write(dir.path().join("crabbox.yaml"), text).unwrap();
        let env = Env::new(dir.path(), [("A", "")]);
        let paths = Paths { state: "/none".into(), cache: "/none".into(), config: "/none".into() };
        let files = Files::load(&env, &paths, None).unwrap();
        let warnings = unknown(&files, &|name| name == "nimbo");
        assert_eq!(warnings.len(), 1);
        let (_, keys) = warnings[0].split_once("not use: ").unwrap();
        let mut keys: Vec<_> = keys.split(", ").collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "`broker`",
                "`hetzner`",
                "`proivder` (did you mean `provider`?)",
                "`sync.checksum`",
                "`sync.exlude` (did you mean `sync.exclude`?)",
            ]
        );
    }
}
