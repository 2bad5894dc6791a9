//! Freestyle's HTTP API as the rest of the provider uses it, and the one place for the key.
//!
//! There are two versions, which know nothing of each other's machines. What differs between them is in [`v5`] and
//! [`v1`], one file for each of machines, commands, files and published names; what they share is here.

mod background;
mod client;
mod commands;
mod pages;
mod refused;
mod types;
mod v1;
mod v5;

use crabbox_provider_kit::Result;
use crabbox_provider_kit::http::Bytes;

pub(crate) use commands::{as_root, succeeded};
pub(crate) use types::{
    Command, Executed, Found, Inventory, Machine, Names, Order, Part, Published, Size, Standing,
};

use crate::config::Version;
use crate::machine::Identity;
use crate::settings::Settings;
use crate::source::Source;

/// One of the versions.
#[derive(Debug)]
pub(crate) enum Api {
    /// The current one.
    V5(v5::V5),
    /// The one before: until the middle of 2026.
    V1(v1::V1),
}

/// Asks whichever version it is.
macro_rules! either {
    ($api:expr, $version:ident => $call:expr) => {
        match $api {
            Api::V5($version) => $call.await,
            Api::V1($version) => $call.await,
        }
    };
}

/// Machines. An error of each is what was refused, or what happened on the way.
impl Api {
    /// Connects to nothing yet.
    pub(crate) fn new(settings: &Settings) -> Self {
        match settings.version {
            Version::V5 => Self::V5(v5::V5::new(settings)),
            Version::V1 => Self::V1(v1::V1::new(settings)),
        }
    }

    /// Looks for a lease's machine, and verifies that it is the lease's: `conflict` if it is not.
    pub(crate) async fn find(&self, identity: &Identity) -> Result<Found> {
        either!(self, api => api.find(identity))
    }

    /// Everything in this account that crabbox has made.
    pub(crate) async fn list(&self) -> Result<Inventory> {
        either!(self, api => api.list())
    }

    /// Makes a machine that bears a lease's name. An error that says `created: false` is certain of it.
    pub(crate) async fn create(&self, identity: &Identity, order: &Order<'_>) -> Result<Machine> {
        either!(self, api => api.create(identity, order))
    }

    /// Starts a machine that sleeps.
    pub(crate) async fn start(&self, vm: &str) -> Result<()> {
        either!(self, api => api.start(vm))
    }

    /// Puts a machine to sleep, with its memory. `unsupported` where that would delete it.
    pub(crate) async fn suspend(&self, vm: &str) -> Result<()> {
        either!(self, api => api.suspend(vm))
    }

    /// Enlarges a machine to what was configured, where it was made smaller.
    pub(crate) async fn enlarge(&self, machine: Machine) -> Result<Machine> {
        either!(self, api => api.enlarge(machine))
    }

    /// Deletes a machine; one that is not there is no error.
    pub(crate) async fn delete(&self, vm: &str) -> Result<()> {
        either!(self, api => api.delete(vm))
    }
}

/// What is done on a machine.
impl Api {
    /// The most standard input that goes along with a command, in bytes. What is larger goes as a file.
    pub(crate) fn longest_stdin(&self) -> u64 {
        match self {
            Self::V5(_) => v5::STDIN,
            Self::V1(_) => 0,
        }
    }

    /// Executes a command and waits for its end.
    pub(crate) async fn execute(&self, vm: &str, command: &Command<'_>) -> Result<Executed> {
        either!(self, api => api.execute(vm, command))
    }

    /// Reads what a file has from `offset` on. Where there is nothing yet it may take some seconds to say so, unless
    /// this is the `last` time.
    pub(crate) async fn read(&self, vm: &str, path: &str, offset: u64, last: bool) -> Result<Part> {
        match self {
            Self::V5(api) => api.read(vm, path, offset).await,
            Self::V1(api) => api.read(vm, path, offset, last).await,
        }
    }

    /// The version of the API, if it is one that writes a file as it is to be: with its mode, and verified.
    pub(crate) fn writes_all_of_it(&self) -> Option<&v5::V5> {
        match self {
            Self::V5(api) => Some(api),
            Self::V1(_) => None,
        }
    }

    /// Writes a file as pieces, each at its [`piece_path`](crate::source::piece_path), which are root's and still to
    /// be put together and verified.
    pub(crate) async fn write_pieces(&self, vm: &str, source: &mut Source, base: &str) -> Result<()> {
        either!(self, api => api.write_pieces(vm, source, base))
    }

    /// Writes a piece of a file by a command.
    pub(crate) async fn write_by_command(&self, vm: &str, piece: Bytes, to: &str) -> Result<()> {
        either!(self, api => api.write_by_command(vm, piece, to))
    }

    /// How large a piece of [`write_by_command`](Self::write_by_command) may be, in bytes.
    pub(crate) fn longest_by_command(&self) -> u64 {
        match self {
            Self::V5(_) => v5::STDIN,
            Self::V1(_) => v1::BY_COMMAND,
        }
    }

    /// Takes a tree away that a command left on a machine. Nobody waits for it: that it stays is not worth a word.
    pub(crate) async fn remove(&self, vm: &str, path: &str) -> Result<()> {
        either!(self, api => api.remove(vm, path))
    }
}

/// What is published of a machine.
impl Api {
    /// Every name that leads to a port of a machine.
    pub(crate) async fn published(&self, vm: &str) -> Result<Vec<Published>> {
        either!(self, api => api.published(vm))
    }

    /// Lets a name lead to a port of a machine.
    pub(crate) async fn publish(&self, vm: &str, port: u16, domain: &str) -> Result<Published> {
        either!(self, api => api.publish(vm, port, domain))
    }

    /// Takes a name back, by what identifies it; one that is not there is no error.
    pub(crate) async fn unpublish(&self, id: &str) -> Result<()> {
        either!(self, api => api.unpublish(id))
    }
}
