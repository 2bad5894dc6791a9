//! `crabbox doctor`: what it says of an agent, a token and a cluster, and that it only looks.

use std::net::TcpListener;
use std::time::Duration;

use crabbox_tests::ended;
use crabbox_tests::nomad::{Acl, Effect, Grants, Options, Rule, WRITE};
use serde_json::{Value, json};

use super::Site;
use crate::support::{assert_fits, assert_has};

/// Tokens of the form that Nomad's have.
const TOKEN: &str = "6d3f9a52-0b1e-4c7d-9f8a-2e5b7c1d4a60";
const UNKNOWN: &str = "00000000-1111-2222-3333-444444444444";

/// What the documentation says a token must be allowed.
const ENOUGH: &[&str] = &["submit-job", "read-job", "list-jobs", "alloc-exec", "alloc-node-exec"];

/// The provider's rows, by name: status, message, class, hint.
struct Report {
    ok: bool,
    rows: Vec<Value>,
}

impl Report {
    fn of(site: &Site, token: Option<&str>) -> Self {
        site.agent.forget();
        let mut doctor = site.crabbox(&["doctor", "--json"]);
        let (code, stdout, stderr) = ended(doctor.envs(token.map(|token| ("NOMAD_TOKEN", token))));
        let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}"));
        assert_fits("doctor", &report);
        assert_eq!(code == 0, report["ok"] == true);
        let other = site.agent.requests().into_iter().find(|it| it.method != "GET" || it.is_exec());
        assert!(other.is_none(), "it only looks: {other:?}");
        if let Some(token) = token {
            assert!(!stdout.contains(token) && !stderr.contains(token), "{stdout}{stderr}");
        }
        Self { ok: report["ok"] == true, rows: report["checks"].as_array().unwrap().clone() }
    }

    fn row(&self, check: &str) -> &Value {
        let row = self.rows.iter().find(|row| row["check"] == check);
        row.unwrap_or_else(|| panic!("no {check} in {:#?}", self.rows))
    }

    /// Fails unless a check came out so, with this class or other detail, and said these words.
    fn says(&self, check: &str, status: &str, detail: &str, words: &[&str]) -> &Self {
        let row = self.row(check);
        assert_eq!(row["status"], status, "{row:#}");
        let mut details = row["details"].as_object().into_iter().flatten();
        assert!(detail.is_empty() || details.any(|(_, value)| value == detail), "{detail} in {row:#}");
        assert_has(&format!("{} {}", row["message"], row["hint"]), words);
        self
    }

    fn has_no(&self, check: &str) -> &Self {
        assert!(self.rows.iter().all(|row| row["check"] != check), "{:#?}", self.rows);
        self
    }
}

fn guarded(grants: Grants) -> Site {
    Site::with(Options { acl: Some(Acl::new().token(TOKEN, grants)), ..Options::default() })
}

#[test]
fn where_everything_is_well_each_check_says_so() {
    let site = Site::new();
    let report = Report::of(&site, None);
    report
        .says("agent", "ok", "", &[&site.agent.address(), "answers"])
        .says("region", "ok", "", &["of global"])
        .says("token", "ok", "not_required", &["no ACLs"])
        .says("namespace", "ok", "", &["`default`"])
        .says("capabilities", "ok", "", &["everybody"])
        .says("nodes", "ok", "", &["1 of 1 are ready and have the driver raw_exec"])
        .says("leases", "ok", "", &["0 in this scope"]);
    assert!(report.ok);
    site.configure(json!({"region": "global"}));
    Report::of(&site, None).says("region", "ok", "", &["`global` is there"]);
    // A token where none is needed harms nobody.
    assert!(Report::of(&site, Some(TOKEN)).ok);
    site.warm();
    Report::of(&site, None).says("leases", "ok", "", &["1 in this scope"]);
    let report = site.world.json(&["doctor", "--id", "demo", "--json"]);
    let lease = report["checks"].as_array().unwrap().iter().find(|row| row["check"] == "lease").unwrap();
    assert_eq!(lease["status"], "ok", "{lease:#}");
    site.world.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn without_an_address_nobody_is_asked() {
    let site = Site::new();
    site.configure(json!({"address": ""}));
    let report = Report::of(&site, None);
    report.says("configuration", "fail", "", &["no Nomad agent is configured", "set NOMAD_ADDR"]);
    report.has_no("agent");
    assert!(site.agent.requests().is_empty());
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["no Nomad agent is configured", "hint: set NOMAD_ADDR"]);
    site.configure(json!({"address": "nomad.example:4646"}));
    Report::of(&site, None).says("configuration", "fail", "", &["address"]).has_no("agent");
}

