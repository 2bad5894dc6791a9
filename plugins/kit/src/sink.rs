//! Where a run's output goes: a FIFO of the host's, or notifications.

use std::path::Path;
use std::process::Stdio;

use crabbox_protocol::{MAX_CHUNK, Output, RequestId, Stream, note};
use rustix::fs::{FileType, Mode, OFlags};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;

use crate::error::Doing as _;
use crate::outbox::Outbox;
use crate::{Error, Result};

/// One stream of a run's output on its way to the host.
///
/// Bytes arrive as they were written, in order. Call [`finish`](Self::finish) before the run answers.
#[derive(Debug)]
pub struct Sink {
    way: Way,
}

#[derive(Debug)]
enum Way {
    Notes(Notes),
    Path(pipe::Sender),
}

#[derive(Debug)]
struct Notes {
    outbox: Outbox,
    request: RequestId,
    stream: Stream,
    /// What is not sent yet: at most a chunk and one write.
    buffer: Vec<u8>,
}

impl Sink {
    pub(crate) fn by_notification(outbox: Outbox, request: RequestId, stream: Stream) -> Self {
        Self { way: Way::Notes(Notes { outbox, request, stream, buffer: Vec::new() }) }
    }

    pub(crate) fn to_path(path: &str) -> Result<Self> {
        let what = || format!("open `{path}` for output");
        // Without O_NONBLOCK a FIFO that nobody reads would hold the plugin for ever.
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open(Path::new(path), flags, Mode::empty()).doing(what)?;
        let mode = rustix::fs::fstat(&fd).doing(what)?.st_mode;
        if FileType::from_raw_mode(mode) != FileType::Fifo {
            return Err(Error::internal(format!("cannot write output to `{path}`: it is not a FIFO")));
        }
        Ok(Self { way: Way::Path(pipe::Sender::from_owned_fd(fd).doing(what)?) })
    }

    /// Sends bytes now. Only the beginning of a UTF-8 character whose end is still to come is held back.
    ///
    /// # Errors
    ///
    /// `transport` when nobody reads any more.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.way {
            Way::Path(fifo) => Ok(fifo.write_all(bytes).await?),
            Way::Notes(notes) => {
                notes.gather(bytes).await?;
                notes.send_whole().await
            }
        }
    }

    /// Sends everything that was held back.
    ///
    /// # Errors
    ///
    /// `transport` when nobody reads any more.
    pub async fn flush(&mut self) -> Result<()> {
        match &mut self.way {
            Way::Path(_) => Ok(()),
            Way::Notes(notes) => notes.send(notes.buffer.len()).await,
        }
    }

    /// Sends the last bytes.
    ///
    /// # Errors
    ///
    /// `transport` when nobody reads any more.
    pub async fn finish(mut self) -> Result<()> {
        self.flush().await
    }

    /// Takes bytes and sends whole chunks of them only; [`write`](Self::write) or
    /// [`flush`](Self::flush) send the rest.
    pub(crate) async fn gather(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.way {
            Way::Path(fifo) => Ok(fifo.write_all(bytes).await?),
            Way::Notes(notes) => notes.gather(bytes).await,
        }
    }

    /// How many bytes are held back, and how many of them wait for the rest of a character.
    pub(crate) fn held(&self) -> (usize, usize) {
        match &self.way {
            Way::Path(_) => (0, 0),
            Way::Notes(notes) => (notes.buffer.len(), incomplete_tail(&notes.buffer)),
        }
    }

    /// What a child process can have as its output, so that its bytes need no copying: the FIFO itself.
    /// By notification there is no such thing, and the sink comes back.
    ///
    /// # Errors
    ///
    /// The outer error when the FIFO cannot be handed over.
    pub(crate) fn into_stdio(self) -> Result<std::result::Result<Stdio, Self>> {
        match self.way {
            Way::Path(fifo) => {
                let fd = fifo.into_blocking_fd().doing(|| "hand a FIFO to a process".to_owned())?;
                Ok(Ok(Stdio::from(fd)))
            }
            way => Ok(Err(Self { way })),
        }
    }
}

impl Notes {
    async fn gather(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        while self.buffer.len() >= MAX_CHUNK {
            let tail = incomplete_tail(&self.buffer[..MAX_CHUNK]);
            self.send(MAX_CHUNK - tail).await?;
        }
        Ok(())
    }

    async fn send_whole(&mut self) -> Result<()> {
        self.send(self.buffer.len() - incomplete_tail(&self.buffer)).await
    }

    async fn send(&mut self, count: usize) -> Result<()> {
        if count > 0 {
            let output = Output::new(self.request, self.stream, &self.buffer[..count]);
            self.outbox.notify(note::OUTPUT, output).await?;
            self.buffer.drain(..count);
        }
        Ok(())
    }
}

/// How many bytes at the end begin a UTF-8 character that is not complete: 0 to 3.
fn incomplete_tail(bytes: &[u8]) -> usize {
    for count in 1..=bytes.len().min(3) {
        let needed = match bytes[bytes.len() - count] {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 0,
        };
        return if needed > count { count } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_character_is_told_from_junk() {
        for (bytes, tail) in [
            (&b""[..], 0),
            (b"abc", 0),
            ("é".as_bytes(), 0),
            (b"a\xc3", 1),
            (b"a\xe2\x82", 2),
            (b"a\xf0\x9f\xa6", 3),
            ("🦀".as_bytes(), 0),
            (b"\x80\x80\x80\x80", 0),
            (b"a\xff", 0),
            (b"\xc3\xa9\xa9", 0),
        ] {
            assert_eq!(incomplete_tail(bytes), tail, "{bytes:x?}");
        }
    }

    async fn sent(writes: &[&[u8]]) -> Vec<serde_json::Value> {
        let (near, far) = tokio::io::duplex(1 << 22);
        let (outbox, writer) = Outbox::open(near);
        let mut sink = Sink::by_notification(outbox, 1, Stream::Stdout);
        for bytes in writes {
            sink.write(bytes).await.unwrap();
        }
        sink.finish().await.unwrap();
        writer.await.unwrap();
        let mut text = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut { far }, &mut text).await.unwrap();
        text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).collect()
    }

    #[tokio::test]
    async fn a_character_cut_by_writes_goes_out_whole_as_text() {
        let notes = sent(&[b"caf\xc3", b"\xa9 \xf0\x9f", b"\xa6", b"\x80"]).await;
        let texts: Vec<_> = notes.iter().map(|n| n["params"]["text"].as_str().unwrap()).collect();
        assert_eq!(texts, ["caf", "é ", "🦀"]);
    }

    #[tokio::test]
    async fn a_character_cut_by_the_chunk_limit_goes_out_whole_as_text() {
        let long = format!("x{}", "é".repeat(MAX_CHUNK));
        let notes = sent(&[long.as_bytes()]).await;
        let texts: Vec<_> = notes.iter().map(|n| n["params"]["text"].as_str().unwrap()).collect();
        assert!(texts.iter().all(|text| text.len() <= MAX_CHUNK), "chunks are at most 32 KiB");
        assert_eq!(texts.len(), 3);
        assert_eq!(texts.concat(), long);
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_go_out_as_base64() {
        let notes = sent(&[b"ok", b"\xff\x00", b"end \xe2\x82"]).await;
        let params: Vec<_> = notes.iter().map(|n| &n["params"]).collect();
        assert_eq!(params[0]["text"], "ok");
        assert_eq!(params[1]["base64"], "/wA=");
        assert_eq!(params[2]["text"], "end ");
        assert_eq!(params[3]["base64"], "4oI=");
    }
}
