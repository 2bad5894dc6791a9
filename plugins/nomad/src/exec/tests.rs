//! The script around a command, under every shell that this machine has.

use std::io::Write;
use std::process::{Command, Stdio};

use super::marker::Splitter;
use super::*;

const WORD: &str = "00112233445566778899aabbccddeeff";

/// The shells that may be `/bin/sh` somewhere.
fn shells() -> Vec<Vec<&'static str>> {
    let all = [vec!["sh"], vec!["dash"], vec!["bash", "--posix"], vec!["busybox", "sh"]];
    let is_there = |shell: &Vec<&str>| {
        let asked = Command::new(shell[0]).args(&shell[1..]).args(["-c", ":"]).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    };
    all.into_iter().filter(is_there).collect()
}

struct Ran {
    stdout: (Vec<u8>, Option<Ending>),
    stderr: (Vec<u8>, Option<Ending>),
}

/// Runs `argv` inside of the script, with `stdin` and, when there is a lifeline, what follows it.
fn run(shell: &[&str], directory: &str, share: &str, stdin: &[u8], argv: &[&str]) -> Ran {
    let mut child = Command::new(shell[0])
        .args(&shell[1..])
        .args(["-c", outer(), "crabbox", directory, share])
        .args(argv)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let input = [format!("{WORD}\n").as_bytes(), stdin].concat();
    let writer = std::thread::spawn(move || pipe.write_all(&input));
    let output = child.wait_with_output().unwrap();
    // A script that reads nothing is not a fault of the test's.
    _ = writer.join().unwrap();
    assert_eq!(output.stdout.first(), Some(&5), "{shell:?} does not say that it is there");
    let split = |bytes: &[u8]| {
        let mut splitter = Splitter::new(WORD);
        (splitter.push(bytes), splitter.ending().cloned())
    };
    Ran { stdout: split(&output.stdout[1..]), stderr: split(&output.stderr) }
}

#[test]
fn both_streams_end_with_how_the_command_did() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("a b/c").to_str().unwrap().to_owned();
    for shell in shells() {
        for (script, code) in
            [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137), ("kill -15 $$", 143)]
        {
            let argv = ["sh", "-c", &format!("printf out; printf err >&2; {script}")];
            let ran = run(&shell, &place, "0", b"", &argv);
            assert_eq!(ran.stdout, (b"out".to_vec(), Some(Ending::Exited(code))), "{shell:?} {script}");
            assert_eq!(ran.stderr, (b"err".to_vec(), Some(Ending::Exited(code))), "{shell:?} {script}");
        }
        let ran = run(&shell, &place, "0", b"", &["pwd"]);
        assert_eq!(String::from_utf8(ran.stdout.0).unwrap().trim(), place, "{shell:?}");
        let ran = run(&shell, &place, "0", b"", &["printf", "[%s]", "", "a b", "it's", "$HOME", "\n"]);
        assert_eq!(ran.stdout.0, b"[][a b][it's][$HOME][\n]", "{shell:?}");
    }
}

#[test]
fn the_command_gets_its_bytes_and_not_one_more() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_str().unwrap();
    let bytes: Vec<u8> = (0..200_000_u32).map(|number| (number * 7 % 251) as u8).collect();
    for shell in shells() {
        let ran = run(&shell, place, "200000", &[&bytes[..], b"\n\nlate"].concat(), &["cat"]);
        assert!(ran.stdout == (bytes.clone(), Some(Ending::Exited(0))), "{shell:?}");
        let ran = run(&shell, place, "-", &bytes, &["cat"]);
        assert!(ran.stdout == (bytes.clone(), Some(Ending::Exited(0))), "{shell:?}");
        let ran = run(&shell, place, "0", b"late", &["cat"]);
        assert_eq!(ran.stdout, (Vec::new(), Some(Ending::Exited(0))), "{shell:?}");
        // A command that does not read.
        let ran = run(&shell, place, "200000", &bytes, &["true"]);
        assert_eq!(ran.stdout.1, Some(Ending::Exited(0)), "{shell:?}");
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_not_a_commands_end() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    let place = directory.path().join("file/below").to_str().unwrap().to_owned();
    for shell in shells() {
        let ran = run(&shell, &place, "0", b"", &["echo", "never"]);
        assert_eq!(
            (ran.stdout.0.as_slice(), &ran.stdout.1),
            (&b""[..], &Some(Ending::NotStarted)),
            "{shell:?}"
        );
        assert_eq!(ran.stderr.1, Some(Ending::NotStarted), "{shell:?}");
        assert!(String::from_utf8_lossy(&ran.stderr.0).contains("file"), "{shell:?}");
    }
}

#[test]
fn the_command_is_json_and_has_nothing_secret_in_it() {
    let text = as_json(&["sh", "-c", "a \"b\"\n\u{1}", ""]);
    assert_eq!(serde_json::from_str::<Vec<String>>(&text).unwrap(), ["sh", "-c", "a \"b\"\n\u{1}", ""]);
    assert!(!outer().contains('#') && outer().len() < 700, "{}", outer().len());
}
