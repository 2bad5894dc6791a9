//! A process as a run, through the smallest provider: output, cancel, what is left in the background.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod minimal;

use std::path::Path;

use crabbox_provider_kit::testing::{Fifo, alive, until};
use minimal::Conversation;
use serde_json::json;

/// A mebibyte with every kind of byte in it, the same every time.
fn noise() -> Vec<u8> {
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..1024 * 1024).map(|_| next()).collect()
}

fn pids(path: &Path) -> Vec<i32> {
    until("the command says its processes", || path.exists());
    let text = std::fs::read_to_string(path).unwrap();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

#[test]
fn output_by_notification_is_byte_exact() {
    let mut host = Conversation::start();
    let input = host.file("noise", &noise());
    let answer = host.run_with(&["sh", "-c", "tee /dev/stderr"], json!({"stdin": input}));
    assert!(answer.stdout == noise() && answer.stderr == noise(), "every byte, in order");
    assert_eq!(answer.result(), json!({"exitCode": 0}));
}

#[test]
fn output_by_path_is_byte_exact_and_nothing_is_notified() {
    let mut host = Conversation::start();
    let input = host.file("noise", &noise());
    let (stdout, stderr) = (Fifo::read(host.path("o")), Fifo::read(host.path("e")));
    let extra = json!({"stdin": input, "stdout": stdout.target(), "stderr": stderr.target()});
    let answer = host.run_with(&["sh", "-c", "cat; echo end >&2; kill -KILL $$"], extra);
    assert_eq!(answer.notes, Vec::<serde_json::Value>::new());
    assert_eq!(answer.result(), json!({"signal": "KILL"}));
    assert!(stdout.bytes() == noise(), "every byte, in order");
    assert_eq!(stderr.bytes(), b"end\n");
}

#[test]
fn text_stays_text_and_comes_while_the_command_runs() {
    let mut host = Conversation::start();
    let gate = host.path("gate");
    let script =
        format!("printf 'caf\\303'; while [ ! -e {} ]; do sleep 0.01; done; printf '\\251'", gate.display());
    let request = host.ask(&["sh", "-c", &script], json!({}));
    let note = host.plugin.message();
    assert_eq!(note["params"], json!({"request": request, "stream": "stdout", "text": "caf"}));
    std::fs::write(gate, "").unwrap();
    let answer = host.plugin.answer(request);
    assert_eq!(answer.stdout, b"\xc3\xa9");
}

#[test]
fn what_goes_to_the_background_is_not_waited_for() {
    let mut host = Conversation::start();
    let file = host.path("pid");
    for background in ["sleep 600", "yes"] {
        let script = format!("echo before; {background} & echo $! >{}", file.display());
        let answer = host.run_with(&["sh", "-c", &script], json!({}));
        assert!(answer.stdout.starts_with(b"before\n") || background == "yes");
        assert_eq!(answer.result(), json!({"exitCode": 0}));
        let pid = pids(&file)[0];
        let _ = std::process::Command::new("kill").arg(pid.to_string()).status();
    }
}

#[test]
fn a_cancel_ends_the_whole_group_and_a_code_of_its_own_survives() {
    let mut host = Conversation::start();
    let file = host.path("pids");
    let script = format!(
        "trap 'exit 3' TERM; sleep 600 & sh -c 'sleep 600 & echo $! >>{0}.new; wait' & sleep 0.2;
         echo $$ $! >>{0}.new; mv {0}.new {0}; wait",
        file.display()
    );
    let request = host.ask(&["sh", "-c", &script], json!({}));
    let pids = pids(&file);
    assert!(pids.len() == 3 && pids.iter().all(|pid| alive(*pid)), "{pids:?}");
    host.plugin.cancel(request);
    assert_eq!(host.plugin.answer(request).result(), json!({"exitCode": 3}));
    assert!(!pids.iter().any(|pid| alive(*pid)), "the answer says that all of them are dead");
}

#[test]
fn a_program_that_cannot_be_started_is_an_error_and_not_an_exit_code() {
    let mut host = Conversation::start();
    let error = host.run_with(&["/nonexistent/program"], json!({})).error();
    assert_eq!(error["message"], "cannot start `/nonexistent/program`");
    assert_eq!(
        (&error["data"]["kind"], &error["data"]["remote"]),
        (&json!("prerequisite"), &json!("absent"))
    );
    let input = json!({"path": "/nonexistent/input", "size": 0, "sha256": "0".repeat(64)});
    let error = host.run_with(&["true"], json!({"stdin": input})).error();
    assert_eq!(error["message"], "cannot open `/nonexistent/input` for the command's input");
}

#[test]
fn a_sigterm_ends_the_plugin_and_its_processes() {
    let mut host = Conversation::start();
    let file = host.path("pids");
    let script = format!("sleep 600 & echo $$ $! >{0}.new; mv {0}.new {0}; wait", file.display());
    host.ask(&["sh", "-c", &script], json!({}));
    let pids = pids(&file);
    let _ = std::process::Command::new("kill").arg(host.plugin.pid().to_string()).status();
    assert!(host.plugin.wait().success());
    until("nothing is left", || !pids.iter().any(|pid| alive(*pid)));
}
