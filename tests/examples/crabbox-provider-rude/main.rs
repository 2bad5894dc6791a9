//! A provider that misbehaves on request.
//!
//! It is written without the kit and without our own protocol crate, so that no fault of theirs hides one of
//! the host's. Where no mode says otherwise, it is a plain provider whose leases are directories.
//!
//! Everything about it is in the directory `.rude` beside the executable's name, because a mode that acts before
//! the handshake cannot come by a variable that the manifest declares:
//!
//! - `mode`: lines `WORD METHOD [NUMBER] [once]`, such as `silent run`: what to do wrong, at which request
//!   (`start`: before any), and whether only the first time;
//! - `reached`: a line for each time that it did so, for the test to see;
//! - `leases/`: the leases.

mod lease;
mod lifeline;
mod modes;
mod run;

use std::fs;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, exit};
use std::sync::Mutex;

use serde_json::{Value, json};

use modes::Modes;

/// The directory `.rude` beside this executable.
pub(crate) fn place() -> PathBuf {
    let own = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    own.parent().unwrap_or(Path::new(".")).join(".rude")
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--stdio"] => {}
        ["--later", delay, id] => return lease::appear(delay.parse().unwrap_or(0), id),
        _ => {
            let _ = writeln!(io::stderr(), "a provider that misbehaves, for the tests of crabbox");
            return ExitCode::SUCCESS;
        }
    }
    let modes = Modes::read();
    modes.at_start();
    for line in io::stdin().lock().lines() {
        let Ok(request) = line.and_then(|line| Ok(serde_json::from_str::<Value>(&line)?)) else { break };
        if request["id"].is_u64() {
            serve(&modes, &request);
        } else {
            lifeline::note(&request);
        }
    }
    lifeline::close_all();
    // The end of the input means: end now. The wrapper on the lease sees to what runs there.
    exit(0)
}

fn serve(modes: &Modes, request: &Value) {
    let method = request["method"].as_str().unwrap_or_default();
    match modes.at(method) {
        Some(mode) => {
            mode.reached();
            modes::misbehave(modes, mode, request);
        }
        None => answer(modes, method, request),
    }
}

/// Does what was asked, as it should be done.
pub(crate) fn answer(modes: &Modes, method: &str, request: &Value) {
    let params = &request["params"];
    let result = match method {
        "initialize" => Ok(manifest(modes)),
        "configure" => Ok(json!({"scope": place().join("leases")})),
        "doctor" => Ok(json!({"checks": [{"name": "rude", "status": "ok", "message": "it is"}]})),
        "acquire" => lease::acquire(params),
        "resolve" => lease::resolve(params),
        "release" => lease::release(params),
        "list" => lease::list(),
        "run" => return run::start(request),
        method => {
            let error = json!({
                "code": -32601, "message": format!("no method `{method}`"), "data": {"kind": "unsupported"},
            });
            return send(&json!({"jsonrpc": "2.0", "id": request["id"], "error": error}));
        }
    };
    respond(request, result);
}

/// What it says about itself.
pub(crate) fn manifest(modes: &Modes) -> Value {
    let all = ["configure", "doctor", "acquire", "resolve", "run", "release", "list"];
    let methods: Vec<_> = all.into_iter().filter(|method| !modes.lacks(method)).collect();
    json!({
        "protocol": 1, "name": "rude", "version": "1.0.0", "lifecycle": "leased", "methods": methods,
        "features": modes.features(), "limits": {"createSettleMs": modes.settle_ms()},
    })
}

pub(crate) fn respond(request: &Value, result: Result<Value, String>) {
    send(&match result {
        Ok(result) => json!({"jsonrpc": "2.0", "id": request["id"], "result": result}),
        Err(message) => {
            let error = json!({"code": -32000, "message": message, "data": {"kind": "internal"}});
            json!({"jsonrpc": "2.0", "id": request["id"], "error": error})
        }
    });
}

/// Sends a message, whole, whatever other threads send.
pub(crate) fn send(message: &Value) {
    write(format!("{message}\n").as_bytes());
}

/// Writes to the host. When nobody reads any more, there is nothing left to do here.
pub(crate) fn write(bytes: &[u8]) {
    static WRITING: Mutex<()> = Mutex::new(());
    let _writing = WRITING.lock();
    let mut stdout = io::stdout().lock();
    if stdout.write_all(bytes).and_then(|()| stdout.flush()).is_err() {
        exit(1);
    }
}

/// Says something on standard error.
pub(crate) fn complain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// A file of the place, as text.
pub(crate) fn read(name: &str) -> String {
    fs::read_to_string(place().join(name)).unwrap_or_default()
}
