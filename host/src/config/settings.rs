//! What the host itself can be told, and by whom it was told.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use crabbox_protocol::is_provider_name;
use serde_json::Value;

use super::env_forward::is_pattern;
use super::files::ConfigFile;
use super::{DEFAULT_PROVIDER, Env, Files, Source, Sourced, duration, keys};
use crate::error::{Error, Result};
use crate::output::foreign;

const TTL: Duration = Duration::from_secs(90 * 60);
const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

const GIB: u64 = 1 << 30;

/// The variables that are forwarded when nobody says which.
const ENV_ALLOW: [&str; 2] = ["CI", "NODE_OPTIONS"];

/// The flags among the settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostFlags {
    /// `--provider`
    pub(crate) provider: Option<String>,
    /// `--ttl`
    pub(crate) ttl: Option<Duration>,
    /// `--idle-timeout`
    pub(crate) idle_timeout: Option<Duration>,
}

/// The host's own settings.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Which provider to use.
    pub(crate) provider: Sourced<String>,
    /// How long a lease lasts.
    pub(crate) ttl: Sourced<Duration>,
    /// How long a lease lasts that nobody uses.
    pub(crate) idle_timeout: Sourced<Duration>,
    /// What is not synced.
    pub(crate) sync_exclude: Sourced<Vec<String>>,
    /// What alone is synced; empty for everything.
    pub(crate) sync_include: Sourced<Vec<String>>,
    /// Whether a path that is gone here goes on the lease as well.
    pub(crate) sync_delete: Sourced<bool>,
    /// From how many files, and from how many bytes, a sync warns and fails; zero is no limit.
    pub(crate) sync_warn_files: Sourced<u64>,
    pub(crate) sync_warn_bytes: Sourced<u64>,
    pub(crate) sync_fail_files: Sourced<u64>,
    pub(crate) sync_fail_bytes: Sourced<u64>,
    /// Whether a sync never fails because of them.
    pub(crate) sync_allow_large: Sourced<bool>,
    /// The variables that are forwarded, names or prefixes with `*`.
    pub(crate) env_allow: Sourced<Vec<String>>,
    /// What the user says about single plugins.
    pub(crate) plugins: BTreeMap<String, PluginSettings>,
    /// What was ignored, and why.
    pub(crate) warnings: Vec<String>,
}

/// What the user says about a plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PluginSettings {
    /// Its executable.
    pub(crate) path: Option<Sourced<PathBuf>>,
    /// Variables that it gets on top of what its manifest declares.
    pub(crate) env: Option<Sourced<Vec<String>>>,
}

impl Settings {
    /// Finds every setting. Warns of nothing yet: see [`Settings::warnings`] and [`Settings::unknown_keys`].
    pub(crate) fn find(env: &Env, files: &Files, flags: &HostFlags) -> Result<Self> {
        let finder = Finder { env, files };
        let trusted = files.iter().filter(|file| file.trusted && file.found);
        let mut warnings: Vec<String> = trusted.filter_map(warn_of_writers).collect();
        let plugins = plugins(env, files, &mut warnings)?;
        let provider = match &flags.provider {
            Some(name) => Sourced::new(name.clone(), Source::Flag("--provider".into())),
            None => {
                finder.find(Some("CRABBOX_PROVIDER"), &[&["provider"]], string, DEFAULT_PROVIDER.into())?
            }
        };
        let ttl = finder.duration(flags.ttl, "ttl", &[&["lease", "ttl"], &["ttl"]], TTL)?;
        let idle_places: [&[&str]; 2] = [&["lease", "idleTimeout"], &["idleTimeout"]];
        let idle_timeout = finder.duration(flags.idle_timeout, "idle-timeout", &idle_places, IDLE_TIMEOUT)?;
        let allow = ENV_ALLOW.map(str::to_owned).to_vec();
        Ok(Self {
            provider,
            ttl,
            idle_timeout,
            sync_exclude: finder.find(None, &[&["sync", "exclude"]], strings, Vec::new())?,
            sync_include: finder.find(None, &[&["sync", "include"]], strings, Vec::new())?,
            sync_delete: finder.find(None, &[&["sync", "delete"]], boolean, true)?,
            sync_warn_files: finder.find(None, &[&["sync", "warnFiles"]], number, 50_000)?,
            sync_warn_bytes: finder.find(None, &[&["sync", "warnBytes"]], size, 5 * GIB)?,
            sync_fail_files: finder.find(None, &[&["sync", "failFiles"]], number, 150_000)?,
            sync_fail_bytes: finder.find(None, &[&["sync", "failBytes"]], size, 20 * GIB)?,
            sync_allow_large: finder.find(
                Some("CRABBOX_SYNC_ALLOW_LARGE"),
                &[&["sync", "allowLarge"]],
                boolean,
                false,
            )?,
            env_allow: finder.find(Some("CRABBOX_ENV_ALLOW"), &[&["env", "allow"]], strings, allow)?,
            plugins,
            warnings,
        })
    }

    /// Warnings about keys in the files that nobody reads.
    pub(crate) fn unknown_keys(files: &Files, is_provider: &dyn Fn(&str) -> bool) -> Vec<String> {
        keys::unknown(files, is_provider)
    }

    /// The executables that the user names.
    pub(crate) fn plugin_paths(&self) -> BTreeMap<String, PathBuf> {
        let path = |plugin: &PluginSettings| plugin.path.as_ref().map(|path| path.value.clone());
        self.plugins.iter().filter_map(|(name, plugin)| Some((name.clone(), path(plugin)?))).collect()
    }
}

struct Finder<'a> {
    env: &'a Env,
    files: &'a Files,
}

