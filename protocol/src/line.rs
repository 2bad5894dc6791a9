//! Framing: UTF-8, one message per LF-terminated line, at most 1 MiB.

use std::fmt;

/// The longest line that either side may send, in bytes, without its LF.
pub const MAX_LINE: usize = 1024 * 1024;

/// A line grew over [`MAX_LINE`] bytes.
///
/// The rest of the stream cannot be trusted: whoever sees this ends the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineTooLong {
    /// How the line begins: at most 256 bytes.
    pub head: Vec<u8>,
}

impl fmt::Display for LineTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a line is longer than {MAX_LINE} bytes")
    }
}

impl std::error::Error for LineTooLong {}

/// Cuts a stream of bytes into lines, holding at most one line and one read.
#[derive(Debug, Default)]
pub struct LineBuffer {
    bytes: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// How far there is known to be no LF.
    scanned: usize,
}

impl LineBuffer {
    /// Makes an empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the next read goes; at least `room` spare bytes are reserved.
    ///
    /// Whatever is appended is input. Lines handed out before are gone.
    pub fn input(&mut self, room: usize) -> &mut Vec<u8> {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        self.bytes.reserve(room);
        &mut self.bytes
    }

    /// Takes the next whole line, without its LF and without a CR before it.
    ///
    /// # Errors
    ///
    /// [`LineTooLong`] as soon as a line is known to be over the limit.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, LineTooLong> {
        let Some(at) = memchr::memchr(b'\n', &self.bytes[self.scanned..]) else {
            self.scanned = self.bytes.len();
            return self.check(self.bytes.len()).map(|()| None);
        };
        let end = self.scanned + at;
        self.check(end)?;
        let line = &self.bytes[self.start..end];
        self.start = end + 1;
        self.scanned = self.start;
        Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// Takes what is left when the stream has ended: a last line without LF.
    pub fn take_rest(&mut self) -> Option<Vec<u8>> {
        let rest = self.bytes.split_off(self.start);
        self.bytes.clear();
        (self.start, self.scanned) = (0, 0);
        (!rest.is_empty()).then_some(rest)
    }

    fn check(&self, end: usize) -> Result<(), LineTooLong> {
        if end - self.start <= MAX_LINE {
            return Ok(());
        }
        let head = self.bytes[self.start..end].iter().take(256).copied().collect();
        Err(LineTooLong { head })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let mut buffer = LineBuffer::new();
        let mut out = Vec::new();
        for chunk in chunks {
            buffer.input(chunk.len()).extend_from_slice(chunk);
            while let Some(line) = buffer.next_line().unwrap() {
                out.push(String::from_utf8_lossy(line).into_owned());
            }
        }
        out.extend(buffer.take_rest().map(|r| format!("rest:{}", String::from_utf8_lossy(&r))));
        out
    }

    #[test]
    fn lines_are_found_however_the_reads_fall() {
        assert_eq!(lines(&[b"a\nb\n"]), ["a", "b"]);
        assert_eq!(lines(&[b"a", b"\n", b"\r\n", b"b\r", b"\nc"]), ["a", "", "b", "rest:c"]);
        assert_eq!(lines(&["x\u{2028}y\n".as_bytes()]), ["x\u{2028}y"]);
    }

    #[test]
    fn a_line_of_the_limit_passes_and_one_more_byte_does_not() {
        let mut buffer = LineBuffer::new();
        buffer.input(0).resize(MAX_LINE, b'x');
        assert_eq!(buffer.next_line(), Ok(None));
        buffer.input(1).push(b'\n');
        assert_eq!(buffer.next_line().unwrap().map(<[u8]>::len), Some(MAX_LINE));
        buffer.input(0).resize(MAX_LINE + 2, b'x');
        let error = buffer.next_line().unwrap_err();
        assert_eq!(error.head.len(), 256);
    }
}
