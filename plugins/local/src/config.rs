//! The configuration: where the leases are.

use std::env;
use std::path::PathBuf;

use crabbox_provider_kit::problem;
use crabbox_provider_kit::protocol::Problem;
use schemars::JsonSchema;
use serde::Deserialize;

/// Leases on this machine.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(crate) struct Config {
    /// The directory that holds the leases. Default: `crabbox/local` in `$XDG_STATE_HOME`, or in
    /// `~/.local/state`.
    #[serde(default)]
    #[schemars(extend("x-crabbox" = {"userOnly": true, "path": true}))]
    root: Option<PathBuf>,
}

impl Config {
    /// The directory that holds the leases: absolute, and text, because it goes over the wire.
    pub(crate) fn root(self) -> Result<PathBuf, Problem> {
        let root = match self.root {
            Some(root) if root.is_absolute() => root,
            Some(root) => {
                return Err(problem("root", format!("`{}` is not an absolute path", root.display())));
            }
            None => state_home().ok_or_else(no_home)?.join("crabbox/local"),
        };
        match root.to_str() {
            Some(_) => Ok(root),
            None => Err(problem("root", format!("`{}` is not UTF-8", root.display()))),
        }
    }
}

/// By the XDG base directory specification, which says to ignore what is not absolute.
fn state_home() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))
}

fn no_home() -> Problem {
    let mut problem = problem("root", "there is no place for leases: neither HOME nor XDG_STATE_HOME is set");
    problem.hint = Some("set HOME, or `root` in the block `local` of your configuration".to_owned());
    problem
}
