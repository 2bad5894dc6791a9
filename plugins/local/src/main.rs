//! The provider of this machine: a lease is a directory under the state directory, and a run a process
//! that is started in it. It needs nothing, and shows every rule of the protocol at work.

mod config;
mod delete;
mod doctor;
mod execute;
mod marker;
mod provider;
mod put;
mod runs;
mod store;

use std::process::ExitCode;

fn main() -> ExitCode {
    crabbox_provider_kit::serve::<provider::Local>()
}
