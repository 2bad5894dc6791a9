//! The endpoints of jobs: register, list, read, deregister.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::allocation::Allocation;
use super::answer::{Answer, Answered};
use super::faults::Late;
use super::job::canonical;
use super::server::Call;
use super::state::{Evaluation, Job, State, nanoseconds, object};
use super::{Agent, decode, scheduler, validate};

/// `/v1/jobs`.
pub(super) async fn jobs(call: &mut Call) -> Answered {
    match &*call.request.method {
        "GET" => list(call).await,
        "PUT" | "POST" => register(call, None).await,
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
        "PUT" | "POST" => register(call, Some(rest)).await,
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

async fn register(call: &mut Call, path_id: Option<&str>) -> Answered {
    let body = decode::register(&call.request.body)?;
    let Some(job) = body.get("Job").filter(|it| !it.is_null()).cloned().map(object) else {
        return Err(Answer::error(400, "Job must be specified"));
    };
    let Some(id) = job.get("ID").and_then(Value::as_str) else {
        return Err(Answer::error(400, "Job ID hasn't been provided"));
    };
    if path_id.is_some_and(|it| it != id) {
        return Err(Answer::error(400, "Job ID does not match name"));
    }
    let options = &call.agent.options;
    let of = |from: &Map<String, Value>, key: &str| -> Option<String> {
        from.get(key).and_then(Value::as_str).filter(|it| !it.is_empty()).map(str::to_owned)
    };
    let asked = |key: &str| Some(call.query.get(key).to_owned()).filter(|it| !it.is_empty());
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
    call.caller.require_on(&namespace, "submit-job")?;
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
