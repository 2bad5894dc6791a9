//! `CRABBOX_PLUGIN_TRACE`: everything that host and plugins say to each other, written down.
//!
//! One JSON object a line, appended. Secrets are taken out by value. A trace that cannot be written is one
//! warning and never fails anything.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Env;
use crate::output::{self, warn};

/// The variable that names the file.
const VARIABLE: &str = "CRABBOX_PLUGIN_TRACE";

/// What stands in the place of a secret.
const REDACTED: &str = "[redacted]";

/// The shortest value that is taken out: a shorter one would only mangle what is said.
const SHORTEST: usize = 6;

/// One line of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Milliseconds since this crabbox began.
    #[serde(default)]
    pub(crate) at: u64,
    /// The provider's name.
    pub(crate) plugin: String,
    /// Which of its processes: any text that no other has.
    pub(crate) session: String,
    /// Who said it.
    pub(crate) dir: Direction,
    /// What was said: a line without its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<String>,
    /// The same in Base64, where it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base64: Option<String>,
}

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    /// The host, on the plugin's standard input.
    Host,
    /// The plugin, on its standard output.
    Plugin,
    /// The plugin, on its standard error.
    Stderr,
}

#[derive(Debug)]
struct Trace {
    began: Instant,
    /// Gone once it cannot be written to.
    file: Mutex<Option<File>>,
}

static TRACE: OnceLock<Trace> = OnceLock::new();

/// Values that are not secret enough to be kept from the user, and are kept out of traces.
static PRIVATE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Begins a trace, if the user asks for one.
pub(crate) fn begin(env: &Env) {
    let Some(path) = env.get(VARIABLE).filter(|path| !path.is_empty()) else { return };
    let path = env.cwd().join(path);
    match OpenOptions::new().append(true).create(true).mode(0o600).open(&path) {
        Ok(file) => drop(TRACE.set(Trace { began: Instant::now(), file: Mutex::new(Some(file)) })),
        Err(error) => warn(format!("nothing is traced: cannot write `{}`: {error}", path.display())),
    }
}

/// Keeps a value out of the trace.
pub(crate) fn hide(value: &str) {
    if TRACE.get().is_some() && value.len() >= SHORTEST {
        PRIVATE.lock().unwrap_or_else(PoisonError::into_inner).push(value.to_owned());
    }
}

/// What one process of a plugin's and the host say to each other.
#[derive(Debug, Clone)]
pub(crate) struct Track {
    plugin: String,
    session: String,
}

impl Track {
    /// Begins to write down what is said; `None` where nobody asked for it.
    pub(super) fn begin(plugin: &str) -> Option<Self> {
        TRACE.get()?;
        let mut id = [0; 4];
        // Two sessions of one name are read as one: no reason to fail.
        let _ = getrandom::fill(&mut id);
        let session = id.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self { plugin: plugin.to_owned(), session })
    }

    /// Writes lines down.
    pub(super) fn record(&self, dir: Direction, lines: &[u8]) {
        let Some(trace) = TRACE.get() else { return };
        let mut file = trace.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = file.as_mut() else { return };
        let at = u64::try_from(trace.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let secrets = secrets();
        for line in lines.strip_suffix(b"\n").unwrap_or(lines).split(|byte| *byte == b'\n') {
            let (line, base64) = match String::from_utf8(without(line, &secrets)) {
                Ok(line) => (Some(line), None),
                Err(error) => (None, Some(BASE64_STANDARD.encode(error.as_bytes()))),
            };
            let (plugin, session) = (self.plugin.clone(), self.session.clone());
            let entry = Entry { at, plugin, session, dir, line, base64 };
            // In one piece, so that two crabboxes can write to one file.
            let written = serde_json::to_string(&entry).map_err(std::io::Error::from);
            if let Err(error) = written.and_then(|text| open.write_all((text + "\n").as_bytes())) {
                warn(format!("the trace ends here: {error}"));
                *file = None;
                return;
            }
        }
    }
}

