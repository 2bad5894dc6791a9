//! A client as small as can be, so that what is tested is on the wire.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use crate::nomad::Emulator;

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// The index in the headers.
    pub(super) fn index(&self) -> u64 {
        let line = self.head.lines().find_map(|line| line.strip_prefix("X-Nomad-Index: ")).unwrap();
        line.parse().unwrap()
    }
}

/// Asks, and reads until the connection ends; none if nothing comes.
pub(super) fn try_ask(emulator: &Emulator, request: &str, token: &str, body: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", emulator.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let token = if token.is_empty() { String::new() } else { format!("X-Nomad-Token: {token}\r\n") };
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{token}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, text) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), text: text.to_owned() })
}

pub(super) fn ask(emulator: &Emulator, request: &str, body: &str) -> Answer {
    try_ask(emulator, request, "", body).unwrap()
}

pub(super) fn get(emulator: &Emulator, path: &str) -> Answer {
    ask(emulator, &format!("GET {path}"), "")
}

/// A job with one task, which is stopped fast.
pub(super) fn job(id: &str, driver: &str, script: &str) -> Value {
    let config = json!({ "image": "x", "command": "/bin/sh", "args": ["-c", script] });
    let mut task = json!({ "Name": "t", "Driver": driver, "Config": config, "KillTimeout": 100_000_000 });
    if driver == "raw_exec" {
        task["Config"].as_object_mut().unwrap().remove("image");
    }
    json!({ "ID": id, "Datacenters": ["*"], "TaskGroups": [{ "Name": "g", "Tasks": [task] }] })
}

/// A script that does nothing, and ends on the first signal.
pub(super) const IDLE: &str = "exec sleep 3600";

pub(super) fn register(emulator: &Emulator, job: &Value) -> Answer {
    let body = json!({ "Job": job, "EnforceIndex": true, "JobModifyIndex": 0 });
    ask(emulator, "PUT /v1/jobs", &body.to_string())
}

/// Registers an idle job, and returns its allocation when it runs.
pub(super) fn running(emulator: &Emulator, id: &str, driver: &str) -> String {
    assert_eq!(register(emulator, &job(id, driver, IDLE)).status, 200);
    let allocation = until(|| {
        let all = get(emulator, &format!("/v1/job/{id}/allocations?all=true")).json();
        let all = all.as_array().unwrap().clone();
        all.into_iter().find(|it| it["TaskStates"]["t"]["State"] == "running")
    });
    allocation["ID"].as_str().unwrap().to_owned()
}

/// Waits until something is there.
pub(super) fn until<T>(mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(it) = probe() {
            return it;
        }
        assert!(Instant::now() < end, "it does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The client's end of an exec.
pub(super) struct Exec {
    socket: WebSocket<TcpStream>,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    /// The length of the longest piece.
    pub(super) longest: usize,
}

/// How an exec ended, as the client sees it.
#[derive(Debug, PartialEq)]
pub(super) enum End {
    /// With the exit frame.
    Exited(i64),
    /// With a close frame.
    Closed(u16, String),
    /// With the connection.
    Cut,
    /// Not in the time that there was.
    Open,
}

impl Exec {
    pub(super) fn start(emulator: &Emulator, allocation: &str, command: &[&str]) -> Self {
        Self::with(emulator, allocation, "t", command, "")
    }

    pub(super) fn with(emulator: &Emulator, id: &str, task: &str, command: &[&str], token: &str) -> Self {
        let command = json!(command).to_string();
        let command = percent_encoding::utf8_percent_encode(&command, percent_encoding::NON_ALPHANUMERIC);
        let path = format!("/v1/client/allocation/{id}/exec?task={task}&command={command}&tty=false");
        let mut request = format!("ws://127.0.0.1:{}{path}", emulator.port()).into_client_request().unwrap();
        if !token.is_empty() {
            request.headers_mut().insert("x-nomad-token", token.parse().unwrap());
        }
        let stream = TcpStream::connect(("127.0.0.1", emulator.port())).unwrap();
        let (socket, _) = tungstenite::client(request, stream).unwrap();
        Self { socket, stdout: Vec::new(), stderr: Vec::new(), longest: 0 }
    }

    pub(super) fn send(&mut self, frame: &Value) {
        self.socket.send(Message::text(frame.to_string())).unwrap();
    }

    pub(super) fn stdin(&mut self, bytes: &[u8]) {
        self.send(&json!({ "stdin": { "data": STANDARD.encode(bytes) } }));
    }

    pub(super) fn close_stdin(&mut self) {
        self.send(&json!({ "stdin": { "close": true } }));
    }

    /// Reads to the end.
    pub(super) fn end(&mut self) -> End {
        self.end_within(Duration::from_secs(10))
    }

    /// Reads to the end, or until nothing comes for a while.
    pub(super) fn end_within(&mut self, time: Duration) -> End {
        self.socket.get_ref().set_read_timeout(Some(time)).unwrap();
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    if let Some(code) = self.frame(&serde_json::from_str(&text).unwrap()) {
                        return End::Exited(code);
                    }
                }
                Ok(Message::Close(Some(frame))) => {
                    return End::Closed(frame.code.into(), frame.reason.to_string());
                }
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return End::Open;
                }
                // A read with a time limit is not begun again after a signal, such as that of a child's end.
                Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return End::Cut,
            }
        }
    }

    /// Reads until stdout has this.
    pub(super) fn expect(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.stdout).contains(text) {
            let message = self.socket.read().unwrap().into_text().unwrap();
            assert_eq!(self.frame(&serde_json::from_str(&message).unwrap()), None, "it ends without {text}");
        }
    }

    fn frame(&mut self, frame: &Value) -> Option<i64> {
        for (name, into) in [("stdout", &mut self.stdout), ("stderr", &mut self.stderr)] {
            if let Some(data) = frame[name]["data"].as_str() {
                let bytes = STANDARD.decode(data).unwrap();
                self.longest = self.longest.max(bytes.len());
                into.extend(bytes);
            }
        }
        (frame["exited"] == true).then(|| frame["result"]["exit_code"].as_i64().unwrap_or_default())
    }
}
