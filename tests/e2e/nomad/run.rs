//! Commands: what they are given, what they print, and how they end.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::process::Stdio;

use crabbox_tests::{ended, wait_for};
use serde_json::json;

use super::Site;
use crate::support::{assert_has, end, spawn, timing};

#[test]
fn a_run_is_a_job_that_is_gone_afterwards() {
    let site = Site::new();
    let command = "cat README.md; echo err >&2; ls src; exit 7";
    let (code, stdout, stderr) = site.run(&["run", "--", "sh", "-c", command]);
    assert_eq!((code, stdout.as_str()), (7, "hello\nmain.c\n"), "{stderr}");
    assert!(stderr.contains("err\n"), "{stderr}");
    site.nothing_is_left();
}

#[test]
fn the_exit_code_is_the_commands_or_128_and_its_signal() {
    let site = Site::new();
    site.warm();
    for (command, code) in [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -9 $$", 137),
        ("kill -15 $$", 143),
        // What the agent's own codes look like.
        ("exit 125", 125),
        ("exit 137", 137),
    ] {
        let (ended, stdout, stderr) =
            site.on_demo(&["sh", "-c", &format!("echo out; echo err >&2; {command}")]);
        assert_eq!((ended, stdout.as_str()), (code, "out\n"), "{command}: {stderr}");
        assert!(stderr.lines().any(|line| line == "err"), "{command}: {stderr}");
    }
    let (code, _, stderr) = site.on_demo(&["no-such-program"]);
    assert_eq!(code, 127, "{stderr}");
}

#[test]
fn words_arrive_byte_for_byte() {
    let words: [&[u8]; 8] = [
        b"",
        b"two  blanks ",
        b"line\nbreak\n",
        b"\xff\xfe\x01",
        b"'\"$HOME`id`\\",
        b"*",
        b"-n",
        b"{{.JobID}}",
    ];
    let want: Vec<u8> = words.iter().flat_map(|word| [b"[", *word, b"]"].concat()).collect();
    let site = Site::new();
    let mut command = site.crabbox(&["run", "--", "printf", "[%s]"]);
    let output = command.args(words.map(|word| OsString::from_vec(word.to_vec()))).output().unwrap();
    assert_eq!(output.stdout, want, "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn output_comes_while_the_command_runs_and_the_streams_stay_apart() {
    let site = Site::new();
    site.warm();
    let [out, err, go] = ["out", "err", "go"].map(|name| site.world.root().join(name));
    let command = format!(
        "echo one; echo two >&2; while ! [ -e {0} ]; do sleep 0.02; done; printf three; printf four >&2",
        go.display()
    );
    let mut run = site.crabbox(&["run", "--id", "demo", "--no-sync", "--", "sh", "-c", &command]);
    run.stdin(Stdio::null()).stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&err).unwrap());
    let mut run = run.spawn().unwrap();
    let read = |path| fs::read_to_string(path).unwrap();
    wait_for("standard output", || read(&out) == "one\n");
    wait_for("standard error", || read(&err).lines().any(|line| line == "two"));
    fs::write(go, "").unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(0));
    assert_eq!(read(&out), "one\nthree");
    assert!(read(&err).contains("\nfour"), "{}", read(&err));
}

