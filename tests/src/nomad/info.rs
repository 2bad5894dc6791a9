//! The endpoints that tell of the cluster: agent, status, regions, namespaces, nodes, tokens.

use serde_json::{Value, json};

use super::acl::Caller;
use super::answer::{Answer, Answered};
use super::nodes;
use super::server::Call;

/// Everything that is not about jobs, evaluations and allocations.
pub(super) fn route(call: &Call, path: &str) -> Answered {
    match path {
        "/v1/agent/health" => health(call),
        "/v1/agent/self" => own(call),
        "/v1/status/leader" => {
            call.only_get()?;
            Ok(Answer::json(&json!("127.0.0.1:4647")))
        }
        "/v1/status/peers" => {
            call.only_get()?;
            Ok(Answer::json(&json!(["127.0.0.1:4647"])))
        }
        "/v1/regions" => {
            call.only_get()?;
            let options = &call.agent.options;
            let mut all: Vec<&String> = options.regions.iter().chain([&options.region]).collect();
            all.sort();
            Ok(Answer::json(&json!(all)))
        }
        "/v1/namespaces" => {
            call.only_get()?;
            if matches!(call.caller, Caller::Unknown) {
                return Err(Answer::permission_denied());
            }
            let all = call.agent.options.namespaces.iter().map(String::as_str).chain(["default"]);
            let seen = all.filter(|it| call.caller.may(|grants| grants.may_any(it)));
            let seen: Value = seen.map(namespace).collect();
            Ok(Answer::json(&seen).read_at(1))
        }
        "/v1/nodes" => {
            call.only_get()?;
            call.caller.require(|grants| grants.management || grants.node_read)?;
            let prefix = call.query.get("prefix");
            let (index, all) = call.agent.read(|state| {
                let seen = state.node.starts_with(prefix);
                (state.node_index, seen.then(|| nodes::stub(&call.agent, state)))
            });
            Ok(Answer::json(&all.into_iter().collect()).read_at(index))
        }
        "/v1/acl/token/self" => token(call),
        _ if path.starts_with("/v1/acl/") => {
            if call.agent.options.acl.is_none() {
                return Err(Answer::error(400, "ACL support disabled"));
            }
            Err(Answer::permission_denied())
        }
        _ => more(call, path),
    }
}

fn more(call: &Call, path: &str) -> Answered {
    if let Some(name) = path.strip_prefix("/v1/namespace/") {
        call.only_get()?;
        call.caller.require(|grants| grants.may_any(name))?;
        let there = name == "default" || call.agent.options.namespaces.iter().any(|it| it == name);
        return match there {
            true => Ok(Answer::json(&namespace(name)).read_at(1)),
            false => Err(Answer::error(404, "Namespace not found").read_at(1)),
        };
    }
    if let Some(id) = path.strip_prefix("/v1/node/") {
        call.only_get()?;
        call.caller.require(|grants| grants.management || grants.node_read)?;
        if id.len() != 36 {
            return Err(Answer::error(500, "node lookup failed: index error: UUID must be 36 characters"));
        }
        let (index, node) = call
            .agent
            .read(|state| (state.node_index, (state.node == id).then(|| nodes::whole(&call.agent, state))));
        return match node {
            Some(node) => Ok(Answer::json(&node).read_at(index)),
            None => Err(Answer::error(404, "node not found").read_at(index)),
        };
    }
    Err(Answer { status: 404, headers: Vec::new(), body: bytes::Bytes::new() })
}

fn health(call: &Call) -> Answered {
    call.only_get()?;
    let fine = json!({ "message": "ok", "ok": true });
    let asked = call.request.query.contains("type=");
    let mut answer = json!({});
    for part in ["server", "client"] {
        if !asked || call.request.query.contains(&format!("type={part}")) {
            answer[part] = fine.clone();
        }
    }
    Ok(Answer::json(&answer))
}

fn own(call: &Call) -> Answered {
    call.only_get()?;
    call.caller.require(|grants| grants.management || grants.agent_read)?;
    let options = &call.agent.options;
    let answer = json!({
        "config": {
            "ACL": { "Enabled": options.acl.is_some() }, "Datacenter": options.datacenter,
            "Region": options.region, "NodeName": nodes::NAME,
            "Version": { "Version": nodes::VERSION, "VersionMetadata": "", "VersionPrerelease": "" },
            "Client": { "Enabled": true, "DisableRemoteExec": !options.remote_exec },
            "Server": { "Enabled": true },
        },
        "member": { "Addr": "127.0.0.1", "Name": format!("{}.{}", nodes::NAME, options.region), "Port": 4648,
            "Status": "alive", "Tags": { "region": options.region, "dc": options.datacenter,
                "build": nodes::VERSION } },
        "stats": { "nomad": { "server": "true", "leader": "true" }, "client": {} },
    });
    Ok(Answer::json(&answer))
}

fn namespace(name: &str) -> Value {
    let description = if name == "default" { "Default shared namespace" } else { "" };
    json!({ "Capabilities": null, "ConsulConfiguration": null, "CreateIndex": 1, "Description": description,
        "Hash": "C7UbjDwBK0dK8wQq7Izg7SJIzaV+lIo2X7wRtzY3pSw=", "Meta": null, "ModifyIndex": 1, "Name": name,
        "NodePoolConfiguration": null, "OptionalExtraClaims": null, "Quota": "", "RequiredExtraClaims": null,
        "VaultConfiguration": null })
}

fn token(call: &Call) -> Answered {
    call.only_get()?;
    let (accessor, name, kind) = match (&call.caller, call.request.token()) {
        (Caller::Anyone, _) => ("acls-disabled", "ACLs disabled token", "client"),
        (Caller::Unknown, _) => return Err(Answer::permission_denied()),
        (Caller::Known(_), None) => ("anonymous", "Anonymous Token", "client"),
        (Caller::Known(grants), Some(_)) if grants.management => ("emulated", "a token", "management"),
        (Caller::Known(_), Some(_)) => ("emulated", "a token", "client"),
    };
    let answer = json!({ "ExpirationTTL": "", "AccessorID": accessor, "SecretID": "", "Name": name, "Type": kind,
        "Policies": null, "Roles": null, "Global": false, "Hash": null, "CreateTime": "0001-01-01T00:00:00Z",
        "ExpirationTime": null, "CreateIndex": 0, "ModifyIndex": 0 });
    Ok(Answer::json(&answer).read_at(0))
}
