//! The job that is registered, from the configuration or from the user's template.

use std::collections::BTreeMap;

use crabbox_provider_kit::Result;
use serde_json::{Map, Value, json};

use super::Identity;
use super::template;
use crate::settings::Settings;

/// The script that the task runs.
const KEEP: &str = include_str!("keep.sh");

/// How long a task may take to end when it is told to, in nanoseconds: to take a large tree away. It is the most that
/// a client allows by default.
const KILL_TIMEOUT: u64 = 30_000_000_000;

/// What a lease's job is made for.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    /// The lease.
    pub(crate) identity: &'a Identity,
    /// Its slug.
    pub(crate) slug: &'a str,
    /// When its time is over.
    pub(crate) expires_at: Option<String>,
    /// The ports that others will want to reach.
    pub(crate) expose: &'a [u16],
}

/// The job to register. A template is read and checked here, before anything is asked of the cluster.
///
/// # Errors
///
/// `configInvalid` with what is wrong with the template.
pub(crate) fn job(order: &Order<'_>, settings: &Settings) -> Result<Value> {
    let meta = order.identity.meta(order.slug, order.expires_at.as_deref());
    match &settings.template {
        Some(path) => template::job(path, order, &meta, settings),
        None => Ok(plain(order, &meta, settings)),
    }
}

/// The name of the group that a task of a job is in.
pub(crate) fn group_of(job: &Value, task: &str) -> String {
    let has = |group: &&Value| {
        let tasks = group["Tasks"].as_array().into_iter().flatten();
        tasks.into_iter().any(|candidate| candidate["Name"] == task)
    };
    let group = job["TaskGroups"].as_array().into_iter().flatten().find(has);
    group.and_then(|group| group["Name"].as_str()).unwrap_or_default().to_owned()
}

fn plain(order: &Order<'_>, meta: &BTreeMap<String, String>, settings: &Settings) -> Value {
    let identity = order.identity;
    let mut group = json!({
        "Name": "crabbox",
        "Count": 1,
        "Meta": meta,
        "EphemeralDisk": {"SizeMB": settings.disk_mb},
        // A task that does not stay is tried again at once, on the same node: images do not always come at the
        // first try. After that the lease has failed, and says so, instead of starting afresh somewhere else.
        "RestartPolicy": {"Attempts": 2, "Interval": 300_000_000_000_u64, "Delay": 2_000_000_000, "Mode": "fail"},
        "ReschedulePolicy": {"Attempts": 0, "Unlimited": false},
        "Tasks": [{
            "Name": settings.task,
            "Driver": settings.driver,
            "Config": config(order, settings),
            "Meta": meta,
            "KillTimeout": KILL_TIMEOUT,
            // The task prints nothing. Without this Nomad wants 100 MiB of disk for its logs.
            "LogConfig": {"MaxFiles": 1, "MaxFileSizeMB": 1},
            "Resources": {"CPU": settings.cpu, "MemoryMB": settings.memory_mb},
        }],
    });
    if !order.expose.is_empty() {
        group["Networks"] = json!([network(order.expose, settings)]);
    }
    let mut job = json!({
        "ID": identity.job_id,
        "Name": identity.job_id,
        "Type": "service",
        "Namespace": settings.namespace,
        "Datacenters": ["*"],
        "Meta": meta,
        "TaskGroups": [group],
    });
    if !settings.datacenters.is_empty() {
        job["Datacenters"] = json!(settings.datacenters);
    }
    if let Some(region) = &settings.configured_region {
        job["Region"] = json!(region);
    }
    if let Some(pool) = &settings.node_pool {
        job["NodePool"] = json!(pool);
    }
    job
}

/// The ports that lead to the task. Where it has a network of its own the node's are any that are free; on the node's
/// network nothing leads from one port to another (measured), so they have to be the same.
fn network(ports: &[u16], settings: &Settings) -> Value {
    let own = settings.image.is_some();
    let ports = ports.iter().map(|port| match own {
        true => json!({"Label": label(*port), "To": port}),
        false => json!({"Label": label(*port), "Value": port}),
    });
    let ports: Vec<Value> = ports.collect();
    json!({if own { "DynamicPorts" } else { "ReservedPorts" }: ports})
}

/// What the driver is told: a shell that stays.
fn config(order: &Order<'_>, settings: &Settings) -> Value {
    let directory = order.identity.directory.as_deref().unwrap_or_default();
    let shared = if settings.shares_node() { "shared" } else { "own" };
    let arguments = ["-c", &without_comments(KEEP), "crabbox", directory, shared];
    let mut config = Map::from_iter([("args".to_owned(), json!(arguments))]);
    match &settings.image {
        // Whatever the image would start otherwise is not wanted.
        Some(image) => {
            config.insert("image".to_owned(), json!(image));
            config.insert("entrypoint".to_owned(), json!(["/bin/sh"]));
            if !order.expose.is_empty() {
                let labels: Vec<String> = order.expose.iter().copied().map(label).collect();
                config.insert("ports".to_owned(), json!(labels));
            }
        }
        None => {
            config.insert("command".to_owned(), json!("/bin/sh"));
        }
    }
    Value::Object(config)
}

fn label(port: u16) -> String {
    format!("port{port}")
}

fn without_comments(script: &str) -> String {
    let lines = script.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
    lines.flat_map(|line| [line, "\n"]).collect()
}
