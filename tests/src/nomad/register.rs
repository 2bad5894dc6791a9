//! Registers jobs.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::acl::Caller;
use super::answer::{Answer, Answered};
use super::faults::Late;
use super::job::canonical;
use super::query::Query;
use super::server::Call;
use super::state::{Job, nanoseconds, object};
use super::{Agent, decode, scheduler, validate};

/// `PUT /v1/jobs`, and `PUT /v1/job/:id`.
pub(super) async fn register(call: &mut Call, path_id: Option<&str>) -> Answered {
    let (job, enforced) = read(&call.agent, &call.query, &call.caller, &call.request.body, path_id)?;
    let late = call.agent.faults().late_register.clone();
    match late {
        None => apply(&call.agent, job, enforced),
        Some(Late::AfterRequest(time)) => {
            tokio::time::sleep(time).await;
            let _ = apply(&call.agent, job, enforced);
            Err(Answer::cut())
        }
        Some(Late::AfterHangUp(time)) => {
            // An error is what is waited for: the other end is dropped.
            let _ = (&mut call.gone).await;
            tokio::time::sleep(time).await;
            let _ = apply(&call.agent, job, enforced);
            Err(Answer::cut())
        }
    }
}

/// Registers the job, and has it placed.
fn apply(agent: &Arc<Agent>, sent: Map<String, Value>, enforced: Option<u64>) -> Answered {
    let result = agent.change(|state| {
        let mut job = Job { body: sent };
        let (namespace, id) = (job.text("Namespace").to_owned(), job.text("ID").to_owned());
        let there = state.job(&namespace, &id).cloned();
        match (enforced, &there) {
            (Some(0), Some(_)) => return Err("0: job already exists".to_owned()),
            (Some(asked), Some(job)) if asked != job.number("JobModifyIndex") => {
                return Err(format!(
                    "{asked}: job exists with conflicting job modify index: {}",
                    job.number("JobModifyIndex")
                ));
            }
            (Some(asked), None) if asked > 0 => return Err(format!("{asked}: job does not exist")),
            _ => {}
        }
        let index = state.next();
        let unchanged = there.as_ref().is_some_and(|there| !there.flag("Stop") && same(there, &job));
        let keep = |key: &str| there.as_ref().map(|it| it.number(key));
        job.set("CreateIndex", json!(keep("CreateIndex").unwrap_or(index)));
        job.set("ModifyIndex", json!(index));
        job.set(
            "JobModifyIndex",
            json!(if unchanged { keep("JobModifyIndex") } else { None }.unwrap_or(index)),
        );
        let version = keep("Version").map_or(0, |version| version + u64::from(!unchanged));
        job.set("Version", json!(version));
        job.set("SubmitTime", json!(nanoseconds()));
        job.set("Stop", json!(false));
        job.set("Status", json!(if job.is_endless() { "running" } else { "pending" }));
        let evaluation =
            (!job.is_endless()).then(|| state.evaluation(&job, "job-register", "pending", index));
        let modified = job.number("JobModifyIndex");
        state.jobs.insert((namespace, id), job);
        (state.tables.jobs, state.tables.summaries) = (index, index);
        Ok((index, modified, evaluation))
    });
    let (index, modified, evaluation) =
        result.map_err(|why| Answer::error(500, format!("Enforcing job modify index {why}")))?;
    let answer = json!({
        "EvalCreateIndex": if evaluation.is_some() { index } else { 0 },
        "EvalID": evaluation.clone().unwrap_or_default(), "Index": index, "JobModifyIndex": modified,
        "KnownLeader": false, "LastContact": 0, "NextToken": "", "Warnings": "",
    });
    if let Some(evaluation) = evaluation {
        scheduler::evaluate(agent, evaluation);
    }
    Ok(Answer::json(&answer).written_at(index))
}

/// Says whether two jobs ask for the same.
fn same(one: &Job, other: &Job) -> bool {
    let of_raft =
        ["CreateIndex", "ModifyIndex", "JobModifyIndex", "Version", "SubmitTime", "Status", "Stop", "Stable"];
    let asked = |job: &Job| {
        let mut body = job.body.clone();
        body.retain(|key, _| !of_raft.contains(&key.as_str()));
        body
    };
    asked(one) == asked(other)
}

/// Registers a job for the emulator's own user, and returns the evaluation.
pub(super) fn own(agent: &Arc<Agent>, body: &[u8]) -> Result<String, String> {
    let text = |answer: Answer| String::from_utf8_lossy(&answer.body).into_owned();
    let (job, enforced) = read(agent, &Query::parse(""), &Caller::Anyone, body, None).map_err(text)?;
    let answer = apply(agent, job, enforced).map_err(text)?;
    let answer: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    Ok(answer["EvalID"].as_str().unwrap_or_default().to_owned())
}

/// Reads what is to be registered, and the index that it is tied to.
fn read(
    agent: &Agent,
    query: &Query,
    caller: &Caller,
    body: &[u8],
    path_id: Option<&str>,
) -> Result<(Map<String, Value>, Option<u64>), Answer> {
    let body = decode::register(body)?;
    let Some(job) = body.get("Job").filter(|it| !it.is_null()).cloned().map(object) else {
        return Err(Answer::error(400, "Job must be specified"));
    };
    let Some(id) = job.get("ID").and_then(Value::as_str) else {
        return Err(Answer::error(400, "Job ID hasn't been provided"));
    };
    if path_id.is_some_and(|it| it != id) {
        return Err(Answer::error(400, "Job ID does not match name"));
    }
    let options = &agent.options;
    let of = |from: &Map<String, Value>, key: &str| -> Option<String> {
        from.get(key).and_then(Value::as_str).filter(|it| !it.is_empty()).map(str::to_owned)
    };
    let asked = |key: &str| Some(query.get(key).to_owned()).filter(|it| !it.is_empty());
    let region = asked("region").or_else(|| of(&body, "Region")).or_else(|| of(&job, "Region"));
    // `global` stands for whichever region the agent is in.
    let region = region.filter(|it| it != "global").unwrap_or_else(|| options.region.clone());
    if region != options.region {
        return Err(Answer::error(500, "No path to region"));
    }
    let namespace = asked("namespace").or_else(|| of(&body, "Namespace")).or_else(|| of(&job, "Namespace"));
    let namespace = namespace.unwrap_or_else(|| "default".to_owned());
    let job = canonical(&job, &namespace, &region);
    if let Some(wrong) = validate::validate(&job) {
        return Err(Answer::error(500, wrong));
    }
    caller.require_on(&namespace, "submit-job")?;
    let id = job["ID"].as_str().unwrap_or_default();
    if namespace != "default" && !options.namespaces.contains(&namespace) {
        let wrong = validate::alone(format!("job {id:?} is in nonexistent namespace {namespace:?}"));
        return Err(Answer::error(500, wrong));
    }
    let pool = job["NodePool"].as_str().unwrap_or_default();
    let pools = ["default", "all", &options.node_pool];
    if !pools.contains(&pool) && !options.node_pools.iter().any(|it| it == pool) {
        let wrong = validate::alone(format!("job {id:?} is in nonexistent node pool {pool:?}"));
        return Err(Answer::error(500, wrong));
    }
    let enforced = (body.get("EnforceIndex") == Some(&Value::Bool(true)))
        .then(|| body.get("JobModifyIndex").and_then(Value::as_u64).unwrap_or_default());
    Ok((job, enforced))
}
