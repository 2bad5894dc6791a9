//! `run`: a request on the disk, Flue beside it, and what became of both.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use crabbox_provider_kit::protocol::{
    PathRef, Remote, RunId, RunParams, RunResult, Signal, Stream, Workspace,
};
use crabbox_provider_kit::{Context, Doing as _, Error, GRACE, Result};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::cli::Cli;
use crate::contract::{Limits, Request, VERSION};
use crate::group::{Group, RUN_ID};
use crate::outcome::Outcome;
use crate::settings::Settings;
use crate::version::Generation;

/// What a command gets of the plugin's environment, besides `LC_*`.
const ENVIRONMENT: &[&str] = &["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR"];

/// Where programs are where the plugin has no PATH.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// How long a run has between SIGTERM and SIGKILL when the session ends.
const HURRY: Duration = Duration::from_millis(700);

/// The most entries of a tree.
const ENTRIES: u64 = 4_000_000;

/// The most bytes that a compressed tree may come to. One that is not cannot be larger than its archive.
const UNPACKED: u64 = 1 << 40;

/// How often Flue is started, where it gives up before it has run anything.
const TRIES: u32 = 3;

/// Why Flue is not waited for any more.
enum Ended {
    ByItself(ExitStatus),
    Cancelled,
    TookTooLong(Duration),
}

/// Answers `run`.
pub(crate) async fn run(settings: &Settings, params: RunParams, context: &Context) -> Result<RunResult> {
    let never = |error: Error| error.remote(Remote::Absent);
    let cli = tokio::select! {
        cli = Cli::find(settings) => cli.map_err(never)?,
        _ = context.cancel().cancelled() => {
            return Err(never(Error::cancelled("cancelled before Flue was started")));
        }
    };
    let place = Place::make(settings, &params, context).map_err(never)?;
    let mut limit = pin!(over(settings.timeout));
    let mut tries = 1;
    loop {
        let (mut group, mut flue) = start(settings, &cli, &place, &params.run_id).map_err(never)?;
        let ended = tokio::select! {
            biased;
            status = flue.wait() => Ended::ByItself(status.doing(|| "wait for Flue".to_owned())?),
            _ = context.cancel().cancelled() => Ended::Cancelled,
            limit = &mut limit => Ended::TookTooLong(limit),
        };
        match ended {
            Ended::ByItself(status) => {
                group.kill().await?;
                let outcome = Outcome { status, place: &place, cli: &cli, settings };
                if tries < TRIES && outcome.was_too_slow() {
                    tries += 1;
                    continue;
                }
                return outcome.judge();
            }
            Ended::Cancelled => {
                let hurry = async {
                    context.cancel().closing().await;
                    sleep(HURRY).await;
                };
                let grace = async {
                    tokio::select! {
                        () = sleep(GRACE) => {}
                        () = hurry => {}
                    }
                };
                let took = group.end(grace).await?;
                // What Flue or the runner say after a signal of ours says nothing about the command.
                return Ok(RunResult { signal: Some(signal(took)), ..RunResult::default() });
            }
            Ended::TookTooLong(limit) => {
                group.end(sleep(GRACE)).await?;
                let seconds = limit.as_secs_f64();
                return Err(Error::deadline(format!("the run took longer than {seconds} s and was ended"))
                    .hint("that is the setting `timeout` of the provider `flue`")
                    .remote(Remote::Dead));
            }
        }
    }
}

/// Starts Flue in a group of its own.
fn start(settings: &Settings, cli: &Cli, place: &Place, run: &RunId) -> Result<(Group, Child)> {
    let group = Group::start(run)?;
    let mut flue = place.command(settings, cli)?;
    let started = flue.process_group(group.number()).spawn();
    let flue = started.doing(|| format!("start `{}`", cli.path.display()))?;
    Ok((group, flue))
}

/// Waits until the time is over; for ever without a limit.
async fn over(limit: Option<Duration>) -> Duration {
    match limit {
        Some(limit) => sleep(limit).await,
        None => std::future::pending().await,
    }
    limit.unwrap_or_default()
}

fn signal(signal: rustix::process::Signal) -> Signal {
    Signal::from_number(u8::try_from(signal.as_raw()).unwrap_or(u8::MAX))
}

/// The private directory of one run, which the host removes, and what is in it.
#[derive(Debug)]
pub(crate) struct Place {
    directory: PathBuf,
    request: PathBuf,
    /// Where the runner writes its result.
    pub(crate) result: PathBuf,
    /// What Flue prints on standard output. Never a pipe: Flue 1.x and 2.x cut what they print at 64 KiB when
    /// they exit, and exit with 0.
    pub(crate) stdout: PathBuf,
    /// What Flue prints on standard error.
    pub(crate) stderr: PathBuf,
    /// The values of the environment that the user passed on, which no message may show.
    pub(crate) forwarded: BTreeMap<String, String>,
}

