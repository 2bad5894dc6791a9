//! Puts the working tree on a machine somewhere else, runs a command there, and leaves nothing behind.
//!
//! The host knows no provider by name. A map of the modules and the life of a run are in
//! `docs/architecture.md`.

mod cli;
mod commands;
mod config;
mod conformance;
mod copy;
mod crew;
mod error;
mod exit;
mod fault;
mod host;
mod http;
mod join;
mod lease;
mod output;
mod paths;
mod plugins;
mod progress;
mod provider;
mod remote;
mod replay;
mod ssh;
mod sync;
#[cfg(test)]
mod testing;
mod workflow;

pub use exit::Exit;

use std::process::ExitCode;

/// What the executable does: be a guard, or do what the command line says.
pub fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == provider::GUARD_ARGUMENT) {
        return provider::guard_main();
    }
    if words.get(1).is_some_and(|word| word == fault::FAULTS_ARGUMENT)
        && let Some(names) = fault::names()
    {
        return output::data(&names).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(cli::run(words));
            // A writer whose reader stands still must not hold the process.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(error::Error::failure("cannot start").cause(error)),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::error(&error);
            ExitCode::from(error.exit.code())
        }
    }
}
