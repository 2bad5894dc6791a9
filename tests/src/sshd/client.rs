//! What makes ssh read a world's files, and nothing of the real home.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Identity, Sshd, user};
use crate::{World, quoted, tool};

/// The ssh of a world.
///
/// It stands first on the world's PATH and starts the real one with a configuration that first includes the
/// world's `~/.ssh/config`. Options on its command line prevail over that, as they do for anybody.
#[derive(Debug)]
pub struct Client {
    directory: PathBuf,
}

impl Client {
    /// Puts `ssh` on a world's PATH. Without further words no key is offered but what an agent holds.
    ///
    /// # Panics
    ///
    /// When there is no ssh, or when the world has one already.
    pub fn install(world: &World) -> Self {
        Self::install_with(world, None)
    }

    /// The same, for agents that let anybody in by whatever name. Where they do not, every connection is that of the
    /// user who runs the tests, and a key is offered as one of `~/.ssh` is that has a usual name.
    pub(crate) fn install_with(world: &World, stand_in: Option<&Identity>) -> Self {
        let directory = world.home().join(".ssh");
        fs::create_dir_all(&directory).expect("a directory can be made");
        let text = |path: &Path| path.display().to_string();
        let usual = stand_in.map_or_else(|| "none".to_owned(), |key| text(key.path()));
        let login = stand_in.map_or_else(String::new, |_| format!(" -l {}", user()));
        let config = world.root().join("ssh_config");
        let (own, known) = (text(&directory.join("config")), text(&directory.join("known_hosts")));
        let lines = format!(
            "Include {own}\nHost *\nUserKnownHostsFile {known}\nGlobalKnownHostsFile none\nIdentityFile {usual}\n"
        );
        fs::write(&config, lines).expect("a file can be written");
        let real = tool("ssh").expect("there is an ssh");
        let [real, config] = [real, config].map(|path| quoted(&text(&path)));
        world.script("ssh", &format!("#!/bin/sh\nexec {real} -F {config}{login} \"$@\"\n"));
        Self { directory }
    }

    /// Adds lines to the world's `~/.ssh/config`. In them, `~` is the real home.
    pub fn configure(&self, lines: &str) -> &Self {
        self.append("config", lines)
    }

    /// Adds a host to the world's `~/.ssh/config`, with its address, its user and a key for it.
    pub fn host(&self, name: &str, sshd: &Sshd, key: &Identity) -> &Self {
        self.configure(&format!(
            "Host {name}\n  HostName {}\n  Port {}\n  User {}\n  IdentityFile {}\n  HostKeyAlias {name}\n",
            sshd.address(),
            sshd.port(),
            sshd.user(),
            key.path().display()
        ))
    }

    /// Adds the machine's host key to the world's `~/.ssh/known_hosts`, under this name. A machine that is reached
    /// by its address is called `[127.0.0.1]:PORT` there.
    pub fn knows(&self, name: &str, sshd: &Sshd) -> &Self {
        self.append("known_hosts", &format!("{name} {}\n", sshd.host_key()))
    }

    /// The world's `~/.ssh`.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn append(&self, name: &str, lines: &str) -> &Self {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.join(name))
            .expect("a file can be opened");
        file.write_all(lines.as_bytes()).expect("a file can be written");
        self
    }
}
