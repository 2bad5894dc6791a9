//! `POST /v1/vms`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::answer::{Answer, Answered};
use super::super::body::{self, Field, Kind, nullable, optional, required};
use super::super::guest::Guest;
use super::super::server::Call;
use super::super::state::{Resources, Vm};
use super::super::{Cloud, catalogue, files, power};
use super::files::decoded;
use super::mappings;

const CREATE: &[Field] = &[
    nullable("name", Kind::Text),
    nullable("idleTimeoutSeconds", Kind::Count),
    nullable("ports", Kind::List),
    nullable("waitForReadySignal", Kind::Flag),
    nullable("readySignalTimeoutSeconds", Kind::Count),
    nullable("workdir", Kind::Text),
    nullable("persistence", Kind::Object),
    nullable("systemd", Kind::Object),
    nullable("users", Kind::List),
    nullable("groups", Kind::List),
    nullable("additionalFiles", Kind::Object),
    nullable("snapshotId", Kind::Text),
    nullable("template", Kind::Object),
    nullable("spec", Kind::Object),
    nullable("gitRepos", Kind::List),
    nullable("git", Kind::Object),
    nullable("recreate", Kind::Flag),
    nullable("aptDeps", Kind::List),
    nullable("domains", Kind::List),
    nullable("activityThresholdBytes", Kind::Count),
    nullable("dockerCredentials", Kind::Object),
    nullable("nics", Kind::List),
    nullable("udpHolePunchPorts", Kind::List),
    nullable("vcpuCount", Kind::Count),
    nullable("memSizeGb", Kind::Count),
    nullable("rootfsSizeGb", Kind::Count),
];

/// What a template or a spec may have besides.
const BLOCK: &[Field] = &[
    nullable("baseImage", Kind::Object),
    nullable("discriminator", Kind::Text),
    nullable("skipCache", Kind::Flag),
    nullable("snapshot", Kind::Object),
];

pub(super) const SIZES: &[&str] = &["vcpuCount", "memSizeGb", "rootfsSizeGb"];

const PORT: &[Field] =
    &[required("port", Kind::Count), required("targetPort", Kind::Count), nullable("protocol", Kind::Text)];

const DOMAIN: &[Field] = &[required("domain", Kind::Text), required("vmPort", Kind::Count)];

const FILE: &[Field] =
    &[required("content", Kind::Text), optional("encoding", Kind::Text), optional("executable", Kind::Flag)];

/// `POST /v1/vms`
pub(super) async fn create(call: &Call) -> Answered {
    let cloud = &call.cloud;
    let mut body = body::read(&call.body, CREATE)?;
    for block in ["template", "spec"] {
        unfold(&mut body, block)?;
    }
    let snapshot = catalogue::find(None)?;
    let resources = sizes(cloud, &body, snapshot.resources)?;
    let id = new_id();
    let mut domains = published(&body, &id)?;
    for domain in list_of(&body, "domains", DOMAIN)? {
        let port = port_of(&domain["vmPort"])?;
        domains.push((domain["domain"].as_str().unwrap_or_default().to_owned(), port));
    }
    let files = additional_files(&body)?;
    persistence(&body)?;
    let mut settings = Map::new();
    for name in ["name", "idleTimeoutSeconds", "persistence", "workdir", "recreate"] {
        if let Some(value) = body.get(name).filter(|value| !value.is_null()) {
            settings.insert(name.to_owned(), value.clone());
        }
    }
    let internal = |error: std::io::Error| Answer::error(500, "INTERNAL_ERROR", error.to_string());
    let guest = Guest::new(&cloud.directory, &id, cloud.isolation).map_err(internal)?;
    let vm = Vm {
        id: id.clone(),
        v1: true,
        state: "starting",
        slug: None,
        resources,
        snapshot,
        settings,
        metadata: BTreeMap::new(),
        created: Timestamp::now(),
        updated: Timestamp::now(),
        guest: Arc::new(guest),
    };
    for (path, bytes, mode) in files {
        files::put(&vm, &path, &bytes, Some(mode))?;
    }
    let limit = cloud.options.vm_limit;
    cloud.change(|state| {
        if limit.is_some_and(|limit| state.vms.len() >= limit) {
            return Err(Answer::error(403, "VM_LIMIT_EXCEEDED", "you have too many VMs"));
        }
        for (domain, port) in &domains {
            mappings::add(state, domain, &id, *port)?;
        }
        state.vms.push(vm);
        Ok(())
    })?;
    power::boot_soon(cloud, &id).await?;
    let domains: Vec<String> = domains.into_iter().map(|(domain, _)| domain).collect();
    Ok(Answer::ok(&json!({"id": id, "domains": domains, "consoleUrl": null, "snapshotId": null})))
}

