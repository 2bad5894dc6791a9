//! `list`: the jobs that crabbox made under this scope.

use crabbox_provider_kit::Result;
use crabbox_provider_kit::protocol::{LeaseState, ListResult, Listed};
use jiff::Timestamp;

use crate::api::JobRow;
use crate::job::{LEASE_ID, MANAGED, SCOPE, SLUG};
use crate::provider::Nomad;

impl Nomad {
    /// Answers `list`. The agent answers all that match at once when it is not asked for pages.
    pub(crate) async fn listed(&self) -> Result<ListResult> {
        let rows: Vec<JobRow> = self.api.get("/v1/jobs", &[("prefix", "crabbox-"), ("meta", "true")]).await?;
        let scope = self.settings.scope();
        let is = |row: &JobRow, key: &str, value: &str| row.meta.get(key).is_some_and(|found| found == value);
        let ours = rows.into_iter().filter(|row| is(row, MANAGED, "true") && is(row, SCOPE, &scope));
        Ok(ListResult { leases: ours.map(listed).collect(), complete: true })
    }
}

fn listed(mut row: JobRow) -> Listed {
    let runs = row.job_summary.summary.values().any(|group| group.running > 0);
    let state = match (row.stop, row.status.as_str()) {
        (true, _) => LeaseState::Stopped,
        (_, "dead") => LeaseState::Failed,
        _ if runs => LeaseState::Ready,
        _ => LeaseState::Starting,
    };
    let expires_at = row.meta.get(crate::job::EXPIRES_AT).and_then(|time| time.parse().ok());
    Listed {
        id: row.meta.remove(LEASE_ID),
        slug: row.meta.remove(SLUG),
        name: row.id.clone(),
        r#ref: row.id,
        state,
        labels: Default::default(),
        created_at: Timestamp::from_nanosecond(row.submit_time.into()).ok(),
        expires_at,
    }
}
