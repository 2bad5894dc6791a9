//! What bit others: answers that are lost, late, cut, redirected or too talkative, and machines that are not ours.

use std::net::TcpListener;
use std::time::Duration;

use crabbox_tests::freestyle::{Effect, KEY, Options, RangeAtEnd, Rule};
use serde_json::json;

use super::site::Site;
use super::talk::Talk;
use crate::support::assert_has;

#[test]
fn the_key_goes_to_the_configured_place_and_into_no_text() {
    let Some(site) = Site::new() else { return };
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let elsewhere = format!("http://{}/v5/vms", other.local_addr().unwrap());
    for status in [301, 302, 307, 308] {
        site.cloud.rule(Rule::redirect("/v5/vms", status, &elsewhere));
        let (code, _, stderr) = site.run(&["run", "--", "true"]);
        assert_eq!(code, 1, "{stderr}");
        assert_has(&stderr, &["redirect"]);
        assert!(!stderr.contains(&elsewhere), "{stderr}");
        site.cloud.heal();
    }
    site.cloud.faults(|faults| {
        faults.always_background = true;
        faults.result_url = Some(elsewhere.clone());
    });
    assert_ne!(site.run(&["run", "--", "true"]).0, 0);
    site.cloud.heal();
    assert!(other.accept().is_err(), "somebody connected to the other place");

    site.cloud.rule(Rule::echo("/v5/vms", 503));
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 5, "{stderr}");
    assert!(!stderr.contains(KEY) && stderr.contains("[secret]"), "{stderr}");
    site.cloud.heal();
    site.clean();
    site.ok(&["run", "--", "true"]);
    let found =
        std::process::Command::new("grep").args(["-rlF", KEY]).arg(site.world.root()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    site.nothing_is_left();
}

#[test]
fn a_creation_whose_answer_was_lost_is_found() {
    let Some(site) = Site::new() else { return };
    site.cloud.rule(Rule { exact: true, ..Rule::new("/v5/vms", Effect::CutAfter).method("POST").times(1) });
    assert_eq!(site.ok(&["run", "--", "echo", "in"]), "in\n");
    assert_eq!(
        site.asked("POST"),
        site.cloud.requests().iter().filter(|request| request.method == "POST").count()
    );
    site.nothing_is_left();
}

#[test]
fn answers_in_the_background_are_asked_for() {
    let Some(site) = Site::new() else { return };
    site.cloud.faults(|faults| faults.always_background = true);
    site.cloud.rule(Rule::poll_unavailable(2));
    let (code, stdout, stderr) = site.run(&["run", "--", "sh", "-c", "sleep 1; echo in; exit 3"]);
    assert_eq!((code, stdout.as_str()), (3, "in\n"), "{stderr}");
    site.cloud.heal();
    site.nothing_is_left();
}

