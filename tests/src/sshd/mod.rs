//! A machine that is reached by SSH: OpenSSH's own server on a loopback port, as the user who runs the tests.
//!
//! A thread of the test listens and gives each connection a `sshd -i` of its own, which is what inetd does. So
//! nothing listens any more when the test's process is gone, however it ended, and connections can be counted,
//! held up and cut. Root or not, a session runs as the same user, but in a home directory of its own: a forced
//! command changes to it before it starts the user's shell, so that no file of the real home is read.
//!
//! # What a client needs
//!
//! ssh asks the system for the user's home and ignores `HOME`, so `~/.ssh` of a test's world means nothing to it.
//! [`Client::install`] puts an `ssh` on the world's PATH that reads the world's `~/.ssh/config` and
//! `~/.ssh/known_hosts` instead, and nothing of the real ones. Within that configuration, too, `~` is the real
//! home: write absolute paths. A key is made with [`Identity::new`], and offered by its path or by an [`Agent`].
//!
//! ```no_run
//! use crabbox_tests::World;
//! use crabbox_tests::sshd::{Client, Identity, Options, Sshd};
//!
//! let world = World::new();
//! let key = Identity::new(&world.home().join(".ssh/id_test"));
//! let Some(sshd) = Sshd::with(Options { authorized: vec![key.public()], ..Options::default() }) else {
//!     return; // There is no sshd here; that has been said.
//! };
//! Client::install(&world).host("box", &sshd, &key).knows("box", &sshd);
//! let status = world.command("ssh").args(["box", "exit 7"]).status().unwrap();
//! assert_eq!(status.code(), Some(7));
//! ```

mod agent;
mod client;
mod keys;
mod listener;
mod machine;
mod processes;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

pub use self::agent::Agent;
pub use self::client::Client;
pub use self::keys::Identity;
pub use self::machine::Options;

pub(crate) use self::machine::{Machine, Options as MachineOptions, is_open, user};
pub(crate) use self::processes::{end_all, end_server, marked};

use self::listener::{Listener, Shared};
use crate::{Place, tool};

/// A server. Dropped, it is gone, and with it everything that was started through it.
pub struct Sshd {
    machine: Machine,
    shared: Arc<Shared>,
    listener: Option<Listener>,
    place: Place,
    port: u16,
    // Last: what is in it is in use until then.
    _directory: TempDir,
}

/// What goes wrong with a server's connections. Nothing, at first.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// How long a new connection hears nothing, as of a machine that is slow to come up.
    pub delay: Duration,
    /// This many of the next connections are closed before a word is said.
    pub drops: usize,
}

impl Sshd {
    /// A server that knows no key yet, or `None` where there is no sshd and the test is skipped.
    pub fn start() -> Option<Self> {
        Self::with(Options::default())
    }

    /// A server, or `None` where there is no sshd and the test is skipped.
    ///
    /// # Panics
    ///
    /// When there is one, and it cannot be started.
    pub fn with(options: Options) -> Option<Self> {
        Self::at(&Place::here(), options)
    }

    /// The same, on another machine.
    ///
    /// # Panics
    ///
    /// When there is one, and it cannot be started.
    pub fn at(place: &Place, options: Options) -> Option<Self> {
        tool("sshd")?;
        tool("ssh")?;
        let directory = TempDir::with_prefix("crabbox-sshd-").expect("a directory can be made");
        let path = directory.path().canonicalize().expect("the directory is there");
        let machine = Machine::new(&path, options).expect("a machine can be made");
        let shared = Arc::new(Shared::new(machine.clone()));
        let listener = Listener::new(Arc::clone(&shared), place.clone(), 0).expect("a port can be had");
        let (port, place) = (listener.port(), place.clone());
        Some(Self { machine, shared, listener: Some(listener), place, port, _directory: directory })
    }

    /// The address: 127.0.0.1, unless it is another machine's.
    pub fn address(&self) -> Ipv4Addr {
        self.place.address()
    }

    /// The port. It stays the same over [`stop`](Self::stop) and [`resume`](Self::resume).
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The user that a client may log in as.
    pub fn user(&self) -> String {
        user()
    }

    /// The home directory of sessions.
    pub fn home(&self) -> PathBuf {
        self.machine.home()
    }

    /// Lets the owner of this key in.
    pub fn authorize(&self, public: &str) {
        self.machine.authorize(public).expect("a key can be authorized");
    }

    /// The public host key, as `TYPE BASE64`.
    pub fn host_key(&self) -> String {
        self.machine.host_key()
    }

    /// Gives the machine another host key, as if it were another machine. New connections see it.
    pub fn replace_host_key(&self) {
        self.machine.new_host_key().expect("a host key can be made");
    }

    /// Changes what goes wrong.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        self.shared.faults(change);
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.shared.connections()
    }

    /// How many connections there are.
    pub fn open_connections(&self) -> usize {
        self.shared.open()
    }

    /// The sessions that there have been, over whichever connection: what each was told to run. A shell is the
    /// empty text. A forwarded port is no session.
    pub fn sessions(&self) -> Vec<String> {
        self.machine.sessions()
    }

    /// The live processes of sessions, also of those whose connection has ended.
    pub fn processes(&self) -> Vec<u32> {
        self.machine.processes()
    }

    /// Cuts every connection. What sessions have started goes on.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// Stops to read and to write on every connection, without cutting one. What sessions have started goes on.
    pub fn freeze(&self) {
        self.shared.freeze(true);
    }

    /// Undoes [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        self.shared.freeze(false);
    }

    /// Refuses connections from now on, and cuts those that there are. What sessions have started goes on.
    pub fn stop(&mut self) {
        self.listener = None;
        self.shared.cut();
    }

    /// Listens again, on the same port.
    ///
    /// # Panics
    ///
    /// When the port has been taken in the meantime.
    pub fn resume(&mut self) {
        if self.listener.is_none() {
            let listener = Listener::new(Arc::clone(&self.shared), self.place.clone(), self.port);
            self.listener = Some(listener.expect("the port is still free"));
        }
    }

    /// Ends everything that sessions have started, and every connection, as a machine does that is switched off
    /// and on.
    pub fn reboot(&self) {
        self.shared.cut();
        self.machine.end();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
        self.shared.end();
        self.machine.end();
    }
}
