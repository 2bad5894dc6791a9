//! What a command prints, on either way to the checker.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::net::unix::pipe;

use crate::provider::make_fifo;

/// How much of a stream is kept to be compared and shown.
const KEEP: usize = 1024 * 1024;

/// One stream.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Its beginning.
    pub(super) bytes: Vec<u8>,
    /// How long it is.
    pub(super) size: u64,
    hash: Sha256,
}

impl Heard {
    /// Takes the next bytes.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let room = KEEP.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..room]);
        self.size += bytes.len() as u64;
        self.hash.update(bytes);
    }

    /// The SHA-256 of all of it.
    pub(super) fn sha256(&self) -> String {
        self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A FIFO that the plugin writes to.
#[derive(Debug)]
pub(super) struct Pipe {
    receiver: pipe::Receiver,
    /// So that the reader never sees an end.
    _hold: pipe::Sender,
    path: PathBuf,
}

impl Pipe {
    /// Makes one, and opens it.
    pub(super) fn make(path: &Path) -> io::Result<Self> {
        make_fifo(path)?;
        let receiver = pipe::OpenOptions::new().open_receiver(path)?;
        let _hold = pipe::OpenOptions::new().open_sender(path)?;
        Ok(Self { receiver, _hold, path: path.to_owned() })
    }

    /// Where the plugin writes.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for bytes and takes them; for ever where there is no pipe. Cancel-safe.
    pub(super) async fn read(pipe: Option<&mut Self>, heard: &mut Heard) {
        let Some(pipe) = pipe else { return std::future::pending().await };
        if pipe.receiver.readable().await.is_ok() {
            pipe.drain(heard);
        }
    }

    /// Takes what is there.
    pub(super) fn drain(&self, heard: &mut Heard) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = self.receiver.try_read(&mut buffer) {
            heard.take(&buffer[..count]);
        }
    }
}
