//! `acquire`: registers the job, unless it is there, and waits until its task runs.

use std::time::Duration;

use crabbox_provider_kit::protocol::{AcquireParams, ErrorKind, LeaseReport};
use crabbox_provider_kit::{Context, Error, Result};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::allocations::{Place, Standing, placement, standing};
use crate::api::{Evaluation, Refusal, one_line};
use crate::job::{Identity, Order, group_of, job};
use crate::provider::{Found, Nomad};

/// How long one blocking query waits. Short enough to notice soon that the evaluation failed.
const WAIT: Duration = Duration::from_secs(10);

/// How long after a failure a replacement may be announced, where the user's own job may have one (seen: 1.3 s).
const REPLACED: Duration = Duration::from_secs(5);

/// How long to wait where a query cannot block.
const PAUSE: Duration = Duration::from_millis(200);

impl Nomad {
    /// Answers `acquire`.
    pub(crate) async fn make(&self, params: &AcquireParams, context: &Context) -> Result<LeaseReport> {
        let lease = &params.lease;
        if let Some(target) = params.target.as_deref().filter(|target| *target != "linux") {
            return Err(Error::unsupported(format!("there are no `{target}` leases here"))
                .hint("Nomad's task drivers are used for Linux; leave out the target")
                .created(false));
        }
        let identity = Identity::of(lease, &self.settings);
        let expires_at = params.expires_at.map(|time| time.to_string());
        let order = Order { identity: &identity, slug: &lease.slug, expires_at, expose: &params.expose };
        let wanted = job(&order, &self.settings).map_err(|error| error.created(false))?;
        // Whatever stands in the way so far, nothing was asked for that creates anything.
        let evaluation = match self.find(&identity).await.map_err(|error| error.created(false))? {
            Found::Ours(_) => None,
            Found::Stopped => return Err(stopped(&identity)),
            Found::Absent => self.register(&identity, &wanted).await?,
        };
        context.lease(report(&identity, None)).await?;
        if let Some(evaluation) = &evaluation {
            self.evaluated(evaluation).await?;
        }
        let group = group_of(&wanted, &self.settings.task);
        let place = self.placed(&identity, &group, evaluation.as_deref(), context).await?;
        self.remember(&identity, &place);
        let message = format!("allocation {} on node {}", place.allocation, place.node);
        Ok(LeaseReport { message: Some(message), ..report(&identity, Some(&place)) })
    }

    /// Registers the job and names its evaluation; none where the job is there without an answer that says so.
    async fn register(&self, identity: &Identity, wanted: &Value) -> Result<Option<String>> {
        let error = match self.api.register(wanted).await {
            Ok(Ok(registered)) if registered.eval_id.is_empty() => {
                let message = format!("Nomad took the job {} and schedules nothing", identity.job_id);
                return Err(
                    Error::config_invalid(message).hint("a lease's job must be one that runs at once")
                );
            }
            Ok(Ok(registered)) => return Ok(Some(registered.eval_id)),
            Ok(Err(refusal)) => self.refused(&refusal),
            // Nobody knows whether it was registered.
            Err(error) => error,
        };
        // That a job exists is refused with the same status as many other things, and an answer can be lost: only a
        // look tells.
        match self.find(identity).await {
            Ok(Found::Ours(_)) => Ok(None),
            Ok(Found::Stopped) => Err(stopped(identity)),
            Err(other) if other.kind() == ErrorKind::Conflict => Err(other.created(false)),
            Ok(Found::Absent) | Err(_) => Err(error),
        }
    }

    /// A job that Nomad did not take. The fault is the configuration's where it says what is wrong with the job, and
    /// nothing was created where it says that the fault is ours.
    fn refused(&self, refusal: &Refusal) -> Error {
        let error = self.api.error(refusal);
        let about_job = refusal.text.contains("alidation") || refusal.text.contains("error occurred");
        match refusal.status.as_u16() {
            400 | 500 if about_job => {
                Error::config_invalid("Nomad does not take the job").cause(&refusal.text).created(false)
            }
            300..=499 => error.created(false),
            _ => error,
        }
    }

