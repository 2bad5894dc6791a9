//! An emulated Freestyle that a person can point `freestyle` or crabbox at:
//! `cargo run --example freestyle-emulator [PORT]`.

use std::io::{self, Write};

use crabbox_tests::freestyle::{Emulator, KEY, Options};

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or_default();
    let emulator = Emulator::try_with(Options { port, ..Options::default() })?;
    let mut stdout = io::stdout().lock();
    // The CLI of v5, and that of v1.
    writeln!(stdout, "export FREESTYLE_PROXY={0} FREESTYLE_API_URL={0}", emulator.url())?;
    writeln!(stdout, "export FREESTYLE_API_KEY={KEY}")?;
    let (isolation, directory) = (emulator.isolation(), emulator.directory().display());
    writeln!(stdout, "VMs are in {directory}, isolated by {isolation:?}; a line on stdin ends it.")?;
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}
