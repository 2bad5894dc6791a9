//! What the emulator was asked, for assertions such as "no DELETE" or "the key went nowhere else".

use std::collections::BTreeMap;
use std::fmt;

/// The most of a body that is kept.
pub(super) const KEPT: usize = 1 << 20;

/// A request as it arrived.
#[derive(Clone)]
pub struct Request {
    /// GET, PUT, POST, PATCH, DELETE.
    pub method: String,
    /// The path, still percent-encoded.
    pub path: String,
    /// The query, still percent-encoded.
    pub query: String,
    /// The headers; names are in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body's first MiB.
    pub body: Vec<u8>,
    /// How long the body was.
    pub length: usize,
    /// The status that was answered; 0 when the connection was cut instead, or the answer is still due.
    pub status: u16,
}

impl Request {
    /// The key that came along, if one did.
    pub fn token(&self) -> Option<&str> {
        self.headers.get("authorization")?.strip_prefix("Bearer ").map(str::trim)
    }

    /// The body, if it is JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// The key is not printed when an assertion fails.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let query = if self.query.is_empty() { "" } else { "?" };
        write!(f, "{} {}{query}{} -> {}", self.method, self.path, self.query, self.status)
    }
}

/// A command that was run in a VM.
#[derive(Clone, Debug)]
pub struct Exec {
    /// The VM's id.
    pub vm: String,
    /// The command line.
    pub command: String,
    /// The Linux user that it ran as.
    pub user: String,
    /// The variables that came along.
    pub environment: BTreeMap<String, String>,
    /// How many bytes of stdin came along.
    pub stdin_bytes: usize,
    /// How long it might run.
    pub timeout_ms: u64,
    /// The exit code; none as long as it runs, and when it ran out of time.
    pub status: Option<i32>,
    /// Whether it has ended.
    pub ended: bool,
}

/// All of it.
#[derive(Default)]
pub(super) struct Log {
    pub(super) requests: Vec<Request>,
    pub(super) execs: Vec<Exec>,
}
