//! `/v5/vms`: create, list, get, patch, delete.
//!
//! From `vms/index.ts` and `vms/types.ts` of npm `freestyle@0.2.17`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::answer::{Answer, Answered};
use super::body::{self, Field, Kind, nullable, optional, required};
use super::guest::Guest;
use super::server::Call;
use super::state::{State, Vm, hex};
use super::{Cloud, catalogue, firewall, power, tls};

const CREATE: &[Field] = &[
    nullable("snapshotId", Kind::Text),
    nullable("slug", Kind::Text),
    optional("reassignSlug", Kind::Flag),
    nullable("displayName", Kind::Text),
    nullable("idleTimeoutSeconds", Kind::Seconds),
    nullable("autoDeleteSeconds", Kind::Seconds),
    nullable("ttlSeconds", Kind::Seconds),
    nullable("maxRunSeconds", Kind::Seconds),
    nullable("maxRunTotalSeconds", Kind::Seconds),
    optional("automaticRestart", Kind::Flag),
    optional("vpcs", Kind::List),
    optional("networks", Kind::List),
    optional("metadata", Kind::Texts),
    nullable("placement", Kind::Object),
    required("firewall", Kind::Object),
    optional("tls", Kind::Object),
];

const PATCH: &[Field] = &[
    optional("slug", Kind::Text),
    optional("reassignSlug", Kind::Flag),
    optional("displayName", Kind::Text),
    optional("idleTimeoutSeconds", Kind::Seconds),
    optional("autoDeleteSeconds", Kind::Seconds),
    optional("ttlSeconds", Kind::Seconds),
    optional("maxRunSeconds", Kind::Seconds),
    optional("maxRunTotalSeconds", Kind::Seconds),
    optional("automaticRestart", Kind::Flag),
    optional("metadata", Kind::Texts),
];

/// The settings that are told again as they were said.
const SETTINGS: &[&str] = &[
    "displayName",
    "idleTimeoutSeconds",
    "autoDeleteSeconds",
    "ttlSeconds",
    "maxRunSeconds",
    "maxRunTotalSeconds",
    "automaticRestart",
    "placement",
];

/// The states that a list can be limited to.
const STATES: &[&str] = &["starting", "running", "pausing", "paused", "stopped"];

/// The page of a list if nothing is asked for, and the most that can be.
pub(super) const PAGE: (u64, u64) = (50, 100);

/// `POST /v5/vms`
pub(super) async fn create(call: &Call) -> Answered {
    let cloud = &call.cloud;
    let body = body::read(&call.body, CREATE)?;
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let snapshot = catalogue::find(text("snapshotId"))?;
    let slug = text("slug").map(|slug| valid_slug(slug).map(|()| slug.to_owned())).transpose()?;
    let reassign = body.get("reassignSlug").is_some_and(|it| it == true);
    if reassign && slug.is_none() {
        return Err(Answer::bad("`reassignSlug` requires `slug`"));
    }
    for name in ["vpcs", "networks"] {
        if body.get(name).and_then(Value::as_array).is_some_and(|all| !all.is_empty()) {
            return Err(Answer::not_found("private network"));
        }
    }
    let metadata = merged(BTreeMap::new(), body.get("metadata"))?;
    let firewall = firewall::inline(body.get("firewall").unwrap_or(&Value::Null))?;
    let tls = body.get("tls").map(tls::inline).transpose()?.unwrap_or_default();
    let mut settings = Map::new();
    apply_settings(cloud, &mut settings, &body)?;

    let id = format!("vm-{}", hex(32));
    let guest = Guest::new(&cloud.directory, &id, cloud.isolation)
        .map_err(|error| Answer::error(500, "INTERNAL", error.to_string()))?;
    let vm = Vm {
        id: id.clone(),
        v1: false,
        state: "starting",
        slug: None,
        resources: snapshot.resources,
        snapshot,
        settings,
        metadata,
        created: Timestamp::now(),
        updated: Timestamp::now(),
        guest: Arc::new(guest),
    };
    let limit = cloud.options.vm_limit;
    let (firewall, tls) = cloud.change(|state| {
        if limit.is_some_and(|limit| state.vms.len() >= limit) {
            return Err(Answer::error(429, "LIMIT_EXCEEDED", "your plan's allowance is used up"));
        }
        if let Some(slug) = &slug {
            take_slug(state, slug, &id, reassign)?;
        }
        tls.iter().try_for_each(|rule| tls::domain_is_free(state, rule))?;
        state.vms.push(Vm { slug, ..vm });
        let firewall: Vec<Value> =
            firewall.into_iter().map(|rule| firewall::add(state, rule, Some(&id))).collect();
        let tls: Vec<Value> = tls.into_iter().map(|rule| tls::add(state, rule, Some(&id))).collect();
        Ok((firewall, tls))
    })?;
    power::boot_soon(cloud, &id).await?;
    let mut told = told(cloud, &id)?;
    told["firewallRules"] = firewall.into();
    told["tlsRules"] = tls.into();
    Ok(Answer::json(201, &told))
}

