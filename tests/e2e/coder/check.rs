//! `crabbox plugins check`: the provider keeps to the protocol, also with real leases, deleted in the end or stopped.

use serde_json::{Value, json};

use super::Site;
use crate::support::assert_fits;

#[test]
fn the_provider_keeps_to_the_protocol_whichever_way_leases_end() {
    for delete in [true, false] {
        let Some(site) = Site::new() else { return };
        site.configure(json!({"deleteOnRelease": delete}));
        let (code, stdout, stderr) = site.run(&["plugins", "check", "coder", "--live", "--json"]);
        let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}"));
        assert_fits("check", &report);
        let rules = report["rules"].as_array().unwrap();
        let with =
            |status: &str| -> Vec<&Value> { rules.iter().filter(|rule| rule["status"] == status).collect() };
        assert!(
            with("fail").is_empty() && with("warn").is_empty(),
            "{delete}: {:?} {:?}",
            with("fail"),
            with("warn")
        );
        assert_eq!((code, &report["live"]), (0, &Value::Bool(true)));
        for rule in ["acquire-is-idempotent", "release-confirms"] {
            assert!(with("pass").iter().any(|passed| passed["id"] == rule), "{rule}: {report:#}");
        }
        site.nothing_is_left();
    }
}
