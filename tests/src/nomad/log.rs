//! What the emulator was asked, for assertions such as "no DELETE" or "the token went nowhere else".

use std::collections::BTreeMap;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET, PUT, POST, DELETE ...
    pub method: String,
    /// The path, still percent-encoded.
    pub path: String,
    /// The query, still percent-encoded.
    pub query: String,
    /// The headers; names are in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body, of a request that is no upgrade.
    pub body: Vec<u8>,
    /// The status that was answered; 0 when the connection was cut instead, or the answer is still due.
    pub status: u16,
}

impl Request {
    /// The token that came along, if one did.
    pub fn token(&self) -> Option<&str> {
        let bearer = || self.headers.get("authorization")?.strip_prefix("Bearer ");
        self.headers.get("x-nomad-token").map(String::as_str).or_else(bearer).map(str::trim)
    }

    /// Says whether this is an upgrade to a WebSocket.
    pub fn is_exec(&self) -> bool {
        self.path.ends_with("/exec")
    }
}

/// A command that was run through the exec endpoint.
#[derive(Clone, Debug, Default)]
pub struct Exec {
    /// The allocation.
    pub allocation: String,
    /// The task.
    pub task: String,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// The process, when one was started.
    pub pid: Option<u32>,
    /// How many bytes of stdin came.
    pub stdin_bytes: u64,
    /// How many frames with stdin came.
    pub stdin_frames: u64,
    /// Whether stdin was closed by the client.
    pub stdin_closed: bool,
    /// How many heartbeats (`{}`) came.
    pub heartbeats: u64,
    /// How many WebSocket pings came.
    pub pings: u64,
    /// How many bytes of output were sent, both streams together.
    pub output_bytes: u64,
    /// The exit code that was sent.
    pub exit_code: Option<i32>,
    /// Whether the exec has come to an end here, however that was.
    pub ended: bool,
}

/// All of it.
#[derive(Default)]
pub(super) struct Log {
    pub(super) requests: Vec<Request>,
    pub(super) execs: Vec<Exec>,
}
