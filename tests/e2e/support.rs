//! What several of these tests need.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crabbox_tests::{Plugin, World, wait_for};
use serde_json::Value;

/// The providers that come along, in three languages.
pub(crate) const ALL: [Plugin; 3] = [Plugin::Local, Plugin::Python, Plugin::Sh];

/// The root of the repository that these tests are in.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Fails unless a value is as a schema of `schemas/v1` says.
pub(crate) fn assert_fits(schema: &str, value: &Value) {
    let path = repository().join(format!("schemas/v1/{schema}.schema.json"));
    let text: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let problems: Vec<_> =
        jsonschema::validator_for(&text).unwrap().iter_errors(value).map(|error| error.to_string()).collect();
    assert!(problems.is_empty(), "{problems:?} in {value:#}");
}

/// Fails unless nothing is left of leases and runs.
pub(crate) fn assert_nothing_left(world: &World, plugin: Plugin) {
    assert_eq!(world.leftovers(plugin), Vec::<std::path::PathBuf>::new(), "{plugin:?}");
}

/// Fails unless a text has all these parts.
pub(crate) fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

/// Starts a command whose output is read later.
pub(crate) fn spawn(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What a command that was started came to.
pub(crate) fn end(child: Child) -> (i32, String, String) {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// The only claim, and its file.
pub(crate) fn claim(world: &World) -> (std::path::PathBuf, Value) {
    let files: Vec<_> =
        fs::read_dir(world.state().join("claims")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let claim = serde_json::from_str(&fs::read_to_string(&files[0]).unwrap()).unwrap();
    (files[0].clone(), claim)
}

/// A lease called `demo`, and its id.
pub(crate) fn warm(world: &World, plugin: Plugin) -> String {
    let stdout = world.ok(&["warmup", "--provider", plugin.name(), "--slug", "demo"]);
    let mut words = stdout.split_whitespace();
    assert_eq!(words.next(), Some("leased"), "{stdout}");
    let id = words.next().unwrap().to_owned();
    assert!(stdout.ends_with(&format!("slug=demo provider={}\n", plugin.name())), "{stdout}");
    id
}

/// A run on `demo` that lasts until `go` is called, and that has begun.
pub(crate) fn long_run(world: &World) -> Child {
    long_run_that(world, "")
}

/// The same, after it has done something else.
pub(crate) fn long_run_that(world: &World, first: &str) -> Child {
    let [go, started] = ["go", "started"].map(|name| world.root().join(name));
    let command =
        format!("{first} touch {}; while ! [ -e {} ]; do sleep 0.02; done", started.display(), go.display());
    let child = spawn(&mut world.crabbox(&["run", "--id", "demo", "--", "sh", "-c", &command]));
    wait_for("the run", || started.exists());
    assert_eq!(world.json(&["list", "--json"])[0]["running"], 1);
    child
}

/// Ends it.
pub(crate) fn go(world: &World) {
    fs::write(world.root().join("go"), "").unwrap();
}

/// The timing record among what was printed on standard error.
pub(crate) fn timing(stderr: &str) -> Value {
    let line = stderr.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{stderr}"));
    let record = serde_json::from_str(line).unwrap();
    assert_fits("timing", &record);
    record
}

/// All that is below a directory, without the directories and git's own: by path, the permissions and the
/// content, or where a link leads.
pub(crate) fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut files, mut directories) = (BTreeMap::new(), vec![directory.to_owned()]);
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                directories.extend((!path.ends_with(".git")).then_some(path));
                continue;
            }
            let is = match metadata.is_symlink() {
                true => [b"-> ", fs::read_link(&path).unwrap().as_os_str().as_bytes()].concat(),
                false => {
                    [format!("{:o} ", metadata.mode() & 0o777).as_bytes(), &fs::read(&path).unwrap()].concat()
                }
            };
            files.insert(path.strip_prefix(directory).unwrap().to_owned(), is);
        }
    }
    files
}
