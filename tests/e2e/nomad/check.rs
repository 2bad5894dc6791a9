//! `crabbox plugins check`: the provider keeps to the protocol, also with real leases.

use std::collections::BTreeSet;

use crabbox_tests::ended;
use serde_json::{Value, json};

use super::Site;
use crate::support::assert_fits;

/// The rules that came out so.
fn rules<'r>(report: &'r Value, status: &str) -> BTreeSet<&'r str> {
    let rules = report["rules"].as_array().unwrap().iter();
    rules.filter(|rule| rule["status"] == status).map(|rule| rule["id"].as_str().unwrap()).collect()
}

#[test]
fn the_provider_keeps_to_the_protocol_with_either_kind_of_driver() {
    for driver in ["raw_exec", "docker"] {
        let site = Site::new();
        let workdir = site.world.root().join("workspace");
        site.configure(json!({"driver": driver, "workdir": workdir}));
        let mut check = site.crabbox(&["plugins", "check", "nomad", "--live", "--json"]);
        let (code, stdout, stderr) = ended(&mut check);
        let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}"));
        assert_fits("check", &report);
        let (failed, warned) = (rules(&report, "fail"), rules(&report, "warn"));
        assert!(failed.is_empty() && warned.is_empty(), "{driver}: {failed:?} {warned:?} in {report:#}");
        assert_eq!((code, &report["live"]), (0, &json!(true)));
        for rule in ["output-of-100-mb", "ends-in-mid-run", "release-confirms"] {
            assert!(rules(&report, "pass").contains(rule), "{driver}, {rule}: {report:#}");
        }
        site.nothing_is_left();
    }
}
