//! A host for the tests of a provider: it drives the executable as crabbox does, over its standard input
//! and output. Blocking, and strict: anything that the protocol does not allow is a panic.
//!
//! ```no_run
//! use crabbox_provider_kit::testing::Plugin;
//! use serde_json::json;
//!
//! let executable = "target/debug/crabbox-provider-mine"; // in a test: env!("CARGO_BIN_EXE_...")
//! let mut plugin = Plugin::start(executable, [("HOME", "/tmp/home")]);
//! let manifest = plugin.initialize();
//! assert_eq!(manifest["name"], "mine");
//! plugin.result("configure", json!({"config": {}}));
//! assert!(plugin.close().success());
//! ```

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crabbox_protocol::{Decoded, MAX_CHUNK, Output, PluginMessage, Stream, decode_plugin_line};
use serde_json::{Value, json};

/// How long anything may take. Long, because machines that run tests are slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// A plugin under test.
#[derive(Debug)]
pub struct Plugin {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    last: u64,
}

/// The answer to a request, and what was said before it.
#[derive(Debug, Default)]
pub struct Answer {
    /// The result, or the `error` object.
    pub outcome: Option<Result<Value, Value>>,
    /// The output that came by notification.
    pub stdout: Vec<u8>,
    /// The same of standard error.
    pub stderr: Vec<u8>,
    /// Every notification, as it came.
    pub notes: Vec<Value>,
}

impl Plugin {
    /// Starts the executable with `--stdio`, in `/`, with PATH and `environment` and nothing else.
    pub fn start<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        executable: impl AsRef<Path>,
        environment: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let mut child = Command::new(executable.as_ref())
            .arg("--stdio")
            .current_dir("/")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start `{}`: {error}", executable.as_ref().display()));
        let stdout = child.stdout.take().expect("it was asked for");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
        });
        Self { stdin: child.stdin.take(), child, lines, last: 0 }
    }

    /// The plugin's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a line as it is.
    pub fn send(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("the plugin's input is open");
        stdin.write_all(format!("{line}\n").as_bytes()).expect("the plugin reads");
    }

    /// Asks, and does not wait. Returns the request's number.
    pub fn ask(&mut self, method: &str, params: Value) -> u64 {
        self.last += 1;
        self.send(
            &json!({"jsonrpc": "2.0", "id": self.last, "method": method, "params": params}).to_string(),
        );
        self.last
    }

    /// Cancels a request, as the user.
    pub fn cancel(&mut self, request: u64) {
        let params = json!({"request": request, "reason": "user"});
        self.send(&json!({"jsonrpc": "2.0", "method": "cancel", "params": params}).to_string());
    }

    /// The next message.
    pub fn message(&mut self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("the plugin says something");
        match decode_plugin_line(line.as_bytes()) {
            Decoded::Message(_, repairs) if repairs.is_empty() => {}
            other => panic!("the plugin said `{line}`: {other:?}"),
        }
        serde_json::from_str(&line).expect("it was decoded already")
    }

    /// Waits for the answer to `request`, the only one that is under way.
    pub fn answer(&mut self, request: u64) -> Answer {
        let mut answer = Answer::default();
        while answer.outcome.is_none() {
            let message = self.message();
            if message.get("method").is_some() {
                assert_eq!(message["params"]["request"], request, "a note of another request: {message}");
                answer.note(message);
                continue;
            }
            assert_eq!(message["id"], request, "the answer to another request: {message}");
            let result = message.get("result").cloned();
            answer.outcome = Some(result.ok_or_else(|| message["error"].clone()));
        }
        answer
    }

    /// Asks and waits.
    pub fn call(&mut self, method: &str, params: Value) -> Answer {
        let request = self.ask(method, params);
        self.answer(request)
    }

    /// Asks, and expects a result.
    pub fn result(&mut self, method: &str, params: Value) -> Value {
        self.call(method, params).result()
    }

    /// Asks, and expects an error; returns the `error` object.
    pub fn error(&mut self, method: &str, params: Value) -> Value {
        self.call(method, params).error()
    }

    /// Asks who the plugin is, as a host that speaks version 1.
    pub fn initialize(&mut self) -> Value {
        self.result("initialize", json!({"versions": [1], "host": {"name": "test", "version": "0"}}))
    }

    /// Ends the plugin's input and waits until it has ended. Nothing may come that was not asked for.
    pub fn close(mut self) -> ExitStatus {
        drop(self.stdin.take());
        let status = self.wait();
        let rest: Vec<_> = self.lines.iter().collect();
        assert_eq!(rest, Vec::<String>::new(), "nothing is said after the last answer");
        status
    }

    /// Ends the plugin's input, and lets it be.
    pub fn hang_up(&mut self) {
        drop(self.stdin.take());
    }

    /// Waits until the plugin has ended.
    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let mut status = None;
        until("the plugin ends", || {
            status = child.try_wait().expect("it is our child");
            status.is_some()
        });
        status.expect("it was waited for")
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    /// The result; an error is a panic.
    pub fn result(self) -> Value {
        let outcome = self.outcome.expect("it was answered");
        outcome.unwrap_or_else(|error| panic!("a result was expected: {error}"))
    }

    /// The `error` object; a result is a panic.
    pub fn error(self) -> Value {
        self.outcome.expect("it was answered").expect_err("an error was expected")
    }

    fn note(&mut self, message: Value) {
        if let Decoded::Message(PluginMessage::Output(output), _) =
            decode_plugin_line(message.to_string().as_bytes())
        {
            let Output { stream, .. } = output;
            let bytes = output.into_bytes().expect("output is text or Base64").into_owned();
            assert!(bytes.len() <= MAX_CHUNK, "a chunk of {} bytes", bytes.len());
            match stream {
                Stream::Stdout => self.stdout.extend(bytes),
                Stream::Stderr => self.stderr.extend(bytes),
            }
        }
        self.notes.push(message);
    }
}

/// Waits until something is so, for as long as a slow machine may need.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether the process `pid` is alive. A zombie is not.
pub fn alive(pid: i32) -> bool {
    crate::processes::find(pid).expect("the process can be looked at").is_some_and(|process| process.alive)
}

/// Makes a FIFO and reads it, as the host does for output by path.
#[derive(Debug)]
pub struct Fifo {
    path: std::path::PathBuf,
    reader: std::thread::JoinHandle<Vec<u8>>,
    hold: std::fs::File,
}

impl Fifo {
    /// Makes the FIFO `path` and begins to read.
    pub fn read(path: impl Into<std::path::PathBuf>) -> Self {
        let path = path.into();
        let made = Command::new("mkfifo").arg(&path).status().expect("there is `mkfifo`");
        assert!(made.success(), "`mkfifo` makes `{}`", path.display());
        // Open both ways, so that the reader sees an end only when we let go.
        let hold = std::fs::File::options().read(true).write(true).open(&path).expect("a FIFO opens");
        let mut source = std::fs::File::open(&path).expect("a FIFO opens");
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut source, &mut bytes).expect("a FIFO can be read");
            bytes
        });
        Self { path, reader, hold }
    }

    /// What a `run` has as `stdout` or `stderr`.
    pub fn target(&self) -> Value {
        json!({"path": self.path})
    }

    /// Everything that was written. Nobody may hold the FIFO open any more.
    pub fn bytes(self) -> Vec<u8> {
        drop(self.hold);
        self.reader.join().expect("the reader ends")
    }
}
