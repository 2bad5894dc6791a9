//! Leases that do not end as they should: made half, changed hands, or not let go of. What is left is ours or named.

use std::process::Command;
use std::time::Duration;

use crabbox_tests::nomad::{Effect, Rule};
use crabbox_tests::wait_for;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::Site;
use crate::support::{assert_has, claim, end, spawn, timing};

/// The identifier of the only job.
fn job_id(site: &Site) -> String {
    let jobs = site.agent.jobs();
    assert_eq!(jobs.len(), 1, "{jobs:#?}");
    jobs[0]["ID"].as_str().unwrap().to_owned()
}

/// What is made may land a second late, in place of 15.
fn soon(crabbox: &mut Command) -> &mut Command {
    crabbox.env("CRABBOX_CREATE_SETTLE", "1")
}

/// Nothing is left that cleanup does not find.
fn cleaned(site: &Site) {
    site.world.ok(&["cleanup", "--wait"]);
    site.nothing_is_left();
}

/// A warmup whose job is there, and for which there is no room.
fn waiting(site: &Site) -> std::process::Child {
    site.agent.faults(|faults| faults.no_capacity = true);
    let warmup = spawn(soon(&mut site.crabbox(&["warmup", "--slug", "demo"])));
    wait_for("the job", || site.agent.jobs().len() == 1);
    wait_for("the wait", || site.agent.requests().iter().any(|it| it.path.ends_with("/allocations")));
    warmup
}

#[test]
fn a_lease_that_comes_to_nothing_is_not_taken_from_whoever_has_it_now() {
    let site = Site::new();
    site.configure(json!({"allocReadyTimeout": "2s"}));
    let warmup = waiting(&site);
    let job = job_id(&site);
    let mut was = json!("cbx_000000000000");
    let swap = |was: &mut Value| {
        site.agent.tamper("default", &job, |job| std::mem::swap(&mut job["Meta"]["crabbox.lease_id"], was));
    };
    swap(&mut was);
    let (code, _, stderr) = end(warmup);
    // What went wrong first stays first, and the other is said, too.
    assert_eq!(code, 5, "{stderr}");
    assert_has(
        &stderr,
        &[
            "error: provider `nomad`: the lease's task does not run after 2 s",
            "undoing it failed",
            "is not this lease's",
        ],
    );
    assert_eq!((site.asked("DELETE"), site.agent.jobs().len()), (0, 1));
    let (code, _, stderr) = site.run(&["stop", "demo"]);
    assert_eq!(code, 4, "{stderr}");
    assert_has(&stderr, &["is not this lease's", "`crabbox.lease_id`"]);
    assert_eq!(site.asked("DELETE"), 0);
    swap(&mut was);
    site.world.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn ctrl_c_while_a_lease_is_made_takes_its_job_back() {
    for is_gone in [false, true] {
        let site = Site::new();
        let warmup = waiting(&site);
        if is_gone {
            super::ask(&site.agent, "DELETE", &format!("/v1/job/{}?purge=true", job_id(&site)));
        }
        kill_process(Pid::from_child(&warmup), Signal::INT).unwrap();
        let (code, _, stderr) = end(warmup);
        assert_eq!(code, 130, "{stderr}");
        // A job that is not found may still come: that is looked after.
        assert_eq!(site.world.json(&["list", "--json"]) == json!([]), !is_gone, "{stderr}");
        cleaned(&site);
    }
}

#[test]
fn a_job_that_is_taken_and_not_scheduled_is_no_lease() {
    let site = Site::new();
    let body = json!({"EvalID": "", "EvalCreateIndex": 0, "JobModifyIndex": 7, "Warnings": ""}).to_string();
    let effect = Effect::Answer { status: 200, headers: Vec::new(), body };
    site.agent.rule(Rule::new("/v1/jobs", effect).method("PUT"));
    let (code, _, stderr) = crabbox_tests::ended(soon(&mut site.crabbox(&["warmup"])));
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["Nomad took the job crabbox-", "and schedules nothing"]);
    cleaned(&site);
}

#[test]
fn an_agent_that_says_nothing_does_not_hold_the_user() {
    let site = Site::new();
    site.warm();
    for (path, arguments) in [
        ("/exec", &["run", "--id", "demo", "--no-sync", "--", "true"][..]),
        ("/v1/job/", &["run", "--id", "demo", "--no-sync", "--", "true"]),
        ("/v1/job/", &["warmup"]),
        ("/v1/jobs", &["warmup"]),
    ] {
        site.agent.forget();
        site.agent.rule(Rule::new(path, Effect::Silence).times(1));
        let asked = || site.agent.requests().iter().any(|it| it.path.contains(path));
        let run = spawn(soon(&mut site.crabbox(arguments)));
        wait_for("the question", asked);
        kill_process(Pid::from_child(&run), Signal::INT).unwrap();
        let (code, stdout, stderr) = end(run);
        assert_eq!((code, stdout.as_str()), (130, ""), "{path}, {arguments:?}: {stderr}");
        site.agent.heal();
        assert_eq!(site.agent.jobs().len(), 1, "{path}, {arguments:?}");
    }
    site.world.ok(&["stop", "demo"]);
    cleaned(&site);
}

