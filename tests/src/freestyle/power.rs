//! What a VM's state changes by: boot, pause, start, resize, power off, delete.

use std::sync::Arc;

use serde_json::Value;

use super::answer::{Answer, Answered};
use super::body::{self, Field, Kind, optional};
use super::server::Call;
use super::state::Vm;
use super::{Cloud, vms};

const RESIZE: &[Field] =
    &[optional("cpu", Kind::Count), optional("memory", Kind::Count), optional("storage", Kind::Count)];

/// Boots a VM that is `starting`: at once, or in the background when booting takes its time.
pub(super) async fn boot_soon(cloud: &Arc<Cloud>, id: &str) -> Result<(), Answer> {
    let delay = cloud.faults().boot_delay;
    if delay.is_zero() {
        return boot(cloud, id).await;
    }
    let (cloud, id) = (Arc::clone(cloud), id.to_owned());
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        // It may have been deleted in the meantime.
        let _ = boot(&cloud, &id).await;
    });
    Ok(())
}

async fn boot(cloud: &Arc<Cloud>, id: &str) -> Result<(), Answer> {
    let guest = cloud.read(|state| state.vm(id).map(|vm| Arc::clone(&vm.guest)));
    let guest = guest.ok_or_else(|| Answer::not_found("VM"))?;
    let init = guest.boot().await.map_err(|error| Answer::error(500, "INTERNAL", error.to_string()))?;
    if cloud.read(|state| state.vm(id).is_none()) {
        guest.kill();
        return Err(Answer::not_found("VM"));
    }
    cloud.change(|state| state.update(id, |vm| vm.state = "running"));
    if let Some((pid, mut init)) = init {
        let (cloud, id) = (Arc::clone(cloud), id.to_owned());
        tokio::spawn(async move {
            let _ = init.wait().await;
            // Whoever ends a guest says so himself, and it may have been started again since.
            if guest.ended(pid) {
                stopped(&cloud, &id);
            }
        });
    }
    Ok(())
}

/// The guest has ended.
fn stopped(cloud: &Cloud, id: &str) {
    cloud.change(|state| {
        state.update(id, |vm| vm.state = "stopped");
        // In the words of v5 and of v1.
        let ephemeral = |vm: &Vm| {
            vm.settings.get("autoDeleteSeconds").is_some_and(|it| *it == 0) || is_ephemeral(vm, "OnStop")
        };
        if state.vm(id).is_some_and(ephemeral) {
            state.remove(id);
        }
    });
}

/// Says whether a VM of v1 is deleted by an event; one that is ephemeral and says no more, when it stops.
fn is_ephemeral(vm: &Vm, event: &str) -> bool {
    vm.settings.get("persistence").is_some_and(|it| {
        it["type"] == "ephemeral"
            && it.get("deleteEvent").and_then(Value::as_str).unwrap_or("OnStop") == event
    })
}

/// Suspends a VM of v1, which may be the end of it.
pub(super) async fn suspend_vm(cloud: &Arc<Cloud>, id: &str) -> Result<(), Answer> {
    pause_vm(cloud, id)?;
    if cloud.read(|state| state.vm(id).is_some_and(|vm| is_ephemeral(vm, "OnSuspend"))) {
        remove(cloud, id).await;
    }
    Ok(())
}

/// A VM that runs: one that is starting is waited for, and one that is paused is woken.
pub(super) async fn awake(cloud: &Arc<Cloud>, id: &str, wake: bool) -> Result<Vm, Answer> {
    let mut changed = cloud.changed.subscribe();
    loop {
        let vm = cloud.read(|state| state.vm(id).cloned()).ok_or_else(|| Answer::not_found("VM"))?;
        match vm.state {
            "running" => return Ok(vm),
            "paused" if wake => resume(cloud, &vm),
            "paused" => return Err(Answer::error(409, "VM_NOT_RUNNING", "the VM is paused")),
            "stopped" => return Err(Answer::error(409, "VM_NOT_RUNNING", "the VM is stopped")),
            _ => _ = changed.changed().await,
        }
    }
}

fn resume(cloud: &Cloud, vm: &Vm) {
    vm.guest.thaw();
    cloud.change(|state| state.update(&vm.id, |vm| vm.state = "running"));
}

