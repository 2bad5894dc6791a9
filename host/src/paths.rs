//! Where crabbox keeps things on this machine.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use crate::error::{Error, Result};
use crate::fault::{Fault, pass};

/// The directories of this user: `$XDG_{STATE,CACHE,CONFIG}_HOME/crabbox`, on every system.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// Claims, locks, runs, crews: what must not be lost.
    pub(crate) state: PathBuf,
    /// Manifests and indexes: what can be made again.
    pub(crate) cache: PathBuf,
    /// The user's configuration.
    pub(crate) config: PathBuf,
}

impl Paths {
    /// Finds the directories. Creates nothing.
    pub(crate) fn find() -> Result<Self> {
        let base = etcetera::base_strategy::Xdg::new()
            .map_err(|error| Error::usage("cannot find your home directory").cause(error).hint("set HOME"))?;
        Ok(Self {
            state: base.state_dir().unwrap_or_else(|| base.home_dir().join(".local/state")).join("crabbox"),
            cache: base.cache_dir().join("crabbox"),
            config: base.config_dir().join("crabbox"),
        })
    }

    /// The directory of claims.
    pub(crate) fn claims(&self) -> PathBuf {
        self.state.join("claims")
    }

    /// The directory of locks.
    pub(crate) fn locks(&self) -> PathBuf {
        self.state.join("locks")
    }

    /// The directory of what stands for crews.
    pub(crate) fn crews(&self) -> PathBuf {
        self.state.join("crews")
    }

    /// The directory of the host keys that providers' machines have shown.
    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.state.join("known_hosts")
    }

    /// The directory of what runs need while they last.
    pub(crate) fn runs(&self) -> PathBuf {
        self.state.join("runs")
    }
}

/// Makes a directory and its parents, for this user only. Those that exist stay as they are.
pub(crate) fn private_dir(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| {
        Error::failure(format!("cannot make the directory `{}`", path.display()))
            .cause(error)
            .hint("crabbox keeps its records there; make it writable, or set XDG_STATE_HOME to another place")
    })
}

/// The end of a file that somebody else writes, at most so many bytes of it; nothing where there is no file.
pub(crate) fn read_end(path: &Path, most: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        file.seek(io::SeekFrom::Start(size.saturating_sub(most)))?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// How the name of a file begins that is not in its place yet.
const NEW: &str = ".new-";

/// Removes what writers left in a directory, and below, that were killed. One that is alive and loses its file so
/// fails: this is for what can be made again, and for directories that are locked.
pub(crate) fn sweep(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(NEW.as_bytes()) {
            let _ = fs::remove_file(entry.path());
        } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sweep(&entry.path());
        }
    }
}

/// Replaces a file by one rename, for this user only. With `durable` it is on disk on return.
pub(crate) fn replace(path: &Path, content: &[u8], durable: bool) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(NEW)
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(directory)?;
    file.write_all(content)?;
    if durable {
        file.as_file().sync_data()?;
    }
    pass(Fault::FileStaged);
    file.persist(path).map_err(|error| error.error)?;
    pass(Fault::FileReplaced);
    if durable { File::open(directory)?.sync_all() } else { Ok(()) }
}
