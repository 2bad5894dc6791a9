//! What the emulated cluster knows: jobs, evaluations, allocations, and the index of each table.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::allocation::Allocation;

/// The cluster's state.
#[derive(Default)]
pub(super) struct State {
    /// The last index that was given out, as of a raft log.
    pub(super) index: u64,
    /// The index of the last change of each table.
    pub(super) tables: Tables,
    /// The jobs, by namespace and ID.
    pub(super) jobs: BTreeMap<(String, String), Job>,
    /// The evaluations, by ID.
    pub(super) evaluations: BTreeMap<String, Evaluation>,
    /// The allocations, by ID.
    pub(super) allocations: BTreeMap<String, Allocation>,
    /// The node's ID.
    pub(super) node: String,
    /// The index at which the node was ready.
    pub(super) node_index: u64,
}

/// The index of the last change of each table.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) jobs: u64,
    pub(super) summaries: u64,
    pub(super) evaluations: u64,
    pub(super) allocations: u64,
}

/// A job, in the shape in which it is read.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) body: Map<String, Value>,
}

/// An evaluation, in the shape in which it is read.
#[derive(Clone)]
pub(super) struct Evaluation {
    pub(super) body: Map<String, Value>,
}

impl State {
    /// A cluster that has elected its leader and has one node.
    pub(super) fn new() -> Self {
        Self { index: 10, node: uuid(), node_index: 10, ..Self::default() }
    }

    /// The next index.
    pub(super) fn next(&mut self) -> u64 {
        self.index += 1;
        self.index
    }

    pub(super) fn job(&self, namespace: &str, id: &str) -> Option<&Job> {
        self.jobs.get(&(namespace.to_owned(), id.to_owned()))
    }

    pub(super) fn job_mut(&mut self, namespace: &str, id: &str) -> Option<&mut Job> {
        self.jobs.get_mut(&(namespace.to_owned(), id.to_owned()))
    }

    /// The allocations that the API still knows of.
    pub(super) fn visible(&self) -> impl Iterator<Item = &Allocation> {
        self.allocations.values().filter(|it| !it.purged)
    }

    /// The allocations of a job, whichever registration they come from.
    pub(super) fn allocations_of(&self, namespace: &str, id: &str) -> impl Iterator<Item = &Allocation> {
        self.visible().filter(move |it| it.namespace == namespace && it.job_id == id)
    }

    /// Changes an allocation at a new index, and its job's summary with it.
    pub(super) fn update(&mut self, id: &str, change: impl FnOnce(&mut Allocation)) {
        let index = self.next();
        let Some(allocation) = self.allocations.get_mut(id) else { return };
        change(allocation);
        allocation.modify_index = index;
        allocation.modify_time = nanoseconds();
        let (namespace, job) = (allocation.namespace.clone(), allocation.job_id.clone());
        self.tables.allocations = index;
        self.tables.summaries = index;
        self.settle(&namespace, &job, index);
    }

    /// Creates an evaluation, at the index that its cause has.
    pub(super) fn evaluation(&mut self, job: &Job, cause: &str, status: &str, index: u64) -> String {
        let id = uuid();
        let now = nanoseconds();
        let body = json!({
            "CreateIndex": index,
            "CreateTime": now,
            "ID": id,
            "JobID": job.text("ID"),
            "JobModifyIndex": job.number("JobModifyIndex"),
            "ModifyIndex": index,
            "ModifyTime": now,
            "Namespace": job.text("Namespace"),
            "Priority": job.number("Priority"),
            "Status": status,
            "TriggeredBy": cause,
            "Type": job.text("Type"),
        });
        self.evaluations.insert(id.clone(), Evaluation { body: object(body) });
        self.tables.evaluations = index;
        id
    }

    /// Changes an evaluation at a new index.
    pub(super) fn change_evaluation(&mut self, id: &str, change: impl FnOnce(&mut Map<String, Value>)) {
        let index = self.next();
        let Some(evaluation) = self.evaluations.get_mut(id) else { return };
        change(&mut evaluation.body);
        evaluation.body.insert("ModifyIndex".to_owned(), json!(index));
        evaluation.body.insert("ModifyTime".to_owned(), json!(nanoseconds()));
        self.tables.evaluations = index;
    }

    /// Brings a job's status up to what its evaluations and allocations are.
    pub(super) fn settle(&mut self, namespace: &str, id: &str, index: u64) {
        let Some(job) = self.job(namespace, id) else { return };
        let (stopped, endless) = (job.flag("Stop"), job.is_endless());
        let live = self.allocations_of(namespace, id).any(|it| !it.is_terminal());
        let placed = self.allocations_of(namespace, id).next().is_some();
        let waits = |status: &str| {
            let mut all = self.evaluations.values();
            all.any(|it| {
                it.text("JobID") == id && it.text("Namespace") == namespace && it.text("Status") == status
            })
        };
        let (due, blocked) = (waits("pending"), waits("blocked"));
        let status = match () {
            () if endless && !stopped => "running",
            // At once, though its processes may take their time.
            () if stopped => "dead",
            () if live => "running",
            () if blocked => "running",
            () if due => "pending",
            () if placed => "dead",
            () => return,
        };
        let changed = job.text("Status") != status;
        if changed && let Some(job) = self.job_mut(namespace, id) {
            job.set("Status", json!(status));
            job.set("ModifyIndex", json!(index));
            self.tables.jobs = index;
        }
    }
}

impl Job {
    pub(super) fn text(&self, key: &str) -> &str {
        self.body.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn number(&self, key: &str) -> u64 {
        self.body.get(key).and_then(Value::as_u64).unwrap_or_default()
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        self.body.get(key).and_then(Value::as_bool).unwrap_or_default()
    }

    pub(super) fn set(&mut self, key: &str, value: Value) {
        self.body.insert(key.to_owned(), value);
    }

    pub(super) fn groups(&self) -> &[Value] {
        self.body.get("TaskGroups").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Says whether the job only begets others, and is never placed itself.
    pub(super) fn is_endless(&self) -> bool {
        ["Periodic", "ParameterizedJob"].iter().any(|key| self.body.get(*key).is_some_and(|it| !it.is_null()))
    }
}

impl Evaluation {
    pub(super) fn text(&self, key: &str) -> &str {
        self.body.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn number(&self, key: &str) -> u64 {
        self.body.get(key).and_then(Value::as_u64).unwrap_or_default()
    }
}

/// The fields of a value that is an object.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// A random UUID, in the form that Nomad's have.
pub(super) fn uuid() -> String {
    let digits = || fastrand::u16(..);
    let (a, b, c, d, e, f, g, h) =
        (digits(), digits(), digits(), digits(), digits(), digits(), digits(), digits());
    format!("{a:04x}{b:04x}-{c:04x}-{d:04x}-{e:04x}-{f:04x}{g:04x}{h:04x}")
}

/// The time since 1970 in nanoseconds.
pub(super) fn nanoseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
