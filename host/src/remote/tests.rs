//! The scripts under every shell that this machine has.

mod lifeline;

use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::testing::shells;

/// Starts the loader with a script on standard input, as a provider would.
fn start(shell: &[&str], directory: &Path, script: &[u8]) -> Child {
    let mut child = loader(shell, directory, &std::env::var_os("PATH").unwrap()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script).unwrap();
    child
}

/// The loader, which waits for its script.
fn loader(shell: &[&str], directory: &Path, path: &OsStr) -> Command {
    let argv = argv();
    let mut command = Command::new(shell[0]);
    command
        .args(&shell[1..])
        .args(&argv[1..])
        .current_dir(directory)
        .env_clear()
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(shell: &[&str], directory: &Path, script: &[u8]) -> Output {
    start(shell, directory, script).wait_with_output().unwrap()
}

fn run_id(n: u8) -> RunId {
    // Unique on this machine: two runs with one id would end each other.
    let pid = std::process::id().to_be_bytes();
    RunId::from_bytes([pid[0], pid[1], pid[2], pid[3], n, rand()])
}

fn rand() -> u8 {
    let mut byte = [0];
    getrandom::fill(&mut byte).unwrap();
    byte[0]
}

fn command(words: &[&str]) -> UserCommand {
    UserCommand::Argv(words.iter().map(OsString::from).collect())
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn words_and_environment_arrive_byte_for_byte() {
    let odd: &[&[u8]] =
        &[b"", b"a b", b"it's", b"\n", b"x\n\n", b"\\n", b"$HOME`id`", b"\xff\xfe", b"-n", b"#crabbox-end"];
    for shell in shells() {
        let directory = tempfile::tempdir().unwrap();
        let mut words: Vec<OsString> = ["printf", "[%s]"].map(OsString::from).to_vec();
        words.extend(odd.iter().map(|word| OsString::from_vec(word.to_vec())));
        let env = BTreeMap::from([("V".to_owned(), OsString::from_vec(b"q'\n\xff$x".to_vec()))]);
        let output = run(
            shell,
            directory.path(),
            &run_script(None, &run_id(1), &env, &UserCommand::Argv(words), Line::default()),
        );
        let expected: Vec<u8> = odd.iter().flat_map(|word| [b"[", *word, b"]"].concat()).collect();
        assert_eq!(output.stdout, expected, "{shell:?}: {}", String::from_utf8_lossy(&output.stderr));
        let script = run_script(
            None,
            &run_id(2),
            &env,
            &command(&["sh", "-c", "printf %s \"$V\"; cat; pwd"]),
            Line::default(),
        );
        let output = run(shell, directory.path(), &script);
        let mut expected = b"q'\n\xff$x".to_vec();
        let workspace = directory.path().canonicalize().unwrap().join("ws");
        expected.extend_from_slice(format!("{}\n", workspace.display()).as_bytes());
        assert_eq!(output.stdout, expected, "{shell:?}");
    }
}

#[test]
fn a_script_that_was_cut_off_does_nothing() {
    for shell in shells() {
        let directory = tempfile::tempdir().unwrap();
        for script in [&b"echo never\n"[..], b"echo never\n#crabbox-en", b"echo never", b""] {
            let output = run(shell, directory.path(), script);
            assert_eq!((output.stdout.as_slice(), output.status.code()), (&b""[..], Some(125)), "{shell:?}");
        }
    }
}

#[test]
fn the_exit_code_is_the_commands_own() {
    for shell in shells() {
        let directory = tempfile::tempdir().unwrap();
        for (words, code) in [
            (&["true"][..], 0),
            (&["sh", "-c", "exit 7"], 7),
            (&["no-such-command-anywhere"], 127),
            (&["sh", "-c", "kill -9 $$"], 137),
            (&["sh", "-c", "kill -15 $$"], 143),
        ] {
            let output = run(
                shell,
                directory.path(),
                &run_script(None, &run_id(3), &BTreeMap::new(), &command(words), Line::default()),
            );
            assert_eq!(output.status.code(), Some(code), "{shell:?} {words:?}");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(said.is_empty(), code != 127, "{shell:?} {words:?}: {said}");
        }
        let left: Vec<_> = std::fs::read_dir(directory.path().join(".crabbox/runs")).unwrap().collect();
        assert!(left.is_empty(), "{shell:?}: {left:?}");
        let script = run_script(
            None,
            &run_id(4),
            &BTreeMap::new(),
            &UserCommand::Shell("a=4; exit $((a + 1))".into()),
            Line::default(),
        );
        assert_eq!(run(shell, directory.path(), &script).status.code(), Some(5), "{shell:?}");
    }
}

#[test]
fn a_run_is_killed_with_its_children_and_keeps_the_code_it_chose() {
    for shell in shells() {
        let directory = tempfile::tempdir().unwrap();
        let id = run_id(5);
        let text = "trap 'exit 3' TERM; (sleep 60 & sleep 60 & wait) & echo up; while :; do sleep 0.1; done";
        let mut child = start(
            shell,
            directory.path(),
            &run_script(None, &id, &BTreeMap::new(), &command(&["sh", "-c", text]), Line::default()),
        );
        let record = directory.path().join(".crabbox/runs").join(id.as_str());
        wait_for("the record", || record.exists());
        let killed = run(shell, directory.path(), &kill_script(None, &id, 20_000));
        assert_eq!(String::from_utf8_lossy(&killed.stdout), "dead\n", "{shell:?}");
        assert!(matches!(child.wait().unwrap().code(), Some(3 | 143)), "{shell:?}");
        let again = run(shell, directory.path(), &kill_script(None, &id, 20_000));
        assert_eq!(String::from_utf8_lossy(&again.stdout), "absent\n", "{shell:?}");
    }
}

#[test]
fn a_command_that_ignores_sigterm_is_killed_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let id = run_id(6);
    let script = run_script(
        None,
        &id,
        &BTreeMap::new(),
        &command(&["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]),
        Line::default(),
    );
    let mut child = start(&["sh"], directory.path(), &script);
    wait_for("the record", || directory.path().join(".crabbox/runs").join(id.as_str()).exists());
    let killed = run(&["sh"], directory.path(), &kill_script(None, &id, 200));
    assert_eq!(String::from_utf8_lossy(&killed.stdout), "dead\n");
    assert!(!child.wait().unwrap().success());
}

#[test]
fn a_run_ends_itself_when_what_started_it_is_gone() {
    for shell in shells() {
        let directory = tempfile::tempdir().unwrap();
        let id = run_id(7);
        let flag = directory.path().join("alive");
        let text = format!("while :; do touch {}; sleep 0.1; done", flag.display());
        let script = run_script(None, &id, &BTreeMap::new(), &command(&["sh", "-c", &text]), Line::default());
        std::fs::write(directory.path().join("script"), script).unwrap();
        // A shell between us and the loader, which is killed.
        let mut between = Command::new("sh")
            .args(["-c", "d=$0; shift 0; cd \"$d\"; \"$@\" <script & wait"])
            .arg(directory.path())
            .args(shell)
            .args(&argv()[1..])
            .spawn()
            .unwrap();
        wait_for("the command", || flag.exists());
        between.kill().unwrap();
        between.wait().unwrap();
        wait_for("its end", || {
            let _ = std::fs::remove_file(&flag);
            std::thread::sleep(Duration::from_millis(500));
            !flag.exists()
        });
    }
}
