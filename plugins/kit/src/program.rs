//! A program of this machine that a provider asks something: the command-line tool of a backend.

use std::ffi::{OsStr, OsString};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::error::Doing as _;
use crate::group;
use crate::{Error, Result};

/// How long a program may take where nobody says otherwise.
const DEADLINE: Duration = Duration::from_secs(30);

/// The most that a program may say on standard output.
const LONGEST: usize = 32 * 1024 * 1024;

/// How much is kept of what it says on standard error: the end.
const KEPT: usize = 64 * 1024;

/// How many lines wait for somebody to read them; the others are in the whole output only.
const WAITING: usize = 64;

/// How long a program's output may stay open when it has ended.
const OPEN: Duration = Duration::from_secs(2);

/// Becomes the program, with nothing on standard input. Beside it, in the same group, waits a process for the end
/// of what was standard input, which comes when the provider lets go of it or dies, and ends the group.
const WATCHED: &str = "exec 3<&0 </dev/null\n\
                       ( read -r _ <&3; kill -KILL 0 ) >/dev/null 2>&1 &\n\
                       exec \"$@\" 3<&-";

/// A program to be run for what it says.
///
/// It has no standard input, so that it fails where it would ask a question; it leads a process group of its own;
/// and whatever happens to the provider, SIGKILL included, nothing of that group outlives it.
#[derive(Debug)]
pub struct Program {
    name: String,
    path: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    deadline: Duration,
}

/// A program that runs.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    group: Pid,
    /// Closed, it ends the group.
    life: Option<ChildStdin>,
    deadline: Duration,
    until: Instant,
    lines: mpsc::Receiver<String>,
    stdout: JoinHandle<Vec<u8>>,
    stderr: JoinHandle<Vec<u8>>,
}

/// What a program said, and how it ended.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// Everything that it wrote on standard output.
    pub stdout: Vec<u8>,
    /// The last 64 KiB of what it wrote on standard error.
    pub stderr: Vec<u8>,
}

impl Program {
    /// The program at `path`, called `name` in errors. A path without a slash is looked for on PATH.
    pub fn new(name: impl Into<String>, path: impl Into<OsString>) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            deadline: DEADLINE,
        }
    }

    /// Further arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// A variable, besides those of the provider itself.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// How long it may take. Default: 30 s.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// `prerequisite` when there is no shell to start it with. That the program itself is not there is an exit code
    /// of 127.
    pub fn start(self) -> Result<Running> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(WATCHED).arg("sh").arg(&self.path).args(&self.arguments);
        command.envs(self.environment).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let what = || format!("start `{}`", self.name);
        let mut child = command.spawn().doing(what)?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take(), group);
        let (Some(life), Some(stdout), Some(stderr), Some(group)) = streams else {
            return Err(Error::internal(format!("cannot {}: it has no streams", what())));
        };
        let (sender, lines) = mpsc::channel(WAITING);
        Ok(Running {
            name: self.name,
            child,
            group,
            life: Some(life),
            deadline: self.deadline,
            until: Instant::now() + self.deadline,
            lines,
            // One byte more than is allowed shows that it is too much.
            stdout: tokio::spawn(read(stdout, sender.clone(), Keep::First(LONGEST + 1))),
            stderr: tokio::spawn(read(stderr, sender, Keep::Last(KEPT))),
        })
    }

    /// Runs it to its end.
    ///
    /// # Errors
    ///
    /// Those of [`start`](Self::start) and [`Running::end`].
    pub async fn output(self) -> Result<Ended> {
        self.start()?.end().await
    }
}

impl Running {
    /// The next line that it says on either stream, without the line's end; `None` when it has ended, or has to.
    /// Of a program that says more than anybody reads, lines are left out.
    pub async fn line(&mut self) -> Option<String> {
        tokio::select! {
            biased;
            Some(line) = self.lines.recv() => Some(line),
            () = sleep_until(self.until) => None,
            _ = self.child.wait() => None,
        }
    }

