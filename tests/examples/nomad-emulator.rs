//! An emulated Nomad agent that a person can point `nomad` or crabbox at: `cargo run --example nomad-emulator [PORT]`.

use std::io::{self, Write};

use crabbox_tests::nomad::{Emulator, Options};

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or_default();
    let emulator = Emulator::try_with(Options { port, ..Options::default() })?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "export NOMAD_ADDR={}", emulator.address())?;
    writeln!(stdout, "Allocations are in {}; a line on stdin ends it.", emulator.directory().display())?;
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}
