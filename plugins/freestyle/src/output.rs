//! The output of a command while it runs: a file on the machine that grows.

use std::time::Duration;

use crabbox_provider_kit::{Result, Sink};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::api::{Api, Part};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// For how long looking may fail in a row.
const FAILING: Duration = Duration::from_secs(120);

/// One stream of output.
pub(crate) struct Output {
    path: String,
    offset: u64,
    sink: Sink,
}

impl Output {
    /// The stream that goes into the file at `path`.
    pub(crate) fn new(path: String, sink: Sink) -> Self {
        Self { path, offset: 0, sink }
    }

    /// Passes on what comes until the command has `ended`, and then the rest.
    ///
    /// # Errors
    ///
    /// When the host is gone, or nothing could be read for two minutes.
    pub(crate) async fn follow(
        mut self,
        api: &Api,
        vm: &str,
        mut ended: watch::Receiver<bool>,
    ) -> Result<()> {
        let mut failing: Option<Instant> = None;
        loop {
            // Before the look: what was written until then is there to be read.
            let is_over = *ended.borrow_and_update();
            let part = tokio::select! {
                part = api.read(vm, &self.path, self.offset, is_over) => part,
                // What was not passed on is read once more.
                _ = ended.changed(), if !is_over => continue,
            };
            match part {
                Ok(Part::Bytes(bytes)) => {
                    self.offset += bytes.len() as u64;
                    self.sink.write(&bytes).await?;
                    failing = None;
                    continue;
                }
                Ok(Part::Nothing) if is_over => return self.sink.finish().await,
                Ok(Part::Nothing) => failing = None,
                Err(error) if failing.get_or_insert_with(Instant::now).elapsed() > FAILING => {
                    return Err(error);
                }
                Err(_) => {}
            }
            tokio::select! {
                _ = ended.changed(), if !is_over => {}
                () = sleep(PAUSE) => {}
            }
        }
    }
}
