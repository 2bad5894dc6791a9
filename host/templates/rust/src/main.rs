//! The provider `example` for crabbox: a lease is a directory on this machine.
//!
//! What to replace by a place of your own: the inside of the methods. The kit does the rest.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::ExitCode;

use crabbox_provider_kit::protocol::*;
use crabbox_provider_kit::*;
use tokio::process::Command;

/// What a command gets of our environment, besides `LC_*`.
const ENVIRONMENT: &[&str] = &["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR"];

/// The configuration: flags, variables and the YAML block are made from it.
#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Config {
    /// The directory that holds the leases
    #[schemars(extend("x-crabbox" = {"path": true, "userOnly": true}))]
    root: Option<PathBuf>,
}

/// Directories on this machine.
struct Directories {
    root: PathBuf,
}

impl Provider for Directories {
    type Config = Config;

    fn about() -> About {
        About::new("example", env!("CARGO_PKG_VERSION"))
            .summary("Directories on this machine")
            .methods([Method::Resolve])
            .feature(feature::OUTPUT_PATHS)
            // A directory is there at once; most clouds need a minute.
            .limits(Limits { create_settle_ms: Some(0), ..Limits::default() })
    }

    fn configure(config: Config, _: &Secrets) -> Configured<Self> {
        match config.root.or_else(default_root) {
            Some(root) => {
                let scope = root.display().to_string();
                Configured::new(Self { root }).scope(scope)
            }
            None => Configured::invalid([problem("root", "it has no default without HOME")]),
        }
    }

    async fn acquire(&self, params: AcquireParams, _: &Context) -> Result<AcquireResult> {
        let directory = self.directory(&params.lease);
        DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(|error| {
            let message = format!("cannot make `{}`", directory.display());
            Error::prerequisite(message).cause(error).created(false)
        })?;
        Ok(AcquireResult {
            lease: LeaseReport { r#ref: Some(params.lease.id.to_string()), ..Default::default() },
        })
    }

    async fn resolve(&self, params: ResolveParams, _: &Context) -> Result<ResolveResult> {
        let state = if self.is_there(&params.lease)? { LeaseState::Ready } else { LeaseState::Missing };
        Ok(ResolveResult { state, lease: None, message: None, candidates: Vec::new() })
    }

    async fn run(&self, params: RunParams, context: &Context) -> Result<RunResult> {
        let ([program, arguments @ ..], Some(lease)) = (&*params.argv, &params.lease) else {
            return Err(Error::internal("a run without a program or a lease").remote(Remote::Absent));
        };
        let directory = self.directory(lease);
        if !self.is_there(lease)? {
            let message = format!("there is no lease at `{}`", directory.display());
            return Err(Error::not_found(message).remote(Remote::Absent));
        }
        let environment = std::env::vars_os().filter(|(name, _)| {
            name.to_str().is_some_and(|name| ENVIRONMENT.contains(&name) || name.starts_with("LC_"))
        });
        let mut command = Command::new(program);
        command.args(arguments).current_dir(directory).env_clear().envs(environment);
        Process::spawn(context, command, &params)?.finish(context, GRACE).await
    }

    async fn release(&self, params: ReleaseParams, _: &Context) -> Result<ReleaseResult> {
        let done = |outcome| Ok(ReleaseResult { outcome, retry_after_ms: None, message: None });
        if !self.is_there(&params.lease)? {
            return done(ReleaseOutcome::Absent);
        }
        if params.action == ReleaseAction::Delete {
            let directory = self.directory(&params.lease);
            // What is read-only could not be emptied.
            Command::new("chmod").args(["-R", "u+rwx"]).arg(&directory).status().await?;
            fs::remove_dir_all(&directory).doing(|| format!("delete `{}`", directory.display()))?;
        }
        done(ReleaseOutcome::Released)
    }
}

impl Directories {
    fn directory(&self, lease: &Lease) -> PathBuf {
        self.root.join(lease.id.as_str())
    }

    /// Whether a lease is there. Not being able to look proves nothing, and is an error.
    fn is_there(&self, lease: &Lease) -> Result<bool> {
        let directory = self.directory(lease);
        match fs::metadata(&directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            found => found.map(|_| true).doing(|| format!("look at `{}`", directory.display())),
        }
    }
}

/// By the XDG base directory specification.
fn default_root() -> Option<PathBuf> {
    let directory = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = directory("XDG_STATE_HOME").or_else(|| Some(directory("HOME")?.join(".local/state")))?;
    Some(state.join("crabbox-example"))
}

fn main() -> ExitCode {
    serve::<Directories>()
}