#[test]
fn the_end_of_a_file_may_be_told_in_any_way() {
    let Some(site) = Site::new() else { return };
    site.ok(&["warmup", "--slug", "demo"]);
    for range in [RangeAtEnd::NotSatisfiable, RangeAtEnd::Empty, RangeAtEnd::EmptyWhole, RangeAtEnd::NotFound]
    {
        site.cloud.faults(|faults| faults.range_at_end = range);
        let script = "echo one; sleep 0.5; echo two";
        assert_eq!(
            site.ok(&["run", "--id", "demo", "--no-sync", "--", "sh", "-c", script]),
            "one\ntwo\n",
            "{range:?}"
        );
    }
    site.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn what_was_written_last_is_read_after_the_end() {
    let Some(site) = Site::new() else { return };
    // The command is over before the first answer is there.
    site.cloud.rule(Rule::new("/fs/read", Effect::Delay(Duration::from_secs(1))));
    let script = "echo one; echo three >&2; sleep 0.1; echo two; echo four >&2";
    let (code, stdout, stderr) = site.run(&["run", "--no-sync", "--", "sh", "-c", script]);
    assert_eq!((code, stdout.as_str()), (0, "one\ntwo\n"), "{stderr}");
    assert_has(&stderr, &["three\nfour\n"]);
    site.cloud.heal();
    site.nothing_is_left();
}

#[test]
fn a_machine_that_is_not_ours_is_left_alone() {
    let Some(site) = Site::new() else { return };
    site.ok(&["warmup", "--slug", "demo"]);
    let id = site.cloud.vms()[0]["id"].as_str().unwrap().to_owned();
    let lease = site.cloud.vms()[0]["metadata"]["crabbox-lease"].as_str().unwrap().to_owned();
    site.cloud.tamper(&id, "crabbox-lease", "cbx_000000000000");
    site.cloud.forget();
    for command in [&["stop", "demo"][..], &["run", "--id", "demo", "--", "true"]] {
        let (code, _, stderr) = site.run(command);
        assert_eq!(code, 4, "{stderr}");
    }
    assert_eq!((site.asked("DELETE"), site.cloud.execs().len(), site.cloud.vms().len()), (0, 0, 1));
    site.cloud.tamper(&id, "crabbox-lease", &lease);
    site.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn a_machine_that_vanishes_is_told_and_forgotten() {
    let Some(site) = Site::new() else { return };
    site.ok(&["warmup", "--slug", "demo"]);
    site.cloud.vanish(site.cloud.vms()[0]["id"].as_str().unwrap());
    let (code, _, stderr) = site.run(&["run", "--id", "demo", "--", "true"]);
    assert_eq!(code, 4, "{stderr}");
    _ = site.run(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn a_paused_machine_is_started_for_a_run() {
    let Some(site) = Site::new() else { return };
    site.ok(&["warmup", "--slug", "demo"]);
    site.cloud.pause(site.cloud.vms()[0]["id"].as_str().unwrap());
    assert_eq!(site.ok(&["run", "--id", "demo", "--", "echo", "in"]), "in\n");
    site.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn a_machine_that_a_command_does_not_wake_is_started_before_it() {
    let Some(mut talk) = Talk::with(Options::default(), json!({})) else { return };
    let machine = talk.acquire();
    talk.cloud.pause(&machine);
    talk.cloud.faults(|faults| faults.exec_does_not_wake = true);
    assert_eq!(talk.says("echo in"), "in\n");
    talk.over();
}

#[test]
fn short_pages_are_read_to_the_end() {
    let Some(site) = Site::new() else { return };
    for _ in 0..3 {
        site.ok(&["warmup"]);
    }
    site.cloud.faults(|faults| faults.page_size = Some(1));
    assert_has(&site.ok(&["doctor"]), &["3 in this account"]);
    site.cloud.heal();
    let listed: serde_json::Value = serde_json::from_str(&site.ok(&["list", "--json"])).unwrap();
    for lease in listed.as_array().unwrap() {
        site.ok(&["stop", lease["leaseId"].as_str().or(lease["id"].as_str()).unwrap()]);
    }
    site.nothing_is_left();
}

#[test]
fn what_is_wrong_is_said_before_anything_is_asked() {
    let Some(site) = Site::new() else { return };
    for config in [json!({"apiUrl": "http://example.com"}), json!({"workdir": "../x"}), json!({"vcpus": 0})] {
        site.configure(config.clone());
        let (code, _, stderr) = site.run(&["run", "--", "true"]);
        assert_eq!(code, 2, "{config}: {stderr}");
    }
    site.configure(json!({}));
    let (code, _, stderr) =
        crabbox_tests::ended(site.crabbox(&["run", "--", "true"]).env_remove("FREESTYLE_API_KEY"));
    assert_eq!(code, 3, "{stderr}");
    assert_has(&stderr, &["FREESTYLE_API_KEY"]);
    assert_eq!(site.cloud.requests().len(), 0);
    site.cloud.rule(Rule::error("/v5/vms", 401, "INVALID_API_KEY", "no"));
    assert_eq!(site.run(&["run", "--", "true"]).0, 3);
    site.cloud.heal();
    site.cloud.rule(Rule::error("/v5/vms", 429, "LIMIT_EXCEEDED", "no more").method("POST"));
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert_eq!(code, 5, "{stderr}");
    site.cloud.heal();
    site.nothing_is_left();
}
