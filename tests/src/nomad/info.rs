//! The endpoints that tell of the cluster: agent, status, regions, namespaces, nodes, tokens.

use serde_json::{Value, json};

use super::acl::Caller;
use super::answer::{Answer, Answered};
use super::nodes;
use super::options::Grants;
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
        _ if path.starts_with("/v1/acl/") => policies(call, path),
        "/v1/deployments" => {
            call.only_get()?;
            Ok(Answer::json(&json!([])).read_at(1))
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
    if matches!(call.caller, Caller::Unknown) {
        let prefix = "ACL token not found or invalid workload identity: ";
        return Err(unknown(call.request.token().unwrap_or_default(), prefix));
    }
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
    let secret = call.request.token().unwrap_or_default();
    let (accessor, name, kind, policies) = match &call.caller {
        Caller::Anyone => ("acls-disabled", "ACLs disabled token", "client", Value::Null),
        Caller::Unknown => return Err(unknown(secret, "")),
        Caller::Known(_) if secret.is_empty() => {
            ("anonymous", "Anonymous Token", "client", json!(["anonymous"]))
        }
        Caller::Known(grants) if grants.management => {
            ("00000000-management", "a token", "management", Value::Null)
        }
        Caller::Known(_) => ("00000000-client", "a token", "client", json!([POLICY])),
    };
    // The secret is told to whoever has it, but not when access is free.
    let secret = if matches!(call.caller, Caller::Anyone) { "" } else { secret };
    let answer = json!({ "ExpirationTTL": "", "AccessorID": accessor, "SecretID": secret, "Name": name, "Type": kind,
        "Policies": policies, "Roles": null, "Global": false, "Hash": null, "CreateTime": "0001-01-01T00:00:00Z",
        "ExpirationTime": null, "CreateIndex": 0, "ModifyIndex": 0 });
    Ok(Answer::json(&answer).read_at(0))
}

/// What a token is told that there is not, where one that is not even a UUID is told more.
fn unknown(token: &str, prefix: &str) -> Answer {
    super::acl::junk(token)
        .map_or_else(Answer::permission_denied, |why| Answer::error(500, format!("{prefix}{why}")))
}

/// The name of the one policy that each token has.
const POLICY: &str = "emulated";

/// `/v1/acl/policies`, and one of them: what a token may itself read of its rights.
fn policies(call: &Call, path: &str) -> Answered {
    if path == "/v1/acl/bootstrap" && call.request.method == "GET" {
        return Err(Answer::invalid_method());
    }
    let grants = match &call.caller {
        Caller::Anyone => return Err(Answer::error(400, "ACL support disabled")),
        Caller::Unknown => return Err(Answer::permission_denied()),
        Caller::Known(grants) => grants,
    };
    let stub = |name: &str| json!({ "CreateIndex": 9, "Description": "", "Hash": "", "JobACL": null, "ModifyIndex": 9, "Name": name });
    let anonymous = call.agent.options.acl.as_ref().map(|acl| &acl.anonymous);
    let anonymous = anonymous.filter(|grants| !grants.namespaces.is_empty());
    let own = call.request.token().is_some() && !grants.management;
    match path.strip_prefix("/v1/acl/").unwrap_or_default() {
        "bootstrap" => Err(Answer::error(400, "ACL bootstrap already done (reset index: 8)")),
        "policies" => Ok(Answer::json(&own.then(|| stub(POLICY)).into_iter().collect()).read_at(9)),
        "policy/emulated" if own => policy(stub(POLICY), grants),
        // Everybody may read it, also who has a token, though it allows nothing to him.
        "policy/anonymous" if anonymous.is_some() => policy(stub("anonymous"), anonymous.unwrap_or(grants)),
        other if grants.management && other.starts_with("policy/") => {
            Err(Answer::error(404, "ACL policy not found"))
        }
        _ => Err(Answer::permission_denied()),
    }
}

/// A policy that allows this.
fn policy(mut policy: Value, grants: &Grants) -> Answered {
    let namespaces: Value = (grants.namespaces.iter())
        .map(|(name, all)| json!({ "Capabilities": all, "Name": name, "Policy": "", "Variables": null }))
        .collect();
    let read = |allowed: bool| if allowed { json!({ "Policy": "read" }) } else { Value::Null };
    policy["Rules"] = json!("");
    policy["RulesJSON"] = json!({ "Agent": read(grants.agent_read), "ExtraKeysHCL": null, "HostVolumes": null,
                "Namespaces": namespaces, "Node": read(grants.node_read), "NodePools": null, "Operator": null,
                "Plugin": null, "Quota": null, "Raw": "" });
    Ok(Answer::json(&policy).read_at(9))
}
