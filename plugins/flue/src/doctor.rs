//! `doctor`: what a run would need, looked at without changing anything.
//!
//! Flue 1.x is asked for a workflow that there cannot be: it lists those that there are, serves nothing and
//! loads none of them. Flue 0.11 would build, and Flue 2 would load the module and make a cache: there the
//! files are looked at.

use std::ffi::OsStr;
use std::path::Path;

use crabbox_provider_kit::protocol::{Check, CheckStatus};
use crabbox_provider_kit::{check, failed};

use crate::cli::{Cli, ask, locate, output, packaged};
use crate::outcome::tail_of;
use crate::project::{installed, version_in, workflow};
use crate::settings::Settings;
use crate::setup::parts;
use crate::version::Generation;

/// A workflow that nobody has.
const PROBE: &str = "workflow:crabbox-doctor-asks-for-none";

/// All that can be checked, up to what makes the rest pointless.
pub(crate) async fn checks(settings: &Settings) -> Vec<Check> {
    let mut rows = Vec::new();
    let root = &settings.root;
    if !root.is_dir() {
        let row = check("project", CheckStatus::Fail, format!("there is no directory `{}`", root.display()));
        return vec![hinted(
            row,
            "make a Flue project there: `npm init -y && npm install @flue/cli@2.0.3 @flue/runtime@2.0.3`",
        )];
    }
    rows.push(check("project", CheckStatus::Ok, root.display().to_string()));
    let path = match locate(settings) {
        Ok(path) => path,
        Err(error) => {
            rows.push(failed("cli", &error));
            return rows;
        }
    };
    rows.push(check("cli", CheckStatus::Ok, path.display().to_string()));
    let cli = match ask(&path).await {
        Ok(cli) => cli,
        Err(error) => {
            rows.push(failed("version", &error));
            return rows;
        }
    };
    // What the package says is exact also for a Flue that does not know its version.
    let cli = match packaged(&path) {
        Some(version) => Cli { version: version.to_string(), ..cli },
        None => cli,
    };
    let how = match cli.generation {
        Generation::Payload => "run WORKFLOW --payload JSON",
        Generation::Workflow => "run workflow:WORKFLOW --input JSON",
        Generation::Agent => "run MODULE --message TEXT",
    };
    rows.push(check("version", CheckStatus::Ok, format!("Flue {}: `flue {how}`", cli.version)));
    rows.push(runtime(settings, &cli));
    rows.extend(files(settings, &cli));
    rows.push(match cli.generation {
        Generation::Workflow => listed(settings, &cli).await,
        Generation::Payload => there(settings, &cli),
        Generation::Agent => agent(settings),
    });
    rows.extend(runner(settings, &cli));
    rows
}

fn hinted(row: Check, hint: impl Into<String>) -> Check {
    Check { hint: Some(hint.into()), ..row }
}

/// The runtime that workflows use: two copies of it in one process do not know each other.
fn runtime(settings: &Settings, cli: &Cli) -> Check {
    const NAME: &str = "@flue/runtime";
    let found = installed(&settings.root, NAME).and_then(|path| version_in(&path, NAME));
    match found {
        None => hinted(
            check("runtime", CheckStatus::Fail, format!("{NAME} is not installed in the project")),
            format!("npm install {NAME}@{}", cli.version),
        ),
        Some(version) if version.to_string() == cli.version => {
            check("runtime", CheckStatus::Ok, format!("{NAME} {version}, as the CLI"))
        }
        Some(version) => hinted(
            check(
                "runtime",
                CheckStatus::Fail,
                format!("the CLI is {}, and {NAME} is {version}", cli.version),
            ),
            "install both in the same version",
        ),
    }
}

/// What is configured and of no use, or not there.
fn files(settings: &Settings, cli: &Cli) -> Vec<Check> {
    let mut rows = Vec::new();
    let old = cli.generation == Generation::Payload;
    if settings.output.is_some() && !old {
        rows.push(check("output", CheckStatus::Fail, format!("Flue {} builds nothing", cli.version)));
    }
    if settings.config.is_some() && cli.generation == Generation::Agent {
        let message = format!("Flue {} takes the project's own configuration only", cli.version);
        rows.push(check("config", CheckStatus::Fail, message));
    }
    for (key, path) in [("config", &settings.config), ("env", &settings.env)] {
        if let Some(path) = path.as_ref().filter(|path| !path.is_file()) {
            rows.push(check(key, CheckStatus::Fail, format!("there is no file `{}`", path.display())));
        }
    }
    rows
}

