//! v1, which is another cluster: VMs have names and no slugs, and none of v5's VMs are there.
//!
//! From `index.mjs` and the types of npm `freestyle-sandboxes@0.1.46` and `freestyle@0.1.63`.

mod create;
mod files;
mod mappings;
mod vms;

use serde_json::{Value, json};

use super::answer::{Answer, Answered};
use super::background;
use super::server::Call;

/// Where everything goes that is not v5.
pub(super) async fn route(call: &Call, path: &[&str]) -> Answered {
    let method = call.request.method.as_str();
    let answered = match (method, path) {
        ("POST", ["v1", "vms"]) => create::create(call).await,
        ("GET", ["v1", "vms"]) => vms::list(call),
        ("GET", ["v1", "vms", vm]) => vms::get(call, vm),
        ("DELETE", ["v1", "vms", vm]) => vms::delete(call, vm).await,
        ("POST", ["v1", "vms", vm, "start"]) => vms::start(call, vm).await,
        ("POST", ["v1", "vms", vm, "stop" | "kill"]) => vms::stop(call, vm, path[3]).await,
        ("POST", ["v1", "vms", vm, "suspend"]) => vms::suspend(call, vm).await,
        ("POST", ["v1", "vms", vm, "await"]) => vms::await_end(call, vm).await,
        ("POST", ["v1", "vms", vm, "resize"]) => vms::resize(call, vm),
        ("POST", ["v1", "vms", vm, "exec-await"]) => vms::exec(call, vm).await,
        // The whole path is one segment, whose slashes are encoded.
        ("GET", ["v1", "vms", vm, "files", path]) => files::read(call, vm, path),
        ("PUT", ["v1", "vms", vm, "files", path]) => files::write(call, vm, path).await,
        (_, ["domains", "v1", "mappings", rest @ ..]) => mappings::route(call, rest),
        ("GET", ["auth", "v1", "background-requests", id]) => background::poll(&call.cloud, id),
        ("GET", ["auth", "v1", "whoami"]) => Ok(Answer::ok(&json!({"accountId": super::state::ACCOUNT}))),
        ("GET", ["observability", "v1", "logs"]) => Ok(Answer::ok(&json!({"logs": []}))),
        _ => Err(Answer::no_route(method, &call.request.path)),
    };
    answered.map_err(|error| in_words_of_v1(error, path))
}

/// An error as v1 has it: other codes, and the code twice, since it is documented as `error` and read as `code`.
fn in_words_of_v1(error: Answer, path: &[&str]) -> Answer {
    let Ok(mut body) = serde_json::from_slice::<Value>(&error.body) else { return error };
    let files = path.get(3) == Some(&"files");
    let (status, code) = match (body["code"].as_str().unwrap_or_default(), files) {
        ("NOT_FOUND", true) if body["message"] != "VM not found" => (404, "FILE_NOT_FOUND"),
        ("NOT_FOUND", _) if path.get(1) == Some(&"vms") => (404, "VM_NOT_FOUND"),
        ("INVALID_REQUEST", true) => (400, "FILES_BAD_REQUEST"),
        ("INVALID_REQUEST", _) if path.len() == 2 => (400, "CREATE_VM_BAD_REQUEST"),
        ("VM_NOT_RUNNING", _) => (400, "VM_NOT_RUNNING"),
        (code, _) => (error.status, code),
    };
    let code = code.to_owned();
    body["error"] = code.as_str().into();
    body["code"] = code.into();
    let mut answer = Answer::json(status, &body);
    let others = error.headers.into_iter().filter(|(name, _)| name != "content-type");
    answer.headers.extend(others);
    answer
}

/// A body that may be absent, as that of a POST without arguments is.
fn body_or_empty(call: &Call) -> &[u8] {
    if call.body.is_empty() { b"{}" } else { &call.body }
}
