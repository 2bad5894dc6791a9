//! The manifest: what a tree is, path by path, by content. The base of every delta, and what a lease's
//! marker stands for.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::tree::Kind;

/// The SHA-256 of a file's content, or of the place that a link leads to.
pub(crate) type Hash = [u8; 32];

/// The paths of a tree, sorted by their bytes, with what is at each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(super) items: Vec<Item>,
}

/// What is at one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    /// The path from the root.
    #[serde(with = "as_bytes")]
    pub(crate) path: PathBuf,
    /// What it is, with its permissions.
    pub(crate) kind: Kind,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// What it contains.
    pub(crate) hash: Hash,
}

/// What a manifest is called: 64 hexadecimal digits, the SHA-256 over everything in it. Two trees have the
/// same marker when no path differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Marker(String);

impl Marker {
    /// Reads a marker that a lease or a file name says.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        digits.then(|| Self(text.to_owned()))
    }

    /// The digits.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a tree differs from the base that a lease has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Delta {
    /// The items to send: where they are in the new manifest, ascending.
    pub(crate) send: BTreeSet<usize>,
    /// The paths that the base has and the tree has not.
    pub(crate) remove: Vec<PathBuf>,
    /// Whether the paths are others than those of the base.
    pub(crate) other_paths: bool,
}

impl Manifest {
    /// What the manifest is called.
    pub(crate) fn marker(&self) -> Marker {
        let mut hash = Sha256::new();
        for item in &self.items {
            let kind = match item.kind {
                Kind::File { mode } => mode,
                Kind::Link => u32::MAX,
            };
            let path = item.path.as_os_str().as_bytes();
            hash.update(kind.to_le_bytes());
            hash.update((path.len() as u64).to_le_bytes());
            hash.update(path);
            hash.update(item.hash);
        }
        Marker(hex(&hash.finalize()))
    }

    /// What has to be done to make the base this tree.
    pub(crate) fn delta(&self, base: &Self) -> Delta {
        let mut delta = Delta::default();
        let mut theirs = base.items.iter().peekable();
        let key = |item: &Item| item.path.as_os_str().as_bytes().to_owned();
        for (n, ours) in self.items.iter().enumerate() {
            let path = ours.path.as_os_str().as_bytes();
            while let Some(gone) = theirs.next_if(|item| item.path.as_os_str().as_bytes() < path) {
                delta.remove.push(gone.path.clone());
            }
            match theirs.next_if(|item| key(item) == path) {
                Some(base) if base == ours => {}
                found => {
                    delta.other_paths |= found.is_none();
                    delta.send.insert(n);
                }
            }
        }
        delta.remove.extend(theirs.map(|gone| gone.path.clone()));
        delta.other_paths |= !delta.remove.is_empty();
        delta
    }

    /// The directories that the paths are in, parents first.
    pub(crate) fn directories(&self) -> BTreeSet<&Path> {
        let mut directories = BTreeSet::new();
        for item in &self.items {
            for parent in item.path.ancestors().skip(1).take_while(|path| !path.as_os_str().is_empty()) {
                if !directories.insert(parent) {
                    break;
                }
            }
        }
        directories
    }
}

/// Digits for bytes.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Paths as the bytes that they are.
pub(super) mod as_bytes {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    pub(crate) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(path.as_os_str().as_bytes())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = PathBuf;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the bytes of a path")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<PathBuf, E> {
                Ok(OsString::from_vec(bytes.to_vec()).into())
            }
        }
        from.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(items: &[(&str, u32, u8)]) -> Manifest {
        let item = |&(path, mode, content): &(&str, u32, u8)| Item {
            path: path.into(),
            kind: Kind::File { mode },
            size: 1,
            hash: [content; 32],
        };
        Manifest { items: items.iter().map(item).collect() }
    }

    #[test]
    fn a_marker_stands_for_path_kind_permissions_and_content() {
        let one = manifest(&[("a", 0o644, 1), ("b", 0o644, 1)]);
        assert_eq!(one.marker(), one.clone().marker());
        assert_eq!(Marker::parse(one.marker().as_str()), Some(one.marker()));
        let mut link = one.clone();
        link.items[0].kind = Kind::Link;
        let others = [
            manifest(&[("a", 0o644, 1)]),
            manifest(&[("a", 0o644, 1), ("c", 0o644, 1)]),
            manifest(&[("a", 0o755, 1), ("b", 0o644, 1)]),
            manifest(&[("a", 0o644, 2), ("b", 0o644, 1)]),
            link,
        ];
        for other in others {
            assert_ne!(one.marker(), other.marker(), "{other:?}");
        }
        assert_eq!(Marker::parse("../x"), None);
        assert_eq!(Marker::parse(&"A".repeat(64)), None);
    }

    #[test]
    fn a_delta_is_what_differs() {
        let base = manifest(&[("a", 0o644, 1), ("b", 0o644, 1), ("d/e", 0o644, 1), ("z", 0o644, 1)]);
        let same = base.delta(&base);
        assert_eq!(same, Delta::default());
        let edited = manifest(&[("a", 0o644, 1), ("b", 0o755, 1), ("d/e", 0o644, 2), ("z", 0o644, 1)]);
        let delta = edited.delta(&base);
        assert_eq!((delta.send, delta.remove, delta.other_paths), (BTreeSet::from([1, 2]), vec![], false));
        let moved = manifest(&[("a", 0o644, 1), ("b/c", 0o644, 1), ("d/e", 0o644, 1)]);
        let delta = moved.delta(&base);
        assert_eq!(delta.send, BTreeSet::from([1]));
        assert_eq!(delta.remove, [PathBuf::from("b"), "z".into()]);
        assert!(delta.other_paths);
        assert_eq!(base.delta(&Manifest::default()).send.len(), 4);
    }

    #[test]
    fn directories_come_before_what_is_in_them_and_paths_are_bytes() {
        let mut manifest = manifest(&[("a", 0o644, 1), ("d/e/f", 0o644, 1), ("d/g", 0o644, 1)]);
        let directories: Vec<_> = manifest.directories().into_iter().collect();
        assert_eq!(directories, [Path::new("d"), Path::new("d/e")]);
        manifest.items[0].path = PathBuf::from(std::ffi::OsStr::from_bytes(b"\xff\n"));
        let bytes = postcard::to_stdvec(&manifest).unwrap();
        assert_eq!(postcard::from_bytes::<Manifest>(&bytes).unwrap(), manifest);
    }
}
