//! Signs of life: who is heard is waited for, and the run of who falls silent is ended.

use std::io::Read;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::process::ChildStdin;
use std::sync::atomic::{AtomicU8, Ordering};

use super::*;

/// A run with a lifeline.
struct Live {
    child: Child,
    /// The other end of its standard input; `None` when we are gone.
    stdin: Option<ChildStdin>,
    directory: tempfile::TempDir,
    id: RunId,
}

impl Live {
    /// Starts a text of sh, and waits until it says that it is up.
    fn start(shell: &[&str], text: &str, silence: Duration) -> Self {
        let path = std::env::var_os("PATH").unwrap();
        Self::start_with(shell, text, silence, &path, |loader| {
            // As a leader it stays the shell that it is; else `sh` takes its place.
            loader.process_group(0);
        })
    }

    fn start_with(
        shell: &[&str],
        text: &str,
        silence: Duration,
        path: &OsStr,
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        static COUNT: AtomicU8 = AtomicU8::new(100);
        let id = run_id(COUNT.fetch_add(1, Ordering::Relaxed));
        let script = run_script(
            None,
            &id,
            &BTreeMap::new(),
            &command(&["sh", "-c", text]),
            Line { silence: Some(silence), is_ssh: false },
        );
        let mut loader = loader(shell, directory.path(), path);
        prepare(&mut loader);
        let mut child = loader.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // In pieces, as a transport may.
        for piece in script.chunks(301) {
            stdin.write_all(piece).unwrap();
        }
        let mut run = Self { child, stdin: Some(stdin), directory, id };
        let mut up = [0; 3];
        run.child.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
        assert_eq!(&up, b"up\n");
        run
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// Who is at work in the run's directory, where that can be seen.
    fn processes(&self) -> Vec<String> {
        let there = self.directory.path().canonicalize().unwrap();
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let ours = processes.filter(|entry| {
            std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&there))
        });
        ours.map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default()).collect()
    }

    /// Waits for the end: the exit code, if it has one, and what it printed. Nothing of the run is left.
    fn end(mut self, shell: &[&str]) -> (Option<i32>, String) {
        wait_for("the end of the run", || self.child.try_wait().unwrap().is_some());
        let code = self.child.wait().unwrap().code();
        let mut said = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        if let Some(mut stdin) = self.stdin.take() {
            assert!(stdin.write_all(b"\n").is_err(), "{shell:?}: somebody holds its standard input");
        }
        wait_for("the end of every process", || self.processes().is_empty());
        let left: Vec<_> = std::fs::read_dir(self.file(".crabbox/runs")).unwrap().collect();
        assert!(left.is_empty(), "{shell:?}: {left:?}");
        (code, said)
    }
}

/// A test that fails leaves nothing behind.
impl Drop for Live {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.kill();
    }
}

/// Tries every shell at the same time: there is much waiting.
fn in_every_shell(test: impl Fn(&'static [&'static str]) + Sync) {
    std::thread::scope(|scope| {
        for shell in shells() {
            let test = &test;
            scope.spawn(move || test(shell));
        }
    });
}

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_secs(3);

#[test]
fn what_the_command_sends_to_its_group_does_not_make_the_wrapper_deaf() {
    for shell in shells() {
        let text = "trap '' TERM QUIT; echo up; kill -s TERM 0; kill -s QUIT 0; exec sleep 1000";
        let mut run = Live::start(shell, text, Duration::from_secs(3));
        wait_for("the end of a run without signs of life", || run.child.try_wait().unwrap().is_some());
        drop(run);
    }
}

#[test]
fn a_run_that_ends_by_itself_ends_as_without() {
    in_every_shell(|shell| {
        let run = Live::start(shell, "echo up; cat; printf 'a\\0b\\n'; echo no >&2; exit 7", LONG);
        let (code, said) = run.end(shell);
        assert_eq!((code, said.as_str()), (Some(7), "a\0b\n"), "{shell:?}");
        // What it leaves behind on purpose is left alone.
        let text = "sleep 600 >/dev/null 2>&1 & echo up; echo $!; exit 4";
        let mut run = Live::start(shell, text, LONG);
        assert_eq!(run.child.wait().unwrap().code(), Some(4), "{shell:?}");
        let mut pid = String::new();
        run.child.stdout.take().unwrap().read_to_string(&mut pid).unwrap();
        let killed = Command::new("kill").arg(pid.trim()).status().unwrap();
        assert!(killed.success(), "{shell:?}: it was ended, too");
    });
}

