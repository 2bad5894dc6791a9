//! The script, executed here: by `sh`, and by the others that are there.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::answer::{Answer, Found};

const ID: &str = "cbx_5f3a9c0e71b2";

/// A home directory, and leases in it.
struct Place {
    home: TempDir,
    shell: Vec<&'static str>,
}

impl Place {
    fn root(&self) -> PathBuf {
        self.home.path().canonicalize().unwrap().join("leases")
    }

    fn lease(&self) -> PathBuf {
        self.root().join(ID)
    }

    fn run(&self, verb: Verb, root: &str) -> Result<Answer> {
        let lease: Lease =
            serde_json::from_value(json!({"id": ID, "slug": "it's $(me)", "name": "crabbox-x-1"})).unwrap();
        let script = Script::new(verb, root, Some((ID, &lease))).unwrap();
        let mut child = Command::new(self.shell[0])
            .args(&self.shell[1..])
            .arg("-s")
            .env("HOME", self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(script.text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let answer = Answer::read(&output.stdout, &script.word).expect("the script comes to its end");
        answer.error().map_or(Ok(answer), Err)
    }

    fn found(&self, verb: Verb) -> Found {
        self.run(verb, "~/leases").unwrap().found().unwrap()
    }

    fn kind(&self, verb: Verb, root: &str) -> String {
        let error = self.run(verb, root).unwrap_err();
        error.kind().name().to_owned()
    }
}

/// Does the same with every shell that is here.
fn with_each_shell(test: impl Fn(&Place)) {
    for shell in [&["/bin/sh"][..], &["dash"], &["bash", "--posix"], &["busybox", "sh"]] {
        let there = Command::new(shell[0]).args(&shell[1..]).args(["-c", "exit 0"]).status();
        if there.is_ok_and(|status| status.success()) {
            test(&Place { home: tempfile::tempdir().unwrap(), shell: shell.to_vec() });
        }
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_lease_comes_and_goes() {
    with_each_shell(|place| {
        assert_eq!(place.found(Verb::Look), Found::Absent);
        assert!(!place.root().exists(), "looking makes nothing");
        let answer = place.run(Verb::Acquire, "~/leases").unwrap();
        assert_eq!(answer.get("root"), place.root().to_str());
        assert_eq!(place.found(Verb::Acquire), Found::Lease);
        assert_eq!((mode(&place.lease()), mode(&place.root())), (0o700, 0o700));
        fs::write(place.lease().join("kept"), "").unwrap();
        assert_eq!(place.found(Verb::Acquire), Found::Lease);
        assert!(place.lease().join("kept").exists());
        assert_eq!(place.found(Verb::Look), Found::Lease);
        let list = place.run(Verb::List, "~/leases").unwrap().entries();
        assert_eq!((list.len(), list[0].slug.as_deref()), (1, Some("it's $(me)")));
        assert!(list[0].created.is_some() && list[0].id.as_str() == ID);
        assert_eq!(place.found(Verb::Release), Found::Released);
        assert_eq!(place.found(Verb::Release), Found::Absent);
        assert_eq!(place.found(Verb::Look), Found::Absent);
        assert_eq!(fs::read_dir(place.root()).unwrap().count(), 0);
    });
}

#[test]
fn several_leases_live_beside_each_other() {
    with_each_shell(|place| {
        place.run(Verb::Acquire, "~/leases").unwrap();
        let other = place.root().join("cbx_000000000001");
        fs::create_dir(&other).unwrap();
        fs::write(other.join(MARKER), "lease cbx_000000000001\nslug a\nname n\n").unwrap();
        assert_eq!(place.run(Verb::List, "~/leases").unwrap().entries().len(), 2);
        assert_eq!(place.found(Verb::Release), Found::Released);
        assert!(other.join(MARKER).exists());
    });
}

#[test]
fn what_is_not_the_leases_is_left_alone() {
    with_each_shell(|place| {
        let outside = place.home.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::create_dir(place.root()).unwrap();
        fs::write(outside.join(MARKER), format!("lease {ID}\n")).unwrap();
        let lease = place.lease();
        let make: [&dyn Fn(); 4] = [
            &|| symlink(&outside, &lease).unwrap(),
            &|| fs::write(&lease, "").unwrap(),
            &|| fs::create_dir(&lease).unwrap(),
            &|| {
                fs::create_dir(&lease).unwrap();
                symlink(outside.join(MARKER), lease.join(MARKER)).unwrap();
            },
        ];
        for make in make {
            make();
            for verb in [Verb::Acquire, Verb::Look, Verb::Release] {
                assert_eq!(place.kind(verb, "~/leases"), "conflict");
            }
            assert!(fs::symlink_metadata(&lease).is_ok() && outside.join(MARKER).exists());
            fs::remove_file(&lease).or_else(|_| fs::remove_dir_all(&lease)).unwrap();
        }
        fs::create_dir(&lease).unwrap();
        fs::write(lease.join(MARKER), "lease cbx_000000000001\n").unwrap();
        assert_eq!(place.kind(Verb::Release, "~/leases"), "conflict");
        assert!(place.run(Verb::List, "~/leases").unwrap().entries().is_empty());
    });
}

#[test]
fn links_in_a_lease_are_removed_and_never_followed() {
    with_each_shell(|place| {
        let outside = place.home.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        fs::set_permissions(&outside, Permissions::from_mode(0o500)).unwrap();
        place.run(Verb::Acquire, "~/leases").unwrap();
        let inner = place.lease().join("ws/a/b");
        fs::create_dir_all(&inner).unwrap();
        symlink(&outside, inner.join("link")).unwrap();
        fs::set_permissions(&inner, Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(place.lease().join("ws"), Permissions::from_mode(0o500)).unwrap();
        assert_eq!(place.found(Verb::Release), Found::Released);
        assert!(outside.join("kept").exists());
        assert_eq!(mode(&outside), 0o500);
        fs::set_permissions(&outside, Permissions::from_mode(0o700)).unwrap();
    });
}

#[test]
fn what_was_interrupted_is_finished() {
    with_each_shell(|place| {
        let staged = |stage: &str| place.root().join(format!(".{stage}-{ID}"));
        fs::create_dir_all(staged("acquiring")).unwrap();
        assert_eq!(place.found(Verb::Look), Found::Acquiring);
        assert_eq!(place.found(Verb::Acquire), Found::Lease);
        fs::rename(place.lease(), staged("releasing")).unwrap();
        assert_eq!(place.found(Verb::Look), Found::Releasing);
        assert_eq!(place.kind(Verb::Acquire, "~/leases"), "conflict");
        fs::create_dir(staged("acquiring")).unwrap();
        assert_eq!(place.run(Verb::List, "~/leases").unwrap().entries().len(), 2);
        assert_eq!(place.found(Verb::Release), Found::Released);
        assert_eq!(fs::read_dir(place.root()).unwrap().count(), 0);
    });
}

#[test]
fn absence_needs_proof() {
    with_each_shell(|place| {
        // A disk that is not mounted.
        symlink("/nonexistent/disk", place.root()).unwrap();
        for root in ["~/leases", "~/leases/below"] {
            assert_eq!(place.kind(Verb::Look, root), "unavailable");
            assert_eq!(place.kind(Verb::Release, root), "unavailable");
        }
        fs::remove_file(place.root()).unwrap();
        fs::write(place.root(), "").unwrap();
        assert_eq!(place.kind(Verb::Look, "~/leases"), "unavailable");
    });
}

#[test]
fn leases_are_not_made_in_the_systems_directories_or_where_everybody_writes() {
    with_each_shell(|place| {
        symlink("/usr", place.root()).unwrap();
        assert_eq!(place.kind(Verb::Acquire, "~/leases"), "configInvalid");
        fs::remove_file(place.root()).unwrap();
        symlink(place.home.path(), place.root()).unwrap();
        assert_eq!(place.kind(Verb::Acquire, "~/leases"), "configInvalid");
        fs::remove_file(place.root()).unwrap();
        fs::create_dir(place.root()).unwrap();
        fs::set_permissions(place.root(), Permissions::from_mode(0o777)).unwrap();
        assert_eq!(place.kind(Verb::Acquire, "~/leases"), "configInvalid");
        assert!(!place.lease().exists());
    });
}

#[test]
fn a_script_that_does_not_arrive_whole_does_nothing() {
    with_each_shell(|place| {
        let lease: Lease = serde_json::from_value(json!({"id": ID, "slug": "s", "name": "n"})).unwrap();
        let script = Script::new(Verb::Acquire, "~/leases", Some((ID, &lease))).unwrap();
        let last = script.text.trim_end().rfind('\n').unwrap();
        for end in [last, last / 2, last * 3 / 4] {
            let mut child = Command::new(place.shell[0])
                .args(&place.shell[1..])
                .arg("-s")
                .env("HOME", place.home.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(&script.text.as_bytes()[..end]).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.stdout.is_empty());
            assert!(!place.root().exists());
        }
    });
}
