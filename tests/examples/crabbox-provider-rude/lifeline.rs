//! Runs with signs of life, over a connection that outlives this process, as one to a machine far away does: what
//! holds it is nobody's child, and when this process is killed nobody closes the command's standard input.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Mutex, MutexGuard};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};

use crate::{lease, place, respond, send};

/// The words of the modes in which it sends them: `lifeline` as it should be.
pub(crate) const WORDS: [&str; 5] = ["lifeline", "mute", "hoarse", "hasty", "clinging"];

/// The far end: starts the words with what is in the FIFO `$1` on standard input, which ends only when somebody
/// sends SIGUSR1.
const KEEPER: &str = r#"fifo=$1; shift
trap 'closed=1; exec 9>&-' USR1
exec 9<>"$fifo" 8<"$fifo"
echo $$ >"$fifo.new"; mv "$fifo.new" "$fifo.pid"
"$@" <&8 8<&- 9>&- &
exec 8<&-
wait $!
code=$?
# The signal may have come before the end, or after it, when there is nothing more to wait for.
if [ "$closed" ]; then wait $!; again=$?; [ $again = 127 ] || code=$again; fi
echo $code >"$fifo.new"; mv "$fifo.new" "$fifo.code""#;

/// By request, the runs whose input is open. Dropping the sender closes it; the receiver ends when it is closed.
type Open = BTreeMap<u64, (Sender<()>, Receiver<()>)>;

fn open() -> MutexGuard<'static, Open> {
    static OPEN: Mutex<Open> = Mutex::new(BTreeMap::new());
    OPEN.lock().expect("no thread panics")
}

/// Starts a run. A thread answers it. A cancelled command is waited for so many seconds.
pub(crate) fn start(request: &Value, word: &str, patience: u64) {
    let (request, word) = (request.clone(), word.to_owned());
    let ((opened, closing), (closed, wait)) = (mpsc::channel(), mpsc::channel());
    open().insert(number_of(&request), (opened, wait));
    std::thread::spawn(move || match run(&request, &word, patience, closing, closed) {
        Ok(Some(code)) => respond(&request, Ok(json!({"exitCode": code}))),
        Ok(None) => {
            let data = json!({"kind": "cancelled", "remote": "unknown"});
            let error = json!({"code": -32000, "message": "nobody knows", "data": data});
            send(&json!({"jsonrpc": "2.0", "id": request["id"], "error": error}));
        }
        Err(error) => respond(&request, Err(error.to_string())),
    });
}

fn number_of(request: &Value) -> u64 {
    request["id"].as_u64().unwrap_or_default()
}

/// The exit code; `None` when it was cancelled and did not end.
fn run(
    request: &Value,
    word: &str,
    patience: u64,
    closing: Receiver<()>,
    closed: Sender<()>,
) -> io::Result<Option<i32>> {
    let (id, params) = (number_of(request), &request["params"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let fifo = place().join(format!("life-{}", text(&params["runId"])));
    Command::new("mkfifo").arg(&fifo).status()?;
    // A command may have ended before it is written to: until the far end has the FIFO, it is held here.
    let held = File::options().read(true).write(true).open(&fifo)?;
    let pipe = File::options().write(true).open(&fifo)?;
    let to = |stream: &str| File::options().write(true).open(text(&params[stream]["path"]));
    Command::new("/bin/sh")
        .args(["-c", "setsid sh -c \"$0\" keeper \"$@\" </dev/null &", KEEPER])
        .arg(&fifo)
        .args(params["argv"].as_array().into_iter().flatten().filter_map(Value::as_str))
        .current_dir(lease::directory(&text(&params["lease"]["id"])).map_err(io::Error::other)?)
        .stdin(Stdio::null())
        .stdout(to("stdout")?)
        .stderr(to("stderr")?)
        .status()?;
    while number(&fifo, "pid").is_none() {
        sleep(Duration::from_millis(5));
    }
    drop(held);
    let (params, word, far) = (params.clone(), word.to_owned(), fifo.clone());
    std::thread::spawn(move || {
        let _ = beat(pipe, &params, &word, &closing);
        if word != "clinging" || params["lifelineMs"].is_null() {
            hang_up(&far);
        }
        drop(closed);
    });
    let mut cancelled = None;
    let code = loop {
        if let Some(code) = number(&fifo, "code") {
            break Some(code);
        }
        if !open().contains_key(&id) {
            let since = *cancelled.get_or_insert_with(Instant::now);
            if since.elapsed() >= Duration::from_secs(patience) {
                break None;
            }
        }
        sleep(Duration::from_millis(10));
    };
    close(id);
    Ok(code)
}

/// Sends the file, and then signs of life until the run is over or cancelled.
fn beat(mut pipe: File, params: &Value, word: &str, closing: &Receiver<()>) -> io::Result<()> {
    if let Some(path) = params["stdin"]["path"].as_str() {
        io::copy(&mut File::open(path)?, &mut pipe)?;
    }
    let Some(interval) = params["lifelineMs"].as_u64().filter(|_| word != "hasty") else { return Ok(()) };
    while closing.recv_timeout(Duration::from_millis(interval)) == Err(RecvTimeoutError::Timeout) {
        match word {
            "mute" => {}
            "hoarse" => pipe.write_all(b"still here\n")?,
            _ => pipe.write_all(b"\n")?,
        }
    }
    Ok(())
}

/// Ends the standard input of a run.
fn close(id: u64) {
    let connection = open().remove(&id);
    if let Some((opened, closed)) = connection {
        drop(opened);
        let _ = closed.recv();
    }
}

/// A notification: it may be a cancel.
pub(crate) fn note(message: &Value) {
    if message["method"] == "cancel" {
        close(message["params"]["request"].as_u64().unwrap_or_default());
    }
}

/// This process is about to end.
pub(crate) fn close_all() {
    let ids: Vec<_> = open().keys().copied().collect();
    ids.into_iter().for_each(close);
}

/// A number that the far end wrote down.
fn number(fifo: &Path, what: &str) -> Option<i32> {
    fs::read_to_string(fifo.with_extension(what)).ok()?.trim().parse().ok()
}

fn keeper(fifo: &Path) -> Option<Pid> {
    Pid::from_raw(number(fifo, "pid")?)
}

fn hang_up(fifo: &Path) {
    if let Some(pid) = keeper(fifo).filter(|_| number(fifo, "code").is_none()) {
        let _ = kill_process(pid, Signal::USR1);
    }
}

/// The lease is no more: neither is what ran there.
pub(crate) fn end_all() {
    let entries = fs::read_dir(place()).into_iter().flatten().flatten();
    let fifos = entries.map(|entry| entry.path().with_extension("")).filter(|path| path.exists());
    for fifo in fifos.filter(|path: &PathBuf| number(path, "code").is_none()) {
        if let Some(pid) = keeper(&fifo) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}
