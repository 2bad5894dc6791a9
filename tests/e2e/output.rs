//! A command's output: byte for byte, in order per stream, and live.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use crabbox_tests::{Plugin, World};

const ALL: [Plugin; 3] = [Plugin::Local, Plugin::Python, Plugin::Sh];

/// Bytes that are text in one place, no text in another, and never compress to a pattern.
fn odd_bytes(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = "text \u{2028} caf\u{e9} \u{1f980}\u{1b}[31m\0\r\n".repeat(100).into_bytes();
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes
}

#[test]
fn both_streams_arrive_byte_for_byte() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let (out, err) = (odd_bytes(3_000_000), odd_bytes(700_001));
        world.write("out", &out);
        world.write("err", &err);
        let command = "cat out & cat err >&2; wait";
        let output =
            world.crabbox(&["run", "--provider", plugin.name(), "--", "sh", "-c", command]).output().unwrap();
        assert!(output.stdout == out, "{plugin:?}: {} of {} bytes", output.stdout.len(), out.len());
        let begin = output.stderr.windows(64).position(|window| window == &err[..64]).unwrap();
        assert!(output.stderr[begin..].starts_with(&err), "{plugin:?}");
    }
}

#[test]
fn output_comes_while_the_command_runs() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let go = world.root().join("go");
        let command = format!(
            "printf 'no newline'; echo; while [ ! -e {} ]; do sleep 0.05; done; echo end",
            go.display()
        );
        let mut run = world.crabbox(&["run", "--provider", plugin.name(), "--", "sh", "-c", &command]);
        let mut run = run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(run.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "no newline\n", "{plugin:?}");
        fs::write(go, "").unwrap();
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "end\n", "{plugin:?}");
        assert!(run.wait().unwrap().success(), "{plugin:?}");
    }
}

#[test]
fn output_goes_to_whatever_stdout_is() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let run = |stdout: Stdio| {
            let mut run = world.crabbox(&["run", "--provider", plugin.name(), "--", "cat", "README.md"]);
            assert!(run.stdout(stdout).stderr(Stdio::null()).status().unwrap().success(), "{plugin:?}");
        };
        let path = world.root().join("file");
        run(File::create(&path).unwrap().into());
        assert_eq!(fs::read_to_string(&path).unwrap(), "hello\n", "{plugin:?}");
        run(File::options().append(true).open(&path).unwrap().into());
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "hello\nhello\n",
            "{plugin:?}: a file that is appended to"
        );
        run(Stdio::null());
        let (mut here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        run(Stdio::from(std::os::fd::OwnedFd::from(there)));
        let mut text = String::new();
        here.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello\n", "{plugin:?}: a socket");
    }
}

#[test]
fn a_background_process_that_holds_the_output_does_not_hold_the_run() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let (code, stdout, stderr) = world.run(&[
            "run",
            "--provider",
            plugin.name(),
            "--timeout",
            "30s",
            "--",
            "sh",
            "-c",
            "sleep 20 & echo done",
        ]);
        assert_eq!((code, stdout.as_str()), (0, "done\n"), "{plugin:?}: {stderr}");
        // On a machine that goes away with its lease it goes, too; this one stays, and `local` sees to it.
        assert!(plugin != Plugin::Local || world.processes().is_empty(), "{stderr}");
    }
}

#[test]
fn a_full_disk_is_no_reader_that_went_away() {
    if !std::path::Path::new("/dev/full").exists() {
        return crabbox_tests::skip("dev-full", "there is no /dev/full");
    }
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let arguments = ["run", "--provider", plugin.name(), "--", "sh", "-c", "echo hi; sleep 30"];
        let output = world.crabbox(&arguments).stdout(full()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{plugin:?}: {said}");
        assert!(said.contains("error: cannot write to standard output"), "{plugin:?}: {said}");
        // What crabbox itself cannot say does not matter to the command.
        let arguments = ["run", "--provider", plugin.name(), "--", "sh", "-c", "echo hi; exit 7"];
        let output = world.crabbox(&arguments).stderr(full()).output().unwrap();
        assert_eq!((output.status.code(), &*output.stdout), (Some(7), &b"hi\n"[..]), "{plugin:?}");
        assert_eq!(world.leftovers(plugin), Vec::<std::path::PathBuf>::new(), "{plugin:?}");
    }
}

#[test]
fn a_standard_error_that_nobody_reads_does_not_hold_a_lease() {
    let world = World::new();
    let mut run = world.crabbox(&["run", "--", "sh", "-c", "yes e | head -c 300000 >&2"]);
    let mut run = run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // The pipe is full now, and stays so until the user has had enough.
    std::thread::sleep(std::time::Duration::from_millis(700));
    let pid = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(130));
    assert_eq!(world.leftovers(Plugin::Local), Vec::<std::path::PathBuf>::new());
}
