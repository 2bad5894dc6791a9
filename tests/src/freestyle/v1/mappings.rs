//! `/domains/v1/mappings`: which domain stands for which port of a VM.

use serde_json::{Value, json};

use super::super::Cloud;
use super::super::answer::{Answer, Answered};
use super::super::body::{self, Field, Kind, nullable, optional, required};
use super::super::server::Call;
use super::super::state::State;
use super::super::tls::FREE_DOMAIN;
use super::create::port_of;
use super::vms::find;

const MAPPING: &[Field] = &[
    optional("domain", Kind::Text),
    nullable("deploymentId", Kind::Text),
    required("vmId", Kind::Text),
    required("vmPort", Kind::Count),
];

/// Where `/domains/v1/mappings...` goes.
pub(super) fn route(call: &Call, rest: &[&str]) -> Answered {
    let cloud = &call.cloud;
    match (call.request.method.as_str(), rest) {
        ("GET", []) => {
            let all: Vec<Value> = cloud.read(|state| {
                let told = |(domain, (vm, port)): (&String, &(String, u16))| told(domain, vm, *port);
                state.mappings.iter().map(told).collect()
            });
            Ok(Answer::ok(&all.into()))
        }
        ("POST", [domain]) => {
            let body = body::read(&call.body, MAPPING)?;
            let port = port_of(&body["vmPort"])?;
            let vm = find(cloud, body["vmId"].as_str().unwrap_or_default())?;
            cloud.change(|state| add(state, domain, &vm.id, port))?;
            Ok(Answer::ok(&told(domain, &vm.id, port)))
        }
        ("DELETE", [domain]) => {
            let removed = cloud.change(|state| state.mappings.remove(*domain));
            removed.map(|_| Answer::ok(&json!({}))).ok_or_else(|| Answer::not_found(domain))
        }
        (method, _) => Err(Answer::no_route(method, &call.request.path)),
    }
}

fn told(domain: &str, vm: &str, port: u16) -> Value {
    json!({
        "id": domain,
        "domain": domain,
        "vmId": vm,
        "vmPort": port,
        "ownershipId": domain,
        "createdAt": jiff::Timestamp::now().to_string(),
    })
}

/// Maps a domain to a VM's port.
pub(super) fn add(state: &mut State, domain: &str, vm: &str, port: u16) -> Result<(), Answer> {
    if !domain.ends_with(FREE_DOMAIN) {
        return Err(Answer::error(403, "DOMAIN_NOT_VERIFIED", format!("{domain} is not verified")));
    }
    if state.mappings.get(domain).is_some_and(|(other, _)| other != vm) {
        return Err(Answer::error(409, "CONFLICT", format!("{domain} is already in use")));
    }
    state.mappings.insert(domain.to_owned(), (vm.to_owned(), port));
    Ok(())
}

/// The domains of a VM.
pub(super) fn of(cloud: &Cloud, id: &str) -> Vec<String> {
    cloud.read(|state| {
        let own = state.mappings.iter().filter(|(_, (vm, _))| vm == id);
        own.map(|(domain, _)| domain.clone()).collect()
    })
}
