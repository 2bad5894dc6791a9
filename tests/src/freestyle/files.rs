//! `/v5/vms/{vm}/fs/*`: files, as root.
//!
//! From `vms/fs.ts` and `vms/types.ts` of npm `freestyle@0.2.17`.

use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde_json::{Value, json};

use super::answer::{Answer, Answered};
use super::body::{self, Kind, required};
use super::faults::RangeAtEnd;
use super::isolation::USERS;
use super::paths::{checked, failed};
use super::server::Call;
use super::state::Vm;
use super::{power, uploads, vms};

/// Where `/v5/vms/{vm}/fs/...` goes.
pub(super) async fn route(call: &Call, key: &str, rest: &[&str]) -> Answered {
    let id = vms::id_of(&call.cloud, key)?;
    let method = call.request.method.as_str();
    let reads = method == "GET";
    let vm = match reads {
        // Field reports: reading wakes nothing.
        true => call.cloud.read(|state| state.vm(&id).cloned()).ok_or_else(|| Answer::not_found("VM"))?,
        false => power::awake(&call.cloud, &id, true).await?,
    };
    match (method, rest) {
        ("GET", ["read"]) => read(call, &vm),
        ("PUT", ["write"]) => write(call, &vm),
        ("GET", ["dir"]) => list(call, &vm),
        ("GET", ["exists"]) => exists(call, &vm),
        ("GET", ["stat"]) => stat(call, &vm),
        ("POST", ["mkdir"]) => make_directory(call, &vm),
        ("DELETE", ["remove"]) => remove(call, &vm),
        (_, ["uploads", rest @ ..]) => uploads::route(call, &vm, rest),
        _ => Err(Answer::no_route(method, &call.request.path)),
    }
}

fn read(call: &Call, vm: &Vm) -> Answered {
    let path = checked(call.query.need("path")?)?;
    let fail = |error: std::io::Error| failed(path, &error);
    let mut file = File::open(vm.guest.locate(path, true).map_err(fail)?).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    if metadata.is_dir() {
        return Err(Answer::bad(format!("{path} is a directory")));
    }
    let size = metadata.len();
    let mut bytes = Vec::new();
    let range = call.request.headers.get("range").and_then(|text| range(text));
    let Some((first, last)) = range else {
        file.read_to_end(&mut bytes).map_err(fail)?;
        return Ok(Answer::bytes(200, bytes).header("accept-ranges", "bytes"));
    };
    if first >= size {
        return match call.cloud.faults().range_at_end {
            RangeAtEnd::NotSatisfiable => {
                let error = Answer::error(416, "RANGE_NOT_SATISFIABLE", "the range is beyond the file's end");
                Err(error.header("content-range", format!("bytes */{size}")))
            }
            RangeAtEnd::Empty => Ok(Answer::bytes(206, bytes)),
            RangeAtEnd::EmptyWhole => Ok(Answer::bytes(200, bytes)),
            RangeAtEnd::NotFound => Err(Answer::not_found(path)),
        };
    }
    let last = last.unwrap_or(u64::MAX).min(size - 1);
    file.seek(SeekFrom::Start(first)).map_err(fail)?;
    file.take(last - first + 1).read_to_end(&mut bytes).map_err(fail)?;
    let range = format!("bytes {first}-{last}/{size}");
    Ok(Answer::bytes(206, bytes).header("content-range", range).header("accept-ranges", "bytes"))
}

/// The first byte and the last one. What is not understood is no range, as HTTP has it.
fn range(text: &str) -> Option<(u64, Option<u64>)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let first = first.parse().ok()?;
    match last {
        "" => Some((first, None)),
        last => last.parse().ok().filter(|last| *last >= first).map(|last| (first, Some(last))),
    }
}

fn write(call: &Call, vm: &Vm) -> Answered {
    let path = checked(call.query.need("path")?)?;
    let mode = mode(call.query.number("mode")?)?;
    same_hash(&call.body, call.query.get("sha256"))?;
    if !call.cloud.faults().lost_writes {
        put(vm, path, &call.body, mode)?;
    }
    Ok(Answer::empty())
}

/// A mode, which is a decimal number.
pub(super) fn mode(number: Option<u64>) -> Result<Option<u32>, Answer> {
    let mode = number.map(u32::try_from).transpose().ok().filter(|mode| mode.is_none_or(|it| it <= 0o7777));
    mode.ok_or_else(|| Answer::bad("`mode` must be a number of at most 4095 (0o7777)"))
}

