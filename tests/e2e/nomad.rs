//! The nomad provider, from crabbox down to an agent: an emulated one always, a real one where there is one.

mod acquire;
mod broken;
mod cancel;
mod check;
mod checklist;
mod cp;
mod crash;
mod doctor;
mod ending;
mod lease;
mod protocol;
mod ready;
mod run;
mod silence;
mod sync;
mod tail;
mod template;
mod tls;
mod tokens;
mod trust;
mod values;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command};

use crabbox_tests::nomad::{Emulator, Options};
use crabbox_tests::{World, binary, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{end, spawn};

/// A world with the provider, and an agent of its own.
pub(super) struct Site {
    pub(super) world: World,
    pub(super) agent: Emulator,
}

impl Site {
    /// An agent without ACLs, and leases with the driver raw_exec.
    pub(super) fn new() -> Self {
        Self::with(Options::default())
    }

    pub(super) fn with(options: Options) -> Self {
        let site = Self { world: World::new(), agent: Emulator::with(options) };
        site.world.install(&binary("crabbox-provider-nomad"));
        site.configure(json!({}));
        site
    }

    /// Writes the user's configuration: what `changes` says, and the agent's address and raw_exec.
    pub(super) fn configure(&self, changes: Value) {
        let mut nomad = json!({"address": self.agent.address(), "driver": "raw_exec"});
        nomad.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        // JSON is YAML.
        self.world.write_config(&json!({"provider": "nomad", "nomad": nomad}).to_string());
    }

    /// crabbox with these arguments.
    pub(super) fn crabbox(&self, arguments: &[&str]) -> Command {
        self.world.crabbox(arguments)
    }

    /// Runs crabbox and returns its exit code, standard output and standard error.
    pub(super) fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        self.world.run(arguments)
    }

    /// Makes a lease called `demo`.
    pub(super) fn warm(&self) {
        let (code, _, stderr) = self.run(&["warmup", "--slug", "demo"]);
        assert_eq!(code, 0, "{stderr}");
        wait_for("the task to sleep", || sleeps(&self.agent.processes()));
    }

    /// Runs a command on `demo`, without a sync.
    pub(super) fn on_demo(&self, command: &[&str]) -> (i32, String, String) {
        self.run(&[&["run", "--id", "demo", "--no-sync", "--"], command].concat())
    }

    /// Starts a command with a shell of its own, and waits until it has said `up`.
    pub(super) fn start(&self, arguments: &[&str], script: &str) -> Running {
        self.start_by(&mut self.crabbox(arguments), script)
    }

    /// The same, with a crabbox of the test's own.
    pub(super) fn start_by(&self, crabbox: &mut Command, script: &str) -> Running {
        Running::new(spawn(crabbox.args(["--", "sh", "-c", script])))
    }

    /// Waits until no process is left on the agent but these.
    pub(super) fn only(&self, processes: &[u32]) {
        wait_for("the end of every process of the run", || self.agent.processes() == processes);
    }

    /// Nothing is left: no job, no process, no claim.
    pub(super) fn nothing_is_left(&self) {
        assert_eq!(self.agent.jobs(), Vec::<Value>::new());
        assert_eq!(self.agent.processes(), Vec::<u32>::new());
        assert_eq!(self.world.json(&["list", "--json"]), json!([]));
    }

    /// Requests with this method so far.
    pub(super) fn asked(&self, method: &str) -> usize {
        self.agent.requests().iter().filter(|request| request.method == method).count()
    }
}

/// A crabbox whose command is up.
pub(super) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    fn new(mut child: Child) -> Self {
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        if line != "up\n" {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("{line}{said}");
        }
        Self { child, stdout }
    }

    /// Sends crabbox a signal.
    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end: the exit code, the rest of standard output, and standard error.
    pub(super) fn end(self) -> (i32, String, String) {
        let Self { child, mut stdout } = self;
        let reader = std::thread::spawn(move || {
            let mut rest = Vec::new();
            stdout.read_to_end(&mut rest).unwrap();
            String::from_utf8_lossy(&rest).into_owned()
        });
        let (code, _, stderr) = end(child);
        (code, reader.join().unwrap(), stderr)
    }

    /// The same, while nobody reads standard output.
    pub(super) fn end_unread(self) -> (i32, String) {
        let Self { child, stdout } = self;
        let (code, _, stderr) = end(child);
        drop(stdout);
        (code, stderr)
    }
}

/// Whether a lease's task sleeps, which it does a moment after it was said to run. Until then nobody knows what
/// processes it has.
pub(crate) fn sleeps(processes: &[u32]) -> bool {
    let words = |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    processes.iter().any(|pid| words(pid).ends_with(b"sleep\x003600\0"))
}

/// Asks an agent for something, as somebody else would, and returns when it has answered.
pub(super) fn ask(agent: &Emulator, method: &str, path: &str) {
    let mut stream = TcpStream::connect(("127.0.0.1", agent.port())).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
