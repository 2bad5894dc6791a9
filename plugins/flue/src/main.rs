//! The provider of a local Flue project: a run is one run of a workflow (an agent with Flue 2) that unpacks
//! the working tree and executes the command. There is nothing to keep, so there are no leases.
//!
//! What is known of Flue's command line was measured on the CLIs 0.11.1, 1.0.0-beta.7, 1.0.0-beta.9 and
//! 2.0.3. `docs/providers/flue.md` says what the provider does and why.

mod config;
mod contract;
mod settings;

mod cli;
mod version;

mod group;
mod outcome;
mod run;

mod doctor;
mod project;
mod provider;
mod setup;

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    match words.next().as_ref().and_then(|word| word.to_str()) {
        Some("setup") => setup::main(words),
        Some(group::LEADER_ARGUMENT) => group::leader_main(),
        Some("--help" | "-h" | "help") | None => {
            let code = crabbox_provider_kit::serve::<provider::Flue>();
            _ = writeln!(std::io::stdout(), "\n{}", setup::USAGE);
            code
        }
        _ => crabbox_provider_kit::serve::<provider::Flue>(),
    }
}
