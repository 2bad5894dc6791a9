//! The index: each file's content is read and hashed once, until it changes.
//!
//! A hash is used again when size, times (in nanoseconds) and inode are those that it was taken with. A
//! file that changed within the granularity of the clock just after it was read keeps its times, so a hash
//! is not remembered for a file that was younger than [`SETTLED`] when it was read. git has the same rule.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::manifest::{Hash, Item, Manifest, as_bytes, hex};
use super::tree::{Entry, Kind, Stamp, Tree, sync_error};
use crate::error::{Error, Result};
use crate::output::foreign;
use crate::paths::{Paths, private_dir, replace};

/// How old a file's last change has to be for its times to tell the next one: the coarsest clock of a file
/// system in use counts in two seconds.
const SETTLED: Duration = Duration::from_secs(2);

/// The format of the file, raised when it changes.
const VERSION: u32 = 1;

/// What is remembered of a repository.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Index {
    version: u32,
    #[serde(with = "as_bytes")]
    root: PathBuf,
    known: Vec<Known>,
}

/// A file and the hash that it had. Sorted by path, as trees are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    #[serde(with = "as_bytes")]
    path: PathBuf,
    size: u64,
    stamp: Stamp,
    hash: Hash,
}

/// Reads what of the tree is not known, and says what all of it contains.
///
/// # Errors
///
/// Names the file that cannot be read, or that changed meanwhile.
pub(crate) fn manifest_of(tree: &Tree, paths: &Paths) -> Result<Manifest> {
    let file = file_of(paths, &tree.root);
    let index = Index::load(&file, &tree.root);
    let (hashes, unknown) = index.look_up(&tree.files);
    let hashes = hash_all(tree, hashes, &unknown)?;
    let item = |(entry, hash): (&Entry, &Hashed)| Item {
        path: entry.path.clone(),
        kind: entry.kind,
        size: entry.size,
        hash: hash.hash,
    };
    let manifest = Manifest { items: tree.files.iter().zip(&hashes).map(item).collect() };
    let remembered = Index::remember(tree, &hashes);
    if remembered.known != index.known {
        remembered.save(&file);
    }
    Ok(manifest)
}

