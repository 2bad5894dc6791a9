//! Files that come onto a machine although the API for files does not work: by commands, verified, and said once.

use crabbox_provider_kit::testing::Answer;
use crabbox_tests::freestyle::{Effect, Options, Rule};
use serde_json::{Value, json};

use super::site::{Site, noise};
use super::talk::Talk;

const VERSIONS: [&str; 2] = ["v5", "v1"];

/// What files go by in either version.
const FILES: [&str; 3] = ["/fs/write", "/fs/uploads", "/files/"];

fn break_files(rule: impl Fn(&str) -> Rule, cloud: &crabbox_tests::freestyle::Emulator) {
    for path in FILES {
        cloud.rule(rule(path));
    }
}

fn warnings(answer: &Answer) -> Vec<&Value> {
    answer.notes.iter().filter(|note| note["params"]["phase"] == "warning").collect()
}

#[test]
fn a_file_goes_by_commands_when_it_does_not_go_otherwise_and_that_is_said_once() {
    let directory = tempfile::tempdir().unwrap();
    for version in VERSIONS {
        for (fault, lost) in
            [(Some(Effect::Cut), false), (None, true), (Some(answer(500)), false), (Some(answer(404)), false)]
        {
            let Some(mut talk) = Talk::with(Options::default(), json!({"apiVersion": version})) else {
                return;
            };
            talk.acquire();
            match &fault {
                Some(effect) => break_files(|path| Rule::new(path, effect.clone()), &talk.cloud),
                None => talk.cloud.faults(|faults| faults.lost_writes = lost),
            }
            // More than one piece, and every byte.
            let size = if version == "v5" { (2 << 20) + 3 } else { 100_003 };
            let bytes = noise(size);
            let first = talk.put(directory.path(), &bytes, "new directory/it's");
            assert_eq!(warnings(&first).len(), 1, "{version} {fault:?}");
            assert_eq!(first.result(), json!({}));
            let second = talk.put(directory.path(), b"second", "/root/second");
            assert_eq!(warnings(&second).len(), 0, "it was said");
            assert_eq!(second.result(), json!({}));
            let said = talk
                .says("stat -c '%s %a %U' \"new directory/it's\" /root/second; cat /root/second; ls -A /tmp");
            assert!(said.starts_with(&format!("{size} 640 root\n6 640 root\nsecond")), "{version} {said}");
            assert!(!said.contains("put"), "nothing is left of it: {said}");
            let sum = talk.says("sha256sum <\"new directory/it's\"");
            let hash = <sha2::Sha256 as sha2::Digest>::digest(&bytes);
            let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(sum.starts_with(&hash), "{version} {fault:?}");
            assert!(talk.cloud.execs().iter().all(|exec| exec.command.len() <= 64 << 10));
            talk.over();
        }
    }
}

fn answer(status: u16) -> Effect {
    Effect::Answer {
        status,
        headers: Vec::new(),
        body: r#"{"code":"BROKEN","message":"no files"}"#.to_owned(),
    }
}

#[test]
fn whoever_is_not_allowed_or_does_not_wait_is_not_helped() {
    let directory = tempfile::tempdir().unwrap();
    for version in VERSIONS {
        let Some(mut talk) = Talk::with(Options::default(), json!({"apiVersion": version})) else { return };
        talk.acquire();
        for (status, kind) in [(401, "auth"), (403, "auth"), (408, "deadline"), (429, "rateLimited")] {
            break_files(|path| Rule::new(path, answer(status)), &talk.cloud);
            talk.cloud.forget();
            let error = talk.put(directory.path(), b"bytes", "/root/file").error();
            assert_eq!(error["data"]["kind"], kind, "{version}");
            let wrote = |exec: &crabbox_tests::freestyle::Exec| {
                exec.command.contains("put-") && !exec.command.starts_with("rm ")
            };
            assert!(!talk.cloud.execs().iter().any(wrote), "{version} {:#?}", talk.cloud.execs());
            talk.cloud.heal();
        }
        // Silent, until the host cancels it.
        break_files(|path| Rule::new(path, Effect::Silence), &talk.cloud);
        talk.cloud.forget();
        let path = directory.path().join("file");
        let sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        std::fs::write(&path, "").unwrap();
        let put = json!({"lease": talk.lease, "path": path, "to": "/root/file", "size": 0, "sha256": sha256, "mode": 0o600});
        let request = talk.plugin.ask("put", put);
        let cloud = &talk.cloud;
        crabbox_tests::wait_for("the file", || cloud.requests().iter().any(|it| it.method == "PUT"));
        talk.plugin.cancel(request);
        assert_eq!(talk.plugin.answer(request).error()["data"]["kind"], "cancelled");
        talk.cloud.heal();
        assert_eq!(talk.says("ls -A /root"), "");
        talk.over();
    }
}

