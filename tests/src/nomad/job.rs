//! A job as it is sent, brought into the shape in which it is read.
//!
//! The defaults are those that `GET /v1/job/:id` of an agent 2.0.5 shows for a job that says nothing.

use serde_json::{Map, Value, json};

use super::state::object;

const SECOND: u64 = 1_000_000_000;

/// The job with everything that was left out. What the emulator does not know of, stays as it was sent.
pub(super) fn canonical(job: &Map<String, Value>, namespace: &str, region: &str) -> Map<String, Value> {
    let kind = job.get("Type").and_then(Value::as_str).filter(|it| !it.is_empty()).unwrap_or("service");
    let service = kind == "service";
    let id = job.get("ID").cloned().unwrap_or_else(|| json!(""));
    let datacenters = job.get("Datacenters").filter(|it| it.as_array().is_some_and(|all| !all.is_empty()));
    let defaults = json!({
        "Affinities": null, "AllAtOnce": false, "Constraints": null, "ConsulNamespace": "",
        "DispatchIdempotencyToken": "", "Dispatched": false, "ID": id, "Meta": null, "Multiregion": null,
        "Name": id, "NodePool": "default", "NomadTokenID": "", "ParameterizedJob": null, "ParentID": "",
        "Payload": null, "Periodic": null, "Priority": 50, "Spreads": null, "Stable": false,
        "Status": "pending", "StatusDescription": "", "Stop": false, "Type": kind, "UI": null, "Version": 0,
        "VaultNamespace": "", "VersionTag": null,
        "Update": update(u64::from(service), if service { 30 * SECOND } else { 0 }),
    });
    let mut whole = with_defaults(job, defaults);
    whole.insert("Datacenters".to_owned(), datacenters.cloned().unwrap_or_else(|| json!(["*"])));
    whole.insert("Namespace".to_owned(), json!(namespace));
    whole.insert("Region".to_owned(), json!(region));
    if whole["NodePool"] == "" {
        whole.insert("NodePool".to_owned(), json!("default"));
    }
    whole.insert("Type".to_owned(), json!(kind));
    let groups = job.get("TaskGroups").and_then(Value::as_array).into_iter().flatten();
    let groups: Vec<Value> = groups.map(|it| Value::Object(group(it, kind))).collect();
    whole.insert("TaskGroups".to_owned(), if groups.is_empty() { Value::Null } else { json!(groups) });
    whole
}

fn group(group: &Value, kind: &str) -> Map<String, Value> {
    let restart = match kind {
        "batch" | "sysbatch" => json!({ "Attempts": 3, "Delay": 15 * SECOND, "Interval": 86400 * SECOND,
            "Mode": "fail", "RenderTemplates": false }),
        _ => json!({ "Attempts": 2, "Delay": 15 * SECOND, "Interval": 1800 * SECOND, "Mode": "fail",
            "RenderTemplates": false }),
    };
    let reschedule = match kind {
        "service" => json!({ "Attempts": 0, "Delay": 30 * SECOND, "DelayFunction": "exponential",
            "Interval": 0, "MaxDelay": 3600 * SECOND, "Unlimited": true }),
        "batch" => json!({ "Attempts": 1, "Delay": 5 * SECOND, "DelayFunction": "constant",
            "Interval": 86400 * SECOND, "MaxDelay": 0, "Unlimited": false }),
        _ => Value::Null,
    };
    let service = kind == "service";
    let health = json!({ "HealthCheck": "checks", "HealthyDeadline": 300 * SECOND, "MaxParallel": 1,
        "MinHealthyTime": 10 * SECOND });
    let mut updates = update(1, 30 * SECOND);
    updates["HealthCheck"] = json!("checks");
    updates["HealthyDeadline"] = json!(300 * SECOND);
    updates["MinHealthyTime"] = json!(10 * SECOND);
    updates["ProgressDeadline"] = json!(600 * SECOND);
    let defaults = json!({
        "Affinities": null, "Constraints": null, "Consul": null, "Count": 1, "Disconnect": null,
        "EphemeralDisk": null, "MaxClientDisconnect": null, "MaxRunDuration": null, "Meta": null,
        "Migrate": if service { health } else { Value::Null }, "Name": "", "Networks": null,
        "PreventRescheduleOnLost": false, "ReschedulePolicy": null, "RestartPolicy": null, "Scaling": null,
        "Services": null, "ShutdownDelay": null, "Spreads": null, "StopAfterClientDisconnect": null,
        "Tasks": null, "Update": if service { updates } else { Value::Null }, "Volumes": null,
    });
    let sent = object(group.clone());
    let mut whole = with_defaults(&sent, defaults);
    let disk = json!({ "Migrate": false, "SizeMB": 300, "Sticky": false });
    for (key, defaults) in
        [("EphemeralDisk", disk), ("RestartPolicy", restart.clone()), ("ReschedulePolicy", reschedule)]
    {
        let part = sent.get(key).cloned().map(object).unwrap_or_default();
        let part =
            if defaults.is_null() { Value::Null } else { Value::Object(with_defaults(&part, defaults)) };
        whole.insert(key.to_owned(), part);
    }
    let restart = whole["RestartPolicy"].clone();
    let tasks: Vec<Value> = (sent.get("Tasks").and_then(Value::as_array).into_iter().flatten())
        .map(|it| Value::Object(task(it, &restart)))
        .collect();
    whole.insert("Tasks".to_owned(), if tasks.is_empty() { Value::Null } else { json!(tasks) });
    whole
}

