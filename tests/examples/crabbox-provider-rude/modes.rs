//! What can be done wrong.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio, exit};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use serde_json::{Value, json};

use crate::{answer, complain, lease, lifeline, manifest, place, read, respond, run, send, write};

/// How to misbehave, and when.
#[derive(Debug, Default)]
pub(crate) struct Mode {
    word: String,
    method: String,
    number: u64,
    once: bool,
}

impl Mode {
    fn parse(line: &str) -> Self {
        let mut mode = Self::default();
        for (n, word) in line.split_whitespace().enumerate() {
            match (n, word) {
                (0, word) => mode.word = word.to_owned(),
                (1, method) => mode.method = method.to_owned(),
                (_, "once") => mode.once = true,
                (_, number) => mode.number = number.parse().unwrap_or(0),
            }
        }
        mode
    }

    fn line(&self) -> String {
        format!("{} {}", self.word, self.method)
    }

    fn is_over(&self) -> bool {
        self.once && read("reached").lines().any(|line| line == self.line())
    }

    /// Tells the test that it did what it was asked to.
    pub(crate) fn reached(&self) {
        let file = File::options().create(true).append(true).open(place().join("reached"));
        let told = file.and_then(|mut file| file.write_all((self.line() + "\n").as_bytes()));
        told.expect("the place can be written to");
    }
}

/// All that it does wrong.
#[derive(Debug)]
pub(crate) struct Modes(Vec<Mode>);

impl Modes {
    /// What the test asked for.
    pub(crate) fn read() -> Self {
        Self(read("mode").lines().map(Mode::parse).collect())
    }

    /// What to do wrong at this moment.
    pub(crate) fn at(&self, method: &str) -> Option<&Mode> {
        self.0.iter().find(|mode| mode.method == method && !mode.is_over())
    }

    fn has(&self, words: &[&str]) -> bool {
        self.0.iter().any(|mode| words.contains(&mode.word.as_str()))
    }

    /// What is done before anything is read.
    pub(crate) fn at_start(&self) {
        // What is ignored stays so for the program that takes this one's place.
        if self.has(&["stubborn"]) && std::env::var_os("RUDE_STUBBORN").is_none() {
            let own = std::env::args_os().next().unwrap_or_default();
            let ignore = "trap '' TERM INT HUP; exec \"$0\" --stdio";
            let error =
                Command::new("/bin/sh").args(["-c", ignore]).arg(own).env("RUDE_STUBBORN", "1").exec();
            complain(&format!("cannot start again: {error}\n"));
        }
        if let Some(mode) = self.at("start") {
            mode.reached();
            match mode.word.as_str() {
                "exit" => last_words(),
                _ => forever(),
            }
        }
    }

    /// The features that it declares.
    pub(crate) fn features(&self) -> Vec<&'static str> {
        let lifeline = self.has(&lifeline::WORDS).then_some("lifeline");
        let cancel = (self.has(&["stubborn", "deaf"]) || lifeline.is_some()).then_some("cancel");
        // Where it is the notifications that go wrong, there are no paths.
        let by_path = !self.has(&["surrogate", "both-ways", "after", "die"]);
        cancel.into_iter().chain(lifeline).chain(by_path.then_some("outputPaths")).collect()
    }

    /// How long it says that a lease may take to appear.
    pub(crate) fn settle_ms(&self) -> u64 {
        match (self.has(&["late", "unhurried"]), self.has(&["liar"])) {
            (true, _) => 5_000,
            (false, true) => 400,
            (false, false) => 0,
        }
    }

    /// Whether it leaves a method out.
    pub(crate) fn lacks(&self, method: &str) -> bool {
        self.has(&["blind"]) && method == "resolve"
    }
}

fn last_words() -> ! {
    complain("rude: \u{1b}[31mlast words\u{1b}[0m\n");
    exit(3)
}

fn forever() -> ! {
    loop {
        sleep(Duration::from_secs(60));
    }
}

