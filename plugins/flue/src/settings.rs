//! The configuration after it was checked: what the rest of the provider works with.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crabbox_provider_kit::problem;
use crabbox_provider_kit::protocol::{ErrorKind, Problem};

use crate::config::Config;

/// Everything that was configured, checked.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The CLI as configured.
    pub(crate) cli: Option<String>,
    /// The Flue project.
    pub(crate) root: PathBuf,
    /// The workflow, with Flue 0.11 and 1.x.
    pub(crate) workflow: String,
    /// The agent's module, with Flue 2.
    pub(crate) agent: String,
    /// Flue's configuration.
    pub(crate) config: Option<PathBuf>,
    /// The file that is loaded in place of `.env`.
    pub(crate) env: Option<PathBuf>,
    /// Where Flue 0.11 builds.
    pub(crate) output: Option<PathBuf>,
    /// Where in the tree commands start.
    pub(crate) workdir: Option<String>,
    /// How long a run may take.
    pub(crate) timeout: Option<Duration>,
}

impl Settings {
    /// Checks the configuration, and touches nothing.
    ///
    /// # Errors
    ///
    /// Every problem, each with its key.
    pub(crate) fn new(config: Config) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        if config.root.is_none() {
            problems.push(Problem {
                hint: Some(
                    "`--flue-root DIR`, CRABBOX_FLUE_ROOT, or `root` in the block `flue` of your configuration"
                        .to_owned(),
                ),
                ..problem("root", "no Flue project is configured")
            });
        }
        if config.target != "node" {
            let message = format!(
                "`{}` is not supported: a command and its files are on this machine, and only what Flue runs \
                 under Node.js gets there",
                config.target.escape_debug()
            );
            problems.push(Problem {
                kind: Some(ErrorKind::Unsupported),
                hint: Some("leave `target` out, or set it to `node`".to_owned()),
                ..problem("target", message)
            });
        }
        let mut text = |key: &str, value: Option<&str>, fit: fn(&str) -> Result<(), &'static str>| {
            if let Some(Err(what)) = value.map(fit) {
                problems.push(problem(key, format!("`{}` {what}", value.unwrap_or_default().escape_debug())));
            }
        };
        text("cli", config.cli.as_deref(), word);
        text("workflow", Some(&config.workflow), name);
        text("agent", Some(&config.agent), inside);
        text("workdir", config.workdir.as_deref(), inside);
        match config.root {
            Some(root) if problems.is_empty() => Ok(Self {
                cli: config.cli,
                root,
                workflow: config.workflow,
                agent: config.agent,
                config: config.config,
                env: config.env,
                output: config.output,
                workdir: config.workdir,
                timeout: (config.timeout > 0).then(|| Duration::from_millis(config.timeout)),
            }),
            _ => Err(problems),
        }
    }
}

/// What a command line does not take for a flag.
fn word(text: &str) -> Result<(), &'static str> {
    match text {
        "" => Err("is empty"),
        _ if text.starts_with('-') => Err("begins with a dash"),
        _ if text.contains(char::is_control) => Err("has control characters in it"),
        _ => Ok(()),
    }
}

/// The name of a workflow, which is that of a file.
fn name(text: &str) -> Result<(), &'static str> {
    word(text)?;
    match text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        true => Ok(()),
        false => Err("is not the name of a workflow"),
    }
}

/// A path that stays where it begins.
fn inside(text: &str) -> Result<(), &'static str> {
    word(text)?;
    let out = |component| matches!(component, Component::ParentDir);
    match () {
        () if Path::new(text).is_absolute() => Err("is absolute, and has to be relative"),
        () if Path::new(text).components().any(out) => Err("has `..` in it"),
        () => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn keys(config: Value) -> Vec<String> {
        let problems = Settings::new(serde_json::from_value(config).unwrap()).err().unwrap_or_default();
        problems.into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn every_problem_is_named_at_once() {
        assert_eq!(keys(json!({"root": "/p"})), Vec::<String>::new());
        let wrong = json!({"target": "cloudflare", "cli": "--eval", "workflow": "a b", "agent": "../x.ts", "workdir": "/abs"});
        assert_eq!(keys(wrong), ["root", "target", "cli", "workflow", "agent", "workdir"]);
    }

    #[test]
    fn a_path_stays_where_it_begins() {
        for (text, ok) in
            [("a/b", true), (".", true), ("a/../b", false), ("/", false), ("-x", false), ("", false)]
        {
            assert_eq!(inside(text).is_ok(), ok, "{text}");
        }
        for (text, ok) in
            [("crabbox", true), ("a-b_2", true), ("workflow:x", false), ("-x", false), ("a/b", false)]
        {
            assert_eq!(name(text).is_ok(), ok, "{text}");
        }
    }

    #[test]
    fn no_time_is_no_limit() {
        let of = |config| Settings::new(serde_json::from_value(config).unwrap()).unwrap().timeout;
        assert_eq!(of(json!({"root": "/p"})), None);
        assert_eq!(of(json!({"root": "/p", "timeout": 1500})), Some(Duration::from_millis(1500)));
    }
}
