//! The bundle: what goes over, as a tar archive. The same tree gives the same bytes.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use super::index::{open, unchanged, unreadable};
use super::tree::{Entry, Kind, Tree, sync_error};
use crate::error::{Error, Result};

/// What goes over in one bundle.
#[derive(Debug, Default)]
pub(crate) struct Bundle {
    /// Lists for the script that applies it: a name in the archive and its content.
    pub(super) lists: Vec<(&'static str, Vec<u8>)>,
    /// The files, by their place in the tree. They get `files/` before their path.
    pub(super) files: Vec<usize>,
    /// Whether it is compressed.
    pub(super) compressed: bool,
    /// How large it is before it is compressed, in bytes.
    pub(crate) size: u64,
    /// How many bytes the files have.
    pub(crate) content: u64,
}

impl Bundle {
    /// A bundle of files of a tree; compressed if that is wanted and worth it.
    pub(super) fn of(
        tree: &Tree,
        lists: Vec<(&'static str, Vec<u8>)>,
        files: impl Iterator<Item = usize>,
        compressed: bool,
    ) -> Self {
        let mut bundle = Self { lists, files: files.collect(), ..Self::default() };
        bundle.size = bundle.measure(tree);
        bundle.content = bundle.files.iter().map(|n| tree.files[*n].size).sum();
        bundle.compressed = compressed && bundle.size > SMALL;
        bundle
    }

    /// How many files there are in it.
    pub(crate) fn count(&self) -> usize {
        self.files.len()
    }

    /// Whether it is compressed.
    pub(crate) fn is_compressed(&self) -> bool {
        self.compressed
    }

    fn measure(&self, tree: &Tree) -> u64 {
        let long = |name: u64| if name > 100 { BLOCK + blocks(name + 1) } else { 0 };
        let lists = self.lists.iter().map(|(_, list)| BLOCK + blocks(list.len() as u64));
        let files = self.files.iter().map(|n| {
            let entry = &tree.files[*n];
            let name = (FILES.len() + 1 + entry.path.as_os_str().len()) as u64;
            let content = match entry.kind {
                Kind::File { .. } => blocks(entry.size),
                Kind::Link => long(entry.size),
            };
            BLOCK + long(name) + content
        });
        // `complete`, and the two blocks that end an archive.
        lists.chain(files).sum::<u64>() + 3 * BLOCK
    }

    /// Writes the bundle: the lists, the files, and `complete`, which proves that nothing is missing.
    ///
    /// `wrote` hears how many bytes of the files are done.
    pub(crate) fn write(&self, tree: &Tree, out: &mut dyn Write, wrote: &mut dyn FnMut(u64)) -> Result<()> {
        if !self.compressed {
            return self.pack(tree, out, wrote);
        }
        // No name and no time in the header: the same tree gives the same bytes.
        let mut out = GzBuilder::new().write(out, Compression::fast());
        self.pack(tree, &mut out, wrote)?;
        out.finish().map(drop).map_err(unwritable)
    }

    fn pack(&self, tree: &Tree, out: &mut dyn Write, wrote: &mut dyn FnMut(u64)) -> Result<()> {
        let mut archive = Builder::new(out);
        for (name, list) in &self.lists {
            let mut header = plain_header(EntryType::Regular, 0o600, list.len() as u64);
            archive.append_data(&mut header, name, &list[..]).map_err(unwritable)?;
        }
        let mut done = 0;
        for entry in self.files.iter().map(|n| &tree.files[*n]) {
            append(&mut archive, &tree.root, entry, Path::new(FILES))?;
            done += entry.size;
            wrote(done);
        }
        let mut header = plain_header(EntryType::Regular, 0o600, 0);
        archive.append_data(&mut header, "complete", io::empty()).map_err(unwritable)?;
        archive.into_inner().and_then(|out| out.flush()).map_err(unwritable)
    }
}

/// Packs the tree as it is, for a provider that unpacks it by itself.
pub(crate) fn pack_workspace(tree: &Tree, out: &mut dyn Write) -> Result<()> {
    let mut archive = Builder::new(out);
    for entry in &tree.files {
        append(&mut archive, &tree.root, entry, Path::new(""))?;
    }
    archive.finish().map_err(unwritable)
}

const FILES: &str = "files";
const BLOCK: u64 = 512;

/// What is not worth a compressor, which is a process more on the lease: in bytes.
const SMALL: u64 = 16 * 1024;

fn blocks(size: u64) -> u64 {
    size.div_ceil(BLOCK) * BLOCK
}

/// Adds one file, as it was when the tree was read.
fn append(archive: &mut Builder<&mut dyn Write>, root: &Path, entry: &Entry, under: &Path) -> Result<()> {
    let (path, name) = (root.join(&entry.path), under.join(&entry.path));
    let seconds = u64::try_from(entry.stamp.mtime.div_euclid(1_000_000_000)).unwrap_or(0);
    match entry.kind {
        Kind::Link => {
            let target = fs::read_link(&path).map_err(|error| unreadable(entry, error))?;
            let mut header = plain_header(EntryType::Symlink, 0o777, 0);
            header.set_mtime(seconds);
            append_link(archive, header, &name, target.as_os_str().as_bytes()).map_err(unwritable)
        }
        Kind::File { mode } => {
            let file = open(root, entry).map_err(|error| unreadable(entry, error))?;
            let mut header = plain_header(EntryType::Regular, mode, entry.size);
            header.set_mtime(seconds);
            let mut content = Exact::new(&file, entry.size);
            let written = archive.append_data(&mut header, name, &mut content);
            match (written, content.failure) {
                (_, Some(failure)) => Err(unreadable(entry, failure)),
                (Err(error), None) => Err(unwritable(error)),
                (Ok(()), None) => {
                    let metadata = file.metadata();
                    metadata
                        .and_then(|metadata| unchanged(entry, &metadata))
                        .map_err(|error| unreadable(entry, error))
                }
            }
        }
    }
}

/// Adds a link by the bytes of its target. `Builder::append_link` makes a path of them, which loses the dots and
/// slashes in `a/./b` and `a//b`.
pub(crate) fn append_link(
    archive: &mut Builder<&mut dyn Write>,
    mut header: Header,
    name: &Path,
    target: &[u8],
) -> io::Result<()> {
    if header.set_link_name_literal(target).is_err() {
        let content = [target, b"\0"].concat();
        let mut long = plain_header(EntryType::GNULongLink, 0o644, content.len() as u64);
        long.set_path("././@LongLink")?;
        long.set_cksum();
        archive.append(&long, &content[..])?;
        header.set_link_name_literal(&target[..100])?;
    }
    archive.append_data(&mut header, name, io::empty())
}

/// A header that says nothing about this machine: no owner, no group, no time.
pub(crate) fn plain_header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// Reads as many bytes as were promised, no more, and fails when there are fewer. Keeps its failures apart
/// from those of the writer.
pub(crate) struct Exact<'a> {
    file: &'a fs::File,
    left: u64,
    /// Why the file could not be read.
    pub(crate) failure: Option<io::Error>,
}

impl<'a> Exact<'a> {
    /// So many bytes of a file.
    pub(crate) fn new(file: &'a fs::File, left: u64) -> Self {
        Self { file, left, failure: None }
    }
}

impl Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = match self.file.read(&mut buffer[..most]) {
            Ok(0) if self.left > 0 && !buffer.is_empty() => {
                Err(io::Error::other("it became shorter while it was read"))
            }
            read => read,
        };
        match count {
            Ok(count) => {
                self.left -= count as u64;
                Ok(count)
            }
            Err(error) => {
                self.failure = Some(error);
                Err(io::Error::other("the file cannot be read"))
            }
        }
    }
}

/// The bundle has no place here.
pub(crate) fn unwritable(error: io::Error) -> Error {
    sync_error("cannot write the bundle")
        .cause(error)
        .hint("it goes to crabbox's state directory: make room there, or set XDG_STATE_HOME to another place")
}
