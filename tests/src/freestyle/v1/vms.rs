//! `/v1/vms`: list, get, delete, the states, exec.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::answer::{Answer, Answered};
use super::super::body::{self, Field, Kind, nullable, required};
use super::super::exec::{self, Order};
use super::super::isolation::ROOT;
use super::super::server::Call;
use super::super::state::Vm;
use super::super::{Cloud, power, vms};
use super::create::{SIZES, sizes};
use super::{body_or_empty, mappings};

const START: &[Field] = &[
    nullable("idleTimeoutSeconds", Kind::Count),
    nullable("readySignalTimeoutSeconds", Kind::Count),
    nullable("waitForReadySignal", Kind::Flag),
];

const EXEC: &[Field] =
    &[required("command", Kind::Text), nullable("terminal", Kind::Text), nullable("timeoutMs", Kind::Count)];

/// What the user of a command is said with.
const USER: &str = "x-freestyle-vm-linux-user-id";

/// A state in the words of v1.
fn state_of(vm: &Vm) -> &'static str {
    match vm.state {
        "paused" => "suspended",
        "pausing" => "suspending",
        other => other,
    }
}

/// `GET /v1/vms`
pub(super) fn list(call: &Call) -> Answered {
    let names = call.cloud.options.names;
    let query = &call.query;
    let search = query.get("search").unwrap_or_default();
    let all: Vec<Vm> = call.cloud.read(|state| {
        let name = |vm: &Vm| vm.settings.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let fits = |vm: &&Vm| vm.v1 && (vm.id.contains(search) || name(vm).contains(search));
        state.vms.iter().rev().filter(fits).cloned().collect()
    });
    let count = |state: &str| all.iter().filter(|vm| state_of(vm) == state).count();
    let wanted = query.get("vmState");
    let chosen: Vec<Value> = all
        .iter()
        .filter(|vm| wanted.is_none_or(|it| it == state_of(vm)))
        .map(|vm| told(vm, names))
        .collect();
    let total = chosen.len();
    let vms = vms::page(call, chosen)?;
    Ok(Answer::ok(&json!({
        "vms": vms,
        "totalCount": total,
        "buildingCount": 0,
        "runningCount": count("running"),
        "startingCount": count("starting"),
        "suspendingCount": count("suspending"),
        "suspendedCount": count("suspended"),
        "stoppedCount": count("stopped"),
    })))
}

fn told(vm: &Vm, names: bool) -> Value {
    let mut told = json!({
        "id": vm.id,
        "state": state_of(vm),
        "createdAt": vm.created.to_string(),
        "persistence": vm.settings.get("persistence").cloned().unwrap_or_else(|| json!({"type": "sticky"})),
        "recreate": vm.settings.get("recreate").cloned().unwrap_or(false.into()),
        "deleted": false,
        "cpuTimeSeconds": 0.0,
        "lastNetworkActivity": null,
    });
    if names {
        let resources = vm.resources;
        told["name"] = vm.settings.get("name").cloned().unwrap_or_default();
        told["sizing"] = json!({
            "vcpuCount": resources.cpu,
            "memSizeMib": resources.memory,
            "rootfsSizeMb": resources.storage,
        });
    }
    told
}

/// A VM of v1.
pub(super) fn find(cloud: &Cloud, id: &str) -> Result<Vm, Answer> {
    let found = cloud.read(|state| state.vm(id).filter(|vm| vm.v1).cloned());
    found.ok_or_else(|| Answer::not_found("VM"))
}

/// `GET /v1/vms/{vm}`
pub(super) fn get(call: &Call, id: &str) -> Answered {
    Ok(Answer::ok(&told(&find(&call.cloud, id)?, call.cloud.options.names)))
}

/// `DELETE /v1/vms/{vm}`
pub(super) async fn delete(call: &Call, id: &str) -> Answered {
    find(&call.cloud, id)?;
    power::remove(&call.cloud, id).await;
    Ok(Answer::ok(&json!({"id": id})))
}

/// `POST /v1/vms/{vm}/start`
pub(super) async fn start(call: &Call, id: &str) -> Answered {
    body::read(body_or_empty(call), START)?;
    find(&call.cloud, id)?;
    power::start_vm(&call.cloud, id).await?;
    Ok(Answer::ok(&json!({"id": id, "domains": mappings::of(&call.cloud, id), "console_url": null})))
}

/// `POST /v1/vms/{vm}/stop` and `kill`
pub(super) async fn stop(call: &Call, id: &str, how: &str) -> Answered {
    find(&call.cloud, id)?;
    power::power_off(&call.cloud, id).await;
    Ok(Answer::ok(&match how {
        "kill" => json!({"id": id}),
        _ => json!({"vmId": id, "vmInstanceId": id}),
    }))
}

/// `POST /v1/vms/{vm}/suspend`
pub(super) async fn suspend(call: &Call, id: &str) -> Answered {
    find(&call.cloud, id)?;
    power::suspend_vm(&call.cloud, id).await?;
    Ok(Answer::ok(&json!({"id": id, "vmInstanceId": id, "snapshotLayerId": id})))
}

/// `POST /v1/vms/{vm}/await`
pub(super) async fn await_end(call: &Call, id: &str) -> Answered {
    let mut changed = call.cloud.changed.subscribe();
    while find(&call.cloud, id)?.state != "stopped" {
        // The emulator has the other end.
        let _ = changed.changed().await;
    }
    Ok(Answer::ok(&json!({"id": id, "exitStatus": "exited"})))
}

/// `POST /v1/vms/{vm}/resize`
pub(super) fn resize(call: &Call, id: &str) -> Answered {
    let fields = SIZES.iter().map(|name| nullable(name, Kind::Count)).collect::<Vec<_>>();
    let body = body::read(&call.body, &fields)?;
    let before = find(&call.cloud, id)?.resources;
    let after = sizes(&call.cloud, &body, before)?;
    if after.cpu < before.cpu || after.memory < before.memory || after.storage < before.storage {
        return Err(Answer::bad("a VM can only grow"));
    }
    call.cloud.change(|state| state.update(id, |vm| vm.resources = after));
    Ok(Answer::ok(&json!({})))
}

/// `POST /v1/vms/{vm}/exec-await`
pub(super) async fn exec(call: &Call, id: &str) -> Answered {
    let body = body::read(&call.body, EXEC)?;
    find(&call.cloud, id)?;
    let order = Order {
        command: body["command"].as_str().unwrap_or_default().to_owned(),
        user: exec::user(call.request.headers.get(USER).map(String::as_str), ROOT)?,
        environment: BTreeMap::new(),
        stdin: Vec::new(),
        timeout_ms: body.get("timeoutMs").and_then(Value::as_u64).unwrap_or(30_000),
        // A report of that time says so.
        wakes: false,
    };
    exec::run(&call.cloud, id, order).await
}
