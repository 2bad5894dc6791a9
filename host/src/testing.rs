//! What several unit tests need.

use std::io::Write;

/// The shells that scripts for a lease are tried under. One that is not here is said to be skipped, and is an
/// error where `CRABBOX_TEST_REQUIRE` (names with commas) has it.
pub(crate) fn shells() -> impl Iterator<Item = &'static [&'static str]> {
    const SHELLS: &[&[&str]] = &[&["sh"], &["dash"], &["bash"], &["busybox", "sh"]];
    SHELLS.iter().copied().filter(|shell| {
        let here = which::which(shell[0]).is_ok();
        if !here {
            let required = std::env::var("CRABBOX_TEST_REQUIRE").unwrap_or_default();
            assert!(!required.split(',').any(|name| name == shell[0]), "{} is required here", shell[0]);
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            // Not by `eprintln!`, which the harness keeps to itself when a test passes.
            let _ =
                writeln!(std::io::stderr(), "SKIPPED {test} under {0}: there is no {0} on PATH", shell[0]);
        }
        here
    })
}
