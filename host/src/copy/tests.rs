//! Both ways, with the shells and the tools that leases have, and archives that no tar of a lease makes.

mod hostile;
mod toolboxes;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crabbox_protocol::RunId;

use super::*;
use crate::error::Result;

/// What is at a path and below it: permissions, and content or where a link leads; when files were changed.
fn tree(path: &Path) -> BTreeMap<PathBuf, (Vec<u8>, i64)> {
    let (mut tree, mut waiting) = (BTreeMap::new(), vec![path.to_owned()]);
    while let Some(next) = waiting.pop() {
        let Ok(metadata) = fs::symlink_metadata(&next) else { continue };
        let mode = format!("{:o} ", metadata.mode() & 0o7777).into_bytes();
        let is = if metadata.is_symlink() {
            [b"-> ", fs::read_link(&next).unwrap().as_os_str().as_bytes()].concat()
        } else if metadata.is_dir() {
            waiting.extend(fs::read_dir(&next).unwrap().map(|entry| entry.unwrap().path()));
            [mode, b"directory".to_vec()].concat()
        } else {
            [mode, fs::read(&next).unwrap()].concat()
        };
        tree.insert(next.strip_prefix(path).unwrap().to_owned(), (is, metadata.mtime()));
    }
    tree
}

/// The same without times.
fn shape(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    tree(path).into_iter().map(|(path, (is, _))| (path, is)).collect()
}

/// A path on the lease.
fn remote(path: &str) -> Remote {
    match Copy::parse(&["x".into()], format!("demo:{path}").as_ref()).unwrap().1 {
        Copy::Up { to, .. } => to,
        other => unreachable!("{other:?}"),
    }
}

fn run_id() -> RunId {
    crate::lease::new_run_id().unwrap()
}

/// Unpacks an archive to a destination, as a download does.
fn land(archive: &[u8], to: &Path, name: Option<&str>, called: Option<&str>) -> Result<Unpacked> {
    let stage = Stage::make(Landing::of(to, false)?, &run_id())?;
    let part = OsString::from("0");
    let unpacked = unpack(archive, &stage, &part, name.map(AsRef::as_ref), &mut |_| ())?;
    let parts = [(part, called.map(OsString::from), unpacked)];
    stage.check(&parts)?;
    stage.commit(&parts)?;
    let [(_, _, unpacked)] = parts;
    Ok(unpacked)
}
