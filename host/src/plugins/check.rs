//! Whether a manifest is one that this host can work with.

use std::collections::BTreeMap;

use crabbox_protocol::records::PluginState;
use crabbox_protocol::{Lifecycle, Manifest, Method, VERSIONS, feature, is_provider_name};

use super::Refusal;
use crate::config::{HOST_KEYS, Schema, flag_name, variable_name};
use crate::output::foreign;

/// Every long flag of this host, some of them still to come. No provider's flag may be spelled like one, and
/// no provider may be named like the first word of one, so that `--NAME-KEY` is never a question.
pub(crate) const HOST_FLAGS: &[&str] = &[
    "all",
    "allow-env",
    "bridge",
    "crew",
    "deadline",
    "delete",
    "dir",
    "dry-run",
    "export",
    "expose",
    "feature",
    "force",
    "force-sync-large",
    "fresh-sync",
    "full-resync",
    "help",
    "id",
    "idle-timeout",
    "json",
    "keep",
    "keep-on-failure",
    "kind",
    "kit",
    "label",
    "lang",
    "lease-id",
    "lease-label",
    "limit",
    "live",
    "no-sync",
    "plugin",
    "print",
    "probe",
    "port",
    "provider",
    "reclaim",
    "refresh",
    "role",
    "share-port",
    "share-ttl",
    "shell",
    "slug",
    "sync-only",
    "tailscale",
    "tailscale-auth-key-env",
    "tailscale-tag",
    "target",
    "timeout",
    "timing-json",
    "ttl",
    "version",
    "wait",
    "wait-timeout",
];

/// Words that are taken by variables of ours, such as CRABBOX_PLUGIN_PATH and CRABBOX_RUN_ID.
const TAKEN: &[&str] = &["plugin", "config", "run", "lease"];

/// Whether a manifest can be used; if not, why not, in one sentence that names both sides.
pub(crate) fn check(name: &str, manifest: &Manifest) -> Result<(), Refusal> {
    if !VERSIONS.contains(&manifest.protocol) {
        let (theirs, ours) = (manifest.protocol, VERSIONS[0]);
        let update = if theirs > ours { "crabbox".to_owned() } else { format!("crabbox-provider-{name}") };
        return Err(Refusal {
            state: PluginState::Incompatible,
            reason: format!("provider `{name}` speaks protocol {theirs}, and this crabbox speaks {ours}"),
            hint: Some(format!("update {update}")),
            exit: None,
            pin: None,
        });
    }
    check_requires(name, manifest)?;
    check_name(name, manifest)?;
    check_methods(name, manifest)?;
    check_schema(name, manifest)
}

fn wrong(reason: String) -> Refusal {
    Refusal { state: PluginState::Invalid, reason, hint: None, exit: None, pin: None }
}

/// Whether this host knows all that a manifest requires.
pub(crate) fn check_requires(name: &str, manifest: &Manifest) -> Result<(), Refusal> {
    let unknown: Vec<_> =
        manifest.requires.iter().filter(|name| !feature::ALL.contains(&name.as_str())).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let list = |names: Vec<String>| names.join(", ");
    Err(Refusal {
        state: PluginState::Incompatible,
        reason: format!(
            "provider `{name}` requires {}, and this crabbox knows {}",
            list(unknown.into_iter().map(|name| format!("`{}`", foreign(name))).collect()),
            list(feature::ALL.iter().map(|name| format!("`{name}`")).collect()),
        ),
        hint: Some("update crabbox".to_owned()),
        exit: None,
        pin: None,
    })
}

/// Whether a manifest's name is that of its file, and free.
pub(crate) fn check_name(name: &str, manifest: &Manifest) -> Result<(), Refusal> {
    if manifest.name != name {
        let theirs = foreign(&manifest.name);
        let mut refusal =
            wrong(format!("the plugin says that it is `{theirs}`, and its file that it is `{name}`"));
        if is_provider_name(&manifest.name) {
            refusal.hint = Some(format!("rename the file to `crabbox-provider-{theirs}`"));
        }
        return Err(refusal);
    }
    match taken(name) {
        Some(taken) => Err(wrong(format!("a provider cannot be named `{name}`: that is {taken}"))),
        None => Ok(()),
    }
}

/// Whether a manifest has the methods without which its kind of provider does nothing.
pub(crate) fn check_methods(name: &str, manifest: &Manifest) -> Result<(), Refusal> {
    let needed: &[Method] = match manifest.lifecycle {
        Lifecycle::Leased => &[Method::Acquire, Method::Release],
        Lifecycle::OneShot => &[Method::Run],
    };
    match needed.iter().find(|method| !manifest.has(**method)) {
        Some(missing) => {
            let (lifecycle, missing) = (manifest.lifecycle.name(), missing.name());
            Err(wrong(format!("provider `{name}` is {lifecycle}, and its methods do not have `{missing}`")))
        }
        None => Ok(()),
    }
}

