//! The host's own sync, over the plugin's `run`: whether the loader and the scripts work there.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::check::{Check, Place};
use super::lease::lease_of;
use super::ledger::{Finding, Verdict};
use super::rules;
use super::running;
use super::talk::Talk;
use crate::error::Error;
use crate::lease::new_run_id;
use crate::output::foreign;
use crate::paths::Paths;
use crate::remote;
use crate::sync::{Apply, Bases, Engine, Filter, Heard, Tree, Way, manifest_of};

/// How long one request of a sync may take.
const SYNC: Duration = Duration::from_secs(120);

/// What a tree is: the permissions and the content of each file, or where a link leads.
type Files = BTreeMap<String, (u32, Vec<u8>)>;

/// Tries it.
pub(super) async fn check(check: &mut Check<'_>) {
    check.rule(rules::SYNC, round_trip).await;
}

fn host(error: impl Into<Error>) -> Finding {
    Finding::skipped(error.into().to_string())
}

async fn round_trip(check: &mut Check<'_>) -> Verdict {
    let here = check.world.path("repo");
    let first = tree();
    write(&here, &first).map_err(|error| Finding::skipped(error.to_string()))?;
    let git = Command::new("git").args(["init", "-q"]).arg(&here).stdin(Stdio::null()).output();
    if !git.is_ok_and(|output| output.status.success()) {
        return Err(Finding::skipped("there is no `git` here"));
    }
    let mut talk = check.ready().await?;
    bring(check, &mut talk, &here).await?;
    compare(check, &mut talk, &first, "after the first sync").await?;
    let mut second = first.clone();
    second.insert("src/main.c".to_owned(), (0o644, b"int main(void) { return 1; }\n".to_vec()));
    second.insert("new".to_owned(), (0o755, b"#!/bin/sh\n".to_vec()));
    second.remove("odd name 'n' \"b\"");
    fs::remove_file(here.join("odd name 'n' \"b\"")).map_err(|error| Finding::skipped(error.to_string()))?;
    write(&here, &second).map_err(|error| Finding::skipped(error.to_string()))?;
    bring(check, &mut talk, &here).await?;
    compare(check, &mut talk, &second, "after a change").await?;
    talk.close().await;
    Ok(())
}

fn tree() -> Files {
    let noise = (0..300_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    [
        ("README.md", 0o644, b"hello\n".to_vec()),
        ("src/main.c", 0o644, b"int main(void) { return 0; }\n".to_vec()),
        ("bin/tool", 0o755, b"#!/bin/sh\necho tool\n".to_vec()),
        ("odd name 'n' \"b\"", 0o644, b"odd\n".to_vec()),
        ("caf\u{e9}/\u{1f980}", 0o644, Vec::new()),
        ("deep/er/and/deeper/noise", 0o644, noise),
        ("link", 0o777, b"src/main.c".to_vec()),
    ]
    .map(|(name, mode, content)| (name.to_owned(), (mode, content)))
    .into()
}

fn write(root: &Path, files: &Files) -> io::Result<()> {
    for (name, (mode, content)) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        if *mode == 0o777 {
            if !path.is_symlink() {
                symlink(String::from_utf8_lossy(content).as_ref(), &path)?;
            }
        } else if fs::read(&path).ok().as_ref() != Some(content) {
            fs::write(&path, content)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode))?;
        }
    }
    Ok(())
}

/// Syncs as the host does, request by request.
async fn bring(check: &Check<'_>, talk: &mut Talk, here: &Path) -> Verdict {
    let lease = lease_of(check)?;
    let place = |name: &str| check.world.path(name);
    let paths =
        Paths { state: place("sync-state"), cache: place("sync-cache"), config: place("sync-config") };
    let tree = Tree::read(here, &Filter::default()).map_err(host)?;
    let manifest = manifest_of(&tree, &paths).map_err(host)?;
    let mut engine = Engine::new(tree, manifest, Apply::Update, Some(Bases::of(&paths, &lease.id)));
    loop {
        let bundle = engine.bundle();
        let run_id = new_run_id().map_err(host)?;
        let way = Way { alone: true, file: None };
        let mut input = engine.script(lease.root.as_deref(), &run_id, &way, bundle.as_ref());
        if let Some(bundle) = &bundle {
            engine.write(bundle, &mut input, &mut |_| ()).map_err(host)?;
        }
        engine.announce();
        let place = Place::Lease(Box::new(lease.clone()));
        let ended = running::on(check, talk, place, remote::argv(), Some(&input), SYNC).await?;
        let code = ended.code(talk)?;
        match engine.heard(Some(code), &ended.out.bytes, &ended.err.bytes) {
            Ok(Heard::Done) => return Ok(()),
            Ok(Heard::Again) => {}
            Err(error) => return Err(talk.finding(error.to_string())),
        }
    }
}

/// Fails unless the lease has these files.
async fn compare(check: &Check<'_>, talk: &mut Talk, files: &Files, when: &str) -> Verdict {
    let root = lease_of(check)?.root.unwrap_or_else(|| ".".to_owned());
    let ended = running::sh(check, talk, "cd \"$1\" && tar -cf - -C ws .", &[&root]).await?;
    let there =
        unpack(&ended.out.bytes).map_err(|error| talk.finding(format!("its tar cannot be read: {error}")))?;
    let differs = files.iter().find(|(name, file)| there.get(*name) != Some(*file));
    let more = there.keys().find(|name| !files.contains_key(*name));
    match (differs, more) {
        (None, None) => Ok(()),
        (Some((name, _)), _) => Err(talk.finding(format!("`{name}` is not as it is here {when}"))),
        (_, Some(name)) => {
            Err(talk.finding(format!("`{}` is on the lease and not here {when}", foreign(name))))
        }
    }
}

fn unpack(archive: &[u8]) -> io::Result<Files> {
    let mut files = Files::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            continue;
        }
        let path = entry.path()?.to_string_lossy().into_owned();
        let name = path.strip_prefix("./").unwrap_or(&path).to_owned();
        let file = if kind.is_symlink() {
            let target = entry.link_name()?.unwrap_or_default();
            (0o777, target.to_string_lossy().into_owned().into_bytes())
        } else {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            (entry.header().mode()? & 0o777, content)
        };
        files.insert(name, file);
    }
    Ok(files)
}
