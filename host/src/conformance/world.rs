//! A world of its own for a plugin: a home without a user in it. What works here needs nothing.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Directories that name a place of the user's.
const PLACES: [(&str, &str); 7] = [
    ("HOME", "home"),
    ("TMPDIR", "tmp"),
    ("XDG_CONFIG_HOME", "home/.config"),
    ("XDG_STATE_HOME", "home/.local/state"),
    ("XDG_CACHE_HOME", "home/.cache"),
    ("XDG_DATA_HOME", "home/.local/share"),
    ("XDG_RUNTIME_DIR", "run"),
];

/// A home, and what else the environment names. Gone when it is dropped.
#[derive(Debug)]
pub(super) struct World {
    directory: tempfile::TempDir,
    root: PathBuf,
}

/// The environment of a process.
pub(super) type Vars = Vec<(OsString, OsString)>;

impl World {
    /// Makes the directories.
    pub(super) fn new() -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("crabbox-check-").tempdir()?;
        let root = directory.path().canonicalize()?;
        for (_, place) in PLACES {
            fs::create_dir_all(root.join(place))?;
        }
        fs::create_dir(root.join("cwd"))?;
        Ok(Self { directory, root })
    }

    /// A directory of it that does not exist yet, or does.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The working directory.
    pub(super) fn cwd(&self) -> PathBuf {
        self.root.join("cwd")
    }

    /// An environment with its own places in the place of the user's.
    pub(super) fn seal(&self, base: &[(OsString, OsString)]) -> Vars {
        let is_place = |name: &OsString| {
            name.to_str().is_some_and(|name| {
                name.starts_with("XDG_") || PLACES.iter().any(|(place, _)| *place == name)
            })
        };
        let kept = base.iter().filter(|(name, _)| !is_place(name)).cloned();
        kept.chain(PLACES.map(|(name, place)| (name.into(), self.root.join(place).into()))).collect()
    }

    /// Every file and directory in it.
    pub(super) fn files(&self) -> BTreeSet<PathBuf> {
        let mut files = BTreeSet::new();
        let mut directories = vec![self.root.clone()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    directories.push(entry.path());
                }
                files.insert(entry.path().strip_prefix(&self.root).unwrap_or(Path::new("")).to_owned());
            }
        }
        files
    }

    /// Leaves the directory where it is: something that was made in it could not be released.
    pub(super) fn keep(&mut self) {
        self.directory.disable_cleanup(true);
    }
}
