//! The directories of the leases.
//!
//! `ROOT/ID` is a lease. It appears and goes by one rename each: before it is whole it is
//! `ROOT/.acquiring-ID`, and from the moment it is given up `ROOT/.releasing-ID`. Whatever is killed in
//! between leaves a name that says what was going on, and the next `release` finishes it.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind as Io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crabbox_provider_kit::protocol::{Lease, LeaseId, LeaseReport};
use crabbox_provider_kit::{Doing as _, Error, Result};

use crate::delete;
use crate::marker::{self, Marker};

const ACQUIRING: &str = ".acquiring-";
const RELEASING: &str = ".releasing-";

/// All leases under one directory.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    root: PathBuf,
}

/// How far a lease is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Found {
    /// It is there and it is ours.
    Lease(Marker),
    /// Making it was interrupted.
    Acquiring,
    /// Deleting it was interrupted.
    Releasing,
    /// It is certainly not there.
    Absent,
}

impl Store {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn directory(&self, id: &LeaseId) -> PathBuf {
        self.root.join(id.as_str())
    }

    fn on_the_way(&self, stage: &str, id: &LeaseId) -> PathBuf {
        self.root.join(format!("{stage}{id}"))
    }

    /// The id under which a lease is kept here: the `ref`, which for an adopted lease is another than the
    /// host's id. `None` for a `ref` that is none of ours.
    pub(crate) fn id_of(lease: &Lease) -> Option<LeaseId> {
        match &lease.r#ref {
            Some(reference) => reference.parse().ok(),
            None => Some(lease.id.clone()),
        }
    }

    /// What the host is told about a lease.
    pub(crate) fn report(&self, lease: &Lease, id: &LeaseId) -> LeaseReport {
        LeaseReport {
            id: Some(lease.id.to_string()),
            r#ref: Some(id.to_string()),
            root: Some(self.directory(id).display().to_string()),
            ..LeaseReport::default()
        }
    }

    /// Looks for a lease.
    ///
    /// # Errors
    ///
    /// `conflict` when something is in its place that is not ours; the nearest kind when it cannot be
    /// told whether it is there.
    pub(crate) fn find(&self, id: &LeaseId) -> Result<Found> {
        let directory = self.directory(id);
        if is_directory(&directory)? {
            return Marker::read(&directory, id).map(Found::Lease);
        }
        if is_directory(&self.on_the_way(RELEASING, id))? {
            return Ok(Found::Releasing);
        }
        if is_directory(&self.on_the_way(ACQUIRING, id))? {
            return Ok(Found::Acquiring);
        }
        self.proves_absence().map(|()| Found::Absent)
    }

    /// The directory of a lease that is there and ours.
    ///
    /// # Errors
    ///
    /// `notFound` when there is no such lease; else as [`find`](Self::find).
    pub(crate) fn expect(&self, lease: &Lease) -> Result<PathBuf> {
        let id = Self::id_of(lease);
        if let Some(id) = &id
            && let Found::Lease(_) = self.find(id)?
        {
            return Ok(self.directory(id));
        }
        let name = &lease.slug;
        Err(Error::not_found(format!("lease `{name}` (`{}`) is not in `{}`", lease.id, self.root.display()))
            .hint("somebody removed its directory; release it and make a new one"))
    }

    /// Makes sure that what was not found is not there: a root that cannot be searched, or that hangs on
    /// a link to nowhere, such as a disk that is not mounted, proves nothing.
    fn proves_absence(&self) -> Result<()> {
        let what = || format!("search `{}` for leases", self.root.display());
        match fs::read_dir(&self.root) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == Io::NotFound => {}
            Err(error) => return Err(error).doing(what),
        }
        for ancestor in self.root.ancestors() {
            match fs::symlink_metadata(ancestor) {
                Ok(metadata) if metadata.is_dir() => return Ok(()),
                Ok(_) => {
                    return Err(Error::unavailable(format!("cannot {}", what()))
                        .cause(format!("`{}` leads nowhere", ancestor.display())));
                }
                Err(error) if error.kind() == Io::NotFound => {}
                Err(error) => return Err(error).doing(what),
            }
        }
        Ok(())
    }

    /// Makes a lease, or finds the one that was made for the same id.
    ///
    /// # Errors
    ///
    /// `conflict` when its place is taken or it is being released; the nearest kind when it cannot be
    /// made.
    pub(crate) fn acquire(&self, lease: &Lease) -> Result<()> {
        let (id, root) = (&lease.id, &self.root);
        let nothing_yet = |error: Error| error.created(false);
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700);
        let elsewhere =
            "set `root` in the block `local`, or `--local-root`, to a place that you can write to";
        private
            .create(root)
            .doing(|| format!("make `{}`", root.display()))
            .map_err(|error| nothing_yet(error.hint(elsewhere)))?;
        match self.find(id)? {
            Found::Lease(_) => return Ok(()),
            Found::Acquiring | Found::Absent => {}
            Found::Releasing => {
                return Err(Error::conflict(format!("lease `{id}` is being released"))
                    .hint("release it once more to finish that"));
            }
        }
        let (staged, directory) = (self.on_the_way(ACQUIRING, id), self.directory(id));
        private.create(&staged).doing(|| format!("make `{}`", staged.display()))?;
        Marker::of(lease).write(&staged)?;
        fs::rename(&staged, &directory).doing(|| format!("make `{}`", directory.display()))
    }

    /// Deletes a lease that [`find`](Self::find) found, from wherever it was.
    pub(crate) fn delete(&self, id: &LeaseId, found: &Found) -> Result<()> {
        let (directory, leaving) = (self.directory(id), self.on_the_way(RELEASING, id));
        let what = || format!("delete `{}`", leaving.display());
        match found {
            Found::Absent => Ok(()),
            Found::Acquiring => {
                let staged = self.on_the_way(ACQUIRING, id);
                delete::remove(&staged, marker::FILE).doing(|| format!("delete `{}`", staged.display()))
            }
            Found::Releasing => delete::remove(&leaving, marker::FILE).doing(what),
            Found::Lease(_) => {
                fs::rename(&directory, &leaving).doing(|| format!("give up `{}`", directory.display()))?;
                delete::remove(&leaving, marker::FILE).doing(what)
            }
        }
        .map_err(|error| error.hint("see who owns what is in there; then release the lease again"))
    }

    /// Every lease here, and whether that is certainly all.
    pub(crate) fn list(&self) -> Result<(Vec<(LeaseId, Found)>, bool)> {
        let what = || format!("list `{}`", self.root.display());
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == Io::NotFound => {
                return self.proves_absence().map(|()| (vec![], true));
            }
            Err(error) => return Err(error).doing(what),
        };
        let mut leases = Vec::new();
        let mut complete = true;
        for entry in entries {
            let name = entry.doing(what)?.file_name();
            let Some(name) = name.to_str() else { continue };
            let bare = name.strip_prefix(ACQUIRING).or_else(|| name.strip_prefix(RELEASING)).unwrap_or(name);
            let Ok(id) = bare.parse::<LeaseId>() else { continue };
            match self.find(&id) {
                Ok(Found::Absent) => {}
                Ok(found) => leases.push((id, found)),
                // Somebody else's.
                Err(error) if error.kind() == crabbox_provider_kit::protocol::ErrorKind::Conflict => {}
                Err(_) => complete = false,
            }
        }
        leases.sort_by(|(one, _), (other, _)| one.cmp(other));
        leases.dedup();
        Ok((leases, complete))
    }
}

/// Whether there is a directory at `path`; a link to one is none.
fn is_directory(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(true),
        Ok(_) => Err(Error::conflict(format!("`{}` is not a directory", path.display()))
            .hint("look at it, and remove it by hand if nobody needs it")),
        Err(error) if error.kind() == Io::NotFound => Ok(false),
        Err(error) => Err(error).doing(|| format!("look at `{}`", path.display())),
    }
}
