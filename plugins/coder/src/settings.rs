//! The configuration after it was checked.

use std::collections::BTreeMap;
use std::env::var_os;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crabbox_provider_kit::problem;
use crabbox_provider_kit::protocol::{Problem, ReleaseAction};

use crate::config::{Config, Wait};
use crate::name;

/// Directories that belong to the system or to many: ours may be below one, never be one.
const BROAD: &[&str] = &[
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/workspaces",
];

/// Everything that was configured, checked.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The CLI as configured.
    pub(crate) cli: String,
    /// The template of new workspaces.
    pub(crate) template: Option<String>,
    /// Its preset.
    pub(crate) preset: Option<String>,
    /// Values of its parameters.
    pub(crate) parameters: BTreeMap<String, String>,
    /// A file with more of them.
    pub(crate) parameter_file: Option<PathBuf>,
    /// Whether its defaults count for the rest.
    pub(crate) use_defaults: bool,
    /// What names begin with, its dash included.
    pub(crate) prefix: String,
    /// Our directory in the workspace.
    pub(crate) work_root: String,
    /// The agent to connect to.
    pub(crate) agent: Option<String>,
    /// Which startup scripts are waited for.
    pub(crate) wait: Wait,
    /// How a lease ends.
    pub(crate) release: ReleaseAction,
    /// How long a build may take.
    pub(crate) build: Duration,
    /// How long an agent may take.
    pub(crate) ready: Duration,
}

impl Settings {
    /// Checks the configuration.
    ///
    /// # Errors
    ///
    /// Every problem, each with its key.
    pub(crate) fn new(config: Config) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut check = |key: &str, value: &str, wrong: Option<&str>| {
            problems.extend(wrong.map(|what| problem(key, format!("`{}` {what}", value.escape_debug()))));
        };
        check("cli", &config.cli, executable(&config.cli));
        for (key, value) in
            [("template", &config.template), ("preset", &config.preset), ("agent", &config.agent)]
        {
            let value = value.as_deref().unwrap_or("x");
            check(key, value, word(value));
        }
        for (name, value) in &config.parameters {
            check("parameters", name, word(name));
            check("parameters", name, value.contains('\0').then_some("has a value with a NUL byte"));
        }
        let work_root = config.work_root.trim_end_matches('/').to_owned();
        check("workRoot", &config.work_root, directory(&work_root));
        let prefix = name::prefix(&config.workspace_prefix);
        if let Err(what) = &prefix {
            check("workspacePrefix", &config.workspace_prefix, Some(what));
        }
        let (Ok(prefix), true) = (prefix, problems.is_empty()) else { return Err(problems) };
        Ok(Self {
            cli: config.cli,
            template: config.template,
            preset: config.preset,
            parameters: config.parameters,
            parameter_file: config.rich_parameter_file,
            use_defaults: config.use_parameter_defaults,
            prefix,
            work_root,
            agent: config.agent,
            wait: config.wait,
            release: if config.delete_on_release { ReleaseAction::Delete } else { ReleaseAction::Stop },
            build: Duration::from_millis(config.build_timeout),
            ready: Duration::from_millis(config.ready_timeout),
        })
    }

    /// Where leases are: the deployment that the CLI is logged in to. As whom is not known without asking it; a
    /// lease's owner is part of its `ref`.
    pub(crate) fn scope(&self, deployment: Option<&str>) -> String {
        match deployment {
            Some(url) => format!("coder:{url}"),
            // A CLI that knows by itself, or that is not logged in.
            None => format!("coder:{}", self.cli),
        }
    }
}

/// The deployment's URL, as the CLI finds it: from the environment, or where `coder login` wrote it.
pub(crate) fn deployment() -> Option<String> {
    let written = || std::fs::read_to_string(config_directory()?.join("url")).ok();
    let url = std::env::var("CODER_URL").ok().filter(|url| !url.trim().is_empty()).or_else(written)?;
    let url = url.trim().trim_end_matches('/').to_ascii_lowercase();
    // Whatever else is there may be a secret.
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let (scheme, rest) = url[..end].split_once("://").unwrap_or(("https", &url[..end]));
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    (!rest.is_empty()).then(|| format!("{scheme}://{rest}"))
}

