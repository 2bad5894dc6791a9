//! What crabbox itself asks of every provider.

use std::process::Command;

#[test]
fn it_is_a_provider_as_the_protocol_says() {
    // CRABBOX is where crabbox is, if not on PATH.
    let crabbox = std::env::var_os("CRABBOX").unwrap_or_else(|| "crabbox".into());
    let check = Command::new(crabbox)
        .args(["plugins", "check", "--live", env!("CARGO_BIN_EXE_crabbox-provider-example")])
        .status();
    assert!(check.expect("crabbox can be started").success());
}
