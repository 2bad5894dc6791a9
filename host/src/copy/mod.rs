//! Copying files to a lease and back, whatever the provider: an archive on the standard input of a script, or on
//! its standard output.
//!
//! `words` says what the user's words mean. To the lease, `pack` makes the archive and `receive.sh` places what is in
//! it; `sweep.sh` removes what a killed copy has staged there. From the lease, `send.sh` makes the archive, `archive`
//! reads it, `unpack` writes what is in it beside the destination, and `place` puts that there. A lease may send
//! anything: what reads it believes nothing. What is promised: `docs/cli.md`, "crabbox cp", and `docs/security.md`.

mod archive;
mod pack;
mod place;
mod scripts;
#[cfg(test)]
mod tests;
mod unpack;
mod words;

pub(crate) use pack::{Pack, Source};
pub(crate) use place::{Landing, Stage};
pub(crate) use scripts::{Sending, receive_script, send_script, sweep_script};
pub(crate) use unpack::{Unpacked, unpack};
pub(crate) use words::{Copy, Remote, lease_in};

use crate::error::Error;
use crate::exit::Exit;

/// What a copy fails with, on whichever side: as a sync does.
pub(crate) fn copy_error(message: impl Into<String>) -> Error {
    Error::new(Exit::Sync, message)
}

/// A path, safe to print.
pub(crate) fn shown(path: impl AsRef<std::path::Path>) -> String {
    crate::output::foreign(&path.as_ref().to_string_lossy())
}