/// All that no trace may hold, the longest first, so that no part of one is left.
fn secrets() -> Vec<String> {
    let mut secrets = output::hidden();
    secrets.extend_from_slice(&PRIVATE.lock().unwrap_or_else(PoisonError::into_inner));
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.dedup();
    secrets
}

/// A line without the secrets in it, also where JSON has escaped them or Base64 holds them.
fn without(line: &[u8], secrets: &[String]) -> Vec<u8> {
    if secrets.is_empty() {
        return line.to_vec();
    }
    let mut clean = line.to_vec();
    for secret in secrets {
        clean = replaced(&clean, secret.as_bytes());
    }
    let Ok(mut value) = serde_json::from_slice::<Value>(&clean) else { return clean };
    if clean_value(&mut value, secrets) { value.to_string().into_bytes() } else { clean }
}

fn replaced(bytes: &[u8], secret: &[u8]) -> Vec<u8> {
    let mut clean = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = memchr::memmem::find(rest, secret) {
        clean.extend_from_slice(&rest[..at]);
        clean.extend_from_slice(REDACTED.as_bytes());
        rest = &rest[at + secret.len()..];
    }
    clean.extend_from_slice(rest);
    clean
}

/// Takes secrets out of every text in a value, and says whether there were any.
fn clean_value(value: &mut Value, secrets: &[String]) -> bool {
    match value {
        Value::String(text) => {
            let clean = secrets.iter().fold(text.clone(), |text, secret| text.replace(secret, REDACTED));
            let found = clean != *text;
            *text = clean;
            found
        }
        Value::Array(items) => {
            let mut found = false;
            for item in items {
                found |= clean_value(item, secrets);
            }
            found
        }
        Value::Object(map) => {
            let mut found = false;
            for (key, value) in map.iter_mut() {
                found |= clean_value(value, secrets);
                if key == "base64" {
                    found |= clean_base64(value, secrets);
                }
            }
            let keys: Vec<_> = map.keys().cloned().collect();
            for key in keys {
                let clean = secrets.iter().fold(key.clone(), |key, secret| key.replace(secret, REDACTED));
                if clean != key {
                    let value = map.remove(&key).unwrap_or_default();
                    map.insert(clean, value);
                    found = true;
                }
            }
            found
        }
        _ => false,
    }
}

fn clean_base64(value: &mut Value, secrets: &[String]) -> bool {
    let Some(bytes) = value.as_str().and_then(|text| BASE64_STANDARD.decode(text).ok()) else { return false };
    let clean = secrets.iter().fold(bytes.clone(), |bytes, secret| replaced(&bytes, secret.as_bytes()));
    let found = clean != bytes;
    if found {
        *value = Value::String(BASE64_STANDARD.encode(clean));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_however_they_are_written() {
        let secrets = ["s3cr3t-token-long", "s3cr3t-token", "with \"quotes\" ü"].map(str::to_owned);
        let clean = |line: &str| String::from_utf8(without(line.as_bytes(), &secrets)).unwrap();
        assert_eq!(clean("401 for s3cr3t-token-long\u{1b}"), "401 for [redacted]\u{1b}");
        assert_eq!(clean(r#"{"a": "x s3cr3t-token y"}"#), r#"{"a": "x [redacted] y"}"#);
        assert_eq!(clean(r#"{"a":["s3cr3t\u002dtoken"]}"#), r#"{"a":["[redacted]"]}"#);
        assert_eq!(clean(r#"{"a":"with \"quotes\" \u00fc"}"#), r#"{"a":"[redacted]"}"#);
        assert_eq!(clean(r#"{"s3cr3t\u002dtoken":1}"#), r#"{"[redacted]":1}"#);
        let hidden = format!(r#"{{"base64":"{}"}}"#, BASE64_STANDARD.encode(b"\xffs3cr3t-token"));
        let want = format!(r#"{{"base64":"{}"}}"#, BASE64_STANDARD.encode(b"\xff[redacted]"));
        assert_eq!(clean(&hidden), want);
        let untouched = r#"{ "id" : "7" , "result":null}"#;
        assert_eq!(clean(untouched), untouched);
        assert_eq!(without(b"\xff s3cr3t-token", &secrets), b"\xff [redacted]");
    }
}