#[test]
fn the_end_of_input_ends_a_run_with_children_that_ignore_sigterm() {
    in_every_shell(|shell| {
        let text = "trap '' TERM HUP INT; sleep 600 & echo up; while :; do sleep 0.1; done";
        let mut run = Live::start(shell, text, LONG);
        run.stdin = None;
        assert_eq!(run.end(shell), (Some(137), String::new()), "{shell:?}");
    });
}

#[test]
fn a_command_that_ends_well_when_it_is_asked_to_keeps_its_code() {
    in_every_shell(|shell| {
        let text = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done";
        let mut run = Live::start(shell, text, LONG);
        run.stdin = None;
        assert_eq!(run.end(shell), (Some(3), "bye\n".to_owned()), "{shell:?}");
        // It is over only when all of it is.
        let slow = "trap '' TERM; sleep 1; echo last";
        let text = format!("trap 'exit 3' TERM; ({slow}) & echo up; while :; do sleep 0.1; done");
        let mut run = Live::start(shell, &text, LONG);
        run.stdin = None;
        assert_eq!(run.end(shell), (Some(3), "last\n".to_owned()), "{shell:?}");
    });
}

#[test]
fn silence_ends_a_run() {
    in_every_shell(|shell| {
        let run = Live::start(shell, "echo up; exec sleep 600", SHORT);
        assert_eq!(run.end(shell), (Some(143), String::new()), "{shell:?}");
    });
}

#[test]
fn signs_of_life_keep_a_run_and_their_absence_ends_it() {
    in_every_shell(|shell| {
        let mut run = Live::start(shell, "echo up; exec sleep 600", SHORT);
        let begun = Instant::now();
        while begun.elapsed() < SHORT * 2 {
            // Several at once are as good as one.
            run.stdin.as_mut().unwrap().write_all(b"\n\n\n").unwrap();
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(run.child.try_wait().unwrap(), None, "{shell:?}");
        assert_eq!(run.end(shell), (Some(143), String::new()), "{shell:?}");
    });
}

#[test]
fn a_kill_that_comes_while_a_run_is_being_ended_finds_it_dead() {
    in_every_shell(|shell| {
        let mut run = Live::start(shell, "trap '' TERM; echo up; while :; do sleep 0.1; done", LONG);
        run.stdin = None;
        let killed = self::run(shell, run.directory.path(), &kill_script(None, &run.id, 500));
        assert_eq!(String::from_utf8_lossy(&killed.stdout), "dead\n", "{shell:?}");
        run.end(shell);
    });
}

#[test]
fn what_cannot_lead_a_group_is_found_by_its_environment() {
    if !Path::new("/proc/self/environ").exists() {
        return;
    }
    in_every_shell(|shell| {
        let tools = tempfile::tempdir().unwrap();
        let sh = which::which(shell[0]).unwrap();
        let mut all = vec![("sh", sh.clone())];
        all.extend(["sleep", "rm", "mkdir", "mv", "grep"].map(|name| (name, which::which(name).unwrap())));
        for (name, path) in all {
            symlink(path, tools.path().join(name)).unwrap();
        }
        let shell: Vec<&str> =
            std::iter::once(sh.to_str().unwrap()).chain(shell[1..].iter().copied()).collect();
        let mut setsid = Command::new(&sh);
        setsid.args(&shell[1..]).args(["-c", "command -v setsid"]).env("PATH", tools.path());
        if setsid.output().unwrap().status.success() {
            // As some builds of busybox do, whatever is on the PATH: it leads a group.
            return;
        }
        let text = "trap '' TERM; sleep 600 & echo up; while :; do sleep 0.1; done";
        let mut run = Live::start_with(&shell, text, LONG, tools.path().as_os_str(), |_| ());
        let record = std::fs::read_to_string(run.file(".crabbox/runs").join(run.id.as_str())).unwrap();
        assert!(record.starts_with("none "), "{shell:?}: {record}");
        run.stdin = None;
        assert_eq!(run.end(&shell), (Some(137), String::new()), "{shell:?}");
    });
}