fn config_directory() -> Option<PathBuf> {
    let set = |name: &str| var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || set("HOME");
    let usual = || match cfg!(target_os = "macos") {
        true => Some(home()?.join("Library/Application Support")),
        false => set("XDG_CONFIG_HOME").or_else(|| Some(home()?.join(".config"))),
    };
    set("CODER_CONFIG_DIR").or_else(|| Some(usual()?.join("coderv2")))
}

/// A configured path with `~/` made absolute.
pub(crate) fn expanded(text: &str) -> OsString {
    match (text.strip_prefix("~/"), var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest).into_os_string(),
        _ => text.into(),
    }
}

fn executable(text: &str) -> Option<&'static str> {
    match text {
        "" => Some("is empty"),
        _ if text.contains(char::is_control) => Some("has control characters in it"),
        _ if text.starts_with(['/', '-']) || text.starts_with("~/") => {
            text.starts_with('-').then_some("looks like an option")
        }
        _ if text.contains('/') => Some("is neither a name nor an absolute path"),
        _ => None,
    }
}

/// A name that goes into an argument as it is.
fn word(text: &str) -> Option<&'static str> {
    match text {
        _ if text.trim().is_empty() => Some("is empty"),
        _ if text.contains(char::is_control) => Some("has control characters in it"),
        _ if text.starts_with('-') => Some("looks like an option"),
        _ if text.contains('=') => Some("has `=` in it"),
        _ => None,
    }
}

/// An absolute directory in the workspace, in one spelling.
fn directory(path: &str) -> Option<&'static str> {
    let odd = |part: &str| part.is_empty() || matches!(part, "." | "..");
    match path.strip_prefix('/') {
        _ if BROAD.contains(&path) || path.is_empty() => {
            Some("is a directory of the system; choose one below it")
        }
        None => Some("is not an absolute path"),
        Some(rest) if rest.split('/').any(odd) => Some("has `.`, `..` or an empty part in it"),
        Some(_) if path.contains(char::is_control) => Some("has control characters in it"),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settings(config: Value) -> Result<Settings, Vec<String>> {
        let problems = |problems: Vec<Problem>| problems.into_iter().map(|problem| problem.key).collect();
        Settings::new(serde_json::from_value(config).unwrap()).map_err(problems)
    }

    #[test]
    fn defaults() {
        let settings = settings(json!({})).unwrap();
        assert_eq!((settings.cli.as_str(), settings.prefix.as_str()), ("coder", "crabbox-"));
        assert_eq!((settings.work_root.as_str(), settings.wait.name()), ("/home/coder/crabbox", "yes"));
        assert_eq!(settings.release, ReleaseAction::Stop);
        assert_eq!(settings.template, None, "what exists can be used and ended without");
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        let wrong = json!({"cli": "", "workRoot": "/tmp/", "workspacePrefix": "a--b", "template": " ",
            "preset": "-x", "parameters": {"": "x"}, "agent": "a=b"});
        let mut keys = settings(wrong).unwrap_err();
        keys.sort_unstable();
        assert_eq!(keys, ["agent", "cli", "parameters", "preset", "template", "workRoot", "workspacePrefix"]);
    }

    #[test]
    fn a_work_root_is_absolute_and_not_the_systems() {
        for path in ["/home/coder/crabbox", "/workspaces/x/", "/tmp/x", "/home/coder"] {
            assert!(settings(json!({"workRoot": path})).is_ok(), "{path}");
        }
        let broad = BROAD.iter().copied();
        for path in broad.chain(["", "x", "~/x", "./x", "/a/../etc", "/a//b", "/a/.", "/a\nb", "//"]) {
            assert_eq!(settings(json!({"workRoot": path})).unwrap_err(), ["workRoot"], "{path}");
        }
    }

    #[test]
    fn a_cli_is_a_name_or_absolute() {
        for cli in ["coder", "coder-2", "/opt/coder/coder", "~/bin/coder"] {
            assert!(settings(json!({"cli": cli})).is_ok(), "{cli}");
        }
        for cli in ["", "./coder", "bin/coder", "--help", "a\tb"] {
            assert_eq!(settings(json!({"cli": cli})).unwrap_err(), ["cli"], "{cli}");
        }
    }
}
