//! Keys: of users and of machines.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What kind a key is of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Ed25519,
    Rsa,
}

/// A key pair that a client logs in with.
#[derive(Debug, Clone)]
pub struct Identity {
    path: PathBuf,
}

impl Identity {
    /// Makes a key without a passphrase, at this path.
    ///
    /// # Panics
    ///
    /// When ssh-keygen cannot.
    pub fn new(path: &Path) -> Self {
        Self::with_passphrase(path, "")
    }

    /// Makes a key with a passphrase, at this path.
    ///
    /// # Panics
    ///
    /// When ssh-keygen cannot.
    pub fn with_passphrase(path: &Path, passphrase: &str) -> Self {
        let parent = path.parent().expect("a key is in a directory");
        fs::create_dir_all(parent).expect("a directory can be made");
        generate(path, Kind::Ed25519, passphrase).expect("ssh-keygen makes a key");
        Self { path: path.to_owned() }
    }

    /// The path of the private key.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The public key, as `TYPE BASE64`.
    pub fn public(&self) -> String {
        public(&self.path)
    }
}

/// Makes a key pair, in place of one that may be there.
pub(super) fn generate(path: &Path, kind: Kind, passphrase: &str) -> io::Result<()> {
    let public = path.with_extension("pub");
    for old in [path, &public] {
        match fs::remove_file(old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let kind: &[&str] = match kind {
        Kind::Ed25519 => &["-t", "ed25519"],
        Kind::Rsa => &["-t", "rsa", "-b", "2048"],
    };
    let status = Command::new("ssh-keygen")
        .args(kind)
        .args(["-q", "-C", "", "-N", passphrase, "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("ssh-keygen: {status}"))) }
}

/// The public half, without its comment.
pub(super) fn public(path: &Path) -> String {
    let text = fs::read_to_string(path.with_extension("pub")).expect("the key has been made");
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}