/// Does wrong what was asked.
pub(crate) fn misbehave(modes: &Modes, mode: &Mode, request: &Value) {
    let method = mode.method.as_str();
    let good = || answer(modes, method, request);
    let id = &request["id"];
    match mode.word.as_str() {
        // Not answering.
        "silent" | "stubborn" => forever(),
        // It reads on, and so it ends with its input.
        "deaf" => {}
        "stop" => {
            let _ = kill_process(getpid(), Signal::STOP);
            forever()
        }
        "closed" => {
            let null = File::options().write(true).open("/dev/null").expect("there is /dev/null");
            let _ = rustix::stdio::dup2_stdout(&null);
            forever()
        }
        "exit" => last_words(),
        "abort" => std::process::abort(),
        "chatter-exit" => {
            (0..200_000).for_each(|n| complain(&format!("line {n}\n")));
            last_words()
        }
        "holder-exit" => {
            hold(true);
            exit(3)
        }
        "escapee-exit" => {
            hold(false);
            exit(3)
        }
        "junk-exit" => {
            write(b"Traceback (most recent call last):\n  KeyError: \x1b[31m'zone'\n");
            exit(3)
        }
        "half" => {
            write(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"le").as_bytes());
            exit(3)
        }
        // Answering, and more.
        "holder" => {
            hold(true);
            good();
        }
        // What it lacks, the manifest says.
        "blind" => good(),
        "junk" => {
            write("starting up ...\n\n{}\n[1,2]\n{\"level\":\"info\"}\n\u{1b}[2J\n".repeat(100).as_bytes());
            good();
        }
        "binary" => {
            let bytes: Vec<u8> =
                (0..200_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            write(&bytes);
            write(b"\n");
            good();
        }
        "twice" if method == "run" => {
            let result = run::run(request);
            respond(request, result.clone());
            respond(request, result);
        }
        "twice" => {
            good();
            good();
        }
        "drip" => drip(modes, method, request),
        "flood" => flood(mode, request, good),
        "after" => {
            respond(request, Ok(json!({"exitCode": 0})));
            run::print(request, "stdout", b"too late\n");
        }
        // Whatever the test wrote down; then the answer, or the end.
        "replay" => {
            let bytes = std::fs::read(place().join("bytes")).unwrap_or_default();
            let mut rest = &bytes[..];
            while let Some(at) = rest.windows(4).position(|part| part == b"@ID@") {
                write(&rest[..at]);
                write(id.to_string().as_bytes());
                rest = &rest[at + 4..];
            }
            write(rest);
            if mode.number == 0 {
                exit(3)
            }
            good();
        }
        // Answering something else.
        "version" => respond(request, Ok(json!({"protocol": 99, "name": "rude", "tomorrow": true}))),
        "wrong-id" => send(&json!({"jsonrpc": "2.0", "id": id.as_u64().unwrap_or(0) + 1000, "result": {}})),
        "wrong-type" => respond(request, Ok(json!(["\u{1b}[31mno", 5]))),
        "deep" => {
            let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
            write(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{open}{close}}}\n").as_bytes());
        }
        "huge" => {
            write(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":\"").as_bytes());
            (0..100).for_each(|_| write(&[b'x'; 1 << 20]));
            write(b"\"}\n");
        }
        "surrogate" => {
            let params = format!("{{\"request\":{id},\"stream\":\"stdout\",\"text\":\"a\\ud800b\"}}");
            write(format!("{{\"jsonrpc\":\"2.0\",\"method\":\"output\",\"params\":{params}}}\n").as_bytes());
            good();
        }
        "both-ways" => {
            let params = json!({"request": id, "stream": "stdout", "text": "a", "base64": "YQ=="});
            send(&json!({"jsonrpc": "2.0", "method": "output", "params": params}));
            good();
        }
        "print" => {
            run::print(request, "stdout", b"not where I was told to\n");
            good();
        }
        "code" => respond(request, Ok(json!({"exitCode": mode.number}))),
        "nothing" => respond(request, Ok(json!({}))),
        "refuse" => respond(request, Err("no room".to_owned())),
        word if lifeline::WORDS.contains(&word) => lifeline::start(request, word, mode.number.max(1)),
        "escapes" => escapes(modes, method, request),
        // What was made, and what was not.
        "lease-exit" => {
            let _ = lease::acquire(&request["params"]);
            let params = json!({"request": id, "lease": {"ref": "early", "state": {"zone": 7}}});
            send(&json!({"jsonrpc": "2.0", "method": "lease", "params": params}));
            last_words()
        }
        "late" => {
            let held = lease::make_later(&request["params"], mode.number);
            forever_with(held)
        }
        "unhurried" => {
            drop(lease::make_later(&request["params"], mode.number));
            while lease::resolve(&request["params"]).is_ok_and(|found| found["state"] == "missing") {
                sleep(Duration::from_millis(20));
            }
            let params = json!({"request": id, "lease": {"ref": request["params"]["lease"]["id"]}});
            send(&json!({"jsonrpc": "2.0", "method": "lease", "params": params}));
            good();
        }
        "liar" => {
            let nothing =
                if method == "resolve" { json!({"state": "missing"}) } else { json!({"outcome": "absent"}) };
            respond(request, Ok(nothing));
        }
        "other-id" => {
            let lease = json!({"id": "cbx_ffffffffffff", "ref": "another's", "root": "/"});
            good_as(modes, method, request, lease);
        }
        "die" => {
            run::print(request, "stdout", b"begun\n");
            last_words()
        }
        "endless" => {
            endless(request);
            respond(request, Ok(json!({"exitCode": 0})));
        }
        word => {
            complain(&format!("there is no mode `{word}`\n"));
            exit(70)
        }
    }
}

/// Keeps something open for as long as this process lives.
fn forever_with<T>(_held: T) -> ! {
    forever()
}

/// Starts a process that holds our output, in our group or in one of its own.
fn hold(in_group: bool) {
    let mut sleeper = Command::new("/bin/sleep");
    sleeper.arg("600").stdin(Stdio::null());
    if !in_group {
        sleeper.process_group(0);
    }
    let mut child = sleeper.spawn().expect("there is sleep");
    std::fs::write(place().join("holder"), child.id().to_string()).expect("the place can be written to");
    std::thread::spawn(move || child.wait());
}

