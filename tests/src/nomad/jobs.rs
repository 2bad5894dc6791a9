//! The endpoints of jobs: list, read, deregister.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::allocation::Allocation;
use super::answer::{Answer, Answered};
use super::server::Call;
use super::state::{Evaluation, Job, State, nanoseconds};
use super::{Agent, register, scheduler};

/// `/v1/jobs`.
pub(super) async fn jobs(call: &mut Call) -> Answered {
    match &*call.request.method {
        "GET" => list(call).await,
        "PUT" | "POST" => register::register(call, None).await,
        _ => Err(Answer::invalid_method()),
    }
}

/// `/v1/job/:id` and what is below it.
pub(super) async fn job(call: &mut Call, rest: &str) -> Answered {
    let namespace = call.namespace();
    if let Some(id) = rest.strip_suffix("/allocations") {
        call.only_get()?;
        let all = call.query.lenient_flag("all");
        call.caller.require_on(&namespace, "read-job")?;
        return call.blocking(|state| allocations(state, &namespace, id, all)).await;
    }
    if let Some(id) = rest.strip_suffix("/evaluations") {
        call.only_get()?;
        call.caller.require_on(&namespace, "read-job")?;
        return call
            .blocking(|state| {
                let of_job = |it: &&Evaluation| it.text("JobID") == id && it.text("Namespace") == namespace;
                let all: Value = state
                    .evaluations
                    .values()
                    .filter(of_job)
                    .map(|it| Value::Object(it.body.clone()))
                    .collect();
                (state.tables.evaluations, Ok(Answer::json(&all).read_at(state.tables.evaluations)))
            })
            .await;
    }
    if let Some(id) = rest.strip_suffix("/summary") {
        call.only_get()?;
        call.caller.require_on(&namespace, "read-job")?;
        return call
            .blocking(|state| match state.job(&namespace, id) {
                Some(job) => {
                    let index = state.tables.summaries;
                    (index, Ok(Answer::json(&summary(state, job)).read_at(index)))
                }
                None => (state.tables.summaries, Err(absent(state))),
            })
            .await;
    }
    for (suffix, empty) in
        [("/deployment", json!(null)), ("/deployments", json!([])), ("/services", json!([]))]
    {
        if rest.ends_with(suffix) {
            call.only_get()?;
            call.caller.require_on(&namespace, "read-job")?;
            return Ok(Answer::json(&empty).read_at(call.agent.read(|state| state.index)));
        }
    }
    if rest.ends_with("/versions") {
        call.only_get()?;
        call.caller.require_on(&namespace, "read-job")?;
        return Err(Answer::error(404, "job versions not found"));
    }
    match &*call.request.method {
        "GET" => {
            call.caller.require_on(&namespace, "read-job")?;
            call.blocking(|state| match state.job(&namespace, rest) {
                Some(job) => {
                    let index = job.number("ModifyIndex");
                    (index, Ok(Answer::json(&Value::Object(job.body.clone())).read_at(index)))
                }
                None => (state.tables.jobs, Err(absent(state))),
            })
            .await
        }
        "PUT" | "POST" => register::register(call, Some(rest)).await,
        "DELETE" => deregister(call, rest),
        _ => Err(Answer::invalid_method()),
    }
}

fn absent(state: &State) -> Answer {
    Answer::error(404, "job not found").read_at(state.tables.jobs)
}

fn allocations(state: &State, namespace: &str, id: &str, all: bool) -> (u64, Answered) {
    let created = state.job(namespace, id).map(|job| job.number("CreateIndex"));
    // Without `all`, those of an earlier job of the same ID do not count.
    let wanted = state
        .allocations_of(namespace, id)
        .filter(|it| all || created.is_none_or(|created| it.job.number("CreateIndex") == created));
    let stubs: Value = wanted.map(|it| it.stub(&state.node)).collect();
    let index = state.tables.allocations;
    (index, Ok(Answer::json(&stubs).read_at(index)))
}

async fn list(call: &Call) -> Answered {
    let namespace = call.namespace();
    let meta = call.query.flag("meta")?;
    let per_page = match call.query.get("per_page") {
        "" => 0,
        text => {
            let wrong = |_| Answer::error(400, "Expect a number for `per_page` query string parameter");
            usize::try_from(text.parse::<i32>().map_err(wrong)?).unwrap_or_default()
        }
    };
    let (prefix, token) = (call.query.get("prefix").to_owned(), call.query.get("next_token").to_owned());
    let filter = super::filter::Filter::parse(call.query.get("filter"))?;
    if namespace != "*" {
        call.caller.require_on(&namespace, "list-jobs")?;
    } else {
        call.caller.require(|grants| grants.may_anywhere("list-jobs"))?;
    }
    call.blocking(|state| {
        let index = state.tables.jobs.max(state.tables.summaries);
        let mut stubs = Vec::new();
        let mut next = None;
        for ((space, id), job) in &state.jobs {
            let seen = call.caller.may(|grants| grants.may(space, "list-jobs"));
            let in_namespace = *space == namespace || (namespace == "*" && seen);
            let position = format!("{space}.{id}");
            let of_page = token.is_empty() || position >= token;
            let body = Value::Object(job.body.clone());
            if let Err(wrong) = filter.check(&body) {
                return (u64::MAX, Err(wrong));
            }
            let fits = filter.fits(&body);
            if !in_namespace || !of_page || !id.starts_with(&prefix) || !fits {
                continue;
            }
            if per_page > 0 && stubs.len() == per_page {
                next = Some(position);
                break;
            }
            stubs.push(stub(state, job, meta));
        }
        let answer = Answer::json(&Value::Array(stubs)).read_at(index);
        (index, Ok(next.into_iter().fold(answer, |it, next| it.header("x-nomad-nexttoken", next))))
    })
    .await
}