#[test]
fn every_byte_arrives_as_it_was_written() {
    let site = Site::new();
    let all: Vec<u8> = (0..=255).cycle().take(5000).collect();
    site.world.write("all", &all);
    // A letter in two pieces, no bytes at all, bytes that are no letter, and no line feed at the end.
    let pieces = r"cat all; printf '\303'; sleep 0.05; printf '\251'; printf ''; printf '\377\376\0\0'";
    let command = format!("{{ {pieces}; }} >&2; {pieces}");
    let output = site.crabbox(&["run", "--", "sh", "-c", &command]).output().unwrap();
    let want = [&all[..], b"\xc3\xa9\xff\xfe\0\0"].concat();
    assert!(output.stdout == want, "{:?}", String::from_utf8_lossy(&output.stdout));
    let has = output.stderr.windows(want.len()).any(|part| part == want);
    assert!(has, "{:?}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_command_has_nothing_on_its_standard_input() {
    let site = Site::new();
    let mut command =
        site.crabbox(&["run", "--", "sh", "-c", "wc -c; [ /dev/fd/0 -ef /dev/null ] && echo null"]);
    command.stdin(fs::File::open(site.world.write("input", "not for the command")).unwrap());
    let (code, stdout, stderr) = ended(&mut command);
    let words: Vec<_> = stdout.split_whitespace().collect();
    assert_eq!((code, &words[..]), (0, &["0", "null"][..]), "{stderr}");
}

#[test]
fn what_is_forwarded_is_in_no_request_and_the_token_is_never_forwarded() {
    for token in ["NOMAD_TOKEN", "MY_TOKEN"] {
        let site = Site::new();
        site.configure(json!({"tokenEnv": token}));
        let mut command = site.crabbox(&["run", "--allow-env", "PASSED,NOMAD_*,MY_*", "--allow-env", token]);
        command.args(["--", "env"]);
        command.envs([("PASSED", "passed-value"), (token, "token-value"), ("OTHER", "other-value")]);
        let (code, stdout, stderr) = ended(&mut command);
        assert_eq!(code, 0, "{stderr}");
        assert_has(&stdout, &["PASSED=passed-value\n", "CRABBOX_LEASE_ID=cbx_"]);
        for hidden in ["token-value", "other-value"] {
            assert!(!stdout.contains(hidden) && !stderr.contains(hidden), "{stdout}{stderr}");
        }
        assert_has(&stderr, &[&format!("warning: {token} is not forwarded")]);
        is_in_no_request(&site, "passed-value", "token-value");
    }
}

/// Neither of the two values was in a request, but for the token's header.
fn is_in_no_request(site: &Site, value: &str, token: &str) {
    let (requests, execs) = (site.agent.requests(), site.agent.execs());
    assert!(requests.iter().any(|request| request.is_exec()) && !execs.is_empty());
    for request in requests {
        assert_eq!(request.token(), Some(token), "{} {}", request.method, request.path);
        let body = String::from_utf8_lossy(&request.body);
        let mut seen = format!("{} {} {body}", request.path, request.query);
        let others = request.headers.iter().filter(|(name, _)| *name != "x-nomad-token");
        seen.extend(others.map(|(_, value)| value.as_str()));
        assert!(!seen.contains(value) && !seen.contains(token), "{seen}");
    }
    for exec in execs {
        let seen = exec.command.join(" ");
        assert!(!seen.contains(value) && !seen.contains("PASSED"), "{seen}");
    }
}

#[test]
fn what_is_sent_is_on_standard_input_and_that_is_closed_each_time() {
    let site = Site::new();
    site.world.write("bundle", "bundle-content".repeat(1000));
    assert_eq!(site.run(&["run", "--", "echo", "argument-word"]).0, 0);
    let execs = site.agent.execs();
    assert!(execs.len() > 1, "{execs:?}");
    for exec in execs {
        // The command's own words go with the script, too.
        assert!(!exec.command.iter().any(|word| word.contains("argument-word")), "{:?}", exec.command);
        assert!(exec.stdin_closed && exec.stdin_bytes > 0 && exec.exit_code == Some(0), "{exec:?}");
        assert_eq!(exec.task, "crabbox");
    }
}

#[test]
fn a_directory_that_is_gone_is_made_again_and_one_that_cannot_be_made_is_no_exit_code() {
    let site = Site::new();
    site.warm();
    // Two up from the workspace, the command's own directory.
    let (code, _, stderr) = site.on_demo(&["sh", "-c", "rm -rf ../../crabbox"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(site.on_demo(&["ls", "-A"]).1, "");
    let (code, _, stderr) = site.on_demo(&["sh", "-c", "cd ../..; rm -rf crabbox; echo file >crabbox"]);
    assert_eq!(code, 0, "{stderr}");
    let (code, stdout, stderr) = site.on_demo(&["echo", "never"]);
    assert_eq!((code, stdout.as_str()), (3, ""), "{stderr}");
    assert_has(&stderr, &["directory", "cannot be made or entered", "`workdir`"]);
}

#[test]
fn the_timing_record_says_how_it_went() {
    let site = Site::new();
    let arguments = ["run", "--timing-json", "--label", "nightly", "--", "sh", "-c", "exit 3"];
    let (code, stdout, stderr) = site.run(&arguments);
    assert_eq!((code, stdout.as_str()), (3, ""), "{stderr}");
    let record = timing(&stderr);
    assert_eq!((&record["provider"], &record["exitCode"]), (&json!("nomad"), &json!(3)));
    assert_eq!((&record["label"], &record["leaseReleased"]), (&json!("nightly"), &json!(true)));
    assert_eq!((&record["runStatus"], &record["errorKind"]), (&json!("failed"), &json!("command-exit")));
}

#[test]
fn ten_runs_at_once_have_a_job_each() {
    let site = Site::new();
    site.configure(json!({"cpu": 100, "memoryMb": 64}));
    let start = |n: usize| {
        let command = format!("cat README.md; echo {n}; echo {n} >{n}; sleep 0.2; ls -d [0-9]*; exit {n}");
        spawn(&mut site.crabbox(&["run", "--", "sh", "-c", &command]))
    };
    let runs: Vec<_> = (0..10).map(start).collect();
    for (n, run) in runs.into_iter().enumerate() {
        let (code, stdout, stderr) = end(run);
        assert_eq!((code, stdout), (n as i32, format!("hello\n{n}\n{n}\n")), "{stderr}");
    }
    site.nothing_is_left();
}

#[test]
fn several_runs_at_once_share_a_lease_that_is_kept() {
    let site = Site::new();
    site.warm();
    assert_eq!(site.run(&["run", "--id", "demo", "--sync-only"]).0, 0);
    let go = site.world.root().join("go");
    let start = |n: usize| {
        let command = format!("touch {n}; while ! [ -e {} ]; do sleep 0.02; done; exit {n}", go.display());
        spawn(&mut site.crabbox(&["run", "--id", "demo", "--", "sh", "-c", &command]))
    };
    let runs: Vec<_> = (0..4).map(start).collect();
    wait_for("all of them", || site.on_demo(&["ls"]).1 == "0\n1\n2\n3\nREADME.md\nsrc\n");
    fs::write(&go, "").unwrap();
    for (n, run) in runs.into_iter().enumerate() {
        let (code, _, stderr) = end(run);
        assert_eq!(code, n as i32, "{stderr}");
    }
    assert_eq!(site.agent.jobs().len(), 1);
}

#[test]
fn what_a_command_leaves_in_the_background_lives_until_the_lease_ends() {
    let site = Site::new();
    site.warm();
    // One with the command's output open, and one that is in nobody's group.
    let command =
        "sleep 600 & echo $! >one; setsid sleep 600 >/dev/null 2>&1 </dev/null & echo $! >two; echo up";
    let (code, stdout, stderr) = site.on_demo(&["sh", "-c", command]);
    assert_eq!((code, stdout.as_str()), (0, "up\n"), "{stderr}");
    let (code, _, stderr) = site.on_demo(&["sh", "-c", "kill -0 $(cat one) && kill -0 $(cat two)"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(site.run(&["stop", "demo"]).0, 0);
    site.nothing_is_left();
}
