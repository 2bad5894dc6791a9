//! An agent that holds keys.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::Identity;
use crate::{ended, wait_for};

/// A `ssh-agent` of a test's own. It ends when it is dropped.
pub struct Agent {
    child: Child,
    directory: TempDir,
}

impl Agent {
    /// An agent without keys.
    ///
    /// # Panics
    ///
    /// When there is no ssh-agent: it comes with ssh.
    pub fn start() -> Self {
        let directory = TempDir::with_prefix("crabbox-agent-").expect("a directory can be made");
        let child = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(directory.path().join("socket"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("ssh-agent can be started");
        let agent = Self { child, directory };
        // Where it listens is there before it does.
        wait_for("the agent", || Self::answers(&agent.socket()));
        agent
    }

    /// Where it listens, for `SSH_AUTH_SOCK`.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// Adds a key, whose passphrase is this one.
    ///
    /// # Panics
    ///
    /// When it is another.
    pub fn add(&self, identity: &Identity, passphrase: &str) {
        let answer = self.directory.path().join("passphrase");
        let ask = self.directory.path().join("ask");
        fs::write(&answer, passphrase).expect("a file can be written");
        fs::write(&ask, format!("#!/bin/sh\ncat {}\n", answer.display())).expect("a file can be written");
        fs::set_permissions(&ask, fs::Permissions::from_mode(0o755)).expect("a mode can be set");
        let mut command = Command::new("ssh-add");
        command.arg(identity.path()).stdin(Stdio::null());
        command.env("SSH_AUTH_SOCK", self.socket()).env("SSH_ASKPASS", ask);
        command.env("SSH_ASKPASS_REQUIRE", "force").env("DISPLAY", "none");
        let (code, _, stderr) = ended(&mut command);
        assert_eq!(code, 0, "{stderr}");
    }

    /// Whether it still answers on this path: `false` once it was dropped.
    pub fn answers(socket: &Path) -> bool {
        std::os::unix::net::UnixStream::connect(socket).is_ok()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have been killed by the test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
