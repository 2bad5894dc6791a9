//! `crabbox plugins check`, with real runs.

use crabbox_tests::ended;
use crabbox_tests::flue::{Flue, Project};
use serde_json::Value;

use super::assert_nothing_left;
use crate::support::assert_fits;

#[test]
fn the_provider_keeps_to_the_protocol() {
    let Some(project) = Project::new(Flue::Agent) else { return };
    let mut check = project.world.crabbox(&["plugins", "check", "flue", "--live", "--json"]);
    let (code, stdout, stderr) = ended(&mut check);
    let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}"));
    assert_fits("check", &report);
    let rules = report["rules"].as_array().unwrap();
    let wrong: Vec<_> =
        rules.iter().filter(|rule| rule["status"] == "fail" || rule["status"] == "warn").collect();
    assert!(wrong.is_empty() && code == 0, "{wrong:#?}");
    for id in ["workspace-is-unpacked", "cancel-in-mid-run", "ends-in-mid-run", "output-of-100-mb"] {
        assert!(rules.iter().any(|rule| rule["id"] == id && rule["status"] == "pass"), "{id}: {report:#}");
    }
    assert_nothing_left(&project);
}
