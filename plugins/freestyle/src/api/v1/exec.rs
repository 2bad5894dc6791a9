//! Commands. The user is in a header, and there is no standard input.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crabbox_provider_kit::http::Bytes;
use crabbox_provider_kit::http::header::{HeaderName, HeaderValue};
use crabbox_provider_kit::{Error, Result};
use serde_json::json;

use super::super::types::{self, ms};
use super::super::{Command, Executed, commands};
use super::V1;
use super::machines::path;

/// Who a command runs as.
const USER: HeaderName = HeaderName::from_static("x-freestyle-vm-linux-user-id");

/// The most of a file that goes along with a command, in bytes. In base64 it is a third more, and a command may have
/// 64 KiB.
pub(in crate::api) const BY_COMMAND: u64 = 32 << 10;

impl V1 {
    pub(crate) async fn execute(&self, vm: &str, command: &Command<'_>) -> Result<Executed> {
        if !command.stdin.is_empty() {
            return Err(Error::internal("version 1 of the API takes no standard input"));
        }
        let limit = command.limit.min(commands::LONGEST);
        let user = HeaderValue::try_from(command.user).map_err(|error| Error::internal(error.to_string()))?;
        let mut headers = self.client.headers()?;
        headers.insert(USER, user);
        let order = json!({"command": command.line, "timeoutMs": ms(limit)});
        let path = format!("{}/exec-await", path(vm));
        let answer =
            self.client.order_as::<types::Ended>(&path, headers, &order, limit + commands::GRACE).await?;
        answer.map(|result| result.within(limit)).map_err(|refusal| commands::refused(&refusal))
    }

    pub(crate) async fn write_by_command(&self, vm: &str, piece: Bytes, to: &str) -> Result<()> {
        let line = format!("umask 077; printf %s '{}' | base64 -d >{to}", STANDARD.encode(piece));
        let executed = self.execute(vm, &commands::as_root(&line, Bytes::new())).await;
        commands::succeeded(executed.map_err(commands::wordless)?)
    }

    pub(crate) async fn remove(&self, vm: &str, tree: &str) -> Result<()> {
        let line = format!("rm -rf {}", crate::shell::quoted(tree));
        commands::succeeded(self.execute(vm, &commands::as_root(&line, Bytes::new())).await?)
    }
}
