//! The CLI of an emulated Coder: see `crabbox_tests::coder`, which writes the script that starts it.

use std::process::ExitCode;

fn main() -> ExitCode {
    crabbox_tests::coder::cli()
}
