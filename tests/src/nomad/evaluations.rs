//! The endpoints of evaluations and allocations.

use serde_json::Value;

use super::acl::Caller;
use super::answer::{Answer, Answered};
use super::server::Call;

/// `/v1/evaluations`.
pub(super) async fn list(call: &Call) -> Answered {
    call.only_get()?;
    let namespace = call.namespace();
    call.caller.require_on(&namespace, "read-job")?;
    call.blocking(|state| {
        let index = state.tables.evaluations;
        let all =
            state.evaluations.values().filter(|it| namespace == "*" || it.text("Namespace") == namespace);
        let all: Value = all.map(|it| Value::Object(it.body.clone())).collect();
        (index, Ok(Answer::json(&all).read_at(index)))
    })
    .await
}

/// `/v1/allocations`.
pub(super) async fn allocations(call: &Call) -> Answered {
    call.only_get()?;
    let namespace = call.namespace();
    call.caller.require_on(&namespace, "read-job")?;
    let prefix = call.query.get("prefix").to_owned();
    call.blocking(|state| {
        let index = state.tables.allocations;
        let all = state.visible().filter(|it| namespace == "*" || it.namespace == namespace);
        let all: Value = all.filter(|it| it.id.starts_with(&prefix)).map(|it| it.stub(&state.node)).collect();
        (index, Ok(Answer::json(&all).read_at(index)))
    })
    .await
}

/// `/v1/evaluation/:id` and its allocations.
pub(super) async fn evaluation(call: &Call, rest: &str) -> Answered {
    call.only_get()?;
    if let Some(id) = rest.strip_suffix("/allocations") {
        call.caller.require_on(&call.namespace(), "read-job")?;
        return call
            .blocking(|state| {
                let index = state.tables.allocations;
                let all = state.visible().filter(|it| it.evaluation == id);
                let all: Value = all.map(|it| it.stub(&state.node)).collect();
                (index, Ok(Answer::json(&all).read_at(index)))
            })
            .await;
    }
    if rest.len() != 36 {
        let text = "failed to lookup eval: eval lookup failed: index error: UUID must be 36 characters";
        return Err(Answer::error(500, text));
    }
    call.blocking(|state| match state.evaluations.get(rest) {
        Some(it) if call.caller.may(|grants| grants.may(it.text("Namespace"), "read-job")) => {
            let index = it.number("ModifyIndex");
            (index, Ok(Answer::json(&Value::Object(it.body.clone())).read_at(index)))
        }
        Some(_) => (u64::MAX, Err(Answer::permission_denied())),
        // What is not there is told as such only to those who could see it.
        None if call.caller.may(|grants| grants.may(&call.namespace(), "read-job")) => {
            let index = state.tables.evaluations;
            (index, Err(Answer::error(404, "eval not found").read_at(index)))
        }
        None => (u64::MAX, Err(Answer::permission_denied())),
    })
    .await
}

/// `/v1/allocation/:id`.
pub(super) async fn allocation(call: &Call, id: &str) -> Answered {
    call.only_get()?;
    if id.contains('/') {
        return Err(Answer::error(404, "resource not found"));
    }
    if id.len() != 36 {
        return Err(Answer::error(500, "alloc lookup failed: index error: UUID must be 36 characters"));
    }
    if matches!(call.caller, Caller::Unknown) {
        return Err(Answer::permission_denied());
    }
    call.blocking(|state| match state.allocations.get(id).filter(|it| !it.purged) {
        Some(it) if call.caller.may(|grants| grants.may(&it.namespace, "read-job")) => {
            (it.modify_index, Ok(Answer::json(&it.json(&state.node)).read_at(it.modify_index)))
        }
        // Who may not know of it is told so, in a form of its own.
        Some(_) => (u64::MAX, Err(Answer::error(500, format!("Unknown allocation {id:?}")))),
        None => {
            let index = state.tables.allocations;
            (index, Err(Answer::error(404, "alloc not found").read_at(index)))
        }
    })
    .await
}