/// Puts what is said in a block where it could have been said at the top. What is at the top goes first.
fn unfold(body: &mut Map<String, Value>, block: &str) -> Result<(), Answer> {
    let Some(Value::Object(inner)) = body.remove(block) else { return Ok(()) };
    let fields: Vec<Field> = CREATE.iter().chain(BLOCK).copied().collect();
    body::check(&inner, &fields, &format!("{block}."))?;
    for (name, value) in inner {
        body.entry(name).or_insert(value);
    }
    Ok(())
}

/// The sizes that are asked for.
pub(super) fn sizes(
    cloud: &Cloud,
    body: &Map<String, Value>,
    default: Resources,
) -> Result<Resources, Answer> {
    let mut all = [None; 3];
    for (number, name) in SIZES.iter().enumerate() {
        let Some(size) = body.get(*name).filter(|size| !size.is_null()) else { continue };
        if !cloud.options.custom_sizing {
            let message = "your plan does not allow VMs of custom size";
            return Err(Answer::error(403, "CUSTOM_SIZING_NOT_ALLOWED", message));
        }
        let size = size.as_u64().filter(|size| *size > 0);
        all[number] = Some(size.ok_or_else(|| Answer::bad(format!("`{name}` must be a positive number")))?);
    }
    if all[0].is_some_and(|cpus| !cpus.is_power_of_two() || cpus > 32) {
        return Err(Answer::bad("`vcpuCount` must be a power of two of at most 32"));
    }
    Ok(Resources {
        cpu: all[0].unwrap_or(default.cpu),
        memory: all[1].map_or(default.memory, |gib| gib * 1024),
        storage: all[2].map_or(default.storage, |gib| gib * 1024),
    })
}

/// The domain that publishes a port of the guest on 443. It is there if nothing is said of ports.
fn published(body: &Map<String, Value>, id: &str) -> Result<Vec<(String, u16)>, Answer> {
    let domain = format!("{id}.style.dev");
    if body.get("ports").is_none_or(Value::is_null) {
        return Ok(vec![(domain, 3000)]);
    }
    let mut all = Vec::new();
    for port in list_of(body, "ports", PORT)? {
        let target = port_of(&port["targetPort"])?;
        match port["port"].as_u64() {
            Some(443) => all.push((domain.clone(), target)),
            Some(8081) => {}
            _ => return Err(Answer::bad("`ports[].port` must be 443 or 8081")),
        }
    }
    Ok(all)
}

/// Checks how long a VM is to stay.
fn persistence(body: &Map<String, Value>) -> Result<(), Answer> {
    let Some(Value::Object(it)) = body.get("persistence") else { return Ok(()) };
    let fields: &[Field] = match it.get("type").and_then(Value::as_str) {
        Some("sticky") => &[required("type", Kind::Text), nullable("priority", Kind::Count)],
        Some("ephemeral") => &[required("type", Kind::Text), nullable("deleteEvent", Kind::Text)],
        Some("persistent") => &[required("type", Kind::Text)],
        _ => return Err(Answer::bad("`persistence.type` must be sticky, ephemeral or persistent")),
    };
    body::check(it, fields, "persistence.")?;
    match it.get("deleteEvent").and_then(Value::as_str) {
        None | Some("OnStop" | "OnSuspend") => Ok(()),
        Some(_) => Err(Answer::bad("`persistence.deleteEvent` must be OnStop or OnSuspend")),
    }
}

fn additional_files(body: &Map<String, Value>) -> Result<Vec<(String, Vec<u8>, u32)>, Answer> {
    let mut all = Vec::new();
    for (path, file) in body.get("additionalFiles").and_then(Value::as_object).into_iter().flatten() {
        let wrong = || Answer::bad(format!("`additionalFiles.{path}` must be an object"));
        let file = file.as_object().ok_or_else(wrong)?;
        body::check(file, FILE, &format!("additionalFiles.{path}."))?;
        let encoding = file.get("encoding").and_then(Value::as_str);
        let bytes = decoded(file["content"].as_str().unwrap_or_default(), encoding)?;
        let executable = file.get("executable").is_some_and(|it| *it == true);
        all.push((path.clone(), bytes, if executable { 0o755 } else { 0o644 }));
    }
    Ok(all)
}

fn list_of(
    body: &Map<String, Value>,
    name: &str,
    fields: &[Field],
) -> Result<Vec<Map<String, Value>>, Answer> {
    let all = body.get(name).and_then(Value::as_array).into_iter().flatten();
    all.map(|each| {
        let each = each.as_object().ok_or_else(|| Answer::bad(format!("`{name}` must have objects")))?;
        body::check(each, fields, &format!("{name}."))?;
        Ok(each.clone())
    })
    .collect()
}

/// A port of a VM.
pub(super) fn port_of(value: &Value) -> Result<u16, Answer> {
    let port = value.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    port.ok_or_else(|| Answer::bad("a port must be between 1 and 65535"))
}

/// 20 letters and digits.
fn new_id() -> String {
    (0..20).map(|_| char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[fastrand::usize(..36)])).collect()
}