#[test]
fn a_token_that_holds_just_enough_is_enough() {
    let site = guarded(Grants::on_default(ENOUGH));
    let report = Report::of(&site, Some(TOKEN));
    report
        .says("token", "ok", "token", &["the token in NOMAD_TOKEN is valid"])
        .says("namespace", "ok", "", &[])
        .says("capabilities", "ok", "", &["the token holds submit-job, read-job, list-jobs, alloc-exec"])
        .says("nodes", "skip", "", &["the token may not look at nodes"])
        .says("leases", "ok", "", &[]);
    assert!(report.ok);
    let (code, stdout, stderr) =
        ended(site.crabbox(&["run", "--", "echo", "enough"]).env("NOMAD_TOKEN", TOKEN));
    assert_eq!((code, stdout.as_str()), (0, "enough\n"), "{stderr}");
    site.nothing_is_left();
    for grants in [Grants::management(), Grants::on_default(ENOUGH).node_read()] {
        let site = guarded(grants);
        let report = Report::of(&site, Some(TOKEN));
        report.says("capabilities", "ok", "", &[]).says("nodes", "ok", "", &["1 of 1"]);
        assert!(report.ok);
    }
}

#[test]
fn what_a_token_lacks_is_named_and_what_the_driver_does_not_need_is_not() {
    let lacks = |capabilities: &[&str], driver: &str, missing: &str| {
        let site = guarded(Grants::on_default(capabilities));
        site.configure(json!({"driver": driver}));
        let report = Report::of(&site, Some(TOKEN));
        let (status, class) = if missing.is_empty() { ("ok", "") } else { ("fail", "capability") };
        report.says("capabilities", status, class, &[missing]).says("token", "ok", "token", &[]);
        assert_eq!(report.ok, missing.is_empty(), "{:#?}", report.rows);
    };
    lacks(&["submit-job", "read-job", "list-jobs"], "docker", "lacks alloc-exec in namespace `default`");
    lacks(&["submit-job", "read-job", "list-jobs"], "raw_exec", "lacks alloc-exec, alloc-node-exec in");
    lacks(WRITE, "raw_exec", "lacks alloc-node-exec in");
    lacks(WRITE, "docker", "");
    lacks(&["submit-job", "read-job", "alloc-exec"], "docker", "lacks list-jobs in");
    lacks(&["alloc-exec", "list-jobs"], "docker", "lacks submit-job, read-job in");
    // What it lacks, a run meets.
    let site = guarded(Grants::on_default(WRITE));
    let (code, _, stderr) = ended(site.crabbox(&["run", "--", "true"]).env("NOMAD_TOKEN", TOKEN));
    assert_eq!(code, 3, "{stderr}");
    assert_has(&stderr, &["Permission denied", "alloc-node-exec"]);
    site.nothing_is_left();
}

#[test]
fn a_token_that_is_missing_is_told_from_one_that_is_wrong() {
    let site = guarded(Grants::on_default(ENOUGH));
    let report = Report::of(&site, None);
    report.says("agent", "ok", "", &[]);
    assert!(!report.ok);
    let missing = report.rows.iter().find(|row| row["details"]["class"] == "missing_token").unwrap();
    assert_has(&missing.to_string(), &["set NOMAD_TOKEN to an ACL token's secret"]);
    for token in [UNKNOWN, "junk", "s3cr3t with blanks"] {
        let report = Report::of(&site, Some(token));
        report.says("token", "fail", "invalid_auth", &["the token in NOMAD_TOKEN is not valid here"]);
        report.has_no("namespace").has_no("leases");
    }
    // The variable's name is the configured one.
    site.configure(json!({"tokenEnv": "TEAM_TOKEN"}));
    let report = Report::of(&site, Some(TOKEN));
    let missing = report.rows.iter().find(|row| row["details"]["class"] == "missing_token").unwrap();
    assert_has(&missing.to_string(), &["TEAM_TOKEN"]);
    for (token, words) in [(None, "set TEAM_TOKEN to"), (Some(UNKNOWN), "the token in TEAM_TOKEN")] {
        let mut run = site.crabbox(&["run", "--", "true"]);
        let (code, _, stderr) = ended(run.envs(token.map(|token| ("TEAM_TOKEN", token))));
        assert_eq!(code, 3, "{stderr}");
        assert_has(&stderr, &["Nomad answered 403: Permission denied", words]);
    }
    site.nothing_is_left();
}

