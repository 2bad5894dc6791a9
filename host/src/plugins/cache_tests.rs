use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;

use super::super::discovery::FoundIn;
use super::*;

/// A cache, and executables that cannot be started: nobody is asked here.
struct Place {
    dir: tempfile::TempDir,
    manifests: Manifests,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        let paths = Paths { state: base.into(), cache: base.join("cache"), config: base.into() };
        let manifests = Manifests::new(&paths, Vec::new());
        Self { dir, manifests }
    }

    fn found(&self, name: &str, file: &str, content: &str) -> Found {
        let path = self.dir.path().join(file);
        fs::write(&path, content).unwrap();
        self.again(name, file)
    }

    fn again(&self, name: &str, file: &str) -> Found {
        let path = self.dir.path().join(file);
        let identity = Identity::of(&path).unwrap();
        Found { name: name.into(), path, source: FoundIn::Path, identity, shadowed_by: None, problem: None }
    }

    fn only_file(&self) -> PathBuf {
        let mut files = fs::read_dir(&self.manifests.directory).unwrap();
        let file = files.next().unwrap().unwrap().path();
        assert!(files.next().is_none());
        file
    }
}

fn manifest(name: &str, version: &str) -> Manifest {
    let manifest = json!({"protocol": 1, "name": name, "version": version, "lifecycle": "leased"});
    serde_json::from_value(manifest).unwrap()
}

#[test]
fn what_was_said_is_remembered_until_the_file_changes() {
    let place = Place::new();
    let found = place.found("a", "x", "one");
    assert!(place.manifests.cached(&found).is_none());
    assert_eq!(place.manifests.observed(&found, &manifest("a", "1")), Ok(true));
    assert_eq!(place.manifests.observed(&found, &manifest("a", "1")), Ok(false));
    let known = place.manifests.cached(&found).unwrap();
    assert_eq!(known.outcome, Ok(manifest("a", "1")));
    assert_eq!(known.sha256, hex(&Sha256::digest("one")));
    assert_eq!(place.manifests.observed(&found, &manifest("a", "2")), Ok(true));
    assert_eq!(place.manifests.cached(&found).unwrap().outcome, Ok(manifest("a", "2")));
    let changed = place.found("a", "x", "two, longer");
    assert!(place.manifests.cached(&changed).is_none());
    // What was found before the change is not remembered under the new state of the file.
    assert_eq!(place.manifests.observed(&found, &manifest("a", "3")), Ok(true));
    assert!(place.manifests.cached(&changed).is_none());
}

#[test]
fn one_file_may_have_two_names() {
    let place = Place::new();
    let a = place.found("a", "x", "one");
    symlink(&a.path, place.dir.path().join("y")).unwrap();
    let b = place.again("b", "y");
    assert_eq!(place.manifests.observed(&a, &manifest("a", "1")), Ok(true));
    assert!(place.manifests.cached(&b).is_none());
    assert_eq!(place.manifests.observed(&b, &manifest("b", "1")), Ok(true));
    assert_eq!(place.manifests.cached(&a).unwrap().outcome, Ok(manifest("a", "1")));
    assert_eq!(place.manifests.cached(&b).unwrap().outcome, Ok(manifest("b", "1")));
}

#[test]
fn failures_are_remembered_and_wrong_manifests_refused() {
    let place = Place::new();
    let found = place.found("a", "x", "one");
    assert!(place.manifests.observed(&found, &manifest("b", "1")).is_err());
    let refusal = Refusal {
        state: PluginState::Invalid,
        reason: "no".into(),
        hint: Some("do".into()),
        exit: None,
        pin: None,
    };
    place.manifests.remember(&found, Err(refusal.clone()));
    assert_eq!(place.manifests.cached(&found).unwrap().outcome, Err(refusal));
}

#[test]
fn a_cache_that_makes_no_sense_is_ignored() {
    let place = Place::new();
    let found = place.found("a", "x", "one");
    place.manifests.observed(&found, &manifest("a", "1")).unwrap();
    let file = place.only_file();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let good: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    for (key, value) in [
        ("format", json!(0)),
        ("host", json!("0.0.0-other")),
        ("name", json!("b")),
        ("target", json!("/elsewhere")),
        ("manifest", json!(null)),
        ("manifest", json!({"name": 1})),
    ] {
        let mut entry = good.clone();
        entry[key] = value;
        fs::write(&file, entry.to_string()).unwrap();
        assert!(place.manifests.cached(&found).is_none(), "{key}");
    }
    for text in ["", "{", "[]", "\u{0}"] {
        fs::write(&file, text).unwrap();
        assert!(place.manifests.cached(&found).is_none(), "{text:?}");
    }
    assert_eq!(place.manifests.observed(&found, &manifest("a", "1")), Ok(true));
    assert!(place.manifests.cached(&found).is_some());
}

#[test]
fn without_a_cache_it_works_as_well() {
    let place = Place::new();
    fs::write(place.dir.path().join("cache"), "in the way").unwrap();
    let found = place.found("a", "x", "one");
    assert_eq!(place.manifests.observed(&found, &manifest("a", "1")), Ok(true));
    assert_eq!(place.manifests.observed(&found, &manifest("a", "1")), Ok(true));
    assert!(place.manifests.cached(&found).is_none());
}
