//! The frames of Nomad's `exec`: JSON objects in text messages, bytes in base64 (`api/allocations_exec.go`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// How many bytes go into one frame. The task side takes 4 MiB at most; the agent writes 1 to 4 KiB itself.
pub(crate) const CHUNK: usize = 32 * 1024;

/// Says nothing, so that nobody on the way thinks the connection is unused. Nomad's own client does so every 10 s.
pub(crate) const HEARTBEAT: &str = "{}";

/// Ends standard input. One thing per frame: with the docker driver, bytes beside it would be lost.
pub(crate) const CLOSE: &str = r#"{"stdin":{"close":true}}"#;

/// Bytes for standard input.
pub(crate) fn stdin(bytes: &[u8]) -> String {
    let mut frame = String::with_capacity(bytes.len() / 3 * 4 + 32);
    frame.push_str(r#"{"stdin":{"data":""#);
    STANDARD.encode_string(bytes, &mut frame);
    frame.push_str(r#""}}"#);
    frame
}

/// What the agent sends. Everything may be absent, and more may be there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Frame<'a> {
    #[serde(borrow)]
    stdout: Option<Piece<'a>>,
    #[serde(borrow)]
    stderr: Option<Piece<'a>>,
    exited: bool,
    result: Option<Outcome>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Piece<'a> {
    #[serde(borrow)]
    data: Option<std::borrow::Cow<'a, str>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Outcome {
    /// Absent for 0.
    exit_code: i32,
}

/// What a frame says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// Bytes of standard output.
    pub(crate) stdout: Vec<u8>,
    /// Bytes of standard error.
    pub(crate) stderr: Vec<u8>,
    /// The exit code, in the last frame.
    pub(crate) exited: Option<i32>,
}

/// Reads a frame.
///
/// # Errors
///
/// Why it is none.
pub(crate) fn read(text: &str) -> Result<Said, String> {
    let frame: Frame<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let bytes = |piece: &Option<Piece<'_>>| match piece.as_ref().and_then(|piece| piece.data.as_deref()) {
        Some(data) => STANDARD.decode(data).map_err(|error| error.to_string()),
        None => Ok(Vec::new()),
    };
    Ok(Said {
        stdout: bytes(&frame.stdout)?,
        stderr: bytes(&frame.stderr)?,
        exited: frame.exited.then(|| frame.result.map_or(0, |outcome| outcome.exit_code)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_nomads() {
        assert_eq!(stdin(b"hi\n\xff"), r#"{"stdin":{"data":"aGkK/w=="}}"#);
        assert_eq!(stdin(b""), r#"{"stdin":{"data":""}}"#);
    }

    #[test]
    fn an_exit_code_that_is_left_out_is_0() {
        assert_eq!(read(r#"{"exited":true,"result":{}}"#).unwrap().exited, Some(0));
        assert_eq!(read(r#"{"exited":true}"#).unwrap().exited, Some(0));
        assert_eq!(read(r#"{"exited":true,"result":{"exit_code":-2,"signal":9}}"#).unwrap().exited, Some(-2));
        assert_eq!(read(r#"{"exited":false,"result":{"exit_code":3}}"#).unwrap().exited, None);
    }

    #[test]
    fn bytes_come_as_they_are_and_what_is_unknown_is_left_alone() {
        let said = read(r#"{"stdout":{"data":"w6n/AA=="},"stderr":{"close":true},"new":[1]}"#).unwrap();
        assert_eq!(said.stdout.as_slice(), b"\xc3\xa9\xff\0");
        assert_eq!(read(r#"{"stdout":{"data":""}}"#).unwrap().stdout, b"");
        assert_eq!(read("{}").unwrap().exited, None);
        assert_eq!(read(r#"{"stdout":{"data":"a\/8="}}"#).unwrap().stdout, [0x6b, 0xff]);
        for wrong in ["", "null", "x", r#"{"stdout":{"data":"!"}}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
