//! Finding plugins: executables named `crabbox-provider-NAME`. None is started.
//!
//! The first of a name wins: the path in the user's configuration, `CRABBOX_PLUGIN_PATH`, the directory of
//! crabbox itself, PATH. A directory that is not absolute, or in which everybody can put files, is not
//! looked into: what is there may be somebody else's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crabbox_protocol::is_provider_name;
use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};

use super::PREFIX;
use crate::config::{Env, nearest};
use crate::error::{Error, Result};

/// The variable with directories of plugins.
const VARIABLE: &str = "CRABBOX_PLUGIN_PATH";

/// A plugin's executable.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// The provider.
    pub(crate) name: String,
    /// The executable, as it is to be started.
    pub(crate) path: PathBuf,
    /// Where it was found.
    pub(crate) source: FoundIn,
    /// Which file it is.
    pub(crate) identity: Identity,
    /// The executable of the same name that comes before it.
    pub(crate) shadowed_by: Option<PathBuf>,
    /// Why it cannot be started.
    pub(crate) problem: Option<String>,
}

/// Where a plugin was found, in the order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FoundIn {
    /// `plugins.NAME.path` of the user's configuration.
    Config,
    /// A directory of `CRABBOX_PLUGIN_PATH`.
    PluginPath,
    /// The directory of crabbox itself.
    Beside,
    /// A directory of PATH.
    Path,
    /// The command line, which has its path.
    Words,
}

impl FoundIn {
    /// The name of the place.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::PluginPath => VARIABLE,
            Self::Beside => "beside crabbox",
            Self::Path => "PATH",
            Self::Words => "the command line",
        }
    }
}

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    /// Of the file at a path, symlinks followed.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::from(&metadata))
    }

    fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl From<&Metadata> for Identity {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// All plugins.
#[derive(Debug, Default)]
pub(crate) struct Discovered {
    /// By name, what is shadowed after what shadows it.
    pub(crate) plugins: Vec<Found>,
    /// What was not looked at, and why.
    pub(crate) skipped: Vec<Skipped>,
}

impl Discovered {
    /// Those that can be used.
    pub(crate) fn usable(&self) -> impl Iterator<Item = &Found> {
        self.plugins.iter().filter(|found| found.shadowed_by.is_none() && found.problem.is_none())
    }
}

/// A directory or file that was not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skipped {
    /// Which.
    pub(crate) path: PathBuf,
    /// Why, and where it comes from.
    pub(crate) reason: String,
}

/// Where plugins are looked for.
#[derive(Debug, Clone)]
pub(super) struct Places {
    named: BTreeMap<String, PathBuf>,
    directories: Vec<(PathBuf, FoundIn)>,
    skipped: Vec<Skipped>,
    user_file: PathBuf,
}

/// What is at a path that could be a plugin's.
enum Candidate {
    Plugin(Identity),
    NotExecutable,
    Nothing,
}

impl Places {
    /// `named` are executables of the user's configuration, `beside` is the directory of crabbox.
    pub(super) fn new(
        env: &Env,
        named: BTreeMap<String, PathBuf>,
        beside: Option<PathBuf>,
        user_file: PathBuf,
    ) -> Self {
        let mut places = Self { named, directories: Vec::new(), skipped: Vec::new(), user_file };
        places.add(env, VARIABLE, FoundIn::PluginPath);
        places.directories.extend(beside.map(|directory| (directory, FoundIn::Beside)));
        places.add(env, "PATH", FoundIn::Path);
        places
    }

    fn add(&mut self, env: &Env, variable: &str, source: FoundIn) {
        for path in env.get(variable).into_iter().flat_map(std::env::split_paths) {
            if path.is_absolute() {
                if !self.directories.iter().any(|(known, _)| *known == path) {
                    self.directories.push((path, source));
                }
            } else {
                let what = if path.as_os_str().is_empty() { "an empty" } else { "a relative" };
                let reason = format!("{what} entry of {variable} means another directory at every place");
                self.skipped.push(Skipped { path, reason });
            }
        }
    }

