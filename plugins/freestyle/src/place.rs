//! How a file gets onto a machine: by the API for files, and if that fails by commands. Either way it is verified
//! there, belongs to the user of the lease, and appears in one step.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crabbox_provider_kit::http::Bytes;
use crabbox_provider_kit::protocol::{ErrorKind, Progress};
use crabbox_provider_kit::{Context, Error, Result};
use tokio::time::{sleep, timeout};

use crate::api::{as_root, succeeded};
use crate::provider::Freestyle;
use crate::shell::Arrived;
use crate::source::{Source, hex, piece_path, pieces};

/// How long taking away what is left of a file may take, when nobody has the time to wait.
const CLEARING: Duration = Duration::from_secs(5);

/// How often a piece is written by a command.
const TRIES: u32 = 3;

/// By what the pieces of a file go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Files,
    Commands,
}

impl Freestyle {
    /// Puts a file at the absolute path `to` of a machine.
    ///
    /// # Errors
    ///
    /// When neither way works, with what the first one said as a cause.
    pub(crate) async fn place(
        &self,
        vm: &str,
        source: &mut Source,
        to: &str,
        mode: u32,
        context: &Context,
    ) -> Result<()> {
        let refused = match self.by_files(vm, source, to, mode, context).await {
            Err(error) if may_go_by_command(error.kind()) => error,
            placed => return placed,
        };
        self.warn(&refused, context).await?;
        let placed = self.in_pieces(Way::Commands, vm, source, to, mode, context).await;
        placed.map_err(|error| error.cause(format!("before that, the API for files said: {refused}")))
    }

    async fn by_files(
        &self,
        vm: &str,
        source: &mut Source,
        to: &str,
        mode: u32,
        context: &Context,
    ) -> Result<()> {
        // What the API writes is root's.
        match self.api.writes_all_of_it().filter(|_| self.settings.linux_user == "root") {
            Some(api) => tokio::select! {
                written = api.write(vm, source, to, mode) => written,
                _ = context.cancel().cancelled() => Err(cancelled()),
            },
            None => self.in_pieces(Way::Files, vm, source, to, mode, context).await,
        }
    }

    /// Writes pieces under names of their own, and makes one file of them. Nothing is left of them.
    async fn in_pieces(
        &self,
        way: Way,
        vm: &str,
        source: &mut Source,
        to: &str,
        mode: u32,
        context: &Context,
    ) -> Result<()> {
        let base = format!("/tmp/.crabbox-put-{}", random()?);
        let (size, sha256, owner) = (source.size, source.sha256.clone(), &self.settings.linux_user);
        let arrived = Arrived { base: &base, size, sha256: &sha256, to, mode, owner };
        let work = async {
            match way {
                Way::Files => self.api.write_pieces(vm, source, &base).await?,
                Way::Commands => self.write_by_commands(vm, source, &base).await?,
            }
            self.as_root(vm, &arrived.settling()).await
        };
        let placed = tokio::select! {
            placed = work => placed,
            _ = context.cancel().cancelled() => Err(cancelled()),
        };
        if placed.is_err() {
            // That something is left of it is not worth a word beside the error.
            _ = timeout(CLEARING, self.as_root(vm, &arrived.clearing())).await;
        }
        placed
    }

    async fn write_by_commands(&self, vm: &str, source: &mut Source, base: &str) -> Result<()> {
        for (number, offset, length) in pieces(source.size, self.api.longest_by_command()) {
            let (bytes, path) = (source.piece(offset, length).await?, piece_path(base, number));
            let mut tries = 1;
            while let Err(error) = self.api.write_by_command(vm, bytes.clone(), &path).await {
                let may_go_again = error.as_object().data.as_ref().and_then(|data| data.retryable);
                if tries == TRIES || may_go_again != Some(true) {
                    return Err(error);
                }
                sleep(Duration::from_millis(250 << tries)).await;
                tries += 1;
            }
        }
        Ok(())
    }

    /// Executes a line of our own on a machine, which has to succeed.
    pub(crate) async fn as_root(&self, vm: &str, line: &str) -> Result<()> {
        succeeded(self.api.execute(vm, &as_root(line, Bytes::new())).await?)
    }

    /// Says once in the life of this process that files go the slow way.
    async fn warn(&self, refused: &Error, context: &Context) -> Result<()> {
        if self.warned.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let message =
            format!("files go by commands, which is slow, since the API for files failed: {refused}");
        let phase = Some("warning".to_owned());
        context.report(Progress { message, phase, ..Progress::default() }).await
    }
}

/// Whether an error may be one of the API for files alone. It is not when nobody waits any more, when the account may
/// not do this or no more of it, or when the file cannot be read here.
fn may_go_by_command(kind: ErrorKind) -> bool {
    use ErrorKind::{Auth, Cancelled, Deadline, Internal, Prerequisite, Quota, RateLimited};
    !matches!(kind, Auth | Cancelled | Deadline | Internal | Prerequisite | Quota | RateLimited)
}

fn cancelled() -> Error {
    Error::cancelled("the file was told not to go")
}

/// 128 random bits in hexadecimal digits.
pub(crate) fn random() -> Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| Error::internal("there is no randomness").cause(error))?;
    Ok(hex(&random))
}
