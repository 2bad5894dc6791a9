//! The `crabbox` executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    crabbox::main()
}
