//! Answers that a cloud gives when something is not as it should be: refusals, conflicts, machines that vanish,
//! files that are not there, and commands that nobody knows the end of.

use std::io::{BufRead, BufReader};

use crabbox_tests::freestyle::{Effect, KEY, Options, Request, Rule};
use serde_json::json;

use super::site::{Site, noise};
use crate::support::{assert_has, claim, end, spawn};

#[test]
fn an_answer_that_tells_the_key_is_cut_and_says_nothing_of_it() {
    let Some(site) = Site::new() else { return };
    // At the places where a text may be cut, so that a part of the key could be what is left.
    for before in [0, 560, 575, 590, 4070, 4085, 1 << 20] {
        let body = format!("{}Bearer {{token}} {{token}}{}", "x".repeat(before), "y".repeat(5000));
        let body = json!({"code": "KEY_RESOLVER_UNAVAILABLE", "message": body}).to_string();
        for body in [body.clone(), body.replace(['{', '}'], "").replace("token", KEY)] {
            site.cloud.rule(Rule::status("/v5/vms", 503, &body));
            let (code, _, stderr) = site.run(&["run", "--", "true"]);
            assert_eq!(code, 5, "{stderr}");
            site.cloud.heal();
            assert!(!stderr.contains(&KEY[..8]), "{before}: {stderr}");
            assert!(stderr.len() < 4096, "{before}: {} bytes", stderr.len());
        }
    }
    site.clean();
    site.nothing_is_left();
}

