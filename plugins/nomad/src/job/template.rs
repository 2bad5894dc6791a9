//! A job of the user's own making: JSON as Nomad's API takes it, with placeholders, and ours by what is added to it.

use std::collections::BTreeMap;
use std::path::Path;

use crabbox_provider_kit::{Error, Result};
use serde_json::{Map, Value};

use super::spec::Order;
use crate::settings::Settings;

/// Reads a template and makes the job of it.
///
/// # Errors
///
/// `configInvalid`: the file, and what is wrong with it.
pub(super) fn job(
    path: &Path,
    order: &Order<'_>,
    meta: &BTreeMap<String, String>,
    settings: &Settings,
) -> Result<Value> {
    let wrong = |what: String| {
        Error::config_invalid(format!("the job template `{}` {what}", path.display())).created(false)
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong("cannot be read".into()).cause(error))?;
    let identity = order.identity;
    let values = [
        ("LeaseID", identity.lease_id.as_str()),
        ("Slug", order.slug),
        ("JobID", &identity.job_id),
        ("Task", &settings.task),
        ("Workdir", identity.directory.as_deref().unwrap_or_default()),
        ("Namespace", &settings.namespace),
        ("Region", settings.region()),
        ("Scope", &settings.scope()),
        ("ExpiresAt", order.expires_at.as_deref().unwrap_or_default()),
    ];
    let rendered = render(&text, &values).map_err(wrong)?;
    let parsed: Value =
        serde_json::from_str(&rendered).map_err(|error| wrong("is not JSON".into()).cause(error))?;
    // What `nomad job run -output` writes has the job in an object.
    let job = match parsed {
        Value::Object(mut outer) if outer.get("Job").is_some_and(Value::is_object) => outer.remove("Job"),
        other => Some(other),
    };
    let Some(Value::Object(mut job)) = job else {
        return Err(wrong("is not a job".into()));
    };
    complete(&mut job, order, meta, settings).map_err(wrong)?;
    Ok(Value::Object(job))
}

/// Replaces `{{.Name}}` by its value as the inside of a JSON string. Other braces are Nomad's own, for its templates.
fn render(text: &str, values: &[(&str, &str)]) -> Result<String, String> {
    let mut rendered = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let placeholder = after.split_once("}}").filter(|(inside, _)| is_placeholder(inside));
        let Some((inside, after)) = placeholder else {
            rendered.push_str(before);
            rendered.push_str("{{");
            rest = after;
            continue;
        };
        let name = inside.trim().trim_start_matches('.');
        let value = values.iter().find(|(known, _)| name == *known).map(|(_, value)| *value);
        let Some(value) = value else {
            let known: Vec<_> = values.iter().map(|(name, _)| format!("{{{{.{name}}}}}")).collect();
            let known = known.join(" ");
            return Err(format!(
                "has the placeholder `{{{{{}}}}}`; there are {known}",
                inside.escape_debug()
            ));
        };
        let quoted = Value::from(value).to_string();
        rendered.push_str(before);
        rendered.push_str(&quoted[1..quoted.len() - 1]);
        rest = after;
    }
    rendered.push_str(rest);
    Ok(rendered)
}

/// Whether what is between braces is a dot and a word.
fn is_placeholder(inside: &str) -> bool {
    let word = inside.trim().strip_prefix('.').unwrap_or_default();
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Checks the job and writes whose it is into it. What contradicts is refused, never replaced.
fn complete(
    job: &mut Map<String, Value>,
    order: &Order<'_>,
    meta: &BTreeMap<String, String>,
    settings: &Settings,
) -> Result<(), String> {
    let identity = order.identity;
    for key in ["ID", "Name"] {
        set(job, key, &identity.job_id)?;
    }
    set(job, "Namespace", &settings.namespace)?;
    if let Some(region) = &settings.configured_region {
        set(job, "Region", region)?;
    }
    let kind = job.get("Type").and_then(Value::as_str).unwrap_or("service");
    if kind != "service" {
        return Err(format!("is of type `{}`; only a `service` job stays", kind.escape_debug()));
    }
    for key in ["Periodic", "ParameterizedJob", "Multiregion"] {
        if job.get(key).is_some_and(|value| !value.is_null()) {
            return Err(format!("has `{key}`; a lease is one job that runs at once"));
        }
    }
    own(job, "the job", meta)?;
    let groups = job.get_mut("TaskGroups").and_then(Value::as_array_mut);
    let mut found = 0;
    for group in groups.into_iter().flatten().filter_map(Value::as_object_mut) {
        let tasks = group.get_mut("Tasks").and_then(Value::as_array_mut);
        let is_ours =
            |task: &&mut Map<String, Value>| task.get("Name").and_then(Value::as_str) == Some(&settings.task);
        let mut here = 0;
        for task in tasks.into_iter().flatten().filter_map(Value::as_object_mut).filter(is_ours) {
            // Whether a task sees the node decides where its lease is, and what ends with it.
            set(task, "Driver", &settings.driver)
                .map_err(|what| format!("{what}, in the task; or set `driver` in the block `nomad`"))?;
            own(task, "the task", meta)?;
            here += 1;
        }
        if here > 0 {
            let count = group.get("Count").and_then(Value::as_i64).unwrap_or(1);
            if count != 1 {
                return Err(format!("has {count} instances of the task's group; a lease is one"));
            }
            own(group, "the group", meta)?;
        }
        found += here;
    }
    match found {
        1 => Ok(()),
        0 => Err(format!("has no task `{}`; name one so, or set `task` in the block `nomad`", settings.task)),
        _ => Err(format!("has {found} tasks `{}`", settings.task)),
    }
}

/// Sets what is not set.
fn set(object: &mut Map<String, Value>, key: &str, value: &str) -> Result<(), String> {
    match object.get(key) {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) if text.is_empty() || text == value => {}
        Some(other) => return Err(format!("has `{key}` {other}, and it has to be `{value}`")),
    }
    object.insert(key.to_owned(), value.into());
    Ok(())
}

/// Writes whose it is into `Meta`.
fn own(object: &mut Map<String, Value>, place: &str, meta: &BTreeMap<String, String>) -> Result<(), String> {
    let slot = object.entry("Meta").or_insert(Value::Null);
    if slot.is_null() {
        *slot = Value::Object(Map::new());
    }
    let own = slot.as_object_mut().ok_or_else(|| format!("has a `Meta` in {place} that is not an object"))?;
    for (key, value) in meta {
        set(own, key, value).map_err(|what| format!("{what}, in the `Meta` of {place}"))?;
    }
    Ok(())
}
