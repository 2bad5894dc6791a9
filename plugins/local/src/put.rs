//! `put`: a file of the host's, copied to the lease.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use crabbox_provider_kit::protocol::PutParams;
use crabbox_provider_kit::{Doing as _, Error, Result};
use sha2::{Digest as _, Sha256};

/// Places the file: beside its place first, then by rename, so that nobody sees half of it.
pub(crate) fn put(directory: &Path, params: &PutParams) -> Result<()> {
    let to = place(directory, &params.to)?;
    let what = || format!("write `{}`", to.display());
    let parent = to.parent().unwrap_or(directory);
    fs::create_dir_all(parent).doing(|| format!("make `{}`", parent.display()))?;
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let staged = parent.join(format!(".{name}.crabbox-{}", std::process::id()));
    let placed = copy(&staged, params).and_then(|()| fs::rename(&staged, &to).doing(what));
    if placed.is_err() {
        let _ = fs::remove_file(&staged);
    }
    placed
}

/// Where `to` is: absolute, or under the lease's directory and not above it.
fn place(directory: &Path, to: &str) -> Result<PathBuf> {
    let path = Path::new(to);
    let within = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !path.is_absolute() && !within || path.file_name().is_none() {
        return Err(Error::internal(format!("cannot place a file at `{}`", to.escape_debug()))
            .cause("it is neither absolute nor the name of a file under the lease's directory"));
    }
    Ok(directory.join(path))
}

fn copy(staged: &Path, params: &PutParams) -> Result<()> {
    let PutParams { path, size, sha256, mode, .. } = params;
    let mut source = File::open(path).doing(|| format!("open `{path}`"))?;
    let (read, hash) = fill(staged, &mut source).doing(|| format!("copy `{path}`"))?;
    if read != *size || hash != *sha256 {
        return Err(Error::conflict(format!("`{path}` is not the file that the host announced"))
            .cause(format!("it has {read} bytes with SHA-256 {hash}; announced were {size} with {sha256}"))
            .hint("it changed meanwhile: try again"));
    }
    let rights = Permissions::from_mode(mode & 0o777);
    fs::set_permissions(staged, rights).doing(|| format!("set the mode of `{}`", staged.display()))
}

/// Copies `source` to a new file; how many bytes there were, and their hash.
fn fill(staged: &Path, source: &mut File) -> io::Result<(u64, String)> {
    let mut target = File::options().write(true).create(true).truncate(true).mode(0o600).open(staged)?;
    let mut hash = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = source.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        target.write_all(&buffer[..count])?;
        size += count as u64;
    }
    Ok((size, hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_place_stays_under_the_lease() {
        let lease = Path::new("/leases/one");
        assert_eq!(place(lease, "a/./b").unwrap(), Path::new("/leases/one/a/./b"));
        assert_eq!(place(lease, "/tmp/x").unwrap(), Path::new("/tmp/x"));
        for wrong in ["", ".", "..", "../two/x", "a/../../x", "/"] {
            assert!(place(lease, wrong).is_err(), "{wrong}");
        }
    }
}
