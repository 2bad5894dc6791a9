//! The provider of Freestyle (freestyle.sh): a lease is a virtual machine, and a run a command that is executed on it
//! with its output in two files, which are read while they grow.
//!
//! Freestyle's API is known from its official clients, whose requests and expectations the tests' emulator is held
//! against. `docs/providers/freestyle.md` says what the provider does and why.

mod api;
mod config;
mod machine;
mod output;
mod place;
mod settings;
mod shell;
mod source;

mod acquire;
mod bridge;
mod doctor;
mod list;
mod provider;
mod put;
mod release;
mod resolve;
mod run;

use std::process::ExitCode;

fn main() -> ExitCode {
    crabbox_provider_kit::serve::<provider::Freestyle>()
}
