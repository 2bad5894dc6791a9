//! Files. Paths are in the query and bytes go as they are; what is written belongs to root.

use std::time::Duration;

use crabbox_provider_kit::http::header::{CONTENT_TYPE, HeaderValue, RANGE};
use crabbox_provider_kit::http::{Bytes, Method, Refusal, StatusCode, segment, with_query};
use crabbox_provider_kit::{Error, Result};
use serde::Deserialize;
use serde_json::json;

use super::super::client::{MOVING, PATIENCE};
use super::super::{Part, refused};
use super::V5;
use super::machines::path;
use crate::source::{Source, piece_path};

/// What is larger is sent in pieces that can be sent again. The official client has the same limit.
const WHOLE: u64 = 8 << 20;

/// One piece.
const PIECE: u64 = 8 << 20;

/// How often a piece is sent again.
const TRIES: u32 = 5;

/// How much of a file is read at once.
const READ: u64 = 4 << 20;

/// How far an upload has come.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Upload {
    upload_id: String,
    received_bytes: u64,
}

/// What is known of a file.
#[derive(Debug, Deserialize)]
struct Stat {
    size: u64,
}

impl V5 {
    pub(crate) async fn read(&self, vm: &str, file: &str, offset: u64) -> Result<Part> {
        let target = with_query(&format!("{}/fs/read", path(vm)), [("path", file)]);
        let mut headers = self.client.headers()?;
        let range = format!("bytes={offset}-{}", offset + READ - 1);
        let range = HeaderValue::try_from(range).map_err(|error| Error::internal(error.to_string()))?;
        headers.insert(RANGE, range);
        match self.client.http.send(Method::GET, &target, headers, Bytes::new(), MOVING).await? {
            Ok(answer) if answer.status == StatusCode::PARTIAL_CONTENT => Ok(answer.body.into()),
            // The whole file, from a server that does not know ranges.
            Ok(answer) => {
                let read = usize::try_from(offset).unwrap_or(usize::MAX).min(answer.body.len());
                Ok(answer.body.slice(read..).into())
            }
            Err(refusal) if matches!(refusal.status.as_u16(), 404 | 416) => Ok(Part::Nothing),
            Err(refusal) => Err(refused::error(&refusal)),
        }
    }

    /// Writes a file with its mode, which is root's then, and looks whether it is there.
    pub(crate) async fn write(&self, vm: &str, source: &mut Source, to: &str, mode: u32) -> Result<()> {
        match source.size <= WHOLE {
            true => self.write_whole(vm, source, to, mode).await?,
            false => self.write_in_pieces(vm, source, to, mode).await?,
        }
        // It was seen that what was written was not there, though the answer said so.
        let stat = with_query(&format!("{}/fs/stat", path(vm)), [("path", to)]);
        match self.client.find::<Stat>(&stat).await? {
            Some(stat) if stat.size == source.size => Ok(()),
            _ => Err(Error::provider(format!("Freestyle took a file for {to}, and it is not there"))),
        }
    }

    /// All of it in one piece: the API takes any size.
    pub(crate) async fn write_pieces(&self, vm: &str, source: &mut Source, base: &str) -> Result<()> {
        self.write(vm, source, &piece_path(base, 0), 0o600).await
    }

    pub(crate) async fn remove(&self, vm: &str, tree: &str) -> Result<()> {
        self.client.delete(&with_query(&format!("{}/fs/remove", path(vm)), [("path", tree)])).await
    }

    async fn write_whole(&self, vm: &str, source: &mut Source, to: &str, mode: u32) -> Result<()> {
        let bytes = source.piece(0, source.size).await?;
        // The mode is a decimal number.
        let mode = mode.to_string();
        let query = [("path", to), ("mode", mode.as_str()), ("sha256", source.sha256.as_str())];
        let target = with_query(&format!("{}/fs/write", path(vm)), query);
        self.put(&target, bytes).await?.map_err(|refusal| refused::error(&refusal))
    }

    async fn write_in_pieces(&self, vm: &str, source: &mut Source, to: &str, mode: u32) -> Result<()> {
        let uploads = format!("{}/fs/uploads", path(vm));
        let begin = json!({"path": to, "size": source.size, "sha256": source.sha256, "mode": mode});
        let begun = self.client.order::<Upload>(&uploads, &begin, PATIENCE).await?;
        let Upload { upload_id, received_bytes } = begun.map_err(|refusal| refused::error(&refusal))?;
        let upload = format!("{uploads}/{}", segment(&upload_id));
        let sent = async {
            self.send_pieces(&upload, source, received_bytes).await?;
            self.client.tell(&format!("{upload}/commit"), &json!({}), MOVING).await
        };
        let sent = sent.await;
        if sent.is_err() {
            _ = self.client.delete(&upload).await;
        }
        sent
    }

    async fn send_pieces(&self, upload: &str, source: &mut Source, received: u64) -> Result<()> {
        let (mut offset, mut tries) = (received, 0);
        while offset < source.size {
            let bytes = source.piece(offset, (source.size - offset).min(PIECE)).await?;
            let length = bytes.len() as u64;
            let target = with_query(upload, [("offset", offset.to_string().as_str())]);
            let error = match self.put(&target, bytes).await {
                Ok(Ok(())) => {
                    (offset, tries) = (offset + length, 0);
                    continue;
                }
                Ok(Err(refusal)) if !may_go_again(&refusal) => return Err(refused::error(&refusal)),
                Ok(Err(refusal)) => refused::error(&refusal),
                Err(error) => error,
            };
            tries += 1;
            if tries > TRIES {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(250 << tries)).await;
            // How much of it arrived, only the other side knows.
            offset = self.client.get::<Upload>(upload, &[]).await?.received_bytes;
        }
        Ok(())
    }

    async fn put(&self, target: &str, bytes: Bytes) -> Result<Result<(), Refusal>> {
        let mut headers = self.client.headers()?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let answer = self.client.carry(Method::PUT, target, headers, bytes, MOVING).await?;
        Ok(answer.map(drop))
    }
}

/// Whether the same piece may be taken the next time.
fn may_go_again(refusal: &Refusal) -> bool {
    matches!(refusal.status.as_u16(), 408 | 409 | 429 | 500..=599)
}
