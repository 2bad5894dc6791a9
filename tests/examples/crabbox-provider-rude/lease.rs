//! Leases: directories under `.rude/leases`.

use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, ExitCode, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::{lifeline, place};

/// The directory of a lease. Only what looks like an id becomes part of a path.
pub(crate) fn directory(id: &str) -> Result<PathBuf, String> {
    let hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    match id.strip_prefix("cbx_") {
        Some(rest) if rest.len() == 12 && rest.chars().all(hex) => Ok(place().join("leases").join(id)),
        _ => Err(format!("no id of a lease: {id}")),
    }
}

fn of(params: &Value) -> Result<PathBuf, String> {
    directory(params["lease"]["id"].as_str().unwrap_or_default())
}

pub(crate) fn acquire(params: &Value) -> Result<Value, String> {
    let directory = of(params)?;
    fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    Ok(json!({"lease": report(params)}))
}

/// What there is to say about a lease.
pub(crate) fn report(params: &Value) -> Value {
    json!({"ref": params["lease"]["id"], "root": of(params).unwrap_or_default()})
}

pub(crate) fn resolve(params: &Value) -> Result<Value, String> {
    Ok(match of(params)?.exists() {
        true => json!({"state": "ready", "lease": report(params)}),
        false => json!({"state": "missing"}),
    })
}

pub(crate) fn release(params: &Value) -> Result<Value, String> {
    let directory = of(params)?;
    lifeline::end_all();
    match fs::remove_dir_all(directory) {
        Ok(()) => Ok(json!({"outcome": "released"})),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(json!({"outcome": "absent"})),
        Err(error) => Err(error.to_string()),
    }
}

pub(crate) fn list() -> Result<Value, String> {
    let entries = fs::read_dir(place().join("leases")).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let rows: Vec<_> = names.map(|id| json!({"id": id, "name": id, "ref": id, "state": "ready"})).collect();
    Ok(json!({"leases": rows, "complete": true}))
}

/// Has a lease appear a while after whoever holds the other end of the pipe is gone. Nobody who ends this
/// process's group ends the one that makes it.
pub(crate) fn make_later(params: &Value, delay_ms: u64) -> io::Result<ChildStdin> {
    let own = std::env::args_os().next().unwrap_or_default();
    let id = params["lease"]["id"].as_str().unwrap_or_default();
    let mut maker = Command::new(own)
        .args(["--later", &delay_ms.to_string(), id])
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    maker.stdin.take().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
}

/// What the process that [`make_later`] starts does.
pub(crate) fn appear(delay_ms: u64, id: &str) -> ExitCode {
    let _ = io::stdin().read_to_end(&mut Vec::new());
    std::thread::sleep(Duration::from_millis(delay_ms));
    match directory(id).map(fs::create_dir_all) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
