//! The way to the command breaks, or there never was one: that is an error of its own, never an exit code.

use std::fs;

use crabbox_tests::nomad::{Acl, Faults, Grants, Options, Rule};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{Running, Site};
use crate::support::{assert_has, end, spawn};

/// A command that is up, and prints much more than the connection will carry as soon as `go` is there.
fn talkative(site: &Site, arguments: &[&str]) -> Running {
    let go = site.world.root().join("go");
    let _ = fs::remove_file(&go);
    let script = format!(
        "echo up; while ! [ -e {} ]; do sleep 0.02; done; yes | head -c 100000; sleep 600",
        go.display()
    );
    site.start(arguments, &script)
}

/// Makes something go wrong.
type Fault = fn(&mut Faults);

/// What breaks after some output, with what is said of it.
fn breaks() -> Vec<(&'static str, Fault, &'static str)> {
    vec![
        ("cut", |faults| faults.exec_cut = Some(5000), "broke before it ended"),
        ("1000", |faults| faults.exec_close = Some((5000, 1000, "good bye".into())), "1000 good bye"),
        ("1001", |faults| faults.exec_close = Some((5000, 1001, "".into())), "1001"),
        (
            "1008",
            |faults| faults.exec_close = Some((5000, 1008, "No path to node".into())),
            "1008 No path to node",
        ),
        (
            "1011",
            |faults| faults.exec_close = Some((5000, 1011, "plugin is shut down".into())),
            "1011 plugin is shut down",
        ),
    ]
}

#[test]
fn a_connection_that_breaks_is_never_an_exit_code_and_the_command_is_ended() {
    let site = Site::new();
    site.warm();
    let idle = site.agent.processes();
    for (name, fault, says) in breaks() {
        let run = talkative(&site, &["run", "--id", "demo", "--no-sync"]);
        // The host's own commands print less.
        site.agent.faults(fault);
        fs::write(site.world.root().join("go"), "").unwrap();
        let (code, stdout, stderr) = run.end();
        assert_eq!(code, 7, "{name}: {stderr}");
        assert!(stdout.starts_with("y\ny\n") && stdout.len() <= 5000, "{name}: {}", stdout.len());
        assert_has(&stderr, &["broke before it ended", says]);
        site.only(&idle);
        site.agent.heal();
        assert_eq!(site.on_demo(&["true"]).0, 0, "{name}");
    }
}

#[test]
fn a_lease_is_released_when_the_connection_breaks() {
    let site = Site::new();
    let run = talkative(&site, &["run"]);
    site.agent.faults(|faults| faults.exec_cut = Some(5000));
    fs::write(site.world.root().join("go"), "").unwrap();
    let (code, _, stderr) = run.end();
    assert_eq!(code, 7, "{stderr}");
    site.nothing_is_left();
}

#[test]
fn a_connection_that_ends_while_the_command_is_silent_is_no_exit_code_either() {
    let site = Site::new();
    site.warm();
    let idle = site.agent.processes();
    for (code, text) in [(1000, "good bye"), (1008, "policy"), (1011, "plugin is shut down"), (1006, "")] {
        // The command is silent until then, so that nothing is lost but its end.
        let go = site.world.root().join("go");
        let _ = fs::remove_file(&go);
        let [up, done] = ["up", "done"].map(|name| site.world.root().join(name));
        let script = format!(
            "touch {}; while ! [ -e {} ]; do sleep 0.02; done; touch {}; exit 0",
            up.display(),
            go.display(),
            done.display()
        );
        let run = spawn(&mut site.crabbox(&["run", "--id", "demo", "--no-sync", "--", "sh", "-c", &script]));
        crabbox_tests::wait_for("the command", || up.exists());
        site.agent.faults(|faults| match code {
            // After the byte that says that the shell around it is there.
            1006 => faults.exec_cut = Some(1),
            code => faults.exec_close = Some((1, code, text.to_owned())),
        });
        fs::write(&go, "").unwrap();
        // Nothing else can be executed as long as this goes on.
        crabbox_tests::wait_for("its end", || {
            done.exists() && site.agent.execs().iter().any(|exec| exec.ended)
        });
        site.agent.heal();
        let (ended, stdout, stderr) = end(run);
        assert_eq!((ended, stdout.as_str()), (7, ""), "{code}: {stderr}");
        assert_has(&stderr, &["broke before it ended", text]);
        site.only(&idle);
        fs::remove_file(up).unwrap();
        fs::remove_file(done).unwrap();
        site.agent.forget();
    }
}

#[test]
fn a_connection_that_ends_before_anything_was_heard_executes_nothing() {
    let site = Site::new();
    site.warm();
    let idle = site.agent.processes();
    let done = site.world.root().join("done");
    for (code, text) in [(1000, "good bye"), (1008, "policy"), (1011, "plugin is shut down"), (1006, "")] {
        site.agent.faults(|faults| match code {
            1006 => faults.exec_cut = Some(0),
            code => faults.exec_close = Some((0, code, text.to_owned())),
        });
        let (ended, stdout, stderr) = site.on_demo(&["touch", done.to_str().unwrap()]);
        assert_eq!((ended, stdout.as_str()), (7, ""), "{code}: {stderr}");
        assert_has(&stderr, &["before anything was ", text]);
        assert!(!done.exists() && !stderr.contains("may still run"), "{code}: {stderr}");
        site.agent.heal();
    }
    assert_eq!(site.on_demo(&["true"]).0, 0);
    site.only(&idle);
}

