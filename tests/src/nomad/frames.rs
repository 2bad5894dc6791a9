//! The frames of an exec: JSON objects in text messages, with the bytes in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// What the client says. A frame with nothing in it is a sign of life.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Input {
    pub(super) stdin: Option<Stdin>,
    pub(super) tty_size: Option<Value>,
}

/// Bytes for stdin, or its end.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Stdin {
    data: String,
    pub(super) close: bool,
}

impl Stdin {
    pub(super) fn bytes(&self) -> Result<Vec<u8>, String> {
        STANDARD.decode(&self.data).map_err(|_| "illegal base64 data at input byte 0".to_owned())
    }
}

/// Which stream of output.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    /// Bytes of the stream.
    pub(super) fn data(self, bytes: &[u8]) -> Message {
        // By hand, since there are many, and neither a name nor base64 has anything to escape.
        Message::text(format!(r#"{{"{}":{{"data":"{}"}}}}"#, self.name(), STANDARD.encode(bytes)))
    }

    /// The end of the stream.
    pub(super) fn close(self) -> Message {
        text(&json!({ self.name(): { "close": true } }))
    }
}

/// The end of the command. A code of 0 is left out, as all zeros are.
pub(super) fn exited(code: i32) -> Message {
    let result = if code == 0 { json!({}) } else { json!({ "exit_code": code }) };
    text(&json!({ "exited": true, "result": result }))
}

/// A close frame; none if the text is too long for one, or if it is one that is taken for an ordinary end.
pub(super) fn close(code: u16, text: &str) -> Option<Message> {
    let swallowed = text.contains("closed") || text.contains("EOF");
    let frame = CloseFrame { code: CloseCode::from(code), reason: text.into() };
    (!swallowed && text.len() <= 123).then(|| Message::Close(Some(frame)))
}

fn text(value: &Value) -> Message {
    Message::text(value.to_string())
}
