//! The surroundings of this process, read once and handed on, so that nothing below asks the process.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The environment variables and the working directory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Env {
    vars: BTreeMap<OsString, OsString>,
    cwd: PathBuf,
}

impl Env {
    /// Those of this process.
    pub(crate) fn current() -> Result<Self> {
        let cwd = std::env::current_dir()
            .map_err(|error| Error::failure("cannot find the current directory").cause(error))?;
        Ok(Self { vars: std::env::vars_os().collect(), cwd })
    }

    /// Any others.
    #[cfg(test)]
    pub(crate) fn new<N: Into<OsString>, V: Into<OsString>>(
        cwd: impl Into<PathBuf>,
        vars: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let vars = vars.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { vars, cwd: cwd.into() }
    }

    /// The working directory.
    pub(crate) fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// All variables, by name.
    pub(crate) fn vars(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.vars.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// A variable's value. An empty one counts as not set.
    pub(crate) fn get(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.vars.get(name.as_ref()).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// A variable's value as text.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, String> {
        let value = self.get(name).map(|value| value.to_str().ok_or("it is not valid UTF-8".to_owned()));
        value.transpose()
    }

    /// The user's home directory.
    pub(crate) fn home(&self) -> Option<&Path> {
        self.get("HOME").map(Path::new).filter(|home| home.is_absolute())
    }

    /// Makes a path absolute: `~/` is the home directory, a relative one starts at `base`.
    pub(crate) fn resolve_path(&self, path: &str, base: &Path) -> PathBuf {
        let rest = if path == "~" { Some("") } else { path.strip_prefix("~/") };
        let path = match (rest, self.home()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => base.join(path),
        };
        // Also drops `.` and doubled or trailing slashes.
        path.components().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute() {
        let env = Env::new("/cwd", [("HOME", "/home/me")]);
        for (text, want) in [
            ("a/./b/", "/base/a/b"),
            ("./a", "/base/a"),
            ("../a", "/base/../a"),
            ("/a//b", "/a/b"),
            ("~", "/home/me"),
            ("~/a", "/home/me/a"),
            ("~you/a", "/base/~you/a"),
        ] {
            assert_eq!(env.resolve_path(text, Path::new("/base")), Path::new(want), "{text}");
        }
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        let env = Env::new("/", [("A", ""), ("B", "b")]);
        assert_eq!(env.get("A"), None);
        assert_eq!(env.text("B"), Ok(Some("b")));
    }
}