#[test]
fn a_machine_that_vanishes_under_a_command_ends_the_run() {
    let Some(site) = Site::new() else { return };
    site.ok(&["warmup", "--slug", "demo"]);
    let mut child =
        spawn(&mut site.crabbox(&["run", "--id", "demo", "--", "sh", "-c", "echo up; sleep 600"]));
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    site.cloud.vanish(site.cloud.vms()[0]["id"].as_str().unwrap());
    let (code, _, stderr) = end(child);
    assert!(![0, 130].contains(&code), "{code}: {stderr}");
    assert_has(&stderr, &["404"]);
    assert_eq!(site.run(&["run", "--id", "demo", "--", "true"]).0, 4);
    _ = site.run(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn a_command_that_freestyle_ended_is_no_success() {
    let Some(site) = Site::new() else { return };
    for body in [json!({"stdout": "", "stderr": "", "statusCode": null}), json!({"stdout": "", "stderr": ""})]
    {
        site.cloud.rule(Rule::status("/exec-await", 200, &body.to_string()).times(1));
        let (code, _, stderr) = site.run(&["run", "--no-sync", "--", "true"]);
        assert_ne!(code, 0, "{body}");
        assert_has(&stderr, &["took too long"]);
        site.cloud.heal();
    }
    site.clean();
    site.nothing_is_left();
}

#[test]
fn an_old_agent_gets_what_it_can() {
    let Some(site) = Site::with(Options { native_agent: false, ..Options::default() }) else { return };
    let (code, stdout, stderr) = site.run(&["run", "--", "sh", "-c", "cat README.md; exit 3"]);
    assert_eq!((code, stdout.as_str()), (3, "hello\n"), "{stderr}");
    assert!(site.cloud.execs().iter().all(|exec| exec.timeout_ms <= 300_000));
    site.nothing_is_left();
}

/// The end of the command is lost, and what it wrote is not.
#[test]
fn a_result_that_could_not_be_stored_is_no_success() {
    let Some(site) = Site::new() else { return };
    site.ok(&["warmup", "--slug", "demo"]);
    site.cloud.faults(|faults| {
        faults.always_background = true;
        faults.unstorable = true;
    });
    let (code, _, stderr) = site.run(&["run", "--id", "demo", "--no-sync", "--", "echo", "in"]);
    assert_ne!(code, 0);
    assert_has(&stderr, &["BACKGROUND_RESULT_UNSTORABLE"]);
    site.cloud.heal();
    assert_eq!(site.ok(&["run", "--id", "demo", "--", "cat", "README.md"]), "hello\n");
    site.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn who_may_not_and_who_has_no_more_are_told_apart() {
    let Some(site) = Site::new() else { return };
    for (status, code, exit, hint) in [
        (401, "INVALID_API_KEY", 3, "FREESTYLE_API_KEY"),
        (401, "MISSING_CREDENTIALS", 3, "FREESTYLE_API_KEY"),
        (403, "ACCOUNT_BLOCKED", 3, "may not do this"),
        (429, "LIMIT_EXCEEDED", 5, "allowance is used up"),
        (429, "TOO_MANY_REQUESTS", 5, "429"),
    ] {
        site.cloud.rule(Rule::error("/v5/vms", status, code, "no").method("POST").exact());
        let (ended, _, stderr) = site.run(&["run", "--", "true"]);
        assert_eq!(ended, exit, "{status} {code}: {stderr}");
        assert_has(&stderr, &[code, hint]);
        assert_eq!(site.world.json(&["list", "--json"]), json!([]), "nothing was made: {status} {code}");
        site.cloud.heal();
    }
    let Some(full) = Site::with(Options { vm_limit: Some(1), ..Options::default() }) else { return };
    full.ok(&["warmup", "--slug", "demo"]);
    let (code, _, stderr) = full.run(&["run", "--", "true"]);
    assert_eq!(code, 5, "{stderr}");
    full.ok(&["stop", "demo"]);
    full.nothing_is_left();
    site.nothing_is_left();
}

/// The fourth kind is a slug that is taken: see [`super::checklist`].
#[test]
fn a_conflict_is_what_it_is_about() {
    let Some(site) = Site::new() else { return };
    site.cloud.rule(Rule::error("/v5/vms", 409, "CONFLICT", "no capacity for this").method("POST").exact());
    let (code, _, stderr) = site.run(&["run", "--", "true"]);
    assert!(![0, 2, 3].contains(&code), "{code}: {stderr}");
    assert_has(&stderr, &["no capacity for this"]);
    assert!(!stderr.contains("is not this lease's"), "{stderr}");
    site.cloud.heal();
    assert_eq!(site.world.json(&["list", "--json"]), json!([]), "nothing was made");

    site.ok(&["warmup", "--slug", "demo"]);
    let id = site.cloud.vms()[0]["id"].as_str().unwrap().to_owned();
    site.cloud.pause(&id);
    site.cloud.rule(Rule::error("/start", 409, "CONFLICT", "it has spent its `maxRunTotalSeconds`"));
    let (code, _, stderr) = site.run(&["run", "--id", "demo", "--", "true"]);
    assert_ne!(code, 0);
    assert_has(&stderr, &["it has spent its `maxRunTotalSeconds`"]);
    site.cloud.heal();
    assert_eq!((site.cloud.vms().len(), site.asked("DELETE")), (1, 0));

    // A piece that Freestyle has already: how much it has, only Freestyle knows.
    let file = site.world.write("large.bin", noise(18 << 20));
    site.cloud.rule(Rule::new("/fs/uploads/", Effect::CutAfter).method("PUT").times(1));
    site.cloud
        .rule(Rule::error("/fs/uploads/", 409, "CONFLICT", "the offset is wrong").method("PUT").times(1));
    let count = site.ok(&["run", "--id", "demo", "--", "sh", "-c", "cksum <large.bin"]);
    let own = std::process::Command::new("cksum").stdin(std::fs::File::open(file).unwrap()).output().unwrap();
    assert_eq!(count.as_bytes(), own.stdout);
    let refused = |it: &&Request| it.path.contains("/fs/uploads/") && it.status == 409;
    assert_eq!(site.cloud.requests().iter().filter(refused).count(), 1);
    site.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

/// Only a 404 says that there is nothing; everything else says nothing.
#[test]
fn a_refusal_is_no_absence() {
    let Some(site) = Site::new() else { return };
    site.ok(&["warmup", "--slug", "demo"]);
    for (status, code) in
        [(500, "INTERNAL"), (503, "UNAVAILABLE"), (401, "INVALID_API_KEY"), (403, "BLOCKED")]
    {
        site.cloud.rule(Rule::error("/v5/vms/", status, code, "not found").method("GET"));
        for command in [&["stop", "demo"][..], &["run", "--id", "demo", "--", "true"]] {
            let (ended, _, stderr) = site.run(command);
            assert_ne!(ended, 0, "{status} {command:?}: {stderr}");
            claim(&site.world);
        }
        site.cloud.heal();
    }
    assert_eq!((site.asked("DELETE"), site.cloud.vms().len()), (0, 1));
    site.ok(&["stop", "demo"]);
    site.nothing_is_left();
}

#[test]
fn what_was_not_written_is_not_believed() {
    let Some(site) = Site::new() else { return };
    site.cloud.faults(|faults| faults.lost_writes = true);
    let (code, stdout, stderr) = site.run(&["run", "--", "cat", "README.md", "src/main.c"]);
    match code {
        // It went another way.
        0 => assert_eq!(stdout, "hello\nint main(void) { return 0; }\n"),
        _ => assert!(stdout.is_empty() && code != 1, "the command did not run: {code} {stdout}{stderr}"),
    }
    site.cloud.heal();
    site.nothing_is_left();
}
