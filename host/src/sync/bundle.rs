//! The bundle: the tree as a tar archive, behind the script that applies it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tar::{Builder, EntryType, Header};

use super::tree::{Entry, Kind, Tree, sync_error};
use crate::error::{Error, Result};
use crate::remote::Script;

const APPLY: &str = include_str!("apply.sh");

/// What applying a bundle does to what is on the lease and not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Apply {
    /// What was managed goes, everything else stays.
    Update,
    /// Everything stays.
    Add,
    /// Everything goes, also what was never managed.
    Replace,
}

/// The script that applies the bundle which follows it on standard input.
pub(crate) fn apply_script(root: Option<&str>, how: Apply) -> Vec<u8> {
    let mut script = Script::new(root);
    script.line(match how {
        Apply::Update => "cbx_how=update",
        Apply::Add => "cbx_how=add",
        Apply::Replace => "cbx_how=replace",
    });
    script.source(APPLY);
    script.finish()
}

/// Writes the bundle: `managed`, the paths with a NUL after each, the files under `files/`, and `complete`,
/// which proves that nothing is missing.
pub(crate) fn write_bundle(tree: &Tree, out: &mut dyn Write) -> Result<()> {
    let mut archive = Builder::new(out);
    let managed: Vec<u8> = tree
        .files
        .iter()
        .flat_map(|entry| [entry.path.as_os_str().as_bytes(), b"\0"])
        .flatten()
        .copied()
        .collect();
    let mut header = plain_header(EntryType::Regular, 0o600, managed.len() as u64);
    let added = archive.append_data(&mut header, "managed", &managed[..]);
    added.map_err(|error| sync_error("cannot write the bundle").cause(error))?;
    append_files(&mut archive, tree, Path::new("files"))?;
    let mut header = plain_header(EntryType::Regular, 0o600, 0);
    let added = archive.append_data(&mut header, "complete", io::empty());
    added.map_err(|error| sync_error("cannot write the bundle").cause(error))?;
    archive.finish().map_err(|error| sync_error("cannot write the bundle").cause(error))
}

/// Packs the tree as it is, for a provider that unpacks it by itself.
pub(crate) fn pack_workspace(tree: &Tree, out: &mut dyn Write) -> Result<()> {
    let mut archive = Builder::new(out);
    append_files(&mut archive, tree, Path::new(""))?;
    archive.finish().map_err(|error| sync_error("cannot write the bundle").cause(error))
}

fn append_files(archive: &mut Builder<&mut dyn Write>, tree: &Tree, under: &Path) -> Result<()> {
    for entry in &tree.files {
        append(archive, &tree.root, entry, under).map_err(|error| unreadable(entry, error))?;
    }
    Ok(())
}

/// Adds one file with the size that it had when the tree was read.
fn append(archive: &mut Builder<&mut dyn Write>, root: &Path, entry: &Entry, under: &Path) -> io::Result<()> {
    let (path, name) = (root.join(&entry.path), under.join(&entry.path));
    match entry.kind {
        Kind::Link => {
            let mut header = plain_header(EntryType::Symlink, 0o777, 0);
            header.set_mtime(mtime(&fs::symlink_metadata(&path)?));
            archive.append_link(&mut header, name, fs::read_link(&path)?)
        }
        Kind::File { mode } => {
            let file = File::open(&path)?;
            let metadata = file.metadata()?;
            if !metadata.is_file() || metadata.len() != entry.size {
                return Err(io::Error::other("it changed while it was read"));
            }
            let mut header = plain_header(EntryType::Regular, mode, entry.size);
            header.set_mtime(mtime(&metadata));
            let mut content = Exact { file, left: entry.size };
            archive.append_data(&mut header, name, &mut content)
        }
    }
}

fn mtime(metadata: &fs::Metadata) -> u64 {
    u64::try_from(metadata.mtime()).unwrap_or(0)
}

/// A header that says nothing about this machine: no owner, no group, no time.
fn plain_header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// Reads as many bytes as were promised, no more, and fails when there are fewer.
struct Exact {
    file: File,
    left: u64,
}

impl io::Read for Exact {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read(&mut buffer[..most])?;
        if count == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::other("it became shorter while it was read"));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

fn unreadable(entry: &Entry, error: io::Error) -> Error {
    let path = OsStr::new(&entry.path).to_string_lossy().escape_debug().to_string();
    sync_error(format!("cannot bundle `{path}`"))
        .cause(error)
        .hint("nothing was sent; make the file readable, or have git ignore it")
}

#[cfg(test)]
mod tests;