    /// Waits for its end. What it left running in its group is ended.
    ///
    /// # Errors
    ///
    /// `deadline` when it took too long, and was killed; `provider` when it said more than 32 MiB.
    pub async fn end(mut self) -> Result<Ended> {
        let Ok(status) = timeout_at(self.until, self.child.wait()).await else {
            let seconds = self.deadline.as_secs();
            return Err(Error::deadline(format!("`{}` has not ended within {seconds} s", self.name)));
        };
        let status = status.doing(|| format!("wait for `{}`", self.name))?;
        drop(self.life.take());
        let mut said = Vec::new();
        for stream in [&mut self.stdout, &mut self.stderr] {
            let Ok(bytes) = timeout(OPEN, stream).await else {
                let message = format!("`{}` has ended, and something holds its output open", self.name);
                return Err(Error::internal(message));
            };
            said.push(bytes.map_err(|error| Error::internal("output was lost").cause(error))?);
        }
        let (stderr, stdout) = (said.pop().unwrap_or_default(), said.pop().unwrap_or_default());
        if stdout.len() > LONGEST {
            return Err(Error::provider(format!("`{}` said more than {LONGEST} bytes", self.name)));
        }
        Ok(Ended { status, stdout, stderr })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Once the life line is gone the group may be, too, and its number somebody else's.
        if self.life.is_some() {
            group::signal(self.group, Signal::KILL);
        }
        self.stdout.abort();
        self.stderr.abort();
    }
}

/// Which part of a stream is kept.
#[derive(Debug, Clone, Copy)]
enum Keep {
    First(usize),
    Last(usize),
}

/// Reads a stream to its end and passes its lines on.
async fn read(mut stream: impl AsyncRead + Unpin, lines: mpsc::Sender<String>, keep: Keep) -> Vec<u8> {
    let (mut all, mut line, mut buffer) = (Vec::new(), Vec::new(), vec![0; 16 * 1024]);
    // An error is an end: what the program meant, its exit code says.
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let new = &buffer[..count];
        for part in new.split_inclusive(|byte| *byte == b'\n') {
            let room = 1024_usize.saturating_sub(line.len());
            line.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                let text = String::from_utf8_lossy(&line);
                // Nobody waits for lines that nobody reads.
                _ = lines.try_send(text.trim_end_matches(['\n', '\r']).to_owned());
                line.clear();
            }
        }
        match keep {
            Keep::First(limit) => all.extend_from_slice(&new[..count.min(limit - all.len())]),
            Keep::Last(limit) => {
                all.extend_from_slice(new);
                all.drain(..all.len().saturating_sub(limit));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{alive, until};
    use crabbox_protocol::ErrorKind;

    fn shell(script: &str) -> Program {
        Program::new("script", "/bin/sh").args(["-c", script])
    }

    #[tokio::test]
    async fn streams_are_apart_and_there_is_no_input() {
        let script = "cat; echo out; echo err >&2; echo \"$EXTRA\"; exit 3";
        let ended = shell(script).env("EXTRA", "more").output().await.unwrap();
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!((&*ended.stdout, &*ended.stderr), (&b"out\nmore\n"[..], &b"err\n"[..]));
        let absent = Program::new("x", "/nonexistent/x").output().await.unwrap();
        assert_eq!(absent.status.code(), Some(127));
    }

    #[tokio::test]
    async fn lines_come_while_it_runs() {
        let mut running = shell("echo one; sleep 600").start().unwrap();
        assert_eq!(running.line().await.as_deref(), Some("one"));
        let mut running = shell("echo two >&2; exit 1").start().unwrap();
        while let Some(line) = running.line().await {
            assert_eq!(line, "two");
        }
        assert_eq!(running.end().await.unwrap().stderr, b"two\n");
    }

    #[tokio::test]
    async fn nothing_of_it_outlives_its_deadline_its_end_or_whoever_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pids");
        let tree = |rest: &str| format!("sleep 600 & echo $$ $! >{}; {rest}", path.display());
        let pids = || {
            until("the script says its processes", || {
                std::fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n'))
            });
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            text.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<i32>>()
        };
        let gone = |pids: Vec<i32>| until("they end", || !pids.iter().any(|pid| alive(*pid)));

        let late = shell(&tree("wait")).deadline(Duration::from_millis(300)).output().await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Deadline);
        gone(pids());

        // The one in the background holds the output open.
        assert!(shell(&tree("exit 0")).output().await.unwrap().status.success());
        gone(pids());

        let running = shell(&tree("wait")).start().unwrap();
        let tree = pids();
        assert!(tree.iter().all(|pid| alive(*pid)));
        drop(running);
        gone(tree);
    }

    #[tokio::test]
    async fn much_output_is_whole_and_of_errors_the_end_is_kept() {
        let script = "head -c 3000000 /dev/zero; head -c 100000 /dev/zero >&2; echo end >&2";
        let ended = shell(script).output().await.unwrap();
        assert_eq!(ended.stdout.len(), 3_000_000);
        assert!(ended.stderr.len() == KEPT && ended.stderr.ends_with(b"end\n"));
    }
}
