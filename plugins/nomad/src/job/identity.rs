//! How a job is known to be a certain lease: its id, and what is written into job, group and task.
//!
//! Both are functions of the lease's id and the configuration, so that a lost answer or a lost `state` loses nothing.

use std::collections::BTreeMap;

use crabbox_provider_kit::protocol::Lease;
use crabbox_provider_kit::{Error, Result};

use crate::api::Job;
use crate::settings::Settings;

/// What every key of ours begins with.
const PREFIX: &str = "crabbox.";

/// Says that a job is ours.
pub(crate) const MANAGED: &str = "crabbox.managed";

/// The lease's id.
pub(crate) const LEASE_ID: &str = "crabbox.lease_id";

/// The lease's slug: for people, and not part of the proof.
pub(crate) const SLUG: &str = "crabbox.slug";

/// Where the lease was made.
pub(crate) const SCOPE: &str = "crabbox.scope";

/// When the lease's time is over: for people, and not part of the proof.
pub(crate) const EXPIRES_AT: &str = "crabbox.expires_at";

/// What a lease's job is called and what it must say.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Identity {
    /// The job's id, which is its name as well: `crabbox-` and the digits of the lease's id.
    pub(crate) job_id: String,
    /// The lease's id.
    pub(crate) lease_id: String,
    /// The lease's directory in the task; none for one in the task's own directory.
    pub(crate) directory: Option<String>,
    /// What job, group and task say of whose they are.
    proof: BTreeMap<String, String>,
}

impl Identity {
    /// The identity of a lease, or of the job that it was adopted from.
    pub(crate) fn of(lease: &Lease, settings: &Settings) -> Self {
        let adopted = lease.r#ref.as_deref().and_then(digits_of_job);
        let digits = adopted.unwrap_or_else(|| lease.id.as_str().trim_start_matches("cbx_"));
        let (job_id, lease_id) = (format!("crabbox-{digits}"), format!("cbx_{digits}"));
        let directory = settings.directory(&lease_id);
        let scope = settings.scope();
        let workdir = directory.as_deref().unwrap_or("task");
        let proof = [
            ("managed", "true"),
            ("lease_id", &lease_id),
            ("provider", "nomad"),
            ("scope", &scope),
            ("namespace", &settings.namespace),
            ("region", settings.region()),
            ("job_id", &job_id),
            ("task", &settings.task),
            ("workdir", workdir),
        ];
        let proof = proof.map(|(key, value)| (format!("{PREFIX}{key}"), value.to_owned())).into();
        Self { job_id, lease_id, directory, proof }
    }

    /// What is written into job, group and task: the proof, and what people like to know.
    pub(crate) fn meta(&self, slug: &str, expires_at: Option<&str>) -> BTreeMap<String, String> {
        let mut meta = self.proof.clone();
        meta.insert(SLUG.to_owned(), slug.to_owned());
        meta.extend(expires_at.map(|time| (EXPIRES_AT.to_owned(), time.to_owned())));
        meta
    }

    /// Checks that a job is this lease's, in all three places, and names the group of its task.
    ///
    /// # Errors
    ///
    /// `conflict`, naming the first key that differs.
    pub(crate) fn verify<'a>(&self, job: &'a Job, task: &str) -> Result<&'a str> {
        let mut owner = None;
        for group in &job.task_groups {
            owner = owner.or(group
                .tasks
                .iter()
                .find(|candidate| candidate.name == task)
                .map(|task| (group, task)));
        }
        let differs = match owner {
            _ if job.id != self.job_id => Some(("its id".to_owned(), "job")),
            None => Some((format!("task `{task}`, which it does not have"), "job")),
            Some((group, task)) => [("job", &job.meta), ("group", &group.meta), ("task", &task.meta)]
                .into_iter()
                .find_map(|(place, meta)| Some((self.difference(meta)?, place))),
        };
        match differs {
            None => Ok(owner.map(|(group, _)| group.name.as_str()).unwrap_or_default()),
            Some((what, place)) => {
                Err(Error::conflict(format!("the job {} is not this lease's", self.job_id))
                    .cause(format!("its {place} differs in {what}"))
                    .hint("nothing was changed; look at the job with `nomad job inspect`"))
            }
        }
    }

    /// The first key of the proof that `meta` does not have, or has with another value.
    pub(crate) fn difference(&self, meta: &BTreeMap<String, String>) -> Option<String> {
        self.proof
            .iter()
            .find(|(key, value)| meta.get(*key) != Some(*value))
            .map(|(key, _)| format!("`{key}`"))
    }
}

/// The digits of a job's id, if it is one of ours.
fn digits_of_job(job_id: &str) -> Option<&str> {
    let digits = job_id.strip_prefix("crabbox-")?;
    (digits.len() == 12 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
        .then_some(digits)
}