/// `GET /v5/vms`
pub(super) fn list(call: &Call) -> Answered {
    let query = &call.query;
    let wanted = query.get("state");
    if wanted.is_some_and(|it| !STATES.contains(&it)) {
        return Err(Answer::bad("query parameter `state` must be a state"));
    }
    let pairs: Vec<(&str, &str)> = match query.get("metadata") {
        None => Vec::new(),
        Some(text) => text
            .split(',')
            .map(|pair| {
                pair.split_once(':').ok_or_else(|| Answer::bad("`metadata` must be `key:value` pairs"))
            })
            .collect::<Result<_, _>>()?,
    };
    let matches = |vm: &Vm| {
        !vm.v1
            && query.get("slug").is_none_or(|slug| vm.slug.as_deref() == Some(slug))
            && query.get("snapshotId").is_none_or(|key| vm.snapshot.id == key || vm.snapshot.slug == key)
            && pairs.iter().all(|(key, value)| vm.metadata.get(*key).is_some_and(|it| it == value))
    };
    call.cloud.read(|state| {
        // The newest first.
        let all: Vec<&Vm> = state.vms.iter().rev().filter(|vm| matches(vm)).collect();
        let count = |name: &str| all.iter().filter(|vm| vm.state == name).count();
        let mut answer = json!({
            "runningCount": count("running"),
            "startingCount": count("starting"),
            "pausingCount": count("pausing"),
            "pausedCount": count("paused"),
            "stoppedCount": count("stopped"),
        });
        let chosen: Vec<Value> = all
            .iter()
            .filter(|vm| wanted.is_none_or(|it| it == vm.state))
            .map(|vm| shown(&call.cloud, vm))
            .collect();
        answer["totalCount"] = chosen.len().into();
        answer["vms"] = page(call, chosen)?.into();
        Ok(Answer::ok(&answer))
    })
}

/// `GET /v5/vms/{vm}`
pub(super) fn get(call: &Call, key: &str) -> Answered {
    let id = id_of(&call.cloud, key)?;
    Ok(Answer::ok(&told(&call.cloud, &id)?))
}

/// `PATCH /v5/vms/{vm}`
pub(super) fn patch(call: &Call, key: &str) -> Answered {
    let cloud = &call.cloud;
    let body = body::read(&call.body, PATCH)?;
    let id = id_of(cloud, key)?;
    cloud.change(|state| {
        let vm = state.vm(&id).ok_or_else(|| Answer::not_found("VM"))?;
        let metadata = merged(vm.metadata.clone(), body.get("metadata"))?;
        let mut settings = vm.settings.clone();
        apply_settings(cloud, &mut settings, &body)?;
        let slug = match body.get("slug").and_then(Value::as_str) {
            None => vm.slug.clone(),
            Some("") => None,
            Some(slug) => {
                valid_slug(slug)?;
                take_slug(state, slug, &id, body.get("reassignSlug").is_some_and(|it| it == true))?;
                Some(slug.to_owned())
            }
        };
        state.update(&id, |vm| {
            (vm.slug, vm.metadata, vm.settings) = (slug, metadata, settings);
        });
        Ok(())
    })?;
    Ok(Answer::ok(&told(cloud, &id)?))
}

