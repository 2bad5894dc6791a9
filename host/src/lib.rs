//! Puts the working tree on a machine somewhere else, runs a command there, and leaves nothing behind.
//!
//! The host knows no provider by name. A map of the modules and the life of a run are in
//! `docs/architecture.md`.

mod error;
mod exit;
mod output;
mod paths;

mod config;
mod lease;
mod plugins;
mod provider;
mod remote;
mod sync;

pub use exit::Exit;

use std::process::ExitCode;

/// What the executable does.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
