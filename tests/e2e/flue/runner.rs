//! The runner that users copy has tests of its own, hostile archives above all.

use std::process::Command;

use crabbox_tests::flue::node;

use crate::support::repository;

#[test]
fn the_tests_of_the_runner_pass() {
    let Some(node) = node() else { return };
    let output = Command::new(node)
        .args(["--test", "--test-reporter=tap", "docs/examples/flue/test/crabbox-runner.test.mjs"])
        .current_dir(repository())
        // Their reports would go to the process that runs these.
        .env_remove("NODE_TEST_CONTEXT")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("# pass 14\n") && said.contains("# fail 0\n"), "{said}");
}
