//! Places the allocations of jobs, and says why it cannot.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::allocation::{Allocation, Port};
use super::state::{Job, State, nanoseconds, uuid};
use super::{Agent, task};

/// Carries an evaluation out, in the background.
pub(super) fn evaluate(agent: &Arc<Agent>, evaluation: String) {
    let agent = Arc::clone(agent);
    tokio::spawn(async move {
        let (delay, end) = {
            let faults = agent.faults();
            (faults.placement_delay, faults.evaluation.clone())
        };
        tokio::time::sleep(delay).await;
        if let Some((status, description)) = end {
            agent.change(|state| {
                state.change_evaluation(&evaluation, |it| {
                    it.insert("Status".to_owned(), json!(status));
                    it.insert("StatusDescription".to_owned(), json!(description));
                });
            });
            return;
        }
        let no_capacity = agent.faults().no_capacity;
        let placed = agent.change(|state| process(&agent, state, &evaluation, no_capacity));
        placed.start.into_iter().for_each(|id| task::start(&agent, &id));
        if let Some(blocked) = placed.blocked {
            unblock(&agent, &blocked).await;
        }
    });
}

/// Carries the evaluation of a deregistered job out, in the background; no fault delays it.
pub(super) fn deregistered(agent: &Arc<Agent>, evaluation: String) {
    let agent = Arc::clone(agent);
    tokio::spawn(async move {
        agent.change(|state| process(&agent, state, &evaluation, false));
    });
}

/// What came of an evaluation.
#[derive(Default)]
struct Placed {
    /// The allocations that are new.
    start: Vec<String>,
    /// The evaluation that waits for capacity.
    blocked: Option<String>,
}