/// `DELETE /v5/vms/{vm}`
pub(super) async fn delete(call: &Call, key: &str) -> Answered {
    let id = id_of(&call.cloud, key)?;
    power::remove(&call.cloud, &id).await;
    Ok(Answer::empty())
}

/// The id of a VM that is named by its id or its slug.
pub(super) fn id_of(cloud: &Cloud, key: &str) -> Result<String, Answer> {
    let id = cloud.read(|state| state.find(key).map(|vm| vm.id.clone()));
    id.ok_or_else(|| Answer::not_found(&format!("VM `{key}`")))
}

/// A VM as it is told.
pub(super) fn told(cloud: &Cloud, id: &str) -> Result<Value, Answer> {
    cloud.read(|state| state.vm(id).map(|vm| shown(cloud, vm))).ok_or_else(|| Answer::not_found("VM"))
}

fn shown(cloud: &Cloud, vm: &Vm) -> Value {
    let mut value = vm.value();
    for name in &cloud.faults().dropped_fields {
        value.as_object_mut().map(|all| all.remove(*name));
    }
    value
}

/// The page of a list that is asked for.
pub(super) fn page(call: &Call, all: Vec<Value>) -> Result<Vec<Value>, Answer> {
    let limit = call.query.number("limit")?.unwrap_or(PAGE.0).min(PAGE.1);
    let offset = call.query.number("offset")?.unwrap_or_default();
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let limit = call.cloud.faults().page_size.unwrap_or(usize::MAX).min(size(limit));
    Ok(all.into_iter().skip(size(offset)).take(limit).collect())
}

fn apply_settings(
    cloud: &Cloud,
    settings: &mut Map<String, Value>,
    body: &Map<String, Value>,
) -> Result<(), Answer> {
    for name in SETTINGS {
        match body.get(*name) {
            None => {}
            Some(value) if value.is_null() || *value == -1 || value == "" => _ = settings.remove(*name),
            Some(value) => _ = settings.insert((*name).to_owned(), value.clone()),
        }
    }
    if let Some(cap) = cloud.options.auto_delete_cap {
        let asked = settings.get("autoDeleteSeconds").and_then(Value::as_u64);
        if asked.is_some_and(|asked| asked > cap) {
            return Err(Answer::bad(format!("`autoDeleteSeconds` may be {cap} at most on your plan")));
        }
        if asked.is_none() {
            settings.insert("autoDeleteSeconds".to_owned(), cap.into());
            settings.insert("autoDeleteFromPlan".to_owned(), true.into());
        }
    }
    Ok(())
}

/// 1 to 63 of `[a-z0-9-]`, no hyphen at an end, and no two in a row.
fn valid_slug(slug: &str) -> Result<(), Answer> {
    let letters = slug.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-');
    let hyphens = !slug.starts_with('-') && !slug.ends_with('-') && !slug.contains("--");
    if letters && hyphens && (1..=63).contains(&slug.len()) {
        return Ok(());
    }
    Err(Answer::bad(
        "`slug` must be 1-63 characters of [a-z0-9-], without leading, trailing or double hyphens",
    ))
}

fn take_slug(state: &mut State, slug: &str, id: &str, reassign: bool) -> Result<(), Answer> {
    let holder = state.vms.iter_mut().find(|vm| !vm.v1 && vm.slug.as_deref() == Some(slug) && vm.id != id);
    match holder {
        Some(holder) if reassign => holder.slug = None,
        Some(_) => return Err(Answer::error(409, "CONFLICT", format!("slug `{slug}` is already in use"))),
        None => {}
    }
    Ok(())
}

/// Metadata with changes; an empty value deletes.
fn merged(
    mut metadata: BTreeMap<String, String>,
    changes: Option<&Value>,
) -> Result<BTreeMap<String, String>, Answer> {
    for (key, value) in changes.and_then(Value::as_object).into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        if key.is_empty() || key.chars().count() > 63 || value.chars().count() > 63 {
            return Err(Answer::bad("`metadata` keys and values are limited to 63 characters"));
        }
        match value {
            "" => _ = metadata.remove(key),
            _ => _ = metadata.insert(key.clone(), value.to_owned()),
        }
    }
    if metadata.len() > 64 {
        return Err(Answer::bad("`metadata` is limited to 64 entries"));
    }
    Ok(metadata)
}