    /// The plugin of one provider. Looks for this one name only.
    pub(super) fn one(&self, name: &str) -> Result<Found> {
        if !is_provider_name(name) {
            let error = Error::usage(format!("`{}` is not a provider's name", crate::output::foreign(name)))
                .hint("a name is a lowercase letter and up to 31 lowercase letters, digits or dashes");
            return Err(self.did_you_mean(error, name));
        }
        if let Some(path) = self.named.get(name) {
            let found = explicit(name, path);
            return match &found.problem {
                None => Ok(found),
                Some(problem) => {
                    let path = path.display();
                    Err(Error::usage(format!("the plugin of provider `{name}` {problem}: `{path}`"))
                        .hint(format!("`plugins.{name}.path` in {} names it", self.user_file.display())))
                }
            };
        }
        let file = format!("{PREFIX}{name}");
        for (directory, source) in &self.directories {
            let path = directory.join(&file);
            if let Candidate::Plugin(identity) = candidate(&path)
                && !is_open_to_all(directory)
            {
                return Ok(Found::new(name, path, *source, identity));
            }
        }
        Err(self.not_found(name))
    }

    /// Whether there is something of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        let file = format!("{PREFIX}{name}");
        let is_there = |path: PathBuf| matches!(candidate(&path), Candidate::Plugin(_));
        is_provider_name(name)
            && (self.named.contains_key(name)
                || self.directories.iter().any(|(directory, _)| is_there(directory.join(&file))))
    }

    /// Every plugin there is.
    pub(super) fn all(&self) -> Discovered {
        let mut skipped = self.skipped.clone();
        let mut found: Vec<Found> = self.named.iter().map(|(name, path)| explicit(name, path)).collect();
        let mut not_executable = Vec::new();
        let mut seen = BTreeSet::new();
        for (directory, source) in &self.directories {
            let Ok(metadata) = fs::metadata(directory) else { continue };
            if !seen.insert((metadata.dev(), metadata.ino())) {
                continue;
            }
            let mut skip =
                |path: &Path, reason: String| skipped.push(Skipped { path: path.to_owned(), reason });
            let entries = match fs::read_dir(directory) {
                _ if metadata.mode() & 0o002 != 0 => {
                    skip(
                        directory,
                        format!("everybody can put files into this directory of {}", source.name()),
                    );
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => continue,
                Err(error) => {
                    skip(directory, format!("this directory of {} cannot be read: {error}", source.name()));
                    continue;
                }
                Ok(entries) => entries,
            };
            for entry in entries.flatten() {
                let file = entry.file_name();
                let Some(rest) = file.as_encoded_bytes().strip_prefix(PREFIX.as_bytes()) else { continue };
                let path = entry.path();
                let Some(name) = std::str::from_utf8(rest).ok().filter(|name| is_provider_name(name)) else {
                    skip(&path, "what follows the prefix is not a provider's name".to_owned());
                    continue;
                };
                match candidate(&path) {
                    Candidate::Plugin(identity) => found.push(Found::new(name, path, *source, identity)),
                    Candidate::NotExecutable => {
                        skip(&path, "it is not executable".to_owned());
                        not_executable.push(Found {
                            problem: Some("is not executable".to_owned()),
                            ..Found::new(name, path, *source, Identity::default())
                        });
                    }
                    Candidate::Nothing => {}
                }
            }
        }
        Discovered { plugins: arrange(found, not_executable), skipped }
    }

    fn not_found(&self, name: &str) -> Error {
        let mut error = Error::usage(format!("provider `{name}` is not installed"));
        let file = format!("{PREFIX}{name}");
        for (directory, _) in &self.directories {
            let path = directory.join(&file);
            let shown = path.display();
            match candidate(&path) {
                Candidate::NotExecutable => {
                    error = error.cause(format!("`{shown}` is not executable"));
                    error = error.hint(format!("make it executable: `chmod +x {shown}`"));
                }
                Candidate::Plugin(_) => {
                    error = error.cause(format!("`{shown}` was skipped: everybody can put files there"));
                    error = error.hint(format!("`chmod o-w {}`", directory.display()));
                }
                Candidate::Nothing => {}
            }
        }
        if !error.causes.is_empty() {
            return error;
        }
        self.did_you_mean(error, name).hint(format!(
            "install `{file}` into a directory of PATH, or name it by `plugins.{name}.path` in {}; looked for it in {}",
            self.user_file.display(),
            self.looked_in()
        ))
    }

    fn did_you_mean(&self, error: Error, name: &str) -> Error {
        let all = self.all();
        match nearest(name, all.usable().map(|found| found.name.as_str())) {
            Some(meant) => error.hint(format!("did you mean `{meant}`?")),
            None => error,
        }
    }

    /// The places in words.
    fn looked_in(&self) -> String {
        let count = |source| self.directories.iter().filter(|(_, s)| *s == source).count();
        let directories =
            |count| if count == 1 { "1 directory".to_owned() } else { format!("{count} directories") };
        let mut places = Vec::new();
        if count(FoundIn::PluginPath) > 0 {
            places.push(format!("{} of {VARIABLE}", directories(count(FoundIn::PluginPath))));
        }
        let mut beside = self.directories.iter().filter(|(_, source)| *source == FoundIn::Beside);
        places.extend(beside.next().map(|(directory, _)| format!("`{}`", directory.display())));
        places.push(format!("{} of PATH", directories(count(FoundIn::Path))));
        if !self.skipped.is_empty() {
            places.push(format!("not in {} relative or empty entries", self.skipped.len()));
        }
        places.join(", ")
    }
}