#[test]
fn a_file_that_goes_neither_way_leaves_nothing_and_is_not_in_the_error() {
    let directory = tempfile::tempdir().unwrap();
    for version in VERSIONS {
        let Some(mut talk) = Talk::with(Options::default(), json!({"apiVersion": version})) else { return };
        talk.acquire();
        break_files(|path| Rule::new(path, answer(500)), &talk.cloud);
        // The second piece; and the answer repeats the order.
        let echo =
            Rule::status("/exec-await", 400, r#"{"code":"BAD","message":{request}}"#).saying(".000001");
        talk.cloud.rule(echo);
        let bytes = b"payload-".repeat(200_000);
        let error = talk.put(directory.path(), &bytes, "/root/file").error();
        let text = error.to_string();
        for payload in ["payload-", "cGF5bG9hZC1w", "payload"] {
            assert!(!text.contains(payload), "{version}: {text}");
        }
        assert!(text.contains("no files"), "why the first way failed: {text}");
        talk.cloud.heal();
        assert_eq!(
            talk.says("ls -A /root /tmp | grep -v '^.crabbox-run' | grep crabbox; true"),
            "",
            "{version}"
        );
        talk.over();
    }
}

#[test]
fn a_file_that_is_not_what_was_announced_is_not_sent() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, "bytes").unwrap();
    for version in VERSIONS {
        let Some(mut talk) = Talk::with(Options::default(), json!({"apiVersion": version})) else { return };
        talk.acquire();
        talk.cloud.forget();
        for (size, sha256) in [(5, "0".repeat(64)), (6, "0".repeat(64))] {
            let put = json!({"lease": talk.lease, "path": path, "to": "/root/file", "size": size, "sha256": sha256, "mode": 0o600});
            let answer = talk.plugin.call("put", put);
            assert_eq!(warnings(&answer).len(), 0);
            assert_eq!(answer.error()["data"]["kind"], "internal");
        }
        assert_eq!(talk.cloud.requests().len(), 0);
        talk.over();
    }
}

#[test]
fn a_run_works_without_the_api_for_files_and_its_user_is_told_once() {
    for version in VERSIONS {
        let Some(site) = Site::new() else { return };
        site.configure(json!({"apiVersion": version}));
        break_files(|path| Rule::new(path, answer(500)), &site.cloud);
        site.world.write("large.bin", noise(if version == "v5" { 1_500_000 } else { 100_000 }));
        let (code, stdout, stderr) = site.run(&["run", "--", "sh", "-c", "wc -c <large.bin; ls -A /tmp"]);
        assert_eq!(code, 0, "{stderr}");
        let size = if version == "v5" { "1500000\n" } else { "100000\n" };
        assert!(stdout.starts_with(size) && !stdout.contains("put"), "{version}: {stdout}");
        assert_eq!(stderr.matches("files go by commands").count(), 1, "{version}: {stderr}");
        site.nothing_is_left();
    }
}

#[test]
fn what_a_user_puts_is_his() {
    let directory = tempfile::tempdir().unwrap();
    for version in VERSIONS {
        for broken in [false, true] {
            let config = json!({"apiVersion": version, "linuxUser": "ubuntu"});
            let Some(mut talk) = Talk::with(Options::default(), config) else { return };
            talk.acquire();
            if broken {
                break_files(|path| Rule::new(path, answer(500)), &talk.cloud);
            }
            assert_eq!(talk.put(directory.path(), b"his", "new/file").result(), json!({}));
            let said = talk.says("cat new/file; echo more >>new/file; : >new/other; stat -c %U new new/file");
            if talk.cloud.isolation().has_users() {
                assert_eq!(said, "hisubuntu\nubuntu\n", "{version} {broken}");
            }
            talk.over();
        }
    }
}
