//! Files on a machine. Paths are in the query, bytes go as they are; they are written as root.

use std::path::Path;
use std::time::Duration;

use crabbox_provider_kit::http::header::{CONTENT_TYPE, HeaderValue, RANGE};
use crabbox_provider_kit::http::{Bytes, Method, StatusCode, with_query};
use crabbox_provider_kit::{Doing as _, Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::{Api, refused};

/// What is larger is sent in pieces that can be sent again. The official client has the same limit.
const WHOLE: u64 = 8 << 20;

/// One piece.
const PIECE: u64 = 8 << 20;

/// How often a piece is sent again.
const TRIES: u32 = 5;

/// How much of a file is read at once.
const READ: u64 = 4 << 20;

/// How long one transfer may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Some of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// These bytes, at least one.
    Bytes(Bytes),
    /// Nothing beyond what was read, or no such file: more may come.
    Nothing,
}

/// How far an upload has come.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Upload {
    upload_id: String,
    received_bytes: u64,
}

impl Api {
    /// Reads some of a file from `offset` on.
    pub(crate) async fn read(&self, vm: &str, path: &str, offset: u64) -> Result<Part> {
        let target = with_query(&format!("/v5/vms/{vm}/fs/read"), [("path", path)]);
        let mut headers = self.headers()?;
        let range = format!("bytes={offset}-{}", offset + READ - 1);
        headers
            .insert(RANGE, HeaderValue::try_from(range).map_err(|error| Error::internal(error.to_string()))?);
        let answer = self.http.send(Method::GET, &target, headers, Bytes::new(), PATIENCE).await?;
        let bytes = match answer {
            Ok(answer) if answer.status == StatusCode::PARTIAL_CONTENT => answer.body,
            // The whole file, from a server that does not know ranges.
            Ok(answer) => {
                let read = usize::try_from(offset).unwrap_or(usize::MAX).min(answer.body.len());
                answer.body.slice(read..)
            }
            Err(refusal) if matches!(refusal.status.as_u16(), 404 | 416) => return Ok(Part::Nothing),
            Err(refusal) => return Err(refused::error(&refusal)),
        };
        Ok(if bytes.is_empty() { Part::Nothing } else { Part::Bytes(bytes) })
    }

    /// Writes a file of this machine to `to`, which is verified there.
    pub(crate) async fn upload(
        &self,
        vm: &str,
        from: &Path,
        size: u64,
        sha256: &str,
        to: &str,
        mode: u32,
    ) -> Result<()> {
        let mut file = File::open(from).await.doing(|| format!("open `{}`", from.display()))?;
        if size <= WHOLE {
            let bytes = piece(&mut file, from, 0, size).await?;
            return self.write(vm, bytes, sha256, to, mode).await;
        }
        let uploads = format!("/v5/vms/{vm}/fs/uploads");
        let begin = json!({"path": to, "size": size, "sha256": sha256, "mode": mode});
        let begun = self.order::<Upload>(&uploads, &begin, PATIENCE).await?;
        let Upload { upload_id, received_bytes } = begun.map_err(|refusal| refused::error(&refusal))?;
        let upload = format!("{uploads}/{}", crabbox_provider_kit::http::segment(&upload_id));
        let sent = self.send_pieces(&upload, &mut file, from, received_bytes, size).await;
        if let Err(error) = sent {
            _ = self.delete(&upload).await;
            return Err(error);
        }
        let committed = self.order::<Value>(&format!("{upload}/commit"), &json!({}), PATIENCE).await?;
        committed.map(drop).map_err(|refusal| refused::error(&refusal))
    }

    /// Takes a file or a tree away; one that is not there is no error.
    pub(crate) async fn remove(&self, vm: &str, path: &str) -> Result<()> {
        self.delete(&with_query(&format!("/v5/vms/{vm}/fs/remove"), [("path", path)])).await
    }

    async fn write(&self, vm: &str, bytes: Bytes, sha256: &str, to: &str, mode: u32) -> Result<()> {
        // The mode is a decimal number.
        let mode = mode.to_string();
        let query = [("path", to), ("mode", mode.as_str()), ("sha256", sha256)];
        let target = with_query(&format!("/v5/vms/{vm}/fs/write"), query);
        let answer = self.put(&target, bytes).await?;
        answer.map(drop).map_err(|refusal| refused::error(&refusal))
    }

    async fn send_pieces(
        &self,
        upload: &str,
        file: &mut File,
        from: &Path,
        offset: u64,
        size: u64,
    ) -> Result<()> {
        let (mut offset, mut tries) = (offset, 0);
        while offset < size {
            let bytes = piece(file, from, offset, (size - offset).min(PIECE)).await?;
            let length = bytes.len() as u64;
            let sent = self.put(&with_query(upload, [("offset", offset.to_string().as_str())]), bytes).await;
            match sent {
                Ok(Ok(_)) => (offset, tries) = (offset + length, 0),
                Ok(Err(refusal)) if !matches!(refusal.status.as_u16(), 408 | 409 | 429 | 500..=599) => {
                    return Err(refused::error(&refusal));
                }
                failed => {
                    tries += 1;
                    if tries > TRIES {
                        return Err(failed.map_or_else(
                            |error| error,
                            |refused| {
                                refused.map_or_else(|refusal| refused::error(&refusal), |_| too_often())
                            },
                        ));
                    }
                    tokio::time::sleep(Duration::from_millis(250 << tries)).await;
                    // How much of it arrived, only the other side knows.
                    offset = self.get::<Upload>(upload, &[]).await?.received_bytes;
                }
            }
        }
        Ok(())
    }

    async fn put(
        &self,
        target: &str,
        bytes: Bytes,
    ) -> Result<Result<(), crabbox_provider_kit::http::Refusal>> {
        let mut headers = self.headers()?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let answer = self.carry(Method::PUT, target, headers, bytes, PATIENCE).await?;
        Ok(answer.map(drop))
    }
}

fn too_often() -> Error {
    Error::unavailable("a piece of a file could not be sent")
}

/// Some bytes of a file.
async fn piece(file: &mut File, path: &Path, offset: u64, length: u64) -> Result<Bytes> {
    let what = || format!("read `{}`", path.display());
    file.seek(std::io::SeekFrom::Start(offset)).await.doing(what)?;
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(length).read_to_end(&mut bytes).await.doing(what)?;
    match bytes.len() as u64 == length {
        true => Ok(bytes.into()),
        false => Err(Error::internal(format!("`{}` is shorter than announced", path.display()))),
    }
}
