//! What a trace does not hold, made again: the files and pipes of a request, and its command.
//!
//! What a run had on standard input is not written down, because it may hold what the user passes on. So a replay
//! has the plugin run another command: it prints what it is given and ends as the recorded one did. That shows
//! what counts: the argv and the input arrive, the output comes back byte for byte, the end is told.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crabbox_protocol::Signal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::transcript::Exchange;
use crate::provider::make_fifo;

/// The most that a file is made large.
const LARGEST: u64 = 64 * 1024;

/// How long the last of the output may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What stands in for a request's files. Gone when it is dropped.
#[derive(Debug)]
pub(super) struct StandIn {
    directory: tempfile::TempDir,
    /// What the command is given, and has to print.
    pub(super) input: Vec<u8>,
    pipes: Vec<Pipe>,
}

impl StandIn {
    /// Makes what a request names, and names it there.
    /// `places` is a directory for what the configuration names and this machine does not have.
    pub(super) fn make(exchange: &Exchange, params: &mut Value, places: &Path) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("crabbox-replay-").tempdir()?;
        let mut stand_in = Self { directory, input: Vec::new(), pipes: Vec::new() };
        let at = |name: &str| stand_in.directory.path().join(name);
        match exchange.method.as_str() {
            "run" => {
                let size = params["stdin"]["size"].as_u64().unwrap_or(0).min(LARGEST);
                let input = bytes(size);
                if params.get("stdin").is_some() {
                    params["stdin"] = file(&at("stdin"), &input)?;
                }
                params["argv"] = json!(["sh", "-c", command(exchange, size), "crabbox"]);
                if params.get("workspace").is_some() {
                    let archive = tar::Builder::new(Vec::new()).into_inner()?;
                    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                    io::Write::write_all(&mut encoder, &archive)?;
                    let format = params["workspace"]["format"].take();
                    params["workspace"] = file(&at("workspace"), &encoder.finish()?)?;
                    params["workspace"]["format"] = format;
                }
                if params.get("scratch").is_some() {
                    fs::create_dir(at("scratch"))?;
                    params["scratch"] = text(&at("scratch"));
                }
                let mut pipes = Vec::new();
                for stream in ["stdout", "stderr"] {
                    if params.get(stream).is_some() {
                        params[stream]["path"] = text(&at(stream));
                        pipes.push(Pipe::make(&at(stream))?);
                    }
                }
                (stand_in.input, stand_in.pipes) = (input, pipes);
            }
            "put" => {
                let made = file(&at("file"), &bytes(params["size"].as_u64().unwrap_or(0).min(LARGEST)))?;
                for key in ["path", "size", "sha256"] {
                    params[key] = made[key].clone();
                }
            }
            "configure" => {
                // A path of the machine that the trace was made on.
                for (key, value) in params["config"].as_object_mut().into_iter().flatten() {
                    let path = value.as_str().filter(|path| path.starts_with('/')).map(Path::new);
                    if path.is_some_and(|path| !path.exists()) {
                        *value = text(&places.join(key));
                    }
                }
            }
            _ => {}
        }
        Ok(stand_in)
    }

    /// Whether the command has begun, as far as its output by path tells.
    pub(super) fn has_printed(&self) -> bool {
        self.pipes.iter().any(|pipe| !pipe.bytes().is_empty())
    }

    /// What the command printed by path; `None` where it had no paths.
    pub(super) async fn printed(self) -> Option<Vec<u8>> {
        let mut printed = None;
        for pipe in self.pipes {
            let bytes = pipe.finish().await;
            printed.get_or_insert(bytes);
        }
        printed
    }
}

/// A command that prints its input and ends as the recorded one did.
fn command(exchange: &Exchange, size: u64) -> String {
    let print = if size > 0 { format!("head -c {size}; ") } else { String::new() };
    if exchange.cancel.is_some() {
        return format!("{print}echo; exec sleep 600");
    }
    let result = exchange.answer.as_ref().and_then(|answer| answer.as_ref().ok());
    let field = |name: &str| result.and_then(|result| result.get(name)).filter(|value| !value.is_null());
    match (field("signal"), field("exitCode")) {
        (Some(signal), _) => {
            let signal =
                serde_json::from_value::<Signal>(signal.clone()).ok().and_then(|signal| signal.number());
            format!("{print}kill -{} $$", signal.unwrap_or(15))
        }
        (None, code) => format!("{print}exit {}", code.and_then(Value::as_f64).unwrap_or(0.0)),
    }
}

/// Bytes of every value, NUL and what is not UTF-8 among them.
fn bytes(size: u64) -> Vec<u8> {
    (0..size).map(|n| (n.wrapping_mul(167) ^ (n >> 8)) as u8).collect()
}

fn text(path: &Path) -> Value {
    path.to_string_lossy().into_owned().into()
}

fn file(path: &Path, bytes: &[u8]) -> io::Result<Value> {
    fs::write(path, bytes)?;
    let sha256: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(json!({"path": text(path), "size": bytes.len(), "sha256": sha256}))
}

/// A FIFO that is read.
#[derive(Debug)]
struct Pipe {
    /// Keeps it from ending before the plugin has opened it.
    hold: File,
    bytes: Arc<Mutex<Vec<u8>>>,
    done: oneshot::Receiver<()>,
}

impl Pipe {
    fn make(path: &PathBuf) -> io::Result<Self> {
        make_fifo(path)?;
        let hold = File::options().read(true).write(true).open(path)?;
        let mut source = File::open(path)?;
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (finished, done) = oneshot::channel();
        let kept = bytes.clone();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = source.read(&mut buffer) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                // More than was sent is wrong enough.
                if kept.len() as u64 <= 2 * LARGEST {
                    kept.extend_from_slice(&buffer[..count]);
                }
            }
            let _ = finished.send(());
        });
        Ok(Self { hold, bytes, done })
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything that was written, once nobody writes any more.
    async fn finish(self) -> Vec<u8> {
        drop(self.hold);
        let _ = timeout(PATIENCE, self.done).await;
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