/// The word on both streams says how the command ended: Nomad's exit frame is not needed for it.
#[test]
fn an_exit_frame_that_never_comes_takes_nothing_away() {
    let site = Site::new();
    site.warm();
    for fault in [
        |faults: &mut Faults| faults.exec_drop_at_exit = true,
        |faults: &mut Faults| faults.exec_no_exit = true,
    ] {
        site.agent.faults(fault);
        for code in [0, 7] {
            let (ended, stdout, stderr) = site.on_demo(&["sh", "-c", &format!("echo out; exit {code}")]);
            assert_eq!((ended, stdout.as_str()), (code, "out\n"), "{stderr}");
        }
        site.agent.heal();
    }
}

#[test]
fn an_exit_frame_without_the_word_is_no_exit_code() {
    let site = Site::new();
    site.warm();
    let idle = site.agent.processes();
    let run = site.start(&["run", "--id", "demo", "--no-sync"], "echo up; sleep 600");
    let shell = site.agent.execs().pop().unwrap().pid.unwrap();
    // As the node does when it has no memory left.
    kill_process(Pid::from_raw(shell.cast_signed()).unwrap(), Signal::KILL).unwrap();
    let (code, _, stderr) = run.end();
    assert_eq!(code, 7, "{stderr}");
    site.only(&idle);
}

#[test]
fn a_token_that_may_not_execute_is_named() {
    let all = ["submit-job", "read-job", "list-jobs", "alloc-exec", "alloc-node-exec"];
    for missing in ["alloc-exec", "alloc-node-exec"] {
        let grants: Vec<_> = all.into_iter().filter(|capability| *capability != missing).collect();
        let acl = Acl::new().token("0000-token", Grants::on_default(&grants));
        let site = Site::with(Options { acl: Some(acl), ..Options::default() });
        for sync in [&["run"][..], &["run", "--no-sync"]] {
            let mut run = site.crabbox(&[sync, &["--", "true"]].concat());
            let (code, stdout, stderr) = crabbox_tests::ended(run.env("NOMAD_TOKEN", "0000-token"));
            assert_eq!((code, stdout.as_str()), (3, ""), "{missing}: {stderr}");
            assert_has(&stderr, &["ermission denied", "`alloc-exec`", "`alloc-node-exec`"]);
            assert_eq!(site.agent.jobs(), Vec::<Value>::new(), "{missing}");
            assert_eq!(site.agent.processes(), Vec::<u32>::new(), "{missing}");
        }
    }
}

#[test]
fn what_the_agent_says_instead_of_executing_something_is_shown() {
    let site = Site::new();
    site.warm();
    let no_shell = r#"failed to start command: fork/exec /bin/sh: no such file or directory"#;
    let wrong_task = r#"task "crabbox" not found in allocation "0123""#;
    for (code, says, fault) in [
        (3, "`/bin/sh`", Err(no_shell)),
        (2, "`task`", Err("task not found")),
        (2, "`task`", Err(wrong_task)),
        (5, "not running", Err(r#"task "crabbox" is not running."#)),
        (3, "`alloc-exec`", Err("Permission denied")),
        (3, "`alloc-exec`", Ok(403)),
        (1, "Nomad answered 500: boom", Ok(500)),
        (5, "Nomad answered 503", Ok(503)),
    ] {
        match fault {
            Err(text) => site.agent.faults(|faults| faults.exec_failure = Some((9, text.to_owned()))),
            Ok(status) => site.agent.rule(Rule::status("/exec", status, "boom")),
        }
        let (ended, stdout, stderr) = site.on_demo(&["true"]);
        assert_eq!((ended, stdout.as_str()), (code, ""), "{fault:?}: {stderr}");
        assert_has(&stderr, &[says]);
        assert!(!stderr.contains("may still run"), "{fault:?}: {stderr}");
        site.agent.heal();
    }
    assert_eq!(site.on_demo(&["true"]).0, 0);
}

#[test]
fn an_allocation_that_was_replaced_gets_the_whole_tree() {
    let site = Site::new();
    site.warm();
    let run = |command: &str| site.run(&["run", "--id", "demo", "--", "sh", "-c", command]);
    assert_eq!(run("touch built").0, 0);
    let lost = site.agent.allocations()[0]["ID"].as_str().unwrap().to_owned();
    site.agent.lose(&lost);
    let (code, _, stderr) = run("true");
    assert_eq!(code, 5, "{stderr}");
    // As the servers do when they find another node.
    site.agent.register(&site.agent.jobs()[0]);
    crabbox_tests::wait_for("another", || {
        site.agent.allocations().iter().any(|it| it["ID"] != *lost && it["ClientStatus"] == "running")
    });
    site.agent.forget();
    let (code, stdout, stderr) = run("cat README.md; ls");
    assert_eq!((code, stdout.as_str()), (0, "hello\nREADME.md\nsrc\n"), "{stderr}");
    assert_has(&stderr, &["2 files, 35 B sent"]);
    assert!(site.agent.execs().iter().all(|exec| exec.allocation != lost));
    let listed = site.world.json(&["list", "--json"]);
    assert_eq!(listed[0]["slug"], json!("demo"));
    let allocations = site.agent.allocations();
    let running = allocations.iter().find(|it| it["ClientStatus"] == "running").unwrap();
    assert_eq!(listed[0]["labels"]["allocation"], running["ID"], "the claim says where it is now");
}

#[test]
fn a_job_that_is_gone_is_no_lease() {
    let site = Site::new();
    site.warm();
    let id = site.agent.jobs()[0]["ID"].as_str().unwrap().to_owned();
    site.agent.rule(Rule::status(&id, 404, "job not found"));
    let (code, _, stderr) = site.on_demo(&["true"]);
    assert_eq!(code, 4, "{stderr}");
    assert_eq!(site.agent.execs().len(), 0);
}