/// Whether flags, variables and keys can be made of a manifest's configuration.
pub(crate) fn check_schema(name: &str, manifest: &Manifest) -> Result<(), Refusal> {
    schema(name, manifest).map_err(|problem| {
        wrong(format!("the configuration schema of provider `{name}` is wrong: {}", foreign(&problem)))
    })
}

/// What a name means already.
pub(super) fn taken(name: &str) -> Option<String> {
    if HOST_KEYS.contains(&name) {
        return Some("a key of crabbox's own in configuration files".to_owned());
    }
    if TAKEN.contains(&name) {
        return Some(format!(
            "taken by crabbox's variables, which begin with CRABBOX_{}",
            name.to_uppercase()
        ));
    }
    let first_word = |flag: &&&str| flag.split('-').next() == Some(name);
    HOST_FLAGS.iter().find(first_word).map(|flag| format!("how crabbox's own flag --{flag} begins"))
}

fn schema(name: &str, manifest: &Manifest) -> Result<(), String> {
    let schema = Schema::parse(manifest.config.as_ref())?;
    if let Some(config) = &manifest.config {
        jsonschema::validator_for(config).map_err(|error| error.to_string())?;
    }
    let (mut flags, mut variables) = (BTreeMap::new(), BTreeMap::new());
    for key in &schema.keys {
        let flag = flag_name(name, &key.name);
        if HOST_FLAGS.contains(&flag.as_str()) {
            return Err(format!("key `{}` would be the flag --{flag}, which is crabbox's own", key.name));
        }
        let variable = variable_name(name, &key.name);
        let same = flags.insert(flag, &key.name).or(variables.insert(variable, &key.name));
        if let Some(other) = same {
            return Err(format!("the keys `{other}` and `{}` would be the same flag", key.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn checked(name: &str, changes: Value) -> Result<(), Refusal> {
        let mut manifest = json!({
            "protocol": 1, "name": name, "version": "1", "lifecycle": "leased",
            "config": {"type": "object", "properties": {"caCert": {"type": "string"}}},
        });
        for (key, value) in changes.as_object().unwrap() {
            manifest[key] = value.clone();
        }
        check(name, &serde_json::from_value(manifest).unwrap())
    }

    #[test]
    fn what_can_be_used() {
        for (name, changes) in [
            ("nimbo", json!({})),
            ("nimbo", json!({"config": null, "requires": ["tailscale"], "methods": ["acquire", "release"]})),
            ("ssh", json!({"lifecycle": "one-shot"})),
            ("keeper", json!({})),
        ] {
            assert_eq!(checked(name, changes), Ok(()));
        }
    }

    #[test]
    fn what_cannot_be_used_is_said_in_one_sentence() {
        let properties = |properties: Value| json!({"config": {"properties": properties}});
        for (name, changes, state, reason) in [
            (
                "a",
                json!({"protocol": 2}),
                "incompatible",
                "provider `a` speaks protocol 2, and this crabbox speaks 1",
            ),
            (
                "a",
                json!({"requires": ["magic"]}),
                "incompatible",
                "requires `magic`, and this crabbox knows `cancel`",
            ),
            ("a", json!({"name": "b"}), "invalid", "says that it is `b`, and its file that it is `a`"),
            ("sync", json!({}), "invalid", "cannot be named `sync`: that is a key of crabbox's own"),
            ("plugin", json!({}), "invalid", "which begin with CRABBOX_PLUGIN"),
            ("idle", json!({}), "invalid", "that is how crabbox's own flag --idle-timeout begins"),
            (
                "a",
                json!({"methods": ["acquire", "run"]}),
                "invalid",
                "is leased, and its methods do not have `release`",
            ),
            (
                "a",
                json!({"methods": ["doctor"], "lifecycle": "one-shot"}),
                "invalid",
                "is one-shot, and its methods do not have `run`",
            ),
            ("a", json!({"config": 1}), "invalid", "schema of provider `a` is wrong: it is not an object"),
            ("a", properties(json!({"CaCert": {}})), "invalid", "key `CaCert`"),
            ("a", properties(json!({"k": {"type": "wrong"}})), "invalid", "\"wrong\""),
            ("a", properties(json!({"k": {"$ref": "#/$defs/absent"}})), "invalid", "absent"),
            ("a", properties(json!({"k": {"pattern": "("}})), "invalid", "schema of provider `a` is wrong"),
            (
                "keep-on",
                properties(json!({"failure": {}})),
                "invalid",
                "key `failure` would be the flag --keep-on-failure, which is crabbox's own",
            ),
            (
                "a",
                properties(json!({"caCERT": {}, "caCert": {}})),
                "invalid",
                "the keys `caCERT` and `caCert` would be the same flag",
            ),
        ] {
            let refusal = checked(name, changes).unwrap_err();
            assert_eq!(refusal.state.name(), state, "{refusal:?}");
            assert!(refusal.reason.contains(reason), "{}", refusal.reason);
        }
    }
}
