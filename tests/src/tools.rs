//! Tools that a test needs and that a machine may not have.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// Says that a test is skipped, and why. Fails instead when `CRABBOX_TEST_REQUIRE` (names with commas) has
/// the tool: then it is known to be there.
pub fn skip(tool: &str, reason: &str) {
    let required = std::env::var("CRABBOX_TEST_REQUIRE").unwrap_or_default();
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(
        !required.split(',').any(|name| name.trim() == tool),
        "{test} needs {tool}, which is required here: {reason}"
    );
    // Not by `eprintln!`, which the harness keeps to itself when a test passes.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
}

/// The path of a tool. `None`: it is not here, the test is skipped, and that has been said.
pub fn tool(name: &str) -> Option<PathBuf> {
    let found = match name {
        // The one on PATH may be a shim that works only in its owner's environment.
        "python3" => python(),
        // Not on the PATH of everybody.
        "sshd" | "ip" => {
            let paths = std::env::var("PATH").unwrap_or_default();
            which::which_in(name, Some(format!("{paths}:/usr/sbin:/sbin:/usr/local/sbin")), "/").ok()
        }
        name => which::which(name).ok(),
    };
    if found.is_none() {
        skip(name, &format!("there is no {name} on PATH"));
    }
    found
}

fn python() -> Option<PathBuf> {
    let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !path.trim().is_empty()).then(|| path.trim().into())
}