/// Waits until what could not be placed can be.
async fn unblock(agent: &Arc<Agent>, blocked: &str) {
    let mut changed = agent.changed.subscribe();
    loop {
        let no_capacity = agent.faults().no_capacity;
        let placed = agent.read(|state| {
            let evaluation = state.evaluations.get(blocked).filter(|it| it.text("Status") == "blocked");
            let job = evaluation.and_then(|it| state.job(it.text("Namespace"), it.text("JobID")));
            let job = job.filter(|job| !job.flag("Stop"))?;
            let fits = |group: &&Value| obstacle(agent, state, job, group, no_capacity).is_none();
            Some(job.groups().iter().any(|group| fits(&group)))
        });
        match placed {
            None => return,
            Some(true) => break,
            Some(false) => {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        }
    }
    let no_capacity = agent.faults().no_capacity;
    let placed = agent.change(|state| process(agent, state, blocked, no_capacity));
    placed.start.into_iter().for_each(|id| task::start(agent, &id));
}

/// Brings a job's allocations to what the job asks for.
fn process(agent: &Agent, state: &mut State, evaluation: &str, no_capacity: bool) -> Placed {
    let mut placed = Placed::default();
    let Some((namespace, id, snapshot)) = state
        .evaluations
        .get(evaluation)
        .map(|it| (it.text("Namespace").to_owned(), it.text("JobID").to_owned(), it.number("ModifyIndex")))
    else {
        return placed;
    };
    let job = state.job(&namespace, &id).filter(|job| !job.flag("Stop")).cloned();
    stop_what_is_not_wanted(state, &namespace, &id, job.as_ref());
    let (mut failures, mut queued) = (Map::new(), Map::new());
    for group in job.as_ref().map(Job::groups).unwrap_or_default() {
        let job = job.as_ref().expect("the group is the job's");
        let name = group["Name"].as_str().unwrap_or_default();
        let there: Vec<&Allocation> = state
            .allocations_of(&namespace, &id)
            .filter(|it| it.group == name && is_wanted(it, job))
            .collect();
        let count = usize::try_from(group["Count"].as_u64().unwrap_or(1)).unwrap_or_default();
        let free: Vec<usize> = (0..count)
            .filter(|index| there.iter().all(|it| it.name != format!("{id}.{name}[{index}]")))
            .take(count.saturating_sub(there.len()))
            .collect();
        let mut missing = 0;
        for index in free {
            match obstacle(agent, state, job, group, no_capacity) {
                None => placed.start.push(place(agent, state, evaluation, job, name, index)),
                Some(metrics) => {
                    missing += 1;
                    failures.insert(name.to_owned(), metrics);
                }
            }
        }
        queued.insert(name.to_owned(), json!(missing));
    }
    if let (false, Some(job)) = (failures.is_empty(), &job) {
        let index = state.next();
        let blocked = state.evaluation(job, "queued-allocs", "blocked", index);
        if let Some(it) = state.evaluations.get_mut(&blocked) {
            it.body.insert("StatusDescription".to_owned(), json!("created to place remaining allocations"));
            it.body.insert("PreviousEval".to_owned(), json!(evaluation));
            it.body.insert("FailedTGAllocs".to_owned(), failures.clone().into());
            it.body.insert("SnapshotIndex".to_owned(), json!(snapshot));
        }
        placed.blocked = Some(blocked);
    }
    state.change_evaluation(evaluation, |it| {
        it.insert("Status".to_owned(), json!("complete"));
        it.insert("SnapshotIndex".to_owned(), json!(snapshot));
        it.insert("QueuedAllocations".to_owned(), queued.into());
        it.remove("StatusDescription");
        if failures.is_empty() {
            it.remove("FailedTGAllocs");
        } else {
            it.insert("FailedTGAllocs".to_owned(), failures.into());
        }
        if let Some(blocked) = &placed.blocked {
            it.insert("BlockedEval".to_owned(), json!(blocked));
        }
    });
    let index = state.index;
    state.settle(&namespace, &id, index);
    placed
}

/// Says whether an allocation is one of those that the job still asks for.
///
/// One that has failed is, until its replacement is due; one that has completed is not missed.
fn is_wanted(allocation: &Allocation, job: &Job) -> bool {
    allocation.desired == "run"
        && allocation.client != "lost"
        && allocation.next.is_empty()
        && allocation.job.number("CreateIndex") == job.number("CreateIndex")
        && allocation.job.number("Version") == job.number("Version")
}

/// Stops the allocations of a job that is stopped or gone, or that are of another version of it.
fn stop_what_is_not_wanted(state: &mut State, namespace: &str, id: &str, job: Option<&Job>) {
    let unwanted: Vec<String> = (state.allocations.values())
        .filter(|it| it.namespace == namespace && it.job_id == id && it.desired == "run")
        .filter(|it| it.purged || job.is_none_or(|job| !is_wanted(it, job)))
        .map(|it| it.id.clone())
        .collect();
    for id in unwanted {
        state.update(&id, |it| {
            it.desired = "stop";
            it.desired_description = "alloc not needed due to job update";
        });
    }
}

/// Why a group cannot be placed, in the form of its metrics.
fn obstacle(agent: &Agent, state: &State, job: &Job, group: &Value, no_capacity: bool) -> Option<Value> {
    let options = &agent.options;
    let tasks = group["Tasks"].as_array().map_or(&[][..], Vec::as_slice);
    let of = |tasks: &[Value], key: &str| -> u64 {
        tasks.iter().filter_map(|it| it["Resources"][key].as_u64()).sum()
    };
    let used = |key: &str| -> u64 {
        let live = state.allocations.values().filter(|it| !it.is_terminal());
        live.map(|it| it.group().and_then(|it| it["Tasks"].as_array()).map_or(0, |tasks| of(tasks, key)))
            .sum()
    };
    let datacenters = job.body["Datacenters"].as_array().map_or(&[][..], Vec::as_slice);
    let in_datacenter = datacenters.iter().filter_map(Value::as_str).any(|it| glob(it, &options.datacenter));
    let pool = job.text("NodePool");
    let in_pool = pool == "all" || pool == options.node_pool;
    let missing = tasks.iter().any(|it| !options.drivers.iter().any(|driver| it["Driver"] == **driver));
    let exhausted = match () {
        () if no_capacity || used("CPU") + of(tasks, "CPU") > options.cpu => Some("cpu"),
        () if used("MemoryMB") + of(tasks, "MemoryMB") > options.memory => Some("memory"),
        () => None,
    };
    let mut metrics = json!({
        "AllocationTime": 10_000, "ClassExhausted": null, "ClassFiltered": null, "CoalescedFailures": 0,
        "ConstraintFiltered": null, "DimensionExhausted": null, "NodePool": pool, "NodesAvailable": {},
        "NodesEvaluated": 0, "NodesExhausted": 0, "NodesFiltered": 0,
        "NodesInPool": u64::from(in_pool && in_datacenter),
        "QuotaExhausted": null, "ResourcesExhausted": null, "ScoreMetaData": null, "Scores": null,
    });
    if !in_datacenter || !in_pool {
        return Some(metrics);
    }
    metrics["NodesAvailable"][&options.datacenter] = json!(1);
    metrics["NodesEvaluated"] = json!(1);
    if missing {
        metrics["NodesFiltered"] = json!(1);
        metrics["ConstraintFiltered"] = json!({ "missing drivers": 1 });
        return Some(metrics);
    }
    let dimension = exhausted?;
    metrics["NodesExhausted"] = json!(1);
    metrics["DimensionExhausted"][dimension] = json!(1);
    Some(metrics)
}

/// Says whether a datacenter fits a pattern, which may have a `*`.
fn glob(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => {
            name.strip_prefix(start).is_some_and(|rest| rest.ends_with(end.trim_matches('*')))
        }
        None => pattern == name,
    }
}