impl Found {
    fn new(name: &str, path: PathBuf, source: FoundIn, identity: Identity) -> Self {
        Self { name: name.to_owned(), path, source, identity, shadowed_by: None, problem: None }
    }
}

/// The executable at a path, of the provider that its name says.
pub(super) fn at(path: &Path) -> Result<Found> {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(PREFIX));
    let Some(name) = name.filter(|name| is_provider_name(name)) else {
        return Err(Error::usage(format!("`{}` is not named like a plugin", path.display()))
            .hint(format!("a plugin is an executable `{PREFIX}NAME`")));
    };
    let found = explicit(name, path);
    match &found.problem {
        None => Ok(Found { source: FoundIn::Words, ..found }),
        Some(problem) => Err(Error::usage(format!("`{}` {problem}", path.display()))),
    }
}

/// The executable that the user names. It stands for its provider even when it cannot be started.
fn explicit(name: &str, path: &Path) -> Found {
    let (identity, problem) = match candidate(path) {
        Candidate::Plugin(identity) => (identity, None),
        Candidate::NotExecutable => (Identity::default(), Some("is not executable")),
        Candidate::Nothing => (Identity::default(), Some("is not there")),
    };
    let found = Found::new(name, path.to_owned(), FoundIn::Config, identity);
    Found { problem: problem.map(str::to_owned), ..found }
}

fn candidate(path: &Path) -> Candidate {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Candidate::Nothing,
        Ok(metadata) if access(path, Access::EXEC_OK).is_ok() => Candidate::Plugin((&metadata).into()),
        Ok(_) => Candidate::NotExecutable,
        Err(_) => Candidate::Nothing,
    }
}

fn is_open_to_all(directory: &Path) -> bool {
    fs::metadata(directory).is_ok_and(|metadata| metadata.mode() & 0o002 != 0)
}

/// Puts plugins in order of their names; the first of a name shadows the others, the same file counts once.
/// What is not executable is shown where nothing else has its name.
fn arrange(found: Vec<Found>, not_executable: Vec<Found>) -> Vec<Found> {
    let mut by_name: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    for mut plugin in found {
        let same = by_name.entry(plugin.name.clone()).or_default();
        let known = |other: &Found| plugin.problem.is_none() && other.identity.is_same_file(&plugin.identity);
        if !same.iter().any(known) {
            plugin.shadowed_by = same.first().map(|first| first.path.clone());
            same.push(plugin);
        }
    }
    for plugin in not_executable {
        by_name.entry(plugin.name.clone()).or_insert_with(|| vec![plugin]);
    }
    by_name.into_values().flatten().collect()
}

#[cfg(test)]
#[path = "discovery_tests.rs"]
mod tests;
