//! `/v1/vms/{vm}/files/{path}`: files as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::answer::{Answer, Answered};
use super::super::body::{self, Kind, optional, required};
use super::super::paths::{checked, failed};
use super::super::server::Call;
use super::super::{files, power};
use super::vms::find;

/// `GET /v1/vms/{vm}/files/{path}`, of a file or a directory.
pub(super) fn read(call: &Call, id: &str, path: &str) -> Answered {
    let vm = find(&call.cloud, id)?;
    let path = checked(path)?;
    let fail = |error: std::io::Error| failed(path, &error);
    let located = vm.guest.locate(path, true).map_err(fail)?;
    if located.is_dir() {
        let mut entries = files::entries(&vm, path)?;
        for entry in &mut entries {
            // There is no word for links.
            if entry["kind"] == "symlink" {
                entry["kind"] = "file".into();
            }
        }
        return Ok(Answer::ok(&json!({"files": entries})));
    }
    let bytes = std::fs::read(located).map_err(fail)?;
    Ok(Answer::ok(&match String::from_utf8(bytes) {
        Ok(text) => json!({"content": text, "encoding": "utf8"}),
        Err(error) => json!({"content": STANDARD.encode(error.as_bytes()), "encoding": "base64"}),
    }))
}

/// `PUT /v1/vms/{vm}/files/{path}`
pub(super) async fn write(call: &Call, id: &str, path: &str) -> Answered {
    let body = body::read(&call.body, &[required("content", Kind::Text), optional("encoding", Kind::Text)])?;
    find(&call.cloud, id)?;
    let path = checked(path)?;
    let vm = power::awake(&call.cloud, id, false).await?;
    let encoding = body.get("encoding").and_then(Value::as_str);
    let bytes = decoded(body["content"].as_str().unwrap_or_default(), encoding)?;
    if !call.cloud.faults().lost_writes {
        files::put(&vm, path, &bytes, Some(0o644))?;
    }
    Ok(Answer::ok(&json!({})))
}

/// The bytes of a file that came in JSON.
pub(super) fn decoded(content: &str, encoding: Option<&str>) -> Result<Vec<u8>, Answer> {
    match encoding {
        None | Some("utf8" | "utf-8") => Ok(content.as_bytes().to_vec()),
        Some("base64") => STANDARD.decode(content).map_err(|_| Answer::bad("`content` must be base64")),
        Some(other) => Err(Answer::bad(format!("`encoding` `{other}` is not known"))),
    }
}
