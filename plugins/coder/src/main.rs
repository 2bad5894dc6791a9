//! The provider of Coder (coder.com): a lease is a workspace, and crabbox reaches it by SSH.
//!
//! Everything is asked of the local `coder` CLI, which holds the login. What is known of it was read in its sources of
//! mid 2026; the tests' double behaves as these say. `docs/providers/coder.md` says what the provider does and why.

mod cli;
mod config;
mod name;
mod settings;

mod find;
mod reach;
mod standing;

mod acquire;
mod doctor;
mod list;
mod provider;
mod release;
mod resolve;

use std::process::ExitCode;

fn main() -> ExitCode {
    crabbox_provider_kit::serve::<provider::Coder>()
}
