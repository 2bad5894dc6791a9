//! Machines: their slugs are unique in the account, and their metadata says whose they are.

use std::collections::BTreeMap;

use crabbox_provider_kit::Result;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::super::client::CREATING;
use super::super::pages::{self, Page};
use super::super::types::nullable;
use super::super::{Found, Inventory, Machine, Names, Order, Size, Standing, refused};
use super::V5;
use crate::machine::{Identity, LEASE, MANAGED};

/// A machine as it is told.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vm {
    id: String,
    #[serde(default)]
    slug: Option<String>,
    #[serde(default)]
    state: String,
    #[serde(default, deserialize_with = "nullable")]
    metadata: BTreeMap<String, String>,
    #[serde(default)]
    resources: Option<Resources>,
    #[serde(default)]
    created_at: Option<Timestamp>,
}

/// CPUs, and MiB of memory.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resources {
    cpu: u32,
    memory: u32,
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

impl V5 {
    pub(crate) async fn find(&self, identity: &Identity) -> Result<Found> {
        // A slug stands wherever an identifier does.
        let found = self.client.find::<Vm>(&path(&identity.name)).await?;
        let Some(machine) = found.map(Machine::from) else {
            return Ok(Found::Absent);
        };
        identity.verify(&machine)?;
        Ok(Found::Machine(machine))
    }

    pub(crate) async fn list(&self) -> Result<Inventory> {
        let ours = format!("{MANAGED}:true");
        let all = pages::all::<Vms>(&self.client, "/v5/vms", &[("metadata", &ours)]).await?;
        let machines = all.into_iter().filter(|vm| vm.metadata.contains_key(LEASE)).map(Machine::from);
        Ok(Inventory { machines: machines.collect(), names: Names::Told })
    }

    pub(crate) async fn create(&self, identity: &Identity, order: &Order<'_>) -> Result<Machine> {
        let mut body = json!({
            "slug": identity.name,
            "displayName": order.display_name,
            "metadata": identity.metadata(order.slug),
            "autoDeleteSeconds": 0,
            // To everywhere, and from nowhere.
            "firewall": {"rules": [{"action": "allow", "source": {}, "destination": {"public": true}}]},
        });
        if let Some(ttl) = order.ttl {
            body["ttlSeconds"] = json!(ttl.as_secs());
        }
        if let Some(snapshot) = &self.sized.snapshot {
            body["snapshotId"] = json!(snapshot);
        }
        let made = self.client.order::<Vm>("/v5/vms", &body, CREATING).await?;
        let machine = made.map(Machine::from).map_err(|refusal| {
            let error = refused::error(&refusal);
            if refusal.status.is_client_error() { error.created(false) } else { error }
        })?;
        // What an answer leaves out is looked at; what it says of another machine is not believed.
        let Err(doubt) = identity.verify(&machine) else { return Ok(machine) };
        match self.find(identity).await? {
            Found::Machine(machine) => Ok(machine),
            _ => Err(doubt),
        }
    }

    pub(crate) async fn start(&self, vm: &str) -> Result<()> {
        self.client.tell(&format!("{}/start", path(vm)), &json!({}), CREATING).await
    }

    pub(crate) async fn suspend(&self, vm: &str) -> Result<()> {
        self.client.tell(&format!("{}/pause", path(vm)), &json!({}), CREATING).await
    }

    pub(crate) async fn enlarge(&self, machine: Machine) -> Result<Machine> {
        let (Some(wanted), Some(has)) = (self.sized.enlarged, machine.size) else {
            return Ok(machine);
        };
        let (cpu, memory) = (wanted.cpu.max(has.cpu), wanted.memory_mib.max(has.memory_mib));
        if (cpu, memory) == (has.cpu, has.memory_mib) {
            return Ok(machine);
        }
        let resize = format!("{}/resize", path(&machine.id));
        let body = json!({"cpu": cpu, "memory": memory});
        let enlarged = self.client.order::<Vm>(&resize, &body, CREATING).await?;
        enlarged
            .map(Machine::from)
            .map_err(|refusal| refused::error(&refusal).hint("`vcpus` and `memoryGb` say what is asked for"))
    }

    pub(crate) async fn delete(&self, vm: &str) -> Result<()> {
        self.client.delete(&path(vm)).await
    }
}

/// The path of a machine, by its identifier or its slug.
pub(super) fn path(vm: &str) -> String {
    format!("/v5/vms/{vm}")
}

impl From<Vm> for Machine {
    fn from(vm: Vm) -> Self {
        let standing = match vm.state.as_str() {
            "starting" => Standing::Starting,
            "running" => Standing::Running,
            "pausing" => Standing::Leaving,
            "paused" | "stopped" => Standing::Asleep,
            _ => Standing::Unknown,
        };
        let size = vm.resources.map(|has| Size { cpu: has.cpu, memory_mib: has.memory });
        let (metadata, created_at) = (vm.metadata, vm.created_at);
        Self { id: vm.id, name: vm.slug, standing, state: vm.state, metadata, size, created_at }
    }
}
