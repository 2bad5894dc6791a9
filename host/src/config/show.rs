//! `crabbox config show`.

use clap::Args;
use crabbox_protocol::records::{ConfigFile, ConfigReport, ConfigValue};
use serde_json::Value;

use super::schema::plain;
use super::{Env, Files, FlagValues, HostFlags, Resolved, Schema, Settings, Sourced, duration, resolve};
use crate::error::Result;
use crate::output::{self, foreign};
use crate::paths::Paths;
use crate::plugins::Plugins;

/// Show every setting and where it comes from
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ShowArgs {
    /// Show the settings of this provider instead of the configured one
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Prints every setting. That the provider is not installed or its configuration is wrong is a warning here.
pub(crate) async fn show(args: &ShowArgs, env: &Env, paths: &Paths, files: &Files) -> Result<()> {
    let flags = HostFlags { provider: args.provider.clone(), ..Default::default() };
    let settings = Settings::find(env, files, &flags)?;
    let plugins = Plugins::new(env, paths, files, &settings);
    let resolved = provider(&settings.provider.value, env, files, &plugins).await;
    let mut report = report(files, &settings, resolved.as_ref().ok());
    let of_provider = match resolved {
        Ok(resolved) => resolved.warnings,
        Err(error) => vec![error.to_string()],
    };
    report.warnings.extend(Settings::unknown_keys(files, &|name| plugins.has(name)));
    report.warnings.extend(of_provider.clone());
    if args.json {
        return output::json(&report);
    }
    // The others were printed when the command began.
    of_provider.iter().for_each(output::warn);
    output::data(&render(&report))
}

async fn provider(name: &str, env: &Env, files: &Files, plugins: &Plugins) -> Result<Resolved> {
    let found = plugins.find(name)?;
    let known = plugins.manifest(&found).await?;
    let cached = known.cached;
    match resolve(name, &Schema::of(&known.manifest), env, files, &FlagValues::default()) {
        Err(_) if cached => {
            let known = plugins.refresh(&found).await?;
            resolve(name, &Schema::of(&known.manifest), env, files, &FlagValues::default())
        }
        resolved => resolved,
    }
}

/// Everything that is set, the host's own first.
fn report(files: &Files, settings: &Settings, resolved: Option<&Resolved>) -> ConfigReport {
    let files = files.iter().map(|file| ConfigFile {
        path: file.path.display().to_string(),
        role: file.role.to_owned(),
        found: file.found,
    });
    let ttl = duration::format(settings.ttl.value);
    let idle_timeout = duration::format(settings.idle_timeout.value);
    let mut values = vec![
        value("provider", &settings.provider, settings.provider.value.clone().into()),
        value("ttl", &settings.ttl, ttl.into()),
        value("idleTimeout", &settings.idle_timeout, idle_timeout.into()),
        value("sync.exclude", &settings.sync_exclude, settings.sync_exclude.value.clone().into()),
        value("sync.include", &settings.sync_include, settings.sync_include.value.clone().into()),
        value("sync.delete", &settings.sync_delete, settings.sync_delete.value.into()),
        value("sync.warnFiles", &settings.sync_warn_files, settings.sync_warn_files.value.into()),
        value("sync.warnBytes", &settings.sync_warn_bytes, settings.sync_warn_bytes.value.into()),
        value("sync.failFiles", &settings.sync_fail_files, settings.sync_fail_files.value.into()),
        value("sync.failBytes", &settings.sync_fail_bytes, settings.sync_fail_bytes.value.into()),
        value("sync.allowLarge", &settings.sync_allow_large, settings.sync_allow_large.value.into()),
        value("env.allow", &settings.env_allow, settings.env_allow.value.clone().into()),
    ];
    for (name, plugin) in &settings.plugins {
        if let Some(path) = &plugin.path {
            values.push(value(
                &format!("plugins.{name}.path"),
                path,
                path.value.display().to_string().into(),
            ));
        }
        if let Some(names) = &plugin.env {
            values.push(value(&format!("plugins.{name}.env"), names, names.value.clone().into()));
        }
    }
    values.extend(resolved.into_iter().flat_map(|resolved| resolved.values.clone()));
    ConfigReport { files: files.collect(), values, warnings: settings.warnings.clone() }
}

fn value<T>(key: &str, from: &Sourced<T>, value: Value) -> ConfigValue {
    ConfigValue { key: key.to_owned(), value, source: from.source.to_string() }
}

fn render(report: &ConfigReport) -> String {
    let file = |file: &ConfigFile| {
        let found = if file.found { "" } else { "not there" };
        vec![foreign(&file.path), file.role.clone(), found.to_owned()]
    };
    let value = |value: &ConfigValue| {
        let text = Some(plain(&value.value)).filter(|text| !text.is_empty());
        let text = text.map_or_else(|| "-".to_owned(), |text| foreign(&text));
        vec![value.key.clone(), text, foreign(&value.source)]
    };
    let head = |names: [&str; 3]| vec![names.map(str::to_owned).to_vec()];
    let mut values = head(["KEY", "VALUE", "SOURCE"]);
    values.extend(report.values.iter().map(value));
    let mut files = head(["FILE", "ROLE", ""]);
    files.extend(report.files.iter().map(file));
    format!("{}\n{}", output::table(&values), output::table(&files))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_value_has_its_source() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        std::fs::create_dir(base.join("config")).unwrap();
        std::fs::write(base.join("crabbox.yaml"), "provider: x\nx: {url: 'https://me@host/'}\n").unwrap();
        let user = "ttl: 2h\nx: {key: hunter2}\nplugins: {x: {path: /bin/x}}\n";
        std::fs::write(base.join("config/config.yaml"), user).unwrap();
        let env = Env::new(base, [("CRABBOX_ENV_ALLOW", "A,B")]);
        let paths = Paths { state: base.into(), cache: base.into(), config: base.join("config") };
        let files = Files::load(&env, &paths, None).unwrap();
        let settings = Settings::find(&env, &files, &HostFlags::default()).unwrap();
        let schema = json!({"properties": {
            "key": {"type": "string", "x-crabbox": {"secret": true}},
            "url": {"type": "string"},
        }});
        let schema = Schema::parse(Some(&schema)).unwrap();
        let resolved = resolve("x", &schema, &env, &files, &FlagValues::default()).unwrap();
        let report = report(&files, &settings, Some(&resolved));
        let text = render(&report).replace(base.to_str().unwrap(), "BASE");
        let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let row =
            |line: &[&str]| assert!(words.iter().any(|words| words == line), "{line:?} is not in\n{text}");
        row(&["provider", "x", "BASE/crabbox.yaml"]);
        row(&["ttl", "2h", "BASE/config/config.yaml"]);
        row(&["sync.delete", "true", "default"]);
        row(&["sync.exclude", "-", "default"]);
        row(&["sync.warnFiles", "50000", "default"]);
        row(&["env.allow", "A,B", "variable", "CRABBOX_ENV_ALLOW"]);
        row(&["plugins.x.path", "/bin/x", "BASE/config/config.yaml"]);
        row(&["x.url", "https://<redacted>@host/", "BASE/crabbox.yaml"]);
        row(&["x.key", "missing", "default"]);
        row(&["BASE/.crabbox.yaml", "repository", "not", "there"]);
        assert!(!format!("{report:?}").contains("hunter2"), "{report:?}");
        assert_eq!(resolved.warnings.len(), 1);
    }
}