/// Places one allocation.
fn place(agent: &Agent, state: &mut State, evaluation: &str, job: &Job, group: &str, index: usize) -> String {
    let raft = state.next();
    let id = uuid();
    let now = nanoseconds();
    let name = format!("{}.{group}[{index}]", job.text("ID"));
    let allocation = Allocation {
        id: id.clone(),
        evaluation: evaluation.to_owned(),
        namespace: job.text("Namespace").to_owned(),
        job_id: job.text("ID").to_owned(),
        group: group.to_owned(),
        name,
        job: job.clone(),
        purged: false,
        ports: ports_of(job, group),
        desired: "run",
        desired_description: "",
        client: "pending",
        client_description: "",
        tasks: std::collections::BTreeMap::new(),
        next: String::new(),
        previous: String::new(),
        followup: String::new(),
        create_index: raft,
        modify_index: raft,
        create_time: now,
        modify_time: now,
        directory: agent.directory.join(&id),
    };
    state.allocations.insert(id.clone(), allocation);
    state.tables.allocations = raft;
    state.tables.summaries = raft;
    state.settle(job.text("Namespace"), job.text("ID"), raft);
    id
}

/// The ports of a group: those that it has named, and free ones for the others.
fn ports_of(job: &Job, group: &str) -> Vec<Port> {
    let group = job.groups().iter().find(|it| it["Name"] == group);
    let free = || {
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).map_or(0, |it| it.port())
    };
    let ports = |key: &str, reserved: bool| {
        let named = |it: &Value| it["Value"].as_u64().and_then(|it| u16::try_from(it).ok()).unwrap_or(0);
        let port = |it: &Value| Port {
            label: it["Label"].as_str().unwrap_or_default().to_owned(),
            value: if reserved { named(it) } else { free() },
            to: it["To"].as_u64().unwrap_or_default(),
            reserved,
        };
        let all = group.and_then(|it| it["Networks"][0][key].as_array()).into_iter().flatten();
        all.map(port).collect::<Vec<_>>()
    };
    [ports("ReservedPorts", true), ports("DynamicPorts", false)].concat()
}

/// Replaces an allocation that has failed, if its job's policy says so, when it says so.
pub(super) fn reschedule(agent: &Arc<Agent>, failed: &str) {
    let (agent, failed) = (Arc::clone(agent), failed.to_owned());
    let faults = agent.faults().reschedule_delay;
    let followup = agent.change(|state| {
        let allocation = state.allocations.get(&failed).filter(|it| it.desired == "run")?.clone();
        let job = state.job(&allocation.namespace, &allocation.job_id).filter(|it| !it.flag("Stop"))?.clone();
        let policy = &allocation.group()?["ReschedulePolicy"];
        let tries = chain(state, &allocation);
        let more = policy["Unlimited"] == true || tries < policy["Attempts"].as_u64().unwrap_or_default();
        if !more {
            return None;
        }
        let base = Duration::from_nanos(policy["Delay"].as_u64().unwrap_or_default());
        let grown = match policy["DelayFunction"].as_str() {
            Some("exponential") => base.saturating_mul(1 << tries.min(16)),
            _ => base,
        };
        let most = policy["MaxDelay"].as_u64().filter(|&it| it > 0).map(Duration::from_nanos);
        let delay = faults.unwrap_or_else(|| most.map_or(grown, |most| grown.min(most)));
        let index = state.next();
        let id = state.evaluation(&job, "alloc-reschedule", "pending", index);
        if let Some(it) = state.evaluations.get_mut(&id) {
            it.body.insert("StatusDescription".to_owned(), json!("created for delayed rescheduling"));
            it.body.insert("WaitUntil".to_owned(), json!((jiff::Timestamp::now() + delay).to_string()));
        }
        state.update(&failed, |it| it.followup.clone_from(&id));
        Some((id, delay))
    });
    let Some((evaluation, delay)) = followup else { return };
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        let new = agent.change(|state| {
            let old = state.allocations.get(&failed).filter(|it| it.desired == "run")?.clone();
            let job = state.job(&old.namespace, &old.job_id).filter(|it| !it.flag("Stop"))?.clone();
            let index = old.name.rsplit_once('[')?.1.trim_end_matches(']').parse().ok()?;
            let new = place(&agent, state, &evaluation, &job, &old.group, index);
            if let Some(it) = state.allocations.get_mut(&new) {
                it.previous.clone_from(&old.id);
            }
            state.update(&failed, |it| {
                it.next.clone_from(&new);
                it.desired = "stop";
            });
            state.change_evaluation(&evaluation, |it| {
                it.insert("Status".to_owned(), json!("complete"));
            });
            Some(new)
        });
        if let Some(new) = new {
            task::start(&agent, &new);
        }
    });
}

/// How many allocations an allocation is the replacement of.
fn chain(state: &State, allocation: &Allocation) -> u64 {
    let mut count = 0;
    let mut previous = &allocation.previous;
    while let Some(it) = state.allocations.get(previous) {
        count += 1;
        previous = &it.previous;
    }
    count
}