/// Forgets the repositories that are not there any more.
pub(crate) fn forget_lost_repositories(paths: &Paths) {
    for entry in fs::read_dir(directory(paths)).into_iter().flatten().flatten() {
        let root = fs::read(entry.path()).ok().and_then(|bytes| Some(Index::decode(&bytes)?.root));
        if root.is_none_or(|root| !root.exists()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn directory(paths: &Paths) -> PathBuf {
    paths.cache.join("trees")
}

fn file_of(paths: &Paths, root: &Path) -> PathBuf {
    directory(paths).join(hex(&Sha256::digest(root.as_os_str().as_bytes())[..16]))
}

/// A hash, and whether the next run may use it again.
#[derive(Debug, Clone, Copy)]
struct Hashed {
    hash: Hash,
    settled: bool,
}

impl Index {
    /// What is known of the repository: nothing when there is no file, or none that can be used.
    fn load(file: &Path, root: &Path) -> Self {
        let index = fs::read(file).ok().and_then(|bytes| Self::decode(&bytes));
        index.filter(|index| index.root == root).unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok().filter(|index: &Self| index.version == VERSION)
    }

    /// Takes what is known of the files, and says which are not.
    fn look_up(&self, files: &[Entry]) -> (Vec<Option<Hashed>>, Vec<usize>) {
        let mut known = self.known.iter().peekable();
        let mut unknown = Vec::new();
        let mut look_up = |(n, entry): (usize, &Entry)| {
            let path = entry.path.as_os_str().as_bytes();
            while known.next_if(|known| known.path.as_os_str().as_bytes() < path).is_some() {}
            let known = known.next_if(|known| known.path == entry.path);
            let known = known.filter(|known| known.size == entry.size && known.stamp == entry.stamp);
            if known.is_none() {
                unknown.push(n);
            }
            known.map(|known| Hashed { hash: known.hash, settled: true })
        };
        let hashes = files.iter().enumerate().map(&mut look_up).collect();
        (hashes, unknown)
    }

    fn remember(tree: &Tree, hashes: &[Hashed]) -> Self {
        let known = tree.files.iter().zip(hashes).filter(|(_, hashed)| hashed.settled);
        let known = known.map(|(entry, hashed)| Known {
            path: entry.path.clone(),
            size: entry.size,
            stamp: entry.stamp,
            hash: hashed.hash,
        });
        Self { version: VERSION, root: tree.root.clone(), known: known.collect() }
    }

    /// Keeps the index for the next run. It is only a cache: where it cannot be kept, files are read again.
    fn save(&self, file: &Path) {
        if let (Ok(bytes), Some(directory)) = (postcard::to_stdvec(self), file.parent())
            && private_dir(directory).is_ok()
        {
            let _ = replace(file, &bytes, false);
        }
    }
}

/// Hashes the files that are not known, several at a time.
fn hash_all(tree: &Tree, known: Vec<Option<Hashed>>, unknown: &[usize]) -> Result<Vec<Hashed>> {
    const FEW: usize = 64;
    let threads = match unknown.len() {
        ..FEW => 1,
        _ => std::thread::available_parallelism().map_or(1, usize::from).min(8),
    };
    let (next, hashed) = (AtomicUsize::new(0), Mutex::new((known, None)));
    let work = || {
        let mut buffer = vec![0; 128 * 1024];
        let mut found = Vec::new();
        let mut failure = None;
        while let Some(&n) = unknown.get(next.fetch_add(1, Ordering::Relaxed)) {
            match hash(&tree.root, &tree.files[n], &mut buffer) {
                Ok(hash) => found.push((n, hash)),
                Err(error) => {
                    failure = Some((n, error));
                    next.store(unknown.len(), Ordering::Relaxed);
                }
            }
        }
        let mut all = hashed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (n, hash) in found {
            all.0[n] = Some(hash);
        }
        all.1 = all.1.take().or(failure);
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let (hashes, failure) = hashed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    match failure {
        Some((n, error)) => Err(unreadable(&tree.files[n], error)),
        None => Ok(hashes.into_iter().flatten().collect()),
    }
}

fn hash(root: &Path, entry: &Entry, buffer: &mut [u8]) -> io::Result<Hashed> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut hash = Sha256::new();
    match entry.kind {
        Kind::Link => {
            let path = root.join(&entry.path);
            let target = fs::read_link(&path)?;
            hash.update(target.as_os_str().as_bytes());
            unchanged(entry, &fs::symlink_metadata(&path)?)?;
        }
        Kind::File { .. } => {
            let mut file = open(root, entry)?;
            loop {
                match file.read(buffer)? {
                    0 => break,
                    count => hash.update(&buffer[..count]),
                }
            }
            unchanged(entry, &file.metadata()?)?;
        }
    }
    let changed = i128::try_from(now.as_nanos()).unwrap_or(0) - entry.stamp.ctime;
    let settled = changed > i128::try_from(SETTLED.as_nanos()).unwrap_or(i128::MAX);
    Ok(Hashed { hash: hash.finalize().into(), settled })
}

/// Opens a file of the tree, and makes sure that it is still the one that was seen.
pub(super) fn open(root: &Path, entry: &Entry) -> io::Result<File> {
    let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits();
    let flags = i32::try_from(flags).unwrap_or(0);
    let file = File::options().read(true).custom_flags(flags).open(root.join(&entry.path))?;
    unchanged(entry, &file.metadata()?)?;
    Ok(file)
}

/// Whether a file is still as it was when the tree was read.
pub(super) fn unchanged(entry: &Entry, metadata: &fs::Metadata) -> io::Result<()> {
    if metadata.len() == entry.size && Stamp::of(metadata) == entry.stamp {
        return Ok(());
    }
    Err(io::Error::other("it changed while it was read"))
}

/// A file of the tree that cannot be read as it should be.
pub(super) fn unreadable(entry: &Entry, error: io::Error) -> Error {
    let path = foreign(&entry.path.to_string_lossy());
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "make it readable, or leave it out: `sync.exclude` in crabbox.yaml"
        }
        _ => "nothing was sent; run again when nothing writes to it, or leave it out: `sync.exclude`",
    };
    sync_error(format!("cannot read `{path}`")).cause(error).hint(hint)
}

#[cfg(test)]
mod tests;