fn stub(state: &State, job: &Job, meta: bool) -> Value {
    let keys = [
        "CreateIndex",
        "Datacenters",
        "ID",
        "JobModifyIndex",
        "ModifyIndex",
        "Multiregion",
        "Name",
        "Namespace",
        "NodePool",
        "ParentID",
        "Priority",
        "Status",
        "StatusDescription",
        "Stop",
        "SubmitTime",
        "Type",
    ];
    let mut stub: Map<String, Value> =
        keys.map(|key| (key.to_owned(), job.body[key].clone())).into_iter().collect();
    for key in ["Periodic", "ParameterizedJob"] {
        stub.insert(key.to_owned(), json!(!job.body[key].is_null()));
    }
    stub.insert("JobSummary".to_owned(), summary(state, job));
    if meta && !job.body["Meta"].is_null() {
        stub.insert("Meta".to_owned(), job.body["Meta"].clone());
    }
    Value::Object(stub)
}

fn summary(state: &State, job: &Job) -> Value {
    let group = |group: &Value| {
        let name = group["Name"].as_str().unwrap_or_default();
        let of = |status: &str| {
            let all = state.allocations_of(job.text("Namespace"), job.text("ID"));
            all.filter(|it| it.group == name && it.client == status).count()
        };
        let counts = json!({ "Complete": of("complete"), "Failed": of("failed"), "Lost": of("lost"), "Queued": 0,
            "Running": of("running"), "Starting": of("pending"), "Unknown": of("unknown") });
        (name.to_owned(), counts)
    };
    json!({
        "Children": { "Dead": 0, "Pending": 0, "Running": 0 }, "CreateIndex": job.number("CreateIndex"),
        "JobID": job.text("ID"), "ModifyIndex": state.tables.summaries, "Namespace": job.text("Namespace"),
        "Summary": job.groups().iter().map(group).collect::<Map<_, _>>(),
    })
}

fn deregister(call: &Call, id: &str) -> Answered {
    let namespace = call.namespace();
    let purge = call.query.flag("purge")?;
    if id.is_empty() {
        return Err(Answer::error(500, "missing job ID for deregistering"));
    }
    call.query.flag("global")?;
    call.query.flag("no_shutdown_delay")?;
    call.caller.require(|grants| {
        let fine = if purge { "purge-job" } else { "deregister-job" };
        grants.may(&namespace, "submit-job") || grants.may(&namespace, fine)
    })?;
    let (late, ignored) = {
        let faults = call.agent.faults();
        (faults.late_deregister, faults.ignored_deregister)
    };
    let agent = Arc::clone(&call.agent);
    if !ignored && late.is_none() {
        let (index, evaluation) = remove(&agent, &namespace, id, purge);
        return Ok(deregistered(index, &evaluation));
    }
    // It is said to be done, and is not.
    let (index, evaluation) = agent.change(|state| {
        let job = state.job(&namespace, id).cloned();
        let index = state.next();
        (
            index,
            job.map(|job| state.evaluation(&job, "job-deregister", "complete", index)).unwrap_or_default(),
        )
    });
    if let Some(time) = late.filter(|_| !ignored) {
        let id = id.to_owned();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            remove(&agent, &namespace, &id, purge);
        });
    }
    Ok(deregistered(index, &evaluation))
}

fn deregistered(index: u64, evaluation: &str) -> Answer {
    let index = if evaluation.is_empty() { 0 } else { index };
    let answer = json!({
        "EvalCreateIndex": index, "EvalID": evaluation, "Index": index, "JobModifyIndex": index,
        "KnownLeader": false, "LastContact": 0, "NextToken": "", "VolumeEvalID": "", "VolumeEvalIndex": 0,
    });
    Answer::json(&answer).written_at(index)
}

/// Stops a job, or takes it away; nothing happens to one that is not there.
fn remove(agent: &Arc<Agent>, namespace: &str, id: &str, purge: bool) -> (u64, String) {
    let (index, evaluation) = agent.change(|state| {
        let Some(mut job) = state.job(namespace, id).cloned() else { return (0, String::new()) };
        let index = state.next();
        job.set("Stop", json!(true));
        job.set("ModifyIndex", json!(index));
        job.set("JobModifyIndex", json!(index));
        job.set("SubmitTime", json!(nanoseconds()));
        let key = (namespace.to_owned(), id.to_owned());
        if purge {
            state.jobs.remove(&key);
            let of_job = |it: &&mut Allocation| it.namespace == namespace && it.job_id == id;
            state.allocations.values_mut().filter(of_job).for_each(|it| it.purged = true);
            state.tables.allocations = index;
        } else {
            let version = job.number("Version");
            job.set("Version", json!(version + 1));
            state.jobs.insert(key, job.clone());
        }
        (state.tables.jobs, state.tables.summaries) = (index, index);
        let of_job = |it: &&mut Evaluation| {
            it.text("JobID") == id && it.text("Namespace") == namespace && it.text("Status") == "blocked"
        };
        for blocked in state.evaluations.values_mut().filter(of_job) {
            blocked.body.insert("Status".to_owned(), json!("canceled"));
        }
        let evaluation = match job.is_endless() {
            true => String::new(),
            false => state.evaluation(&job, "job-deregister", "pending", index),
        };
        state.settle(namespace, id, index);
        (index, evaluation)
    });
    if !evaluation.is_empty() {
        scheduler::deregistered(agent, evaluation.clone());
    }
    (index, evaluation)
}
