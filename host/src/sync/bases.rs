//! What this machine knows of the trees on leases: the manifest that each last received.
//!
//! It is a guess that makes a delta possible. The lease's own marker decides: where it says another one, or
//! where the file here is lost, the lease gets what it needs all the same.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use crabbox_protocol::LeaseId;
use crabbox_protocol::records::Claim;

use super::manifest::{Manifest, Marker};
use crate::paths::{Paths, private_dir, replace};

/// The manifests of one lease: `leases/ID/MARKER` in the cache. Two while a sync is under way.
#[derive(Debug, Clone)]
pub(crate) struct Bases {
    directory: PathBuf,
}

impl Bases {
    /// Those of a lease.
    pub(crate) fn of(paths: &Paths, lease: &LeaseId) -> Self {
        Self { directory: directory(paths).join(lease.as_str()) }
    }

    /// The manifest that the lease most likely has.
    pub(crate) fn latest(&self) -> Option<Manifest> {
        let files = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let newest = files
            .filter_map(|file| {
                let marker = Marker::parse(file.file_name().to_str()?)?;
                let saved = file.metadata().and_then(|metadata| metadata.modified());
                Some((saved.unwrap_or(SystemTime::UNIX_EPOCH), marker))
            })
            .max();
        self.load(&newest?.1)
    }

    /// The manifest of that name, if it is here and whole.
    pub(crate) fn load(&self, marker: &Marker) -> Option<Manifest> {
        let bytes = fs::read(self.directory.join(marker.as_str())).ok()?;
        postcard::from_bytes(&bytes).ok().filter(|manifest: &Manifest| manifest.marker() == *marker)
    }

    /// Keeps a manifest. Where that fails the next sync sends more than it had to.
    pub(crate) fn keep(&self, manifest: &Manifest, marker: &Marker) {
        if let Ok(bytes) = postcard::to_stdvec(manifest)
            && private_dir(&self.directory).is_ok()
        {
            let _ = replace(&self.directory.join(marker.as_str()), &bytes, false);
        }
    }

    /// Forgets all but one, which the lease is known to have.
    pub(crate) fn settle(&self, marker: &Marker) {
        for file in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            if file.file_name().as_encoded_bytes() != marker.as_str().as_bytes() {
                let _ = fs::remove_file(file.path());
            }
        }
    }

    /// Forgets the lease.
    pub(crate) fn remove(&self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Forgets the leases that have no claim.
pub(crate) fn forget_lost_leases(paths: &Paths, claims: &[Claim]) {
    for entry in fs::read_dir(directory(paths)).into_iter().flatten().flatten() {
        let id = entry.file_name().to_str().and_then(|name| name.parse::<LeaseId>().ok());
        if id.is_none_or(|id| claims.iter().all(|claim| claim.lease.id != id)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn directory(paths: &Paths) -> PathBuf {
    paths.cache.join("leases")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::manifest::Item;
    use crate::sync::tree::Kind;

    fn manifest(content: u8) -> Manifest {
        let kind = Kind::File { mode: 0o644 };
        Manifest { items: vec![Item { path: "a".into(), kind, size: 1, hash: [content; 32] }] }
    }

    #[test]
    fn what_a_lease_received_is_kept_until_it_received_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let paths = Paths { state: path("state"), cache: path("cache"), config: path("config") };
        let bases = Bases::of(&paths, &LeaseId::from_bytes([1; 6]));
        assert_eq!(bases.latest(), None);
        let (one, two) = (manifest(1), manifest(2));
        bases.keep(&one, &one.marker());
        assert_eq!(bases.latest(), Some(one.clone()));
        bases.keep(&two, &two.marker());
        assert_eq!(bases.load(&one.marker()), Some(one.clone()), "both are there while a sync is under way");
        bases.settle(&two.marker());
        assert_eq!((bases.load(&one.marker()), bases.latest()), (None, Some(two.clone())));
        fs::copy(bases.directory.join(two.marker().as_str()), bases.directory.join(one.marker().as_str()))
            .unwrap();
        assert_eq!(bases.load(&one.marker()), None, "a manifest is what its name says, or nothing");
        forget_lost_leases(&paths, &[]);
        assert_eq!(bases.latest(), None);
    }
}