impl Finder<'_> {
    /// A setting from its variable, from the first of its places in the strongest file, or its default.
    fn find<T>(
        &self,
        variable: Option<&str>,
        places: &[&[&str]],
        read: fn(&Value) -> Result<T, String>,
        default: T,
    ) -> Result<Sourced<T>> {
        if let Some(name) = variable {
            let text = self.env.text(name).and_then(|text| text.map(|text| read(&text.into())).transpose());
            match text {
                Ok(Some(value)) => return Ok(Sourced::new(value, Source::Variable(name.to_owned()))),
                Ok(None) => {}
                Err(problem) => return Err(Error::usage(format!("variable {name}: {problem}"))),
            }
        }
        let value =
            self.files.iter().find_map(|file| places.iter().find_map(|at| Some((file, at, file.get(at)?))));
        let Some((file, at, value)) = value else { return Ok(Sourced::new(default, Source::Default)) };
        match read(value) {
            Ok(value) => Ok(Sourced::new(value, Source::File(file.path.clone()))),
            Err(problem) => {
                Err(Error::usage(format!("`{}` in {}: {problem}", at.join("."), file.path.display())))
            }
        }
    }

    fn duration(
        &self,
        flag: Option<Duration>,
        name: &str,
        places: &[&[&str]],
        default: Duration,
    ) -> Result<Sourced<Duration>> {
        let variable = format!("CRABBOX_{}", name.replace('-', "_").to_uppercase());
        let found = match flag {
            Some(value) => Sourced::new(value, Source::Flag(format!("--{name}"))),
            None => self.find(Some(&variable), places, a_duration, default)?,
        };
        if found.value.is_zero() {
            return Err(Error::usage(format!("{name} has to be more than nothing ({})", found.source)));
        }
        Ok(found)
    }
}

/// The user's word on plugins. What a repository says about them is ignored.
fn plugins(env: &Env, files: &Files, warnings: &mut Vec<String>) -> Result<BTreeMap<String, PluginSettings>> {
    let mut plugins: BTreeMap<String, PluginSettings> = BTreeMap::new();
    for file in files.iter() {
        let Some(block) = file.get(&["plugins"]) else { continue };
        if !file.trusted {
            warnings.push(format!(
                "`plugins` in {} is ignored: a repository does not choose executables; put it into {}",
                file.path.display(),
                files.user_file().display()
            ));
            continue;
        }
        let wrong = |what: &str, problem: &str| {
            Error::usage(format!("`plugins{}` in {}: {problem}", foreign(what), file.path.display()))
        };
        let Value::Object(block) = block else { return Err(wrong("", "it has to be a mapping")) };
        for (name, settings) in block {
            let at = format!(".{name}");
            if !is_provider_name(name) {
                return Err(wrong(&at, "this is not a provider's name (`[a-z][a-z0-9-]{0,31}`)"));
            }
            let Value::Object(settings) = settings else { return Err(wrong(&at, "it has to be a mapping")) };
            let plugin = plugins.entry(name.clone()).or_default();
            if let Some(path) = settings.get("path").filter(|path| !path.is_null()) {
                let path = string(path).map_err(|problem| wrong(&format!("{at}.path"), &problem))?;
                let path = env.resolve_path(&path, file.directory());
                plugin.path = Some(Sourced::new(path, Source::File(file.path.clone())));
            }
            if let Some(names) = settings.get("env").filter(|names| !names.is_null()) {
                let names = strings(names).map_err(|problem| wrong(&format!("{at}.env"), &problem))?;
                if let Some(odd) = names.iter().find(|name| *name == "*" || !is_pattern(name)) {
                    let problem = format!("`{}` is not a variable's name, or a prefix and `*`", foreign(odd));
                    return Err(wrong(&format!("{at}.env"), &problem));
                }
                plugin.env = Some(Sourced::new(names, Source::File(file.path.clone())));
            }
        }
    }
    Ok(plugins)
}

/// A trusted file that anybody can write lets anybody choose executables and where credentials go.
fn warn_of_writers(file: &ConfigFile) -> Option<String> {
    let mode = std::fs::metadata(&file.path).map_or(0, |metadata| metadata.permissions().mode());
    let path = file.path.display();
    (mode & 0o002 != 0)
        .then(|| format!("{path} can be written by every user of this machine: `chmod 600 {path}`"))
}

fn string(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Value::String(_) => Err("it is empty".to_owned()),
        other => Err(format!("{other} is not a text")),
    }
}

fn boolean(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(value) => Ok(*value),
        Value::String(text) => super::value::boolean(text),
        other => Err(format!("{other} is not true or false")),
    }
}

fn number(value: &Value) -> Result<u64, String> {
    value.as_u64().ok_or_else(|| format!("{value} is not a whole number"))
}

/// A number of bytes, or a text with a unit.
fn size(value: &Value) -> Result<u64, String> {
    const UNITS: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", GIB)];
    let wrong = || format!("{value} is not a number of bytes, such as 1048576 or 512MiB");
    let Value::String(text) = value else { return value.as_u64().ok_or_else(wrong) };
    let unit = UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)));
    let (count, unit) = unit.unwrap_or((text, 1));
    count.trim().parse().ok().and_then(|count: u64| count.checked_mul(unit)).ok_or_else(wrong)
}

/// A list of texts, or one text with commas.
fn strings(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Array(items) => items.iter().map(string).collect(),
        Value::String(text) => Ok(super::value::items(text)),
        other => Err(format!("{other} is not a list")),
    }
}

fn a_duration(value: &Value) -> Result<Duration, String> {
    match value {
        Value::String(text) => duration::parse(text),
        other => duration::parse(&other.to_string()),
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
