//! What a command gets, and what comes back of it.
#![expect(clippy::unwrap_used, reason = "a test may")]

#[expect(dead_code, reason = "the other tests need more of it")]
mod machine;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crabbox_provider_kit::testing::{Fifo, Plugin};
use machine::{LEASE, Machine, lease, run_id};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A mebibyte with every kind of byte in it, NUL and what is not UTF-8 among them.
fn noise() -> Vec<u8> {
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..1024 * 1024).map(|_| next()).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn file(path: &Path, content: &[u8]) -> Value {
    fs::write(path, content).unwrap();
    json!({"path": path, "size": content.len(), "sha256": sha256(content)})
}

#[test]
fn a_command_runs_in_the_directory_of_its_lease() {
    let mut machine = Machine::with_lease();
    let answer = machine.run(&["sh", "-c", "pwd -P; cat; echo oops >&2; exit 7"], json!({}));
    let directory = machine.directory().canonicalize().unwrap();
    assert_eq!(String::from_utf8(answer.stdout.clone()).unwrap(), format!("{}\n", directory.display()));
    assert_eq!(answer.stderr, b"oops\n");
    assert_eq!(answer.result(), json!({"exitCode": 7}));
    let killed = machine.run(&["sh", "-c", "kill -TERM $$"], json!({}));
    assert_eq!(killed.result(), json!({"signal": "TERM"}));
}

#[test]
fn a_command_gets_a_small_environment() {
    let home = tempfile::tempdir().unwrap();
    let executable = env!("CARGO_BIN_EXE_crabbox-provider-local");
    let path = std::env::var("PATH").unwrap();
    let kept = [
        ("HOME", home.path().to_str().unwrap()),
        ("USER", "u"),
        ("LOGNAME", "u"),
        ("SHELL", "/bin/sh"),
        ("LANG", "C"),
        ("LC_TIME", "C"),
        ("TZ", "UTC"),
        ("TMPDIR", "/tmp"),
    ];
    let withheld = [("SECRET_TOKEN", "hunter2"), ("XDG_STATE_HOME", "/s"), ("LD_DEBUG_OUTPUT", "/x")];
    let mut plugin = Plugin::start(executable, kept.into_iter().chain(withheld));
    plugin.result("configure", json!({"config": {"root": home.path().join("leases")}}));
    plugin.result("acquire", json!({"lease": lease(LEASE), "keep": false}));
    let run = run_id();
    let answer = plugin.call("run", json!({"lease": lease(LEASE), "runId": run, "argv": ["env"]}));
    let text = String::from_utf8(answer.stdout).unwrap();
    let mut lines: Vec<_> = text.lines().filter(|line| !line.starts_with("_=")).collect();
    lines.sort_unstable();
    let run = format!("CRABBOX_RUN_ID={run}");
    let mut expected: Vec<_> = kept.iter().map(|(name, value)| format!("{name}={value}")).collect();
    expected.extend([format!("PATH={path}"), run]);
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn output_by_notification_is_byte_exact() {
    let mut machine = Machine::with_lease();
    let input = file(&machine.path("noise"), &noise());
    let answer = machine.run(&["sh", "-c", "tee /dev/stderr"], json!({"stdin": input}));
    assert!(answer.stdout == noise() && answer.stderr == noise(), "every byte, in order");
    assert_eq!(answer.result(), json!({"exitCode": 0}));
}

#[test]
fn output_by_path_is_byte_exact() {
    let mut machine = Machine::with_lease();
    let input = file(&machine.path("noise"), &noise());
    let (stdout, stderr) = (Fifo::read(machine.path("o")), Fifo::read(machine.path("e")));
    let extra = json!({"stdin": input, "stdout": stdout.target(), "stderr": stderr.target()});
    let answer = machine.run(&["sh", "-c", "tee /dev/stderr; exit 3"], extra);
    assert_eq!(answer.notes, Vec::<Value>::new());
    assert_eq!(answer.result(), json!({"exitCode": 3}));
    assert!(stdout.bytes() == noise() && stderr.bytes() == noise(), "every byte, in order");
}

#[test]
fn several_requests_are_under_way_at_once() {
    let mut machine = Machine::with_lease();
    let gate = machine.path("gate");
    let script = format!("while [ ! -e {} ]; do sleep 0.01; done; exit 4", gate.display());
    let waiting = machine.ask(&run_id(), &["sh", "-c", &script], json!({}));
    // Answered while the first still runs.
    assert_eq!(machine.state(LEASE), "ready");
    fs::write(gate, "").unwrap();
    assert_eq!(machine.plugin.answer(waiting).result(), json!({"exitCode": 4}));
}

#[test]
fn a_run_without_its_lease_or_program_never_began() {
    let mut machine = Machine::new();
    let error = machine.run(&["true"], json!({})).error();
    assert_eq!((&error["data"]["kind"], &error["data"]["remote"]), (&json!("notFound"), &json!("absent")));
    machine.acquire(LEASE);
    let error = machine.run(&["no-such-program"], json!({})).error();
    assert_eq!(
        (&error["data"]["kind"], &error["data"]["remote"]),
        (&json!("prerequisite"), &json!("absent"))
    );
    let error = machine.run(&[], json!({})).error();
    assert_eq!(error["data"]["kind"], "internal");
}

#[test]
fn a_file_is_placed_whole_or_not_at_all() {
    let mut machine = Machine::with_lease();
    let content = noise();
    let FileParams { params, path } = FileParams::new(&machine, &content);
    let put = |machine: &mut Machine, to: Value, changes: Value| {
        let mut params = params.clone();
        params["to"] = to;
        params.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        machine.plugin.call("put", params)
    };
    assert_eq!(put(&mut machine, json!("in/here/file"), json!({})).result(), json!({}));
    let placed = machine.directory().join("in/here/file");
    assert!(fs::read(&placed).unwrap() == content);
    assert_eq!(fs::metadata(&placed).unwrap().permissions().mode() & 0o7777, 0o750);
    let absolute = machine.path("absolute");
    assert_eq!(put(&mut machine, json!(absolute), json!({"mode": 0o4600})).result(), json!({}));
    assert_eq!(fs::metadata(&absolute).unwrap().permissions().mode() & 0o7777, 0o600);
    for wrong in [json!({"size": 3}), json!({"sha256": "0".repeat(64)})] {
        let error = put(&mut machine, json!("in/here/file"), wrong).error();
        assert_eq!(error["data"]["kind"], "conflict");
    }
    assert!(fs::read(&placed).unwrap() == content, "the old file is still there");
    assert_eq!(fs::read_dir(placed.parent().unwrap()).unwrap().count(), 1, "and nothing else");
    put(&mut machine, json!("../up"), json!({})).error();
    fs::remove_file(path).unwrap();
    // The host's file is missing, not the lease.
    assert_eq!(put(&mut machine, json!("x"), json!({})).error()["data"]["kind"], "prerequisite");
    fs::remove_dir_all(machine.directory()).unwrap();
    assert_eq!(put(&mut machine, json!("x"), json!({})).error()["data"]["kind"], "notFound");
}

/// The parameters of a `put`, without `to`.
struct FileParams {
    params: Value,
    path: std::path::PathBuf,
}

impl FileParams {
    fn new(machine: &Machine, content: &[u8]) -> Self {
        let path = machine.path("source");
        let mut params = file(&path, content);
        params["lease"] = lease(LEASE);
        params["mode"] = json!(0o750);
        Self { params, path }
    }
}
