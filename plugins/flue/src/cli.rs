//! Which Flue CLI is used, and of which version.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crabbox_provider_kit::{Ended, Error, Program, Result};

use crate::outcome::tail_of;
use crate::project::{installed, version_in};
use crate::settings::Settings;
use crate::version::{Generation, KNOWN, Version};

/// How long Flue may take to say something: a second or two, but on a machine that has other things to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A Flue CLI, and how to speak with it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cli {
    /// The executable.
    pub(crate) path: PathBuf,
    /// Its version, for messages.
    pub(crate) version: String,
    /// What its command line is like.
    pub(crate) generation: Generation,
}

impl Cli {
    /// Finds the CLI and its version.
    ///
    /// An installed package has its version beside it, which is exact for every version and takes no time;
    /// any other executable is asked (`flue --version`).
    ///
    /// # Errors
    ///
    /// `prerequisite` when there is none, or no Node.js that it works with; `unsupported` for a version that
    /// nothing is known of.
    pub(crate) async fn find(settings: &Settings) -> Result<Self> {
        let path = locate(settings)?;
        match packaged(&path) {
            Some(version) => Self::of(path, &version),
            None => ask(&path).await,
        }
    }

    fn of(path: PathBuf, version: &Version) -> Result<Self> {
        match version.generation() {
            Some(generation) => Ok(Self { path, version: version.to_string(), generation }),
            None => Err(unknown(&path, &version.to_string())),
        }
    }
}

/// The executable: as configured, or the project's own, or the one on PATH.
pub(crate) fn locate(settings: &Settings) -> Result<PathBuf> {
    let missing = |what: String| {
        Error::prerequisite(what).hint("install it in the project, and its runtime in the same version: `npm install @flue/cli@2.0.3 @flue/runtime@2.0.3`")
    };
    match settings.cli.as_deref() {
        Some(path) if path.contains('/') => {
            let path = settings.root.join(path);
            let found = which::which(&path).ok();
            found.ok_or_else(|| missing(format!("`{}` is no executable", path.display())))
        }
        Some(name) => {
            which::which(name).map_err(|_| missing(format!("there is no `{}` on PATH", name.escape_debug())))
        }
        None => {
            let own = installed(&settings.root, ".bin/flue").and_then(|path| which::which(path).ok());
            let found = own.or_else(|| which::which("flue").ok());
            found.ok_or_else(|| {
                missing(format!("there is no Flue CLI in `{}`, nor on PATH", settings.root.display()))
            })
        }
    }
}

/// The version of the package that an executable is part of, where links lead to it.
pub(crate) fn packaged(path: &Path) -> Option<Version> {
    let real = path.canonicalize().ok()?;
    real.ancestors().skip(1).find_map(|directory| version_in(directory, "@flue/cli"))
}

/// Asks a CLI for its version.
pub(crate) async fn ask(path: &Path) -> Result<Cli> {
    let Ended { status, stdout, stderr } = output(path, &["--version".as_ref()]).await?;
    let (said, complained) = (text(&stdout), text(&stderr));
    if let Some(too_old) = node_is_refused(&complained) {
        return Err(too_old);
    }
    if status.success() {
        return match said.trim().parse::<Version>() {
            Ok(version) => Cli::of(path.to_owned(), &version),
            Err(()) => Err(unknown(path, said.lines().next().unwrap_or_default())),
        };
    }
    // 0.11 and its like know no `--version`. What they print instead tells them from the others.
    if complained.contains("[--payload <json>]") {
        let version = "0.11 or near (it has no `--version`)".to_owned();
        return Ok(Cli { path: path.to_owned(), version, generation: Generation::Payload });
    }
    Err(Error::prerequisite(format!("`{} --version` failed: {status}", path.display()))
        .cause(tail_of(&complained)))
}

/// Asks the CLI something that changes nothing.
pub(crate) async fn output(path: &Path, words: &[&OsStr]) -> Result<Ended> {
    Program::new("flue", path).args(words).env("NO_COLOR", "1").deadline(PATIENCE).output().await
}

/// What every Flue says under a Node.js that it does not work with.
pub(crate) fn node_is_refused(stderr: &str) -> Option<Error> {
    let mut lines = stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines.find(|line| line.ends_with("is not supported by Flue."))?;
    let wants = lines.next().unwrap_or_default();
    Some(
        Error::prerequisite(line.trim_end_matches('.')).cause(wants).hint("put a newer `node` first on PATH"),
    )
}

fn unknown(path: &Path, version: &str) -> Error {
    let version = version.chars().take(80).collect::<String>();
    Error::unsupported(format!(
        "`{}` is Flue {}, and this provider ({}) knows {KNOWN}",
        path.display(),
        version.escape_debug(),
        env!("CARGO_PKG_VERSION"),
    ))
    .hint("install a Flue of these in the project, or a newer crabbox-provider-flue")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_too_old_is_told_by_what_flue_says() {
        let said = "\nNode.js v20.20.2 is not supported by Flue.\nFlue requires Node.js >=22.18\n";
        let error = node_is_refused(said).unwrap();
        assert_eq!(error.to_string(), "Node.js v20.20.2 is not supported by Flue");
        assert!(node_is_refused("ExperimentalWarning: SQLite").is_none());
    }
}
