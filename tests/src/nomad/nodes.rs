//! The one node of the cluster.

use serde_json::{Map, Value, json};

use super::Agent;
use super::state::State;

/// The node's name.
pub(super) const NAME: &str = "emulated";

/// The version that the agent says it has: the one that the emulator was held against.
pub(super) const VERSION: &str = "2.0.5";

/// The drivers of the node, as the API tells them.
fn drivers(agent: &Agent) -> Value {
    let driver = |name: &String| {
        let attribute = (format!("driver.{name}"), json!("true"));
        let attributes: Map<String, Value> = [attribute].into_iter().collect();
        let state = json!({ "Attributes": attributes, "Detected": true, "HealthDescription": "Healthy",
            "Healthy": true, "UpdateTime": "2026-01-01T00:00:00Z" });
        (name.clone(), state)
    };
    agent.options.drivers.iter().map(driver).collect::<Map<_, _>>().into()
}

/// The entry of the list of nodes.
pub(super) fn stub(agent: &Agent, state: &State) -> Value {
    json!({
        "Address": "127.0.0.1", "CreateIndex": 8, "Datacenter": agent.options.datacenter, "Drain": false,
        "Drivers": drivers(agent), "HostVolumes": {}, "ID": state.node, "LastDrain": null,
        "ModifyIndex": state.node_index, "Name": NAME, "NodeClass": "", "NodePool": agent.options.node_pool,
        "SchedulingEligibility": "eligible", "Status": "ready", "StatusDescription": "", "Version": VERSION,
    })
}

/// The node.
pub(super) fn whole(agent: &Agent, state: &State) -> Value {
    let mut node = stub(agent, state);
    let own = agent.authority();
    let more = json!({
        "Attributes": { "kernel.name": "linux", "cpu.arch": "amd64", "nomad.version": VERSION },
        "CSIControllerPlugins": {}, "CSINodePlugins": {}, "CgroupParent": "nomad.slice", "DrainStrategy": null,
        "Events": [], "HTTPAddr": agent.options.node_address.as_ref().unwrap_or(&own), "HostNetworks": null,
        "Links": {}, "Meta": {}, "NodeMaxAllocs": 0,
        "NodeResources": {
            "Cpu": { "CpuShares": agent.options.cpu, "ReservableCpuCores": [0], "TotalCpuCores": 1 },
            "Devices": null, "Disk": { "DiskMB": 100_000 }, "Memory": { "MemoryMB": agent.options.memory },
            "MaxDynamicPort": 32000, "MinDynamicPort": 20000, "Networks": null, "NodeNetworks": null,
        },
        "ReservedResources": { "Cpu": { "CpuShares": 0, "ReservedCpuCores": null }, "Disk": { "DiskMB": 0 },
            "Memory": { "MemoryMB": 0 }, "Networks": { "ReservedHostPorts": "" } },
        "SecretID": "", "StatusUpdatedAt": 1_700_000_000, "TLSEnabled": false,
    });
    for (key, value) in super::state::object(more) {
        node[key] = value;
    }
    for key in ["Address", "Version"] {
        node.as_object_mut().and_then(|fields| fields.remove(key));
    }
    node
}
