//! The provider of HashiCorp Nomad: a lease is a job with one allocation, whose task does nothing but stay,
//! and a run is a command that is executed in that allocation.
//!
//! What is known of Nomad's HTTP API here was read in its sources (1.11.3 and 2.0.5) and held against
//! agents of these versions. `docs/providers/nomad.md` says what the provider does and why.

mod address;
mod api;
mod config;
mod exec;
mod job;
mod settings;

mod acquire;
mod allocations;
mod bridge;
mod doctor;
mod list;
mod provider;
mod release;
mod resolve;

use std::process::ExitCode;

fn main() -> ExitCode {
    crabbox_provider_kit::serve::<provider::Nomad>()
}