fn missing(settings: &Settings, what: &str) -> Check {
    let root = settings.root.display();
    hinted(
        check("workflow", CheckStatus::Fail, format!("there is {what}")),
        format!("`crabbox-provider-flue setup --root {root}` puts the one in place that runs commands"),
    )
}

/// The workflow, as Flue lists it.
async fn listed(settings: &Settings, cli: &Cli) -> Check {
    let mut words: Vec<&OsStr> = ["run", PROBE, "--target", "node", "--root"].map(OsStr::new).into();
    words.push(settings.root.as_os_str());
    for (flag, path) in [("--config", &settings.config), ("--env", &settings.env)] {
        words.extend(path.iter().flat_map(|path| [OsStr::new(flag), path.as_os_str()]));
    }
    let said = match output(&cli.path, &words).await {
        Ok(said) => String::from_utf8_lossy(&said.stderr).into_owned(),
        Err(error) => return failed("workflow", &error),
    };
    if !said.contains("Available resources") {
        let message = format!("Flue cannot list the project's workflows: {}", tail_of(&said));
        return check("workflow", CheckStatus::Fail, message);
    }
    let name = format!("workflow:{}", settings.workflow);
    match said.lines().any(|line| line.trim() == name) {
        true => check("workflow", CheckStatus::Ok, format!("Flue lists `{name}`")),
        false => missing(settings, &format!("no workflow `{}`", settings.workflow)),
    }
}

/// The workflow, as a file.
fn there(settings: &Settings, cli: &Cli) -> Check {
    match workflow(&settings.root, cli.generation, &settings.workflow) {
        Some(path) => check("workflow", CheckStatus::Ok, format!("`{}` is there", shown(settings, &path))),
        None => missing(settings, &format!("no workflow `{}`", settings.workflow)),
    }
}

fn agent(settings: &Settings) -> Check {
    let path = settings.root.join(&settings.agent);
    match path.is_file() {
        true => check("workflow", CheckStatus::Ok, format!("`{}` is there", settings.agent)),
        false => missing(settings, &format!("no agent `{}`", settings.agent)),
    }
}

/// Whether what `setup` puts in place is there, and this version's.
fn runner(settings: &Settings, cli: &Cli) -> Vec<Check> {
    let root = settings.root.display();
    let parts = parts(&settings.root, cli.generation);
    let (database, parts): (Vec<_>, Vec<_>) = parts.iter().partition(|part| part.is_optional);
    let name = |path: &Path| format!("`{}`", shown(settings, path));
    let is = |current| move |part: &&&crate::setup::Part| part.is_current() == current;
    let absent: Vec<_> = parts.iter().filter(is(None)).map(|part| name(&part.path)).collect();
    let other: Vec<_> = parts.iter().filter(is(Some(false))).map(|part| name(&part.path)).collect();
    let row = match (absent.as_slice(), other.as_slice()) {
        ([], []) => check("runner", CheckStatus::Ok, "it is this version's"),
        ([], other) => hinted(
            check("runner", CheckStatus::Warn, format!("not this version's: {}", other.join(", "))),
            format!("if you did not change it yourself: `crabbox-provider-flue setup --root {root} --force`"),
        ),
        (absent, _) => hinted(
            check("runner", CheckStatus::Warn, format!("not in the project: {}", absent.join(", "))),
            format!("if the workflow is not your own: `crabbox-provider-flue setup --root {root}`"),
        ),
    };
    let database = database.iter().filter(|part| part.is_current() != Some(true)).map(|part| {
        let message = match part.is_current() {
            None => format!(
                "without {} conversations go to `node_modules/.cache`, and runs may wait for each other",
                name(&part.path)
            ),
            _ => format!(
                "{} is your own; runs go by it, and wait for each other if it keeps a file",
                name(&part.path)
            ),
        };
        check("database", CheckStatus::Warn, message)
    });
    [row].into_iter().chain(database).collect()
}

fn shown<'a>(settings: &Settings, path: &'a Path) -> std::path::Display<'a> {
    path.strip_prefix(&settings.root).unwrap_or(path).display()
}
