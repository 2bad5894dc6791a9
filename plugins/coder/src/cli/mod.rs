//! The coder CLI: every command of it that is used, and what it answers.

mod refusal;
mod types;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crabbox_provider_kit::protocol::ErrorKind;
use crabbox_provider_kit::{Context, Doing as _, Ended, Error, Program, Result};
use serde::de::DeserializeOwned;

pub(crate) use refusal::{Reason, Refusal, clean};
pub(crate) use types::{Agent, Login, Version, Workspace};

use crate::name::Reference;
use crate::settings::{Settings, expanded};

/// How long a question may take.
const QUESTION: Duration = Duration::from_secs(25);

/// What old versions print in place of an empty list.
const NONE: &str = "No workspaces found!";

/// The CLI as configured.
#[derive(Debug, Clone)]
pub(crate) struct Cli {
    program: OsString,
}

impl Cli {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { program: expanded(&settings.cli) }
    }

    /// Where it is.
    ///
    /// # Errors
    ///
    /// `prerequisite` when it is not there.
    pub(crate) fn path(&self) -> Result<PathBuf> {
        let found = which::which(&self.program).map_err(|error| {
            let name = self.program.to_string_lossy();
            Error::prerequisite(format!("there is no coder CLI `{name}`"))
                .cause(error)
                .hint("install it from your deployment, or say where it is with `cli` in the block `coder`")
        })?;
        // PATH may have relative directories, and the host executes it, too.
        std::path::absolute(found).doing(|| "find out where the coder CLI is".to_owned())
    }

    /// Which version it is. Asks nobody else.
    pub(crate) async fn version(&self) -> Result<Version> {
        self.ask(&["version", "-o", "json"]).await
    }

    /// The name of the user who is logged in; none where the CLI is too old to say it.
    pub(crate) async fn me(&self) -> Result<Option<String>> {
        match self.whoami().await {
            Ok(login) => Ok(Some(login.username)),
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Who is logged in.
    pub(crate) async fn whoami(&self) -> Result<Login> {
        let logins: Vec<Login> = self.ask(&["whoami", "-o", "json"]).await?;
        logins.into_iter().next().ok_or_else(|| Error::provider("`coder whoami` names nobody"))
    }

    /// The user's own workspaces, or all that the user may see.
    pub(crate) async fn list(&self, everybodys: bool) -> Result<Vec<Workspace>> {
        let all = everybodys.then_some("--all");
        self.ask(&["list", "-o", "json"].into_iter().chain(all).collect::<Vec<_>>()).await
    }

    /// Makes a workspace, and waits for its build.
    pub(crate) async fn create(
        &self,
        name: &str,
        settings: &Settings,
        context: &Context,
    ) -> Result<(), Failed> {
        self.order(create(name, settings), settings, context).await
    }

    /// Starts a workspace, and waits for its build.
    pub(crate) async fn start(
        &self,
        workspace: &Reference,
        settings: &Settings,
        context: &Context,
    ) -> Result<(), Failed> {
        let defaults = settings.use_defaults.then_some("--use-parameter-defaults");
        let name = workspace.to_string();
        let words = ["start", "--yes"].into_iter().chain(defaults).chain([name.as_str()]);
        self.order(words.map(OsString::from).collect(), settings, context).await
    }

    /// Stops a workspace, and waits for its build. One that is stopped is stopped again.
    pub(crate) async fn stop(
        &self,
        workspace: &Reference,
        settings: &Settings,
        context: &Context,
    ) -> Result<(), Failed> {
        let words = ["stop", "--yes", &workspace.to_string()].map(OsString::from);
        self.order(words.into(), settings, context).await
    }

    /// Deletes a workspace, and waits for its build.
    pub(crate) async fn delete(
        &self,
        workspace: &Reference,
        settings: &Settings,
        context: &Context,
    ) -> Result<(), Failed> {
        let words = ["delete", "--yes", &workspace.to_string()].map(OsString::from);
        self.order(words.into(), settings, context).await
    }
}

/// Why something that changes a workspace failed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The CLI said no, or the build failed.
    Refused(Refusal),
    /// It is not known what became of it.
    Unknown(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Unknown(error)
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Refused(refusal) => refusal.error(),
            Failed::Unknown(error) => error,
        }
    }
}