/// Checks what was said of the bytes.
pub(super) fn same_hash(bytes: &[u8], expected: Option<&str>) -> Result<(), Answer> {
    use sha2::Digest as _;
    let Some(expected) = expected else { return Ok(()) };
    let hash = sha2::Sha256::digest(bytes);
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    if hash == expected {
        return Ok(());
    }
    Err(Answer::error(400, "CHECKSUM_MISMATCH", format!("sha256 is {hash}, not {expected}")))
}

/// Writes a file, with its parents, in one step. It belongs to root; its mode is the one that is asked for, that of
/// the file that was there, or 0600.
pub(super) fn put(vm: &Vm, path: &str, bytes: &[u8], mode: Option<u32>) -> Result<(), Answer> {
    let target = vm.guest.locate_writable(path, true)?;
    let fail = |error: std::io::Error| failed(path, &error);
    let parent = target.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(parent).map_err(fail)?;
    let before = std::fs::metadata(&target).ok();
    if before.as_ref().is_some_and(Metadata::is_dir) {
        return Err(Answer::bad(format!("{path} is a directory")));
    }
    let mode = mode.or_else(|| before.map(|it| it.permissions().mode() & 0o7777)).unwrap_or(0o600);
    let mut file = tempfile::Builder::new().prefix(".fs-").tempfile_in(parent).map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).map_err(fail)?;
    file.persist(&target).map_err(|error| fail(error.error))?;
    Ok(())
}

fn list(call: &Call, vm: &Vm) -> Answered {
    let path = checked(call.query.need("path")?)?;
    Ok(Answer::ok(&json!({"entries": entries(vm, path)?})))
}

/// What is in a directory, in the order of names.
pub(super) fn entries(vm: &Vm, path: &str) -> Result<Vec<Value>, Answer> {
    let fail = |error: std::io::Error| failed(path, &error);
    let directory = vm.guest.locate(path, true).map_err(fail)?;
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let kind = entry.file_type().map_err(fail)?;
        let kind = match () {
            () if kind.is_dir() => "directory",
            () if kind.is_symlink() => "symlink",
            () => "file",
        };
        all.push((entry.file_name().to_string_lossy().into_owned(), kind));
    }
    all.sort();
    Ok(all.into_iter().map(|(name, kind)| json!({"name": name, "kind": kind})).collect())
}

fn exists(call: &Call, vm: &Vm) -> Answered {
    let path = checked(call.query.need("path")?)?;
    let exists = vm.guest.locate(path, true).is_ok_and(|it| it.exists());
    Ok(Answer::ok(&json!({"exists": exists})))
}

fn stat(call: &Call, vm: &Vm) -> Answered {
    let path = checked(call.query.need("path")?)?;
    let fail = |error: std::io::Error| failed(path, &error);
    let located = vm.guest.locate(path, false).map_err(fail)?;
    let it = located.symlink_metadata().map_err(fail)?;
    let name = |id: u32| {
        let known = USERS.iter().find(|user| user.id == id);
        known.map_or_else(|| id.to_string(), |user| user.name.to_owned())
    };
    let modified = it.modified().ok().and_then(|time| jiff::Timestamp::try_from(time).ok());
    Ok(Answer::ok(&json!({
        "size": it.len(),
        "isFile": it.is_file(),
        "isDirectory": it.is_dir(),
        "isSymlink": it.is_symlink(),
        "permissions": format!("{:04o}", it.mode() & 0o7777),
        "owner": name(it.uid()),
        "group": name(it.gid()),
        "modified": modified.unwrap_or_default().to_string(),
    })))
}

fn make_directory(call: &Call, vm: &Vm) -> Answered {
    let body = body::read(&call.body, &[required("path", Kind::Text)])?;
    let path = checked(body["path"].as_str().unwrap_or_default())?;
    let located = vm.guest.locate_writable(path, true)?;
    std::fs::create_dir_all(located).map_err(|error| failed(path, &error))?;
    Ok(Answer::empty())
}

fn remove(call: &Call, vm: &Vm) -> Answered {
    let path = checked(call.query.need("path")?)?;
    let located = vm.guest.locate_writable(path, false)?;
    let fail = |error: std::io::Error| failed(path, &error);
    match located.symlink_metadata().map_err(fail)?.is_dir() {
        true => std::fs::remove_dir_all(located).map_err(fail)?,
        false => std::fs::remove_file(located).map_err(fail)?,
    }
    Ok(Answer::empty())
}