/// `POST /v5/vms/{vm}/start`
pub(super) async fn start(call: &Call, key: &str) -> Answered {
    body::read(&call.body, &[])?;
    let id = vms::id_of(&call.cloud, key)?;
    start_vm(&call.cloud, &id).await?;
    Ok(Answer::ok(&vms::told(&call.cloud, &id)?))
}

/// Boots a VM that is stopped, or resumes one that is paused.
pub(super) async fn start_vm(cloud: &Arc<Cloud>, id: &str) -> Result<(), Answer> {
    let vm = cloud.read(|state| state.vm(id).cloned()).ok_or_else(|| Answer::not_found("VM"))?;
    let budget = vm.settings.get("maxRunTotalSeconds").and_then(Value::as_i64);
    let run = (jiff::Timestamp::now() - vm.created).get_seconds();
    if vm.state != "running" && budget.is_some_and(|budget| run >= budget) {
        return Err(Answer::error(409, "CONFLICT", "the VM has spent its `maxRunTotalSeconds`"));
    }
    match vm.state {
        "paused" => resume(cloud, &vm),
        "stopped" => {
            cloud.change(|state| state.update(id, |vm| vm.state = "starting"));
            boot_soon(cloud, id).await?;
        }
        _ => {}
    }
    Ok(())
}

/// `POST /v5/vms/{vm}/pause`
pub(super) fn pause(call: &Call, key: &str) -> Answered {
    body::read(&call.body, &[])?;
    let id = vms::id_of(&call.cloud, key)?;
    pause_vm(&call.cloud, &id)?;
    Ok(Answer::ok(&vms::told(&call.cloud, &id)?))
}

/// Freezes a VM that runs.
pub(super) fn pause_vm(cloud: &Cloud, id: &str) -> Result<(), Answer> {
    let vm = cloud.read(|state| state.vm(id).cloned()).ok_or_else(|| Answer::not_found("VM"))?;
    if !matches!(vm.state, "running" | "paused") {
        return Err(Answer::error(409, "VM_NOT_RUNNING", format!("the VM is {}", vm.state)));
    }
    vm.guest.freeze();
    cloud.change(|state| state.update(id, |vm| vm.state = "paused"));
    Ok(())
}

/// `POST /v5/vms/{vm}/resize`
pub(super) fn resize(call: &Call, key: &str) -> Answered {
    let body = body::read(&call.body, RESIZE)?;
    let id = vms::id_of(&call.cloud, key)?;
    call.cloud.change(|state| {
        let vm = state.vm(&id).ok_or_else(|| Answer::not_found("VM"))?;
        let mut resources = vm.resources;
        for (name, now) in [
            ("cpu", &mut resources.cpu),
            ("memory", &mut resources.memory),
            ("storage", &mut resources.storage),
        ] {
            let Some(wanted) = body.get(name).and_then(Value::as_u64) else { continue };
            if wanted < *now {
                return Err(Answer::bad(format!("`{name}` can only grow: {now} now, {wanted} wanted")));
            }
            if name == "storage" && wanted > *now && vm.state != "running" {
                return Err(Answer::error(409, "VM_NOT_RUNNING", "the disk grows only while the VM runs"));
            }
            *now = wanted;
        }
        state.update(&id, |vm| vm.resources = resources);
        Ok(())
    })?;
    Ok(Answer::ok(&vms::told(&call.cloud, &id)?))
}

/// Stops a VM without deleting it, as `poweroff` in its guest does.
pub(super) async fn power_off(cloud: &Arc<Cloud>, id: &str) {
    if let Some(vm) = cloud.read(|state| state.vm(id).cloned()) {
        vm.guest.halt().await;
        stopped(cloud, id);
    }
}

/// Deletes a VM, its processes and its disk.
pub(super) async fn remove(cloud: &Arc<Cloud>, id: &str) {
    if let Some(vm) = cloud.change(|state| state.remove(id)) {
        vm.guest.halt().await;
        let disk = cloud.directory.join(id);
        // What cannot be removed now goes with the emulator's directory.
        let _ = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(disk)).await;
    }
}