impl Place {
    /// Makes the directory and writes the request.
    fn make(settings: &Settings, params: &RunParams, context: &Context) -> Result<Self> {
        let absent = |what: &str| Error::internal(format!("a run without {what}"));
        let scratch = params.scratch.as_deref().ok_or_else(|| absent("`scratch`"))?;
        let workspace = params.workspace.as_ref().ok_or_else(|| absent("`workspace`"))?;
        if params.argv.is_empty() {
            return Err(absent("a command"));
        }
        let directory = Path::new(scratch).join("flue");
        let what = || format!("make `{}`", directory.display());
        fs::DirBuilder::new().mode(0o700).create(&directory).doing(what)?;
        let request = Request {
            protocol_version: VERSION,
            command: params.argv.clone(),
            env: environment(params),
            archive: workspace.clone(),
            work_root: text(&directory.join("work"))?,
            workdir: settings.workdir.clone(),
            result_file: text(&directory.join("result.json"))?,
            stdout_file: fifo(context, Stream::Stdout, params.stdout.as_ref())?,
            stderr_file: fifo(context, Stream::Stderr, params.stderr.as_ref())?,
            limits: limits(workspace),
        };
        let place = Self {
            request: directory.join("request.json"),
            result: directory.join("result.json"),
            stdout: directory.join("stdout"),
            stderr: directory.join("stderr"),
            forwarded: params.env.clone(),
            directory,
        };
        let bytes = serde_json::to_vec(&request).map_err(|error| absent("text").cause(error))?;
        private(&place.request)?.write_all(&bytes).doing(|| "write the request".to_owned())?;
        Ok(place)
    }

    /// Whether the runner has taken the request. Without that nothing was run.
    pub(crate) fn is_taken(&self) -> bool {
        !self.request.exists()
    }

    /// Flue, about to run the workflow. Of the request only its path is on the command line.
    fn command(&self, settings: &Settings, cli: &Cli) -> Result<Command> {
        let request = serde_json::json!({"requestFile": text(&self.request)?}).to_string();
        let unwanted = |key: &str, what: &str| {
            Err(Error::config_invalid(format!("`{key}` means nothing to Flue {}: {what}", cli.version))
                .hint(format!("leave `flue.{key}` out")))
        };
        let mut command = Command::new(&cli.path);
        command.arg("run");
        match cli.generation {
            Generation::Payload => {
                command.arg(&settings.workflow).args(["--target", "node", "--payload", &request]);
                command.arg("--root").arg(&settings.root);
                let output = match &settings.output {
                    Some(output) => output.clone(),
                    None => build_directory(&self.directory, &settings.root)
                        .doing(|| "make a directory".to_owned())?,
                };
                command.arg("--output").arg(output);
            }
            Generation::Workflow => {
                let workflow = format!("workflow:{}", settings.workflow);
                command.arg(workflow).args(["--target", "node", "--input", &request]);
                command.arg("--root").arg(&settings.root);
                if settings.output.is_some() {
                    return unwanted("output", "it builds nothing");
                }
            }
            Generation::Agent => {
                command.arg(&settings.agent).args(["--json", "--new", "--message", &request]);
                if settings.output.is_some() {
                    return unwanted("output", "it builds nothing");
                }
                if settings.config.is_some() {
                    return unwanted("config", "it takes the project's own");
                }
            }
        }
        if let Some(config) = &settings.config {
            command.arg("--config").arg(config);
        }
        if let Some(env) = &settings.env {
            command.arg("--env").arg(env);
        }
        command.env("NO_COLOR", "1").current_dir(&settings.root).stdin(Stdio::null());
        command.stdout(private(&self.stdout)?).stderr(private(&self.stderr)?);
        Ok(command)
    }
}

/// A directory to build in outside of the project, from which the same packages are found as from the project:
/// Node.js looks into every `node_modules` on the way up.
fn build_directory(under: &Path, root: &Path) -> std::io::Result<PathBuf> {
    let mut directory = under.join("build");
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir(&directory)?;
    let all: Vec<_> =
        root.ancestors().map(|path| path.join("node_modules")).filter(|path| path.is_dir()).collect();
    for modules in all.iter().rev() {
        symlink(modules, directory.join("node_modules"))?;
        directory.push("in");
        fs::create_dir(&directory)?;
    }
    Ok(directory.join("dist"))
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Error::unsupported(format!("`{}` is not UTF-8", path.display())))
}

/// An empty file that is this user's alone.
fn private(path: &Path) -> Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.doing(|| format!("make `{}`", path.display()))
}

/// The FIFO of the host's that the command writes to, itself: so its output is live and whole, whatever
/// becomes of Flue.
fn fifo(context: &Context, stream: Stream, path: Option<&PathRef>) -> Result<String> {
    let path = path.ok_or_else(|| Error::internal("a run without paths for its output"))?;
    // One without a reader would hold the runner for ever.
    drop(context.sink(stream, Some(path))?);
    Ok(path.path.clone())
}

fn limits(workspace: &Workspace) -> Limits {
    let unpacked_bytes = if workspace.format == "tar" { workspace.size } else { UNPACKED };
    Limits { unpacked_bytes, entries: ENTRIES }
}

/// The command's whole environment: a small one, and what the user passes on.
fn environment(params: &RunParams) -> BTreeMap<String, String> {
    let inherited = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        let wanted = ENVIRONMENT.contains(&name.as_str()) || name.starts_with("LC_");
        wanted.then(|| value.into_string().ok().map(|value| (name, value))).flatten()
    });
    let mut environment = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
    environment.extend(inherited);
    environment.extend(params.env.clone());
    environment.insert(RUN_ID.to_owned(), params.run_id.to_string());
    environment
}
