//! `/v5/vms/{vm}/fs/uploads`: files that come in chunks, and go on after a cut.
//!
//! From `vms/fs.ts` of npm `freestyle@0.2.17`.

use serde_json::{Value, json};

use super::answer::{Answer, Answered};
use super::body::{self, Field, Kind, optional, required};
use super::files::{mode, put, same_hash};
use super::paths::checked;
use super::server::Call;
use super::state::{Upload, Vm, hex};

const START: &[Field] = &[
    required("path", Kind::Text),
    required("size", Kind::Count),
    optional("sha256", Kind::Text),
    optional("mode", Kind::Count),
];

/// The largest chunk, and the largest file.
const LIMITS: (usize, u64) = (256 << 20, 16 << 30);

/// Where `/v5/vms/{vm}/fs/uploads...` goes.
pub(super) fn route(call: &Call, vm: &Vm, rest: &[&str]) -> Answered {
    let method = call.request.method.as_str();
    match (method, rest) {
        ("POST", []) => start(call, vm),
        ("PUT", [id]) => chunk(call, vm, id),
        ("GET", [id]) => status(call, vm, id),
        ("DELETE", [id]) => {
            find(call, vm, id)?;
            call.cloud.change(|state| state.uploads.remove(*id));
            Ok(Answer::empty())
        }
        ("POST", [id, "commit"]) => commit(call, vm, id),
        _ => Err(Answer::no_route(method, &call.request.path)),
    }
}

fn start(call: &Call, vm: &Vm) -> Answered {
    let body = body::read(&call.body, START)?;
    let size = body["size"].as_u64().unwrap_or_default();
    if size > LIMITS.1 {
        return Err(Answer::bad("a file is limited to 16 GiB"));
    }
    let upload = Upload {
        vm: vm.id.clone(),
        path: checked(body["path"].as_str().unwrap_or_default())?.to_owned(),
        size,
        sha256: body.get("sha256").and_then(Value::as_str).map(str::to_owned),
        mode: mode(body.get("mode").and_then(Value::as_u64))?,
        received: Vec::new(),
    };
    vm.guest.locate_writable(&upload.path, true)?;
    let id = format!("up-{}", hex(32));
    let told = told(&id, &upload);
    call.cloud.change(|state| state.uploads.insert(id, upload));
    Ok(Answer::json(201, &told))
}

fn chunk(call: &Call, vm: &Vm, id: &str) -> Answered {
    find(call, vm, id)?;
    let offset =
        call.query.number("offset")?.ok_or_else(|| Answer::bad("missing query parameter `offset`"))?;
    if call.body.len() > LIMITS.0 {
        return Err(Answer::error(413, "PAYLOAD_TOO_LARGE", "a chunk is limited to 256 MiB"));
    }
    call.cloud.change(|state| {
        let upload = state.uploads.get_mut(id).ok_or_else(|| Answer::not_found("upload"))?;
        let received = upload.received.len() as u64;
        if offset != received {
            let message = format!("offset is {offset}, but {received} bytes have been received");
            return Err(Answer::error(409, "UPLOAD_OFFSET_MISMATCH", message));
        }
        if received + call.body.len() as u64 > upload.size {
            return Err(Answer::bad(format!("the file was said to have {} bytes", upload.size)));
        }
        upload.received.extend_from_slice(&call.body);
        Ok(Answer::ok(&told(id, upload)))
    })
}

fn status(call: &Call, vm: &Vm, id: &str) -> Answered {
    Ok(Answer::ok(&told(id, &find(call, vm, id)?)))
}

fn commit(call: &Call, vm: &Vm, id: &str) -> Answered {
    body::read(&call.body, &[])?;
    let upload = find(call, vm, id)?;
    let received = upload.received.len() as u64;
    if received != upload.size {
        let message = format!("{received} of {} bytes have been received", upload.size);
        return Err(Answer::error(409, "UPLOAD_INCOMPLETE", message));
    }
    same_hash(&upload.received, upload.sha256.as_deref())?;
    if !call.cloud.faults().lost_writes {
        put(vm, &upload.path, &upload.received, upload.mode)?;
    }
    call.cloud.change(|state| state.uploads.remove(id));
    Ok(Answer::empty())
}

fn find(call: &Call, vm: &Vm, id: &str) -> Result<Upload, Answer> {
    let found = call.cloud.read(|state| state.uploads.get(id).filter(|it| it.vm == vm.id).cloned());
    found.ok_or_else(|| Answer::not_found("upload"))
}

fn told(id: &str, upload: &Upload) -> Value {
    json!({
        "uploadId": id,
        "path": upload.path,
        "size": upload.size,
        "receivedBytes": upload.received.len(),
    })
}