    /// Waits until the scheduler has looked at the job. That it found no room is no failure yet.
    async fn evaluated(&self, id: &str) -> Result<()> {
        let begun = Instant::now();
        let path = format!("/v1/evaluation/{id}");
        let mut index = 0;
        loop {
            let left = self.settings.eval_timeout.saturating_sub(begun.elapsed());
            let reply = self.api.watch::<Option<Evaluation>>(&path, &[], index, WAIT.min(left)).await?;
            let Some(evaluation) = reply.body else {
                return Err(Error::provider(format!("Nomad has nothing to say about the evaluation {id}")));
            };
            match evaluation.status.as_str() {
                "complete" | "blocked" => return Ok(()),
                status @ ("failed" | "canceled" | "cancelled") => {
                    let why = one_line(&evaluation.status_description);
                    return Err(Error::provider(format!("the scheduler's evaluation {id} {status}: {why}")));
                }
                _ if begun.elapsed() >= self.settings.eval_timeout => {
                    let waited = humane(self.settings.eval_timeout);
                    return Err(Error::deadline(format!(
                        "the scheduler has not looked at the job within {waited}"
                    ))
                    .hint("`evalTimeout` in the block `nomad` says how long to wait"));
                }
                _ => {}
            }
            pause(&mut index, reply.index).await;
        }
    }

    /// Waits until the task runs.
    async fn placed(
        &self,
        identity: &Identity,
        group: &str,
        evaluation: Option<&str>,
        context: &Context,
    ) -> Result<Place> {
        let begun = Instant::now();
        let (mut index, mut told, mut failed) = (0, String::new(), None);
        loop {
            let left = self.settings.alloc_ready_timeout.saturating_sub(begun.elapsed());
            let reply = self.allocations(identity, index, WAIT.min(left)).await?;
            let mut waiting = match standing(group, &self.settings.task, &reply.body) {
                Standing::Ready(place) => return Ok(place),
                // That another is to come, Nomad says a moment after it has said that this one failed.
                Standing::Failed(why)
                    if self.settings.template.is_some()
                        && failed.get_or_insert_with(Instant::now).elapsed() < REPLACED =>
                {
                    why
                }
                Standing::Failed(why) => {
                    return Err(Error::unavailable("the lease's task does not run").cause(why).hint(
                        format!(
                            "`crabbox doctor --provider nomad` checks the cluster; the job is {}",
                            identity.job_id
                        ),
                    ));
                }
                Standing::Starting(waiting) => waiting,
            };
            if let (true, Some(id)) = (reply.body.is_empty(), evaluation) {
                let evaluation: Option<Evaluation> =
                    self.api.find(&format!("/v1/evaluation/{id}"), "eval not found").await?;
                waiting = evaluation.as_ref().and_then(placement).unwrap_or(waiting);
            }
            if begun.elapsed() >= self.settings.alloc_ready_timeout {
                let waited = humane(self.settings.alloc_ready_timeout);
                return Err(Error::capacity(format!("the lease's task does not run after {waited}"))
                    .cause(waiting)
                    .hint("`allocReadyTimeout` in the block `nomad` says how long to wait"));
            }
            if waiting != told {
                context.progress(format!("waiting: {waiting}")).await?;
                told = waiting;
            }
            pause(&mut index, reply.index).await;
        }
    }
}

/// What is known of a lease.
pub(crate) fn report(identity: &Identity, place: Option<&Place>) -> LeaseReport {
    let labels = place.map(|place| [("allocation", &place.allocation), ("node", &place.node)]);
    let labels = labels.into_iter().flatten().map(|(key, value)| (key.to_owned(), value.clone()));
    let job = ("job".to_owned(), identity.job_id.clone());
    LeaseReport {
        r#ref: Some(identity.job_id.clone()),
        state: place.map(|place| json!({"allocation": place.allocation})),
        labels: labels.chain([job]).collect(),
        ..LeaseReport::default()
    }
}

/// A job that exists and was stopped by somebody can be neither used nor replaced.
fn stopped(identity: &Identity) -> Error {
    Error::conflict(format!("the job {} exists and was stopped", identity.job_id))
        .hint(format!("`nomad job stop -purge {}` takes it away", identity.job_id))
        .created(false)
}

/// Before the next query, which blocks only where the index is known. One that went back begins again.
pub(crate) async fn pause(index: &mut u64, new: u64) {
    if new == 0 || new < *index {
        *index = 0;
        sleep(PAUSE).await;
    } else {
        *index = new;
    }
}

fn humane(time: Duration) -> String {
    match time.as_millis() {
        ms if ms < 1000 || ms % 1000 != 0 => format!("{ms} ms"),
        ms => format!("{} s", ms / 1000),
    }
}