impl Cli {
    async fn ask<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let name = format!("coder {}", arguments[0]);
        let program = Program::new(&name, self.path()?).args(arguments).deadline(QUESTION);
        let ended = program.output().await.map_err(unanswered)?;
        if !ended.status.success() {
            return Err(Refusal::new(name, ended.status, b"", &ended.stderr).error());
        }
        let text = match String::from_utf8_lossy(&ended.stdout).trim() {
            "" | NONE if arguments[0] == "list" => "[]".to_owned(),
            text => text.to_owned(),
        };
        serde_json::from_str(&text).map_err(|error| {
            // What it says is kept to itself: there are environments of agents in it.
            Error::provider(format!("`{name}` said something else than the JSON that was asked for"))
                .cause(format!("line {}, column {}", error.line(), error.column()))
        })
    }

    /// Runs a command that changes a workspace, and tells what it says as it goes.
    async fn order(
        &self,
        words: Vec<OsString>,
        settings: &Settings,
        context: &Context,
    ) -> Result<(), Failed> {
        let name = format!("coder {}", words[0].to_string_lossy());
        let program = Program::new(&name, self.path()?).args(words).deadline(settings.build);
        let mut running = program.start()?;
        while let Some(line) = running.line().await {
            let line = clean(&line);
            // Its error comes with ours.
            let is_error = line.starts_with("Encountered an error running ") || line.starts_with("error: ");
            if !line.is_empty() && !is_error {
                context.progress(line).await?;
            }
        }
        let Ended { status, stdout, stderr } = running.end().await?;
        match status.success() {
            true => Ok(()),
            false => Err(Failed::Refused(Refusal::new(name, status, &stdout, &stderr))),
        }
    }
}

/// A question that took too long is about the deployment's availability.
fn unanswered(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Deadline => Error::unavailable("the Coder deployment does not answer").cause(error),
        _ => error,
    }
}

/// The words of `coder create`. Nothing is asked for that is not configured: old versions know less.
fn create(name: &str, settings: &Settings) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["create".into(), "--yes".into()];
    if let Some(template) = &settings.template {
        words.extend(["--template".into(), template.into()]);
    }
    if let Some(preset) = &settings.preset {
        words.extend(["--preset".into(), preset.into()]);
    }
    words.extend(settings.use_defaults.then(|| "--use-parameter-defaults".into()));
    for (name, value) in &settings.parameters {
        words.extend(["--parameter".into(), quoted(&format!("{name}={value}")).into()]);
    }
    if let Some(file) = &settings.parameter_file {
        words.extend(["--rich-parameter-file".into(), file.into()]);
    }
    words.push(name.into());
    words
}

/// One field of a line of CSV, which is how the CLI reads a flag that may come more than once.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_configured_is_asked_for() {
        let words = |config| {
            let settings = Settings::new(serde_json::from_value(config).unwrap()).unwrap();
            create("crabbox-x-1", &settings)
                .into_iter()
                .map(|word| word.into_string().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            words(json!({"template": "rust"})),
            ["create", "--yes", "--template", "rust", "crabbox-x-1"]
        );
        let all = json!({"template": "rust", "preset": "big", "parameters": {"b": "1,2", "a": "x \"y\""},
            "richParameterFile": "/p.yaml", "useParameterDefaults": true, "wait": "no"});
        assert_eq!(
            words(all),
            [
                "create",
                "--yes",
                "--template",
                "rust",
                "--preset",
                "big",
                "--use-parameter-defaults",
                "--parameter",
                "\"a=x \"\"y\"\"\"",
                "--parameter",
                "\"b=1,2\"",
                "--rich-parameter-file",
                "/p.yaml",
                "crabbox-x-1"
            ]
        );
    }
}
