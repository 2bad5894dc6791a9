//! A file of this machine on its way to another.

use crabbox_provider_kit::http::Bytes;
use crabbox_provider_kit::{Doing as _, Error, Result};
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

/// How much is read at once to verify a file.
const BLOCK: u64 = 1 << 20;

/// A file of this machine. What it has was verified when it was opened.
#[derive(Debug)]
pub(crate) struct Source {
    path: String,
    file: File,
    /// How long it is, in bytes.
    pub(crate) size: u64,
    /// Its hash, 64 lowercase hexadecimal digits.
    pub(crate) sha256: String,
}

impl Source {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is not what it is said to be: then nothing of it is sent.
    pub(crate) async fn open(path: &str, size: u64, sha256: &str) -> Result<Self> {
        let file = File::open(path).await.doing(|| format!("open `{path}`"))?;
        let found = file.metadata().await.doing(|| format!("read `{path}`"))?.len();
        let mut source = Self { path: path.to_owned(), file, size, sha256: sha256.to_ascii_lowercase() };
        let mut hash = Sha256::new();
        if found == size {
            for (_, offset, length) in pieces(size, BLOCK) {
                hash.update(source.piece(offset, length).await?);
            }
        }
        if found != size || hex(&hash.finalize()) != source.sha256 {
            return Err(Error::internal(format!("`{path}` is not the file that was announced"))
                .cause("its size or its sha256 differ"));
        }
        Ok(source)
    }

    /// Some of its bytes.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub(crate) async fn piece(&mut self, offset: u64, length: u64) -> Result<Bytes> {
        let what = || format!("read `{}`", self.path);
        self.file.seek(std::io::SeekFrom::Start(offset)).await.doing(what)?;
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        (&mut self.file).take(length).read_to_end(&mut bytes).await.doing(what)?;
        match bytes.len() as u64 == length {
            true => Ok(bytes.into()),
            false => Err(Error::internal(format!("`{}` is shorter than announced", self.path))),
        }
    }
}

/// How a file is cut: the number, the offset and the length of each piece. There is always one.
pub(crate) fn pieces(size: u64, longest: u64) -> impl Iterator<Item = (u64, u64, u64)> {
    (0..size.div_ceil(longest).max(1)).map(move |number| {
        let offset = number * longest;
        (number, offset, longest.min(size - offset))
    })
}

/// Where a piece of a file is as long as the file is not put together: beside it, in the order of names.
pub(crate) fn piece_path(path: &str, number: u64) -> String {
    format!("{path}.{number:06}")
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_cut_without_gaps() {
        let cut = |size, longest| pieces(size, longest).collect::<Vec<_>>();
        assert_eq!(cut(0, 4), [(0, 0, 0)]);
        assert_eq!(cut(4, 4), [(0, 0, 4)]);
        assert_eq!(cut(9, 4), [(0, 0, 4), (1, 4, 4), (2, 8, 1)]);
        assert!(piece_path("/tmp/x", 9) < piece_path("/tmp/x", 10));
    }

    #[tokio::test]
    async fn a_file_that_is_another_is_not_sent() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file").to_str().unwrap().to_owned();
        std::fs::write(&path, "abc").unwrap();
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let mut source = Source::open(&path, 3, sum).await.unwrap();
        assert_eq!(source.piece(1, 2).await.unwrap(), "bc");
        assert!(Source::open(&path, 4, sum).await.is_err());
        assert!(Source::open(&path, 3, &sum.replace('b', "c")).await.is_err());
        assert!(Source::open("/nonexistent", 3, sum).await.is_err());
    }
}
