//! `crabbox plugins describe`.

use clap::Args;
use crabbox_protocol::records::{PluginDescription, PluginRow, Setting};
use serde_json::Value;

use super::cache::Asked;
use super::list::row;
use super::{Found, Known, Plugins};
use crate::config::{Key, Schema, plain};
use crate::error::Result;
use crate::output::{self, foreign};

/// Describe a provider and every setting that it has
#[derive(Debug, Clone, Args)]
pub(crate) struct DescribeArgs {
    /// The provider
    #[arg(value_name = "NAME")]
    pub(crate) name: String,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Prints what a plugin says about itself.
pub(crate) async fn describe(plugins: &Plugins, args: &DescribeArgs) -> Result<()> {
    let found = plugins.find(&args.name)?;
    let mut description = description(&found, plugins.manifest(&found).await?);
    description.plugin.pin = plugins.pin_of(&found);
    match args.json {
        true => output::json(&description),
        false => output::data(&render(&description)),
    }
}

fn description(found: &Found, known: Known) -> PluginDescription {
    let keys = Schema::of(&known.manifest).keys;
    let settings = keys.iter().map(|key| setting(&found.name, key)).collect();
    let manifest = Some(known.manifest.clone());
    let asked = Asked { outcome: Ok(known.manifest), sha256: known.sha256, cached: known.cached };
    PluginDescription { plugin: row(found, Some(&asked)), manifest, settings }
}

fn setting(provider: &str, key: &Key) -> Setting {
    Setting {
        key: key.name.clone(),
        r#type: key.kind.describe(),
        description: key.description.clone(),
        default: key.default.as_ref().map(|default| key.show(default)),
        flag: key.flag(provider),
        env: key.variables(provider).into_iter().map(|variable| variable.name).collect(),
        yaml: (!key.secret).then(|| format!("{provider}.{}", key.name)),
        secret: key.secret,
        user_only: key.user_only,
        required: key.required,
    }
}

fn render(description: &PluginDescription) -> String {
    let PluginRow { name, version, path, source, summary, .. } = &description.plugin;
    let mut text = format!("{name} {}", foreign(version.as_deref().unwrap_or("-")));
    text.extend(summary.iter().map(|summary| format!(": {}", foreign(summary))));
    text += "\n\n";
    let mut facts: Vec<Vec<String>> = Vec::new();
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            facts.push(vec![format!("{name}:"), value]);
        }
    };
    fact("path", format!("{} ({source})", foreign(path)));
    if let Some(manifest) = &description.manifest {
        let list = |items: &[String]| foreign(&items.join(", "));
        fact("protocol", manifest.protocol.to_string());
        fact("kind", manifest.kind().to_owned());
        fact("lifecycle", manifest.lifecycle.name().to_owned());
        fact("targets", list(&manifest.targets));
        fact("methods", list(&manifest.methods));
        fact("features", list(&manifest.features));
        fact("requires", list(&manifest.requires));
        fact("environment", list(&manifest.env));
    }
    text += &output::table(&facts);
    if description.settings.is_empty() {
        return text + "\nIt has no settings.\n";
    }
    text += "\nSettings:\n";
    for setting in &description.settings {
        text += &format!("\n  {}  {}{}\n", setting.key, foreign(&setting.r#type), notes(setting));
        text.extend(setting.description.iter().map(|about| format!("    {}\n", foreign(about))));
        text += &format!("    set by {}\n", places(setting).join(", "));
    }
    text
}

fn notes(setting: &Setting) -> String {
    let mut notes = Vec::new();
    // An empty list is what everybody expects where nothing is said.
    if let Some(default) = setting.default.as_ref().filter(|default| **default != Value::Array(Vec::new())) {
        notes.push(format!("default {}", foreign(&shown(default))));
    }
    let words = [
        (setting.required, "required"),
        (setting.secret, "secret"),
        (setting.user_only && !setting.secret, "not from a repository's file"),
    ];
    notes.extend(words.into_iter().filter(|(is, _)| *is).map(|(_, word)| word.to_owned()));
    if notes.is_empty() { String::new() } else { format!("  ({})", notes.join("; ")) }
}

fn shown(value: &Value) -> String {
    if value == "" { "\"\"".to_owned() } else { plain(value) }
}

fn places(setting: &Setting) -> Vec<String> {
    setting.flag.iter().chain(&setting.env).chain(&setting.yaml).cloned().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::discovery::FoundIn;
    use super::*;

    #[test]
    fn everything_about_a_plugin_and_its_settings() {
        let manifest = json!({
            "protocol": 1, "name": "nimbo", "version": "1.2", "lifecycle": "leased", "summary": "Jobs.\nMany.",
            "targets": ["linux"], "features": ["cancel"], "env": ["NIMBO_*"],
            "config": {"required": ["address"], "properties": {
                "address": {"type": "string", "description": "Where.", "x-crabbox": {"env": "NIMBO_ADDR", "userOnly": true}},
                "token": {"type": "string", "x-crabbox": {"secret": true}},
                "wait": {"type": "integer", "default": 60_000, "x-crabbox": {"duration": true}},
            }},
        });
        let found = Found {
            name: "nimbo".into(),
            path: "/bin/n".into(),
            source: FoundIn::Path,
            identity: Default::default(),
            shadowed_by: None,
            problem: None,
        };
        let manifest = serde_json::from_value(manifest).unwrap();
        let description = description(&found, Known { manifest, sha256: String::new(), cached: true });
        assert_eq!(
            render(&description),
            "nimbo 1.2: Jobs.\\nMany.\n\
             \n\
             path:         /bin/n (PATH)\n\
             protocol:     1\n\
             kind:         delegated-run\n\
             lifecycle:    leased\n\
             targets:      linux\n\
             features:     cancel\n\
             environment:  NIMBO_*\n\
             \n\
             Settings:\n\
             \n  \
               address  string  (required; not from a repository's file)\n    \
                 Where.\n    \
                 set by --nimbo-address, CRABBOX_NIMBO_ADDRESS, NIMBO_ADDR, nimbo.address\n\
             \n  \
               token  string  (secret)\n    \
                 set by CRABBOX_NIMBO_TOKEN\n\
             \n  \
               wait  duration  (default 1m)\n    \
                 set by --nimbo-wait, CRABBOX_NIMBO_WAIT, nimbo.wait\n"
        );
        let json = serde_json::to_value(&description).unwrap();
        assert_eq!(json["settings"][0]["userOnly"], true);
        assert_eq!(json["settings"][1].get("flag"), None);
        assert_eq!(json["settings"][2]["default"], "1m");
    }
}
