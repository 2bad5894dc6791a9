//! The provider of machines that are there already: a lease is a directory on one, and crabbox reaches it by SSH.
//!
//! Nothing is provisioned. Each request connects once, by the user's own `ssh` with the user's own configuration, and
//! has one script (`lease.sh`) do what is to be done. `docs/providers/ssh.md` says what the provider does and why.

mod config;
mod destination;
mod options;
mod settings;

mod answer;
mod failure;
mod script;
mod talk;

mod doctor;
mod provider;
mod verbs;

use std::process::ExitCode;

fn main() -> ExitCode {
    crabbox_provider_kit::serve::<provider::Machine>()
}
