//! Commands. Standard input goes along with the order, and the user in its body.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crabbox_provider_kit::Result;
use crabbox_provider_kit::http::Bytes;
use serde_json::{Value, json};

use super::super::types::{self, ms};
use super::super::{Command, Executed, commands, refused};
use super::V5;
use super::machines::path;

/// The most standard input that goes along with a command, in bytes.
pub(in crate::api) const STDIN: u64 = 1 << 20;

/// The longest that a command may take on machines with an old agent.
const OLD_AGENT: Duration = Duration::from_secs(300);

impl V5 {
    pub(crate) async fn execute(&self, vm: &str, command: &Command<'_>) -> Result<Executed> {
        let limit = command.limit.min(commands::LONGEST);
        let mut body = json!({"command": command.line, "linuxUser": command.user});
        if !command.stdin.is_empty() {
            body["stdin"] = Value::from(STANDARD.encode(&command.stdin));
        }
        match self.execute_within(vm, &mut body, limit).await? {
            Ok(executed) => Ok(executed),
            Err(refusal) if refused::code(&refusal) == "AGENT_UNSUPPORTED" && limit > OLD_AGENT => {
                let again = self.execute_within(vm, &mut body, OLD_AGENT).await?;
                again.map_err(|refusal| commands::refused(&refusal))
            }
            Err(refusal) => Err(commands::refused(&refusal)),
        }
    }

    async fn execute_within(
        &self,
        vm: &str,
        body: &mut Value,
        limit: Duration,
    ) -> Result<Result<Executed, crabbox_provider_kit::http::Refusal>> {
        body["timeoutMs"] = json!(ms(limit));
        let path = format!("{}/exec-await", path(vm));
        let answer = self.client.order::<types::Ended>(&path, body, limit + commands::GRACE).await?;
        Ok(answer.map(|result| result.within(limit)))
    }

    pub(crate) async fn write_by_command(&self, vm: &str, piece: Bytes, to: &str) -> Result<()> {
        let line = format!("umask 077; cat >{to}");
        let executed = self.execute(vm, &commands::as_root(&line, piece)).await;
        commands::succeeded(executed.map_err(commands::wordless)?)
    }
}