fn task(task: &Value, restart: &Value) -> Map<String, Value> {
    let defaults = json!({
        "Actions": null, "Affinities": null, "Artifacts": null, "CSIPluginConfig": null, "Config": null,
        "Constraints": null, "Consul": null, "DispatchPayload": null, "Driver": "", "Env": null,
        "Identities": null,
        "Identity": { "Audience": ["nomadproject.io"], "ChangeMode": "", "ChangeSignal": "", "Env": false,
            "ExtraClaims": null, "File": false, "Filepath": "", "Name": "default", "ServiceName": "", "TTL": 0 },
        "KillSignal": "", "KillTimeout": 5 * SECOND, "Kind": "", "Leader": false, "Lifecycle": null,
        "LogConfig": { "Disabled": false, "MaxFileSizeMB": 10, "MaxFiles": 10 }, "Meta": null, "Name": "",
        "Resources": null, "RestartPolicy": restart, "ScalingPolicies": null, "Schedule": null,
        "Secrets": null, "Services": null, "ShutdownDelay": 0, "Templates": null, "User": "", "Vault": null,
        "VolumeMounts": null,
    });
    let sent = object(task.clone());
    let mut whole = with_defaults(&sent, defaults);
    let resources = json!({ "CPU": 100, "Cores": 0, "Devices": null, "DiskMB": 0, "IOPS": 0, "MemoryMB": 300,
        "MemoryMaxMB": 0, "NUMA": null, "Networks": null, "SecretsMB": 0 });
    let part = sent.get("Resources").cloned().map(object).unwrap_or_default();
    whole.insert("Resources".to_owned(), Value::Object(with_defaults(&part, resources)));
    whole
}

fn update(parallel: u64, stagger: u64) -> Value {
    json!({ "AutoPromote": false, "AutoRevert": false, "Canary": 0, "HealthCheck": "", "HealthyDeadline": 0,
        "MaxParallel": parallel, "MinHealthyTime": 0, "ProgressDeadline": 0, "Stagger": stagger })
}

/// What was sent over what is assumed; a null counts as left out.
fn with_defaults(sent: &Map<String, Value>, defaults: Value) -> Map<String, Value> {
    let mut whole = object(defaults);
    for (key, value) in sent.iter().filter(|(_, value)| !value.is_null()) {
        // A map without entries is read as none.
        let empty = value.as_object().is_some_and(Map::is_empty) && key == "Meta";
        whole.insert(key.clone(), if empty { Value::Null } else { value.clone() });
    }
    whole
}