#[test]
fn who_has_no_token_may_be_allowed_all_the_same() {
    let acl = Acl { anonymous: Grants::on_default(ENOUGH), ..Acl::default() };
    let site = Site::with(Options { acl: Some(acl), ..Options::default() });
    let report = Report::of(&site, None);
    report
        .says("token", "ok", "anonymous", &["NOMAD_TOKEN is not set"])
        .says("capabilities", "ok", "", &["whoever has no token holds submit-job"])
        .says("leases", "ok", "", &[]);
    site.world.ok(&["run", "--", "true"]);
    site.nothing_is_left();
    let acl = Acl { anonymous: Grants::on_default(&["read-job"]), ..Acl::default() };
    let site = Site::with(Options { acl: Some(acl), ..Options::default() });
    let report = Report::of(&site, None);
    report.says(
        "capabilities",
        "fail",
        "capability",
        &["whoever has no token lacks submit-job, list-jobs, alloc"],
    );
}

/// Nomad allows to a token what its own policies hold, and nothing of what it allows without one.
#[test]
fn what_is_allowed_without_a_token_is_not_the_tokens() {
    let few = Grants::on_default(&["submit-job", "read-job", "list-jobs"]);
    let acl = Acl { anonymous: Grants::on_default(ENOUGH), ..Acl::new().token(TOKEN, few) };
    let site = Site::with(Options { acl: Some(acl), ..Options::default() });
    let report = Report::of(&site, Some(TOKEN));
    report.says("capabilities", "fail", "capability", &["the token lacks alloc-exec, alloc-node-exec in"]);
    let (code, _, stderr) = ended(site.crabbox(&["run", "--", "true"]).env("NOMAD_TOKEN", TOKEN));
    assert_eq!(code, 3, "{stderr}");
    site.nothing_is_left();
}

#[test]
fn the_policies_of_a_tokens_roles_are_its_own() {
    let site = guarded(Grants::on_default(ENOUGH));
    // Of a token by a role, itself names no policies.
    let body =
        json!({"AccessorID": "0", "Type": "client", "Policies": [], "Roles": [{"ID": "0", "Name": "r"}]});
    let effect = Effect::Answer { status: 200, headers: Vec::new(), body: body.to_string() };
    site.agent.rule(Rule::new("/v1/acl/token/self", effect));
    Report::of(&site, Some(TOKEN)).says("capabilities", "ok", "", &["the token holds submit-job"]);
}

#[test]
fn a_region_or_a_namespace_that_is_not_there_is_named() {
    let site = Site::new();
    site.configure(json!({"region": "mars"}));
    let report = Report::of(&site, None);
    report.says("region", "fail", "missing_region", &["no region `mars`; there are global"]);
    site.configure(json!({"namespace": "team"}));
    let report = Report::of(&site, None);
    report.says("namespace", "fail", "not_found", &["no namespace `team`"]);
    let site = guarded(Grants::on_default(ENOUGH));
    site.configure(json!({"namespace": "team"}));
    let report = Report::of(&site, Some(TOKEN));
    report.says("namespace", "fail", "invalid_auth", &["may do nothing in `team`"]);
}

#[test]
fn an_agent_that_cannot_be_asked_has_a_class() {
    let site = Site::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (address, class, words) in [
        (format!("http://{free}"), "connectivity", "cannot connect"),
        ("http://nowhere.invalid:4646".to_owned(), "connectivity", "cannot connect"),
        ("unix:///nowhere/nomad.sock".to_owned(), "connectivity", "cannot connect"),
        (site.agent.address().replace("http:", "https:"), "tls", "TLS"),
    ] {
        site.configure(json!({"address": address}));
        let report = Report::of(&site, None);
        report.says("agent", "fail", class, &[words]).has_no("region").has_no("token");
    }
    site.configure(json!({}));
    for (rule, class) in [
        (Rule::status("/v1/", 502, "<html>404 Bad Gateway</html>"), "connectivity"),
        (Rule::status("/v1/", 404, "no such page"), "not_found"),
        (Rule::status("/v1/", 418, "short and stout"), "api"),
        (
            Rule::new("/v1/", Effect::Answer { status: 200, headers: Vec::new(), body: "<html>".into() }),
            "api",
        ),
        (Rule::new("/v1/", Effect::Cut), "connectivity"),
    ] {
        site.agent.heal();
        site.agent.rule(rule.clone());
        let report = Report::of(&site, None);
        report.says("agent", "fail", class, &[]);
    }
    site.agent.heal();
    site.agent.rule(Rule::new("/v1/", Effect::Delay(Duration::from_millis(100))));
    assert!(Report::of(&site, None).ok);
}

#[test]
fn no_node_for_the_driver_is_a_failure() {
    let site = Site::with(Options { drivers: vec!["docker".to_owned()], ..Options::default() });
    let report = Report::of(&site, None);
    report.says("nodes", "fail", "no_node", &["0 of 1 are ready and have the driver raw_exec"]);
}
