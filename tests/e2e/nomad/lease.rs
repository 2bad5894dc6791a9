//! A lease that stays: seen, stopped, cleaned up; a job that is not its own is never touched.

use std::fs;
use std::time::Duration;

use crabbox_tests::nomad::{Emulator, Rule};
use crabbox_tests::{ended, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::Site;
use crate::support::{assert_fits, assert_has, claim, end, spawn};

/// The identifier of the only job.
fn job_id(site: &Site) -> String {
    let jobs = site.agent.jobs();
    assert_eq!(jobs.len(), 1, "{jobs:#?}");
    jobs[0]["ID"].as_str().unwrap().to_owned()
}

/// Purges the only job behind our back.
fn purge(site: &Site) {
    super::ask(&site.agent, "DELETE", &format!("/v1/job/{}?purge=true", job_id(site)));
    wait_for("the job's end", || site.agent.jobs().is_empty());
}

#[test]
fn a_lease_is_listed_used_and_stopped() {
    let site = Site::new();
    site.warm();
    let job = job_id(&site);
    let status = site.world.json(&["status", "demo", "--wait", "--json"]);
    assert_fits("status", &status);
    assert_eq!((&status["state"], &status["ready"]), (&json!("ready"), &json!(true)));
    let list = site.world.json(&["list", "--refresh", "--json"]);
    assert_fits("leases", &list);
    assert_eq!(list.as_array().unwrap().len(), 1, "{list:#}");
    let row = &list[0];
    assert_eq!((&row["ref"], &row["labels"]["job"]), (&json!(job), &json!(job)));
    assert_eq!(row["labels"]["allocation"], site.agent.allocations()[0]["ID"]);
    assert_eq!((&row["slug"], &row["state"]), (&json!("demo"), &json!("ready")));
    // Somebody else's job with our name's beginning is not a lease.
    site.agent.register(&json!({"ID": "crabbox-web", "Name": "crabbox-web", "Type": "service",
        "Datacenters": ["*"], "TaskGroups": [{"Name": "g", "Tasks": [{"Name": "t", "Driver": "raw_exec",
        "Config": {"command": "/bin/sleep", "args": ["100"]}, "Resources": {"CPU": 10, "MemoryMB": 10}}]}]}));
    assert_eq!(site.world.json(&["list", "--refresh", "--json"]).as_array().unwrap().len(), 1);
    site.world.ok(&["run", "--id", "demo", "--", "true"]);
    site.world.ok(&["stop", "demo"]);
    assert_eq!(job_id(&site), "crabbox-web");
    assert_eq!(site.world.json(&["list", "--refresh", "--json"]), json!([]));
}

#[test]
fn only_jobs_with_our_mark_and_of_this_scope_are_listed() {
    let site = Site::new();
    site.warm();
    let job = site.agent.jobs()[0].clone();
    for (digits, key, value) in [
        ("000000000001", "scope", "nomad:another"),
        ("000000000002", "managed", "no"),
        // What another machine of the same user made is told, too.
        ("000000000003", "lease_id", "cbx_000000000003"),
    ] {
        let mut other = job.clone();
        let id = format!("crabbox-{digits}");
        (other["ID"], other["Name"]) = (json!(id), json!(id));
        other["Meta"][format!("crabbox.{key}")] = json!(value);
        site.agent.register(&other);
    }
    let list = site.world.json(&["list", "--refresh", "--json"]);
    let rows = list.as_array().unwrap();
    let other = rows.iter().find(|row| row["slug"] == "demo" && row["claim"].is_null()).unwrap();
    assert_eq!((rows.len(), &other["id"]), (2, &json!("cbx_000000000003")), "{list:#}");
    assert_eq!(other["problem"], "no claim on this machine");
    assert_has(&site.world.ok(&["doctor"]), &["2 in this scope"]);
}

#[test]
fn a_lease_whose_job_is_gone_is_missing_and_can_be_stopped() {
    let site = Site::new();
    site.warm();
    purge(&site);
    site.agent.forget();
    let (code, stdout, stderr) = site.run(&["status", "demo"]);
    assert_eq!(code, 4, "{stderr}");
    assert_has(&stdout, &["state=missing ready=false", "there is no job crabbox-"]);
    assert_has(&stderr, &["error: lease demo is gone", "`crabbox stop cbx_"]);
    let list = site.world.json(&["list", "--refresh", "--json"]);
    assert_eq!((list.as_array().unwrap().len(), &list[0]["slug"]), (1, &json!("demo")));
    site.world.ok(&["stop", "demo"]);
    assert_eq!(site.asked("DELETE"), 0);
    site.nothing_is_left();
}

#[test]
fn only_the_status_404_means_that_a_job_is_gone() {
    // And of those only the agent's own: a proxy that has lost its agent says 404, too.
    for (status, text, says) in [
        (500, "404 job not found", "Nomad answered 500: 404 job not found"),
        (
            404,
            "<html>404 page not found</html>",
            "a 404 that is not Nomad's: <html>404 page not found</html>",
        ),
    ] {
        let site = Site::new();
        site.warm();
        site.agent.rule(Rule::status("/v1/job/", status, text));
        for arguments in
            [&["status", "demo"][..], &["run", "--id", "demo", "--no-sync", "true"], &["stop", "demo"]]
        {
            let (code, _, stderr) = site.run(arguments);
            assert_eq!(code, 1, "{arguments:?}: {stderr}");
            assert_has(&stderr, &[says]);
            assert_eq!(site.world.json(&["list", "--json"]).as_array().unwrap().len(), 1);
        }
        assert_eq!(site.asked("DELETE"), 0);
        site.agent.heal();
        site.world.ok(&["stop", "demo"]);
        site.nothing_is_left();
    }
}

/// A place in a job.
type At = fn(&mut Value) -> &mut Value;

#[test]
fn a_job_that_says_something_else_of_its_owner_is_neither_used_nor_stopped() {
    let site = Site::new();
    site.warm();
    let (job, (file, _)) = (job_id(&site), claim(&site.world));
    let places: [(&str, At); 3] = [
        ("job", |job| &mut job["Meta"]["crabbox.lease_id"]),
        ("group", |job| &mut job["TaskGroups"][0]["Meta"]["crabbox.scope"]),
        ("task", |job| &mut job["TaskGroups"][0]["Tasks"][0]["Meta"]["crabbox.workdir"]),
    ];
    for (place, at) in places {
        let (mut was, before) = (json!("another"), fs::read(&file).unwrap());
        site.agent.tamper("default", &job, |job| std::mem::swap(at(job), &mut was));
        site.agent.forget();
        for arguments in
            [&["run", "--id", "demo", "--no-sync", "true"][..], &["status", "demo"], &["stop", "demo"]]
        {
            let (code, _, stderr) = site.run(arguments);
            assert_eq!(code, 4, "{place}, {arguments:?}: {stderr}");
            assert_has(&stderr, &["is not this lease's", &format!("its {place} differs in `crabbox.")]);
        }
        assert!(site.agent.requests().iter().all(|it| it.method == "GET" && !it.is_exec()), "{place}");
        site.agent.tamper("default", &job, |job| std::mem::swap(at(job), &mut was));
        fs::write(&file, before).unwrap();
    }
    site.world.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn a_job_that_stays_although_it_was_stopped_keeps_its_claim() {
    let site = Site::new();
    site.warm();
    site.agent.faults(|faults| faults.ignored_deregister = true);
    let stop = spawn(&mut site.crabbox(&["stop", "demo"]));
    wait_for("the order", || site.asked("DELETE") > 0);
    for _ in 0..2 {
        kill_process(Pid::from_child(&stop), Signal::INT).unwrap();
        std::thread::sleep(Duration::from_millis(300));
    }
    let (code, _, stderr) = end(stop);
    assert_eq!(code, 130, "{stderr}");
    assert_has(&stderr, &["was left as it is", "again to leave it", "`crabbox stop cbx_"]);
    assert_eq!(site.world.json(&["list", "--json"])[0]["claim"], "releasing");
    assert_eq!(site.agent.jobs().len(), 1);
    site.agent.heal();
    site.world.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn stop_waits_for_a_job_that_takes_its_time() {
    let site = Site::new();
    site.warm();
    site.agent.faults(|faults| faults.late_deregister = Some(Duration::from_secs(1)));
    site.world.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn cleanup_ends_what_is_over_and_a_dry_run_changes_nothing() {
    for (key, value) in [("createdAt", json!("2020-01-01T00:00:00Z")), ("owner", json!("run"))] {
        let site = Site::new();
        site.warm();
        assert_has(&site.world.ok(&["cleanup"]), &["kept", "removed=0 checked=1"]);
        let (file, mut claim) = claim(&site.world);
        claim[key] = value;
        fs::write(&file, claim.to_string()).unwrap();
        site.agent.forget();
        let dry = site.world.json(&["cleanup", "--dry-run", "--json"]);
        assert_eq!(dry["rows"][0]["action"], "would-release");
        assert!(site.agent.requests().is_empty() && file.is_file());
        let report = site.world.json(&["cleanup", "--json"]);
        assert_eq!(report["rows"][0]["action"], "released", "{report:#}");
        site.nothing_is_left();
    }
}

#[test]
fn cleanup_forgets_a_lease_whose_job_is_gone_when_its_time_is_over() {
    let site = Site::new();
    site.warm();
    purge(&site);
    let (file, mut claim) = claim(&site.world);
    claim["createdAt"] = json!("2020-01-01T00:00:00Z");
    fs::write(&file, claim.to_string()).unwrap();
    site.agent.forget();
    assert_has(&site.world.ok(&["cleanup"]), &["released", "removed=1 checked=1"]);
    assert_eq!(site.asked("DELETE"), 0);
    site.nothing_is_left();
}

#[test]
fn another_scope_has_no_say_over_a_lease() {
    let (site, other) = (Site::new(), Emulator::start());
    site.warm();
    site.agent.forget();
    let address = other.address();
    for (flag, value) in [
        ("--nomad-namespace", "team"),
        ("--nomad-region", "elsewhere"),
        ("--nomad-task", "main"),
        ("--nomad-address", &address),
    ] {
        for arguments in [&["stop", "demo"][..], &["run", "--id", "demo", "--no-sync"]] {
            let last = if arguments[0] == "run" { &["true"][..] } else { &[] };
            let (code, _, stderr) = site.run(&[arguments, &[flag, value], last].concat());
            assert_eq!(code, 4, "{flag}, {arguments:?}: {stderr}");
            assert_has(&stderr, &["was made under scope `nomad:"]);
        }
    }
    assert!(site.agent.requests().is_empty() && other.requests().is_empty());
    // A lease stays where it was made, whatever is configured meanwhile.
    site.configure(json!({"address": address, "namespace": "team"}));
    let mut stop = site.crabbox(&["stop", "demo"]);
    let (code, _, stderr) = ended(stop.env("NOMAD_ADDR", &address).env("NOMAD_NAMESPACE", "team"));
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(other.requests().len(), 0);
    site.nothing_is_left();
}

#[test]
fn another_workdir_is_refused_before_anything_is_executed() {
    let site = Site::new();
    site.warm();
    let before = claim(&site.world).1;
    let other = site.world.root().join("elsewhere");
    let workdir = other.to_str().unwrap();
    let run = ["run", "--id", "demo", "--nomad-workdir", workdir, "--no-sync", "--", "true"];
    let (code, _, stderr) = site.run(&run);
    assert_eq!(code, 4, "{stderr}");
    assert_has(&stderr, &["is not this lease's", "`crabbox.workdir`"]);
    assert!(site.agent.execs().is_empty() && !other.exists());
    assert_eq!(claim(&site.world).1["config"], before["config"]);
    site.world.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn leases_on_one_node_share_nothing_and_leave_nothing_there() {
    for configured in [false, true] {
        let site = Site::new();
        let workdir = site.world.root().join("leases");
        if configured {
            site.configure(json!({"workdir": workdir}));
        }
        let mut directories = Vec::new();
        for slug in ["one", "two"] {
            site.world.ok(&["warmup", "--slug", slug]);
            let command = "setsid sleep 600 >/dev/null 2>&1 & echo mine >file; pwd";
            let pwd = site.world.ok(&["run", "--id", slug, "--", "sh", "-c", command]);
            directories.push(std::path::PathBuf::from(pwd.trim_end()));
            if configured {
                let id = site.world.json(&["list", "--json"]);
                let id = id.as_array().unwrap().iter().find(|row| row["slug"] == slug).unwrap()["id"].clone();
                assert!(directories.last().unwrap().starts_with(workdir.join(id.as_str().unwrap())));
            }
        }
        assert!(directories.iter().all(|directory| directory.join("file").is_file()), "{directories:?}");
        assert_ne!(directories[0], directories[1]);
        site.world.ok(&["stop", "one"]);
        assert!(!directories[0].exists() && directories[1].join("file").is_file());
        site.world.ok(&["stop", "two"]);
        assert!(!directories[1].exists());
        let left = fs::read_dir(&workdir).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{}", workdir.display());
        site.nothing_is_left();
    }
}
