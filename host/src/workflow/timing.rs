//! Where the time of a run went: the summary line, and the record for programs.

use std::time::{Duration, Instant};

use crabbox_protocol::records::{Phase, RunErrorKind, RunStatus, Timing};
use crabbox_protocol::{CancelReason, RunId};

use super::sync::Synced;
use super::{ms, shown};
use crate::error::Result;
use crate::output::{human, say};

/// What is known of a run, filled in as it goes.
#[derive(Debug)]
pub(super) struct Clock {
    begun: Instant,
    /// The record.
    pub(super) record: Timing,
}

impl Clock {
    /// Starts with the run.
    pub(super) fn start(provider: &str, run: &RunId) -> Self {
        let record = Timing {
            provider: provider.to_owned(),
            lease_id: None,
            slug: None,
            run_id: run.clone(),
            label: None,
            repo_path: None,
            lease_ms: None,
            sync_ms: 0,
            sync_phases: Vec::new(),
            sync_skipped: false,
            command_ms: 0,
            release_ms: None,
            total_ms: 0,
            exit_code: 0,
            run_status: RunStatus::Succeeded,
            error_kind: None,
            lease_released: false,
            release_error: None,
            stop_command: None,
        };
        Self { begun: Instant::now(), record }
    }

    /// The sync is done.
    pub(super) fn synced(&mut self, synced: Synced) {
        let sent = match synced.files {
            0 => "nothing sent".to_owned(),
            1 => format!("1 file, {} sent", human(synced.bytes)),
            files => format!("{files} files, {} sent", human(synced.bytes)),
        };
        say(format!("sync complete in {}: {sent}", shown(synced.took)));
        self.record.sync_ms = ms(synced.took);
        self.record.sync_phases = synced.phases;
    }

    /// There is no sync.
    pub(super) fn sync_skipped(&mut self) {
        self.record.sync_skipped = true;
        let phase = Phase { name: "sync".into(), ms: None, skipped: true, reason: Some("--no-sync".into()) };
        self.record.sync_phases = vec![phase];
    }

    /// How it ended: `command` says whether it was the command that failed.
    pub(super) fn ended(&mut self, code: u8, cancelled: Option<CancelReason>, command: bool) {
        let record = &mut self.record;
        record.exit_code = code.into();
        (record.run_status, record.error_kind) = match (cancelled, code) {
            (Some(CancelReason::Deadline), _) => (RunStatus::TimedOut, Some(RunErrorKind::Timeout)),
            (Some(_), _) => (RunStatus::Canceled, Some(RunErrorKind::Canceled)),
            (None, 0) => (RunStatus::Succeeded, None),
            (None, _) if command => (RunStatus::Failed, Some(RunErrorKind::CommandExit)),
            (None, _) => (RunStatus::Failed, Some(RunErrorKind::ProviderError)),
        };
    }

    /// Prints the summary, and with `json` the record.
    pub(super) fn print(mut self, json: bool) -> Result<()> {
        self.record.total_ms = ms(self.begun.elapsed());
        let record = &self.record;
        let span = |ms: u64| shown(Duration::from_millis(ms));
        let sync = if record.sync_skipped {
            "sync_skipped=true".into()
        } else {
            format!("sync={}", span(record.sync_ms))
        };
        say(format!(
            "{} run summary {sync} command={} total={} exit={}",
            record.provider,
            span(record.command_ms),
            span(record.total_ms),
            record.exit_code
        ));
        if json {
            say(serde_json::to_string(record).unwrap_or_default());
        }
        Ok(())
    }
}