#[test]
fn a_run_whose_lease_stays_fails_and_names_it_and_a_commands_own_code_comes_first() {
    for (script, expected) in [("exit 0", 1), ("exit 7", 7)] {
        let site = Site::new();
        site.agent.rule(Rule::status("/v1/job/", 500, "no deletion today").method("DELETE"));
        let (code, stdout, stderr) = site.run(&["run", "--", "sh", "-c", &format!("echo out; {script}")]);
        assert_eq!((code, stdout.as_str()), (expected, "out\n"), "{stderr}");
        let id = claim(&site.world).1["lease"]["id"].as_str().unwrap().to_owned();
        assert_has(&stderr, &["Nomad answered 500: no deletion today", &id, &format!("`crabbox stop {id}`")]);
        assert_eq!(job_id(&site), format!("crabbox-{}", id.trim_start_matches("cbx_")));
        site.agent.heal();
        site.world.ok(&["stop", &id]);
        site.nothing_is_left();
    }
}

#[test]
fn a_deletion_that_cannot_be_confirmed_keeps_the_lease() {
    let site = Site::new();
    site.warm();
    site.agent.faults(|faults| faults.late_deregister = Some(Duration::from_secs(2)));
    let stop = spawn(&mut site.crabbox(&["stop", "demo"]));
    wait_for("the order", || site.asked("DELETE") > 0);
    // A proxy that has lost its agent: its 404 says nothing of the job.
    site.agent.rule(Rule::status("/v1/job/", 404, "<html>404 page not found</html>").method("GET"));
    let (code, _, stderr) = end(stop);
    assert_ne!(code, 0, "{stderr}");
    assert_eq!(site.world.json(&["list", "--json"])[0]["claim"], "releasing");
    site.agent.heal();
    site.world.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn a_job_that_goes_away_before_it_is_told_to_is_confirmed_to_be_gone() {
    let site = Site::new();
    site.warm();
    let body = site.agent.jobs()[0].to_string();
    super::ask(&site.agent, "DELETE", &format!("/v1/job/{}?purge=true", job_id(&site)));
    // It was there at the first look; the agent then has nothing to evaluate, and says so with an empty id.
    let effect = Effect::Answer { status: 200, headers: Vec::new(), body };
    site.agent.rule(Rule::new("/v1/job/", effect).method("GET").times(1));
    site.agent.forget();
    site.world.ok(&["stop", "demo"]);
    let asked: Vec<_> = site.agent.requests().into_iter().map(|it| it.method).collect();
    assert_eq!(asked.iter().filter(|method| *method == "DELETE").count(), 1, "{asked:?}");
    assert_eq!(asked.last().unwrap(), "GET", "its absence is what counts");
    site.nothing_is_left();
}

/// In that order: with the job Nomad forgets its allocation, and nobody can say whether it still runs.
#[test]
fn a_job_is_stopped_and_its_end_waited_for_before_it_is_purged() {
    let site = Site::new();
    site.warm();
    site.agent.forget();
    site.world.ok(&["stop", "demo"]);
    let asked: Vec<String> = site
        .agent
        .requests()
        .into_iter()
        .map(|it| match (it.path.ends_with("/allocations"), it.query.contains("purge=true")) {
            (true, _) => "wait".to_owned(),
            (_, true) => "purge".to_owned(),
            _ if it.method == "DELETE" => "stop".to_owned(),
            _ => "look".to_owned(),
        })
        .collect();
    let mut steps = asked.clone();
    steps.dedup();
    assert_eq!(steps, ["look", "stop", "wait", "look", "purge", "look"], "{asked:?}");
    site.nothing_is_left();
}

#[test]
fn a_job_that_changes_hands_while_it_ends_is_not_purged() {
    let site = Site::new();
    site.warm();
    let job = job_id(&site);
    site.agent.faults(|faults| faults.late_deregister = Some(Duration::from_secs(2)));
    let stop = spawn(&mut site.crabbox(&["stop", "demo"]));
    wait_for("the order", || site.asked("DELETE") > 0);
    let mut was = json!("cbx_000000000000");
    let swap = |was: &mut Value| {
        site.agent.tamper("default", &job, |job| std::mem::swap(&mut job["Meta"]["crabbox.lease_id"], was));
    };
    swap(&mut was);
    let (code, _, stderr) = end(stop);
    assert_eq!(code, 4, "{stderr}");
    assert_has(&stderr, &["is not this lease's"]);
    assert!(!site.agent.requests().iter().any(|it| it.query.contains("purge=true")));
    site.agent.heal();
    swap(&mut was);
    site.world.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn what_the_agent_does_not_want_to_say_is_no_absence() {
    let site = Site::new();
    site.warm();
    site.agent.rule(Rule::status("/v1/jobs", 500, "no list today").method("GET"));
    let (code, stdout, stderr) = site.run(&["list", "--refresh", "--json"]);
    let rows: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, rows.as_array().unwrap().len()), (0, 1), "{stderr}");
    assert_has(&stderr, &["warning: provider `nomad` was not asked", "Nomad answered 500: no list today"]);
    site.agent.heal();
    site.agent.rule(Rule::status("/v1/job/", 500, "no job today"));
    for arguments in [&["status", "demo"][..], &["status", "demo", "--wait"]] {
        let (code, _, stderr) = site.run(arguments);
        assert_eq!(code, 1, "{stderr}");
        assert_has(&stderr, &["Nomad answered 500: no job today"]);
    }
    site.agent.heal();
    site.world.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn a_lease_that_is_waited_for_has_its_time() {
    let site = Site::new();
    site.warm();
    let pending = json!([{"ID": "11111111-2222-3333-4444-555555555555", "JobID": job_id(&site),
        "TaskGroup": "crabbox", "DesiredStatus": "run", "ClientStatus": "pending"}]);
    let effect = Effect::Answer { status: 200, headers: Vec::new(), body: pending.to_string() };
    site.agent.rule(Rule::new("/allocations", effect));
    let (code, stdout, stderr) = site.run(&["status", "demo", "--wait", "--wait-timeout", "1s"]);
    assert_eq!(code, 5, "{stderr}");
    assert_has(&stdout, &["state=starting ready=false"]);
    assert_has(&stderr, &["lease demo is not ready: it is starting"]);
    site.agent.heal();
    site.world.ok(&["status", "demo", "--wait"]);
    super::ask(&site.agent, "DELETE", &format!("/v1/job/{}?purge=true", job_id(&site)));
    let (code, _, stderr) = site.run(&["status", "demo", "--wait"]);
    assert_eq!(code, 4, "{stderr}");
    site.world.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn cleanup_asks_about_its_own_jobs_and_leaves_those_alone_that_are_not() {
    let site = Site::new();
    site.warm();
    let (job, (file, mut claim)) = (job_id(&site), claim(&site.world));
    site.agent.forget();
    assert_has(&site.world.ok(&["cleanup"]), &["kept", "yours until"]);
    assert!(site.agent.requests().is_empty(), "a lease whose time is not over is nobody's business");
    claim["createdAt"] = json!("2020-01-01T00:00:00Z");
    std::fs::write(&file, claim.to_string()).unwrap();
    let mut was = json!("another");
    let swap = |was: &mut Value| {
        let at = |job: &mut Value| std::mem::swap(&mut job["TaskGroups"][0]["Meta"]["crabbox.managed"], was);
        site.agent.tamper("default", &job, at);
    };
    swap(&mut was);
    let (code, stdout, stderr) = site.run(&["cleanup"]);
    assert_ne!(code, 0, "{stdout}{stderr}");
    assert_has(&format!("{stdout}{stderr}"), &["is not this lease's"]);
    assert_eq!((site.asked("DELETE"), site.agent.jobs().len()), (0, 1));
    swap(&mut was);
    let removed = site.world.ok(&["cleanup"]);
    assert_has(&removed, &["released", "removed=1 checked=1"]);
    assert!(site.agent.requests().iter().all(|it| it.path != "/v1/jobs"), "nothing is looked for");
    site.nothing_is_left();
}

#[test]
fn the_timing_record_of_a_run_that_broke_is_no_success() {
    let site = Site::new();
    let run = site.start(&["run", "--timing-json"], "echo up; sleep 600");
    site.agent.faults(|faults| faults.exec_close = Some((0, 1000, "good bye".into())));
    let shell = site.agent.execs().pop().unwrap().pid.unwrap();
    kill_process(Pid::from_raw(shell.cast_signed()).unwrap(), Signal::KILL).unwrap();
    let (code, _, stderr) = run.end();
    site.agent.heal();
    assert_eq!(code, 7, "{stderr}");
    let record = timing(&stderr);
    assert_eq!((&record["exitCode"], &record["provider"]), (&json!(7), &json!("nomad")), "{record:#}");
    assert_ne!(record["runStatus"], "succeeded");
    site.nothing_is_left();
}
