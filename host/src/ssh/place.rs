//! Where the connection to a lease is kept: a directory for this user alone. Its name is short, because the path of
//! a socket has 104 bytes on some systems, and ssh needs 17 of them for itself.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use crabbox_protocol::LeaseId;
use crabbox_protocol::records::Claim;
use tokio::process::Command;
use tokio::time::timeout;

use super::target::hex;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::lease::LeaseLock;

/// The longest path of a directory of ours: the socket's own name and what ssh adds have to fit behind it.
const LONGEST: usize = 104 - 1 - "/s".len() - 17;

/// Which way the connection goes.
const WAY: &str = "way";

/// There while the machine is known to be ready; its time is when the connection was last used.
const READY: &str = "ready";

/// How an identifier begins, and how the name of the directory that belongs to its ports does.
const LEASE: &str = "cbx_";
const PORTS: &str = "fwd_";

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

    /// The directory of the connection that carries a lease's ports: beside the lease's own, as long a name.
    pub(super) fn of_ports(host: &Host, id: &LeaseId) -> Self {
        let name = id.as_str().replacen(LEASE, PORTS, 1);
        Self { directory: base(host).join(format!("{}{name}", prefix(host))) }
    }

    /// Removes the directory, whoever was in it.
    pub(super) fn remove(&self) {
        if self.is_ours() {
            let _ = fs::remove_dir_all(&self.directory);
        }
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

    /// Whether the directory, and the one above it, are this user's alone. What lies in another is nothing of ours.
    pub(super) fn is_ours(&self) -> bool {
        self.directory.parent().is_some_and(is_private) && is_private(&self.directory)
    }

    /// Whether the connection goes this way.
    pub(super) fn leads(&self, way: &str) -> bool {
        fs::read_to_string(self.directory.join(WAY)).is_ok_and(|noted| noted == way)
    }

    /// Notes which way the connection goes. Whether the machine is ready is to be found out again.
    pub(super) fn note(&self, way: &str) -> Result<()> {
        _ = fs::remove_file(self.directory.join(READY));
        self.write(WAY, way)
    }

    /// Whether the machine was ready.
    pub(super) fn is_ready(&self) -> bool {
        self.directory.join(READY).exists()
    }

    /// Notes that the machine is ready, and that the connection was used now.
    pub(super) fn note_ready(&self) -> Result<()> {
        self.write(READY, "")
    }

    /// How long ago the connection was used.
    pub(super) fn used(&self) -> Option<Duration> {
        fs::metadata(self.directory.join(READY)).and_then(|ready| ready.modified()).ok()?.elapsed().ok()
    }

    /// Notes that it was used now. If it cannot be noted, it is asked once more.
    pub(super) fn touch(&self) {
        let file = fs::OpenOptions::new().append(true).open(self.directory.join(READY));
        _ = file.and_then(|file| file.set_modified(SystemTime::now()));
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.directory.join(name);
        fs::write(&path, text)
            .map_err(|error| Error::failure(format!("cannot write `{}`", path.display())).cause(error))
    }

    /// Whether somebody listens.
    pub(super) fn answers(&self) -> bool {
        UnixStream::connect(self.socket()).is_ok()
    }

    /// Closes the connection, if there is one, and with it whatever goes over it. Nothing is left of it here.
    pub(crate) async fn close(&self) {
        if self.is_ours() {
            self.order("exit").await;
            let _ = fs::remove_dir_all(&self.directory);
        }
    }

    /// Has the connection end with what goes over it. From here on there is none.
    pub(super) async fn retire(&self) {
        self.order("stop").await;
        let _ = fs::remove_file(self.socket());
        let _ = fs::remove_file(self.directory.join(READY));
    }

    /// Tells the master something, if there is one. One that does not listen ends when it was idle for as long as it was
    /// told at its start.
    async fn order(&self, order: &str) {
        if !self.answers() {
            return;
        }
        let told = Command::new("ssh")
            .args(["-F", "none", "-S"])
            .arg(self.socket())
            .args(["-O", order, "--", "lease"])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .status();
        let _ = timeout(CLOSING, told).await;
    }
}

/// Closes the connections to leases that have no claim any more.
pub(crate) async fn close_lost(host: &Host, claims: &[Claim]) {
    let (base, prefix) = (base(host), prefix(host));
    for entry in fs::read_dir(&base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|name| name.strip_prefix(&prefix)) else { continue };
        let id = name.replacen(PORTS, LEASE, 1).parse().ok();
        let Some(id) = id.filter(|id| claims.iter().all(|claim| claim.lease.id != *id)) else { continue };
        // It may be of a lease that was made since.
        let Ok(Some(lock)) = LeaseLock::try_exclusive(&host.paths, &id) else { continue };
        if matches!(host.claims().load(&id), Ok(None)) {
            Place { directory: entry.path() }.close().await;
            lock.remove();
        }
    }
}

/// Where the directories are: in the user's runtime directory, else in `/tmp`.
fn base(host: &Host) -> PathBuf {
    let runtime = host.env.get("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| is_usable(path));
    let ours = runtime.map(|runtime| runtime.join("crabbox")).filter(|base| fits(base));
    ours.unwrap_or_else(|| PathBuf::from(format!("/tmp/crabbox-{}", rustix::process::geteuid().as_raw())))
}

/// Whether a directory is ours, and can be written to.
fn is_usable(directory: &Path) -> bool {
    use rustix::fs::{Access, access};
    let owner = fs::metadata(directory).map(|found| found.uid());
    directory.is_absolute()
        && owner.is_ok_and(|uid| uid == rustix::process::geteuid().as_raw())
        && access(directory, Access::WRITE_OK | Access::EXEC_OK).is_ok()
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
    match is_private(directory) {
        true => Ok(()),
        false => Err(Error::failure(format!("`{shown}` is not a directory of yours alone"))
            .cause("connections to leases are kept there")
            .hint("remove it, or set XDG_RUNTIME_DIR to a directory of your own")),
    }
}

/// Whether this is a directory that nobody else can look into.
fn is_private(directory: &Path) -> bool {
    fs::symlink_metadata(directory).is_ok_and(|found| {
        found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0
    })
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