/// Starts a process of our group that writes to the path of the run for as long as anybody reads.
fn endless(request: &Value) {
    let path = request["params"]["stdout"]["path"].as_str().unwrap_or("/dev/null");
    let to = File::options().write(true).open(path).expect("the host reads");
    let mut yes = Command::new("yes").stdin(Stdio::null()).stdout(to).spawn().expect("there is yes");
    std::thread::spawn(move || yes.wait());
    // By then the pipe is full, and stays so where nobody reads as fast as it writes.
    sleep(Duration::from_millis(500));
}

/// The good answer, a byte at a time.
fn drip(modes: &Modes, method: &str, request: &Value) {
    let result = match method {
        "initialize" => manifest(modes),
        "acquire" => lease::acquire(&request["params"]).unwrap_or_default(),
        "run" => json!({"exitCode": 5}),
        _ => json!({"outcome": "released"}),
    };
    let line = json!({"jsonrpc": "2.0", "id": request["id"], "result": result}).to_string() + "\r\n";
    for byte in line.bytes() {
        write(&[byte]);
        sleep(Duration::from_millis(1));
    }
    if method == "release" {
        let _ = lease::release(&request["params"]);
    }
}

/// Fills both streams, at once, with what means nothing, and answers in the end.
fn flood(mode: &Mode, request: &Value, good: impl FnOnce()) {
    let count = mode.number.max(1);
    let noise = std::thread::spawn(move || {
        let line = "\u{1b}[35mnoise\u{1b}[0m ".repeat(400) + "\n";
        (0..count * 180).for_each(|_| complain(&line));
    });
    let params = json!({"request": request["id"], "message": "working \u{1b}[5m".repeat(20), "done": 1});
    let progress = json!({"jsonrpc": "2.0", "method": "progress", "params": params});
    let unknown = json!({"jsonrpc": "2.0", "method": "$/noise", "params": ["x".repeat(500)]});
    let block = format!("{progress}\n{unknown}\nstray {}\n", "y".repeat(100));
    (0..count * 1024 * 1024 / block.len() as u64).for_each(|_| write(block.as_bytes()));
    let _ = noise.join();
    good();
}

/// The good answer with another lease in it.
fn good_as(modes: &Modes, method: &str, request: &Value, lease: Value) {
    match method {
        "acquire" => {
            let _ = lease::acquire(&request["params"]);
            respond(request, Ok(json!({"lease": lease})));
        }
        "resolve" => respond(request, Ok(json!({"state": "ready", "lease": lease}))),
        _ => answer(modes, method, request),
    }
}

/// Text that would drive a terminal, wherever there is text.
fn escapes(modes: &Modes, method: &str, request: &Value) {
    const EVIL: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\r\u{9b}31m\u{202e}evil\u{1b}[31m";
    complain(&format!("{EVIL}\n"));
    let params = json!({"request": request["id"], "message": EVIL, "phase": EVIL, "unit": EVIL, "done": 1});
    send(&json!({"jsonrpc": "2.0", "method": "progress", "params": params}));
    send(&json!({"jsonrpc": "2.0", "method": EVIL, "params": {}}));
    write(format!("{EVIL}\n").as_bytes());
    let lease = json!({"ref": EVIL, "root": lease::report(&request["params"])["root"], "message": EVIL,
                       "labels": {EVIL: EVIL}, "state": EVIL});
    let result = match method {
        "initialize" => {
            let mut manifest = manifest(modes);
            (manifest["version"], manifest["summary"]) = (EVIL.into(), EVIL.into());
            (manifest["targets"], manifest["transports"]) = (json!([EVIL]), json!([EVIL]));
            manifest["config"] = json!({"properties": {"key": {"type": "string", "description": EVIL}}});
            manifest
        }
        "configure" => json!({"scope": EVIL, "problems": [{"key": EVIL, "message": EVIL, "hint": EVIL}]}),
        "doctor" => json!({"checks": [{"name": EVIL, "status": EVIL, "message": EVIL, "hint": EVIL}]}),
        "acquire" => {
            let _ = lease::acquire(&request["params"]);
            json!({"lease": lease})
        }
        "resolve" => json!({"state": EVIL, "message": EVIL, "lease": lease, "candidates": [EVIL]}),
        "list" => json!({"leases": [{"id": EVIL, "slug": EVIL, "name": EVIL, "ref": EVIL, "state": EVIL}],
                         "complete": true}),
        "run" => json!({"signal": EVIL}),
        _ => {
            let data = json!({"kind": EVIL, "hint": EVIL, "causes": [EVIL, EVIL]});
            let error = json!({"code": -32000, "message": EVIL, "data": data});
            return send(&json!({"jsonrpc": "2.0", "id": request["id"], "error": error}));
        }
    };
    respond(request, Ok(result));
}
