//! Where the connection to a lease is kept: a directory for this user alone. Its name is short, because the path of
//! a socket has 104 bytes on some systems, and ssh needs 17 of them for itself.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crabbox_protocol::LeaseId;
use crabbox_protocol::records::Claim;
use tokio::process::Command;
use tokio::time::timeout;

use super::target::hex;
use crate::error::{Error, Result};
use crate::host::Host;

/// The longest path of a directory of ours: the socket's own name and what ssh adds have to fit behind it.
const LONGEST: usize = 104 - 1 - "/s".len() - 17;

/// How long closing a connection may take.
const CLOSING: Duration = Duration::from_secs(5);

/// The directory of a lease's connection.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    directory: PathBuf,
}

impl Place {
    /// The directory of a lease. Creates nothing.
    pub(crate) fn of(host: &Host, id: &LeaseId) -> Self {
        Self { directory: base(host).join(format!("{}{}", prefix(host), id.as_str())) }
    }

    /// Makes the directory, and makes sure that nobody else has anything to say in it.
    pub(super) fn make(&self) -> Result<()> {
        self.directory.parent().map_or(Ok(()), private)?;
        private(&self.directory)
    }

    /// The master's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("s")
    }

    /// What ssh and its proxy say.
    pub(super) fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Held while a connection is opened.
    pub(super) fn lock(&self) -> PathBuf {
        self.directory.join("lock")
    }

    /// Which way the connection goes.
    pub(super) fn way(&self) -> PathBuf {
        self.directory.join("way")
    }

    /// Whether somebody listens.
    pub(super) fn answers(&self) -> bool {
        UnixStream::connect(self.socket()).is_ok()
    }

    /// Closes the connection, if there is one. Nothing is left of it here.
    pub(crate) async fn close(&self) {
        self.hang_up().await;
        let _ = fs::remove_dir_all(&self.directory);
    }

    /// Has the master end. One that does not is told by the loss of its socket.
    pub(super) async fn hang_up(&self) {
        if self.answers() {
            let ended = Command::new("ssh")
                .args(["-F", "none", "-S"])
                .arg(self.socket())
                .args(["-O", "exit", "--", "lease"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .status();
            let _ = timeout(CLOSING, ended).await;
        }
        let _ = fs::remove_file(self.socket());
    }
}

/// Closes the connections to leases that have no claim any more.
pub(crate) async fn close_lost(host: &Host, claims: &[Claim]) {
    let (base, prefix) = (base(host), prefix(host));
    for entry in fs::read_dir(&base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        if id.is_some_and(|id| claims.iter().all(|claim| claim.lease.id.as_str() != id)) {
            Place { directory: entry.path() }.close().await;
        }
    }
}

/// Where the directories are: in the user's runtime directory, else in `/tmp`.
fn base(host: &Host) -> PathBuf {
    let runtime =
        host.env.get("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute() && path.is_dir());
    let ours = runtime.map(|runtime| runtime.join("crabbox")).filter(|base| fits(base));
    ours.unwrap_or_else(|| PathBuf::from(format!("/tmp/crabbox-{}", rustix::process::geteuid().as_raw())))
}

/// Whether ssh takes a path below it for what it is, and there is room for a socket.
fn fits(base: &Path) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    let text = base.as_os_str().as_encoded_bytes();
    text.len() + "/00000000-cbx_000000000000".len() <= LONGEST && text.iter().all(|byte| plain(*byte))
}

/// Tells apart the leases of two state directories.
fn prefix(host: &Host) -> String {
    format!("{}-", hex(host.paths.state.as_os_str().as_encoded_bytes(), 8))
}

/// Makes a directory for this user alone; one that is there has to be that.
fn private(directory: &Path) -> Result<()> {
    let shown = directory.display();
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::failure(format!("cannot make the directory `{shown}`")).cause(error)),
    }
    let found = fs::symlink_metadata(directory)
        .map_err(|error| Error::failure(format!("cannot look at `{shown}`")).cause(error))?;
    match found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0 {
        true => Ok(()),
        false => Err(Error::failure(format!("`{shown}` is not a directory of yours alone"))
            .cause("connections to leases are kept there")
            .hint("remove it, or set XDG_RUNTIME_DIR to a directory of your own")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_that_others_can_enter_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("ours");
        private(&path).unwrap();
        private(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(private(&path).is_err());
        let link = base.path().join("link");
        std::os::unix::fs::symlink(base.path(), &link).unwrap();
        assert!(private(&link).is_err());
    }

    #[test]
    fn a_socket_has_room() {
        assert!(fits(Path::new("/run/user/1000/crabbox")));
        assert!(!fits(Path::new("/a b")) && !fits(Path::new("/run/%h")));
        assert!(!fits(Path::new(&format!("/{}", "x".repeat(60)))));
    }
}
