//! Machines: they have names, which need not be unique, and which not every version of the API tells.

use std::collections::BTreeMap;
use std::time::Duration;

use crabbox_provider_kit::http::segment;
use crabbox_provider_kit::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::client::CREATING;
use super::super::pages::{self, Page};
use super::super::types::nullable;
use super::super::{Found, Inventory, Machine, Names, Order, Size, Standing, refused};
use super::V1;
use crate::machine::{Identity, is_ours};

/// How long a machine that nobody deletes may be without any traffic, if the lease has no end of its own: as long as
/// the longest command.
const IDLE: Duration = Duration::from_secs(86_400);

/// A machine as it is told.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vm {
    id: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    state: String,
    #[serde(default)]
    sizing: Option<Sizing>,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    deleted: bool,
}

/// CPUs, and MiB of memory.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Sizing {
    vcpu_count: u32,
    mem_size_mib: u32,
}

/// A page of machines.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vms {
    vms: Vec<Vm>,
    #[serde(default)]
    total_count: Option<usize>,
}

impl Page for Vms {
    type Item = Vm;

    fn open(self) -> (Vec<Vm>, Option<usize>) {
        (self.vms, self.total_count)
    }

    fn id(vm: &Vm) -> &str {
        &vm.id
    }
}

/// A machine that was made.
#[derive(Debug, Deserialize)]
struct Made {
    id: String,
}

impl V1 {
    /// The machine whose identifier was recorded; else the one that bears the name.
    ///
    /// That there is none is certain when the recorded one is gone, or when the API tells names and nobody bears this
    /// one.
    pub(crate) async fn find(&self, identity: &Identity) -> Result<Found> {
        if let Some(id) = &identity.vm
            && let Some(vm) = self.client.find::<Vm>(&path(id)).await?
            && !vm.deleted
        {
            let machine = Machine::from(vm);
            identity.verify_name(&machine)?;
            return Ok(Found::Machine(machine));
        }
        let all = self.all().await?;
        let names = names(&all);
        let named = |machine: &Machine| machine.name.as_ref() == Some(&identity.name);
        let mut ours: Vec<_> = all.into_iter().filter(named).collect();
        match (ours.len(), names) {
            (1, _) => Ok(Found::Machine(ours.swap_remove(0))),
            (0, Names::NotTold(count)) if identity.vm.is_none() => Ok(Found::Unknown(format!(
                "Freestyle tells the names of none of the {count} machines in this account, and which of them is the \
                 lease's was not recorded"
            ))),
            (0, _) => Ok(Found::Absent),
            _ => Ok(Found::Several(ours)),
        }
    }

    pub(crate) async fn list(&self) -> Result<Inventory> {
        let mut machines = self.all().await?;
        let names = names(&machines);
        machines.retain(|machine| machine.name.as_deref().is_some_and(is_ours));
        Ok(Inventory { machines, names })
    }

    async fn all(&self) -> Result<Vec<Machine>> {
        let all = pages::all::<Vms>(&self.client, "/v1/vms", &[]).await?;
        Ok(all.into_iter().filter(|vm| !vm.deleted).map(Machine::from).collect())
    }

    pub(crate) async fn create(&self, identity: &Identity, order: &Order<'_>) -> Result<Machine> {
        let mut body = self.made_of.clone();
        body.extend([
            ("name".to_owned(), json!(identity.name)),
            // Without this, port 3000 would be published.
            ("ports".to_owned(), json!([])),
            // A machine without traffic is suspended, after five minutes if nothing is said; and one that is suspended
            // is deleted. There is nothing that deletes it at a certain time.
            ("idleTimeoutSeconds".to_owned(), json!(order.ttl.unwrap_or(IDLE).as_secs())),
            ("persistence".to_owned(), json!({"type": "ephemeral", "deleteEvent": "OnSuspend"})),
        ]);
        let made = self.client.order::<Made>("/v1/vms", &Value::Object(body), CREATING).await?;
        let Made { id } = made.map_err(|refusal| {
            let error = refused::error(&refusal);
            if refusal.status.is_client_error() { error.created(false) } else { error }
        })?;
        let name = Some(identity.name.clone());
        let (state, standing) = ("starting".to_owned(), Standing::Starting);
        Ok(Machine { id, name, standing, state, metadata: BTreeMap::new(), size: None, created_at: None })
    }

    pub(crate) async fn start(&self, vm: &str) -> Result<()> {
        self.client.tell(&format!("{}/start", path(vm)), &json!({}), CREATING).await
    }

    pub(crate) async fn suspend(&self, _: &str) -> Result<()> {
        Err(Error::unsupported("a machine of version 1 of the API is deleted when it is suspended")
            .hint("stop the lease for good, or use `apiVersion: v5`"))
    }

    /// What was configured was asked for when it was made.
    pub(crate) async fn enlarge(&self, machine: Machine) -> Result<Machine> {
        Ok(machine)
    }

    pub(crate) async fn delete(&self, vm: &str) -> Result<()> {
        self.client.delete(&path(vm)).await
    }
}

fn names(machines: &[Machine]) -> Names {
    match machines.iter().any(|machine| machine.name.is_some()) {
        true => Names::Told,
        false if machines.is_empty() => Names::Nobody,
        false => Names::NotTold(machines.len()),
    }
}

/// The path of a machine.
pub(super) fn path(vm: &str) -> String {
    format!("/v1/vms/{}", segment(vm))
}

impl From<Vm> for Machine {
    fn from(vm: Vm) -> Self {
        let standing = match vm.state.as_str() {
            "building" | "starting" => Standing::Starting,
            "running" => Standing::Running,
            "suspending" => Standing::Leaving,
            "suspended" | "stopped" => Standing::Asleep,
            "lost" => Standing::Lost,
            _ => Standing::Unknown,
        };
        let size = vm.sizing.map(|has| Size { cpu: has.vcpu_count, memory_mib: has.mem_size_mib });
        let created_at = vm.created_at.and_then(|time| time.parse().ok());
        let name = vm.name.filter(|name| !name.is_empty());
        Self { id: vm.id, name, standing, state: vm.state, metadata: BTreeMap::new(), size, created_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_means_something() {
        for (state, standing) in [
            ("building", Standing::Starting),
            ("starting", Standing::Starting),
            ("running", Standing::Running),
            ("suspending", Standing::Leaving),
            ("suspended", Standing::Asleep),
            ("stopped", Standing::Asleep),
            ("lost", Standing::Lost),
            ("paused", Standing::Unknown),
        ] {
            let vm: Vm = serde_json::from_value(json!({"id": "a", "state": state, "name": ""})).unwrap();
            let machine = Machine::from(vm);
            assert_eq!((machine.standing, machine.name), (standing, None), "{state}");
        }
    }
}
