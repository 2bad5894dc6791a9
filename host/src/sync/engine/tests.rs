//! The engine and the script on the lease, without a provider between: what a sync does.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::harness::{Answer, Lease, each_toolbox, run_id, without_git};
use super::*;
use crate::testing::{Toolbox, toolbox};

#[test]
fn only_what_changed_is_sent_and_everything_else_is_left_alone() {
    each_toolbox(|name, lease| {
        let long = format!("{}/{}", "d".repeat(90), "f".repeat(90));
        for (path, content) in [
            ("a", "1"),
            ("dir/b c", "2"),
            ("dir/new\nline", "3"),
            ("gone/deep/file", "4"),
            ("was-file", "5"),
            ("was-dir/file", "6"),
            ("run.sh", "7"),
            ("-n", "8"),
            (&long, "9"),
        ] {
            lease.write(path, content);
        }
        fs::set_permissions(lease.here().join("run.sh"), fs::Permissions::from_mode(0o750)).unwrap();
        for (target, link) in [("a", "link"), ("x//./y/", "odd"), (&format!("{long}/{long}"), "far")] {
            symlink(target, lease.here().join(link)).unwrap();
        }
        assert_eq!(lease.sync(), [Some(12)], "{name}");
        assert_eq!(lease.tree(), without_git(&lease), "{name}");
        assert_eq!(lease.sync(), [None], "{name}: nothing changed");

        // What a command does on the lease.
        fs::create_dir_all(lease.ws().join("target")).unwrap();
        fs::write(lease.ws().join("target/cache"), "kept").unwrap();
        fs::write(lease.ws().join("a"), "!").unwrap();
        fs::remove_file(lease.ws().join("link")).unwrap();
        fs::write(lease.ws().join("dir/new\nline"), "!").unwrap();
        let kept = fs::metadata(lease.ws().join("run.sh")).unwrap();
        assert_eq!(lease.sync(), [None, Some(3)], "{name}: what the command changed");
        let mut expected = without_git(&lease);
        expected.insert(b"target/cache".to_vec(), b"644 kept".to_vec());
        assert_eq!(lease.tree(), expected, "{name}");

        // What the user does here.
        for path in ["gone", "was-dir", &long] {
            let path = lease.here().join(path);
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
        fs::remove_file(lease.here().join("was-file")).unwrap();
        lease.write("was-file/inside", "10");
        lease.write("was-dir", "11");
        assert_eq!(lease.sync(), [Some(2)], "{name}");
        let mut expected = without_git(&lease);
        expected.insert(b"target/cache".to_vec(), b"644 kept".to_vec());
        assert_eq!(lease.tree(), expected, "{name}");
        assert!(!lease.ws().join("gone").exists(), "{name}: an emptied directory goes, too");
        let now = fs::metadata(lease.ws().join("run.sh")).unwrap();
        assert_eq!((now.ino(), now.mtime_nsec()), (kept.ino(), kept.mtime_nsec()), "{name}");
        let left: Vec<_> = fs::read_dir(lease.there().join(".crabbox/sync")).unwrap().flatten().collect();
        assert_eq!(left.len(), 4, "{name}: {left:?}");
        assert_eq!(fs::read_dir(lease.there().join(".crabbox/runs")).unwrap().count(), 0, "{name}");
    });
}

#[test]
fn what_is_gone_here_stays_there_where_that_is_wanted() {
    let lease = Lease::new();
    lease.write("a", "1");
    lease.write("b", "2");
    lease.sync();
    fs::remove_file(lease.here().join("b")).unwrap();
    assert_eq!(lease.sync_as(Apply::Add).unwrap(), [Some(0)]);
    assert_eq!(lease.names(), ["a", "b"]);
    assert_eq!(lease.sync(), [None], "what is not managed any more is left alone");
    assert_eq!(lease.names(), ["a", "b"]);
}

#[test]
fn a_full_resync_leaves_nothing_else() {
    let lease = Lease::new();
    lease.write("a", "1");
    lease.sync();
    fs::create_dir_all(lease.ws().join("target")).unwrap();
    fs::write(lease.ws().join("target/cache"), "stale").unwrap();
    assert_eq!(lease.sync_as(Apply::Replace).unwrap(), [Some(1)]);
    assert_eq!(lease.names(), ["a"]);
    assert_eq!(lease.sync(), [None]);
}

#[test]
fn what_a_lease_holds_is_told_and_left_as_it_is() {
    let lease = Lease::new();
    let compare = || {
        let mut engine = lease.engine(Apply::Update);
        loop {
            let Answer { code, stdout, stderr } = lease.send(engine.question(None, &run_id()));
            if let Some(difference) = engine.answered(code, &stdout, &stderr)? {
                return Ok::<_, Error>(difference);
            }
        }
    };
    for path in ["a", "b", "gone"] {
        lease.write(path, "12345");
    }
    let nothing = compare().unwrap();
    assert_eq!((nothing.base, nothing.send), (None, (3, 15)));
    assert!(!lease.ws().exists());
    lease.sync();
    let marker = lease.engine(Apply::Update).marker;
    assert_eq!(compare().unwrap(), Difference { base: Some(marker.clone()), ..Difference::default() });
    fs::write(lease.ws().join("b"), "!").unwrap();
    lease.write("a", "1234567");
    fs::remove_file(lease.here().join("gone")).unwrap();
    let before = lease.tree();
    let expected = Difference {
        base: Some(marker.clone()),
        send: (2, 12),
        remove: vec!["gone".into()],
        dirty: vec!["b".into()],
    };
    assert_eq!(compare().unwrap(), expected);
    // Another tree is thought to be there.
    lease.engine(Apply::Update).announce();
    assert_eq!(compare().unwrap(), expected);
    fs::remove_dir_all(lease.directory.path().join("cache/leases")).unwrap();
    let unknown = compare().unwrap();
    assert_eq!((unknown.base, unknown.send), (Some(marker), (2, 12)), "everything, as far as is known");
    assert_eq!(lease.tree(), before);
    fs::rename(lease.there().join(".crabbox/sync"), lease.there().join(".crabbox/redo")).unwrap();
    fs::create_dir(lease.there().join(".crabbox/sync")).unwrap();
    fs::rename(lease.there().join(".crabbox/redo"), lease.there().join(".crabbox/sync/redo")).unwrap();
    assert!(compare().unwrap_err().message.contains("not finished"));
}

#[test]
fn times_are_ours_at_first_and_the_leases_afterwards_but_never_in_the_future() {
    each_toolbox(|name, lease| {
        let age = |path: &str, seconds: i64| {
            let time = std::time::SystemTime::now();
            let shift = std::time::Duration::from_secs(seconds.unsigned_abs());
            let time = if seconds < 0 { time - shift } else { time + shift };
            fs::File::options()
                .write(true)
                .open(lease.here().join(path))
                .unwrap()
                .set_modified(time)
                .unwrap();
        };
        let there = |path: &str| fs::metadata(lease.ws().join(path)).unwrap().mtime();
        let here = |path: &str| fs::metadata(lease.here().join(path)).unwrap().mtime();
        let now = || fs::metadata(lease.there().join(".crabbox/sync/id")).unwrap().mtime();
        for (path, seconds) in [("old", -1000), ("older", -2000), ("ahead", 1000)] {
            lease.write(path, "1");
            age(path, seconds);
        }
        lease.sync();
        assert_eq!((there("old"), there("older")), (here("old"), here("older")), "{name}");
        assert!((now() - there("ahead")).abs() < 100, "{name}: {}", there("ahead"));
        // Changed here, with a time that is older than anything built there.
        lease.write("old", "2");
        age("old", -900);
        lease.sync();
        assert!((now() - there("old")).abs() < 100, "{name}");
        assert_eq!(there("older"), here("older"), "{name}: it was not touched");
    });
}

#[test]
fn a_large_bundle_is_compressed_where_the_lease_can_read_that() {
    let lease = Lease::new();
    lease.write("large", &"x".repeat(100_000));
    let engine = lease.engine(Apply::Update);
    let bundle = engine.bundle().unwrap();
    assert!(bundle.is_compressed());
    let [mut one, mut two] = [Vec::new(), Vec::new()];
    engine.write(&bundle, &mut one, &mut |_| ()).unwrap();
    engine.write(&bundle, &mut two, &mut |_| ()).unwrap();
    assert!(one == two && (one.len() as u64) < bundle.size / 10, "{} of {}", one.len(), bundle.size);
    lease.sync();
    assert_eq!(lease.tree(), without_git(&lease));

    let no_gzip = Lease::new();
    let tools = tempfile::tempdir().unwrap();
    for directory in std::env::split_paths(&std::env::var_os("PATH").unwrap()) {
        for tool in fs::read_dir(directory).into_iter().flatten().flatten() {
            let _ = symlink(tool.path(), tools.path().join(tool.file_name()));
        }
    }
    fs::remove_file(tools.path().join("gzip")).unwrap();
    let toolbox = Toolbox { path: tools.path().into(), ..toolbox("sh").unwrap() };
    let no_gzip = Lease { toolbox, ..no_gzip };
    no_gzip.write("large", &"x".repeat(100_000));
    assert_eq!(no_gzip.sync(), [Some(1), Some(1)]);
    assert_eq!(no_gzip.tree(), without_git(&no_gzip));
}

#[test]
fn a_bundle_is_never_larger_than_was_said() {
    let lease = Lease::new();
    for n in [1, 90, 94, 95, 99, 100, 101, 150, 200] {
        lease.write(&"f".repeat(n), &"x".repeat(n * 7));
        symlink("t".repeat(n), lease.here().join(format!("l{n}"))).unwrap();
    }
    let mut engine = lease.engine(Apply::Update);
    engine.uncompressed();
    let bundle = engine.bundle().unwrap();
    let mut written = Vec::new();
    engine.write(&bundle, &mut written, &mut |_| ()).unwrap();
    assert_eq!(bundle.size, written.len() as u64);
}

#[test]
fn what_a_formatter_changed_there_is_sent_again_and_nothing_else_however_much_it_is() {
    let lease = Lease::new();
    let name = |n: usize| format!("{}/{n:04}", "d".repeat(80));
    for n in 0..1_000 {
        lease.write(&name(n), "1");
    }
    lease.sync();
    for n in 100..1_000 {
        fs::write(lease.ws().join(name(n)), "formatted").unwrap();
    }
    assert_eq!(lease.sync(), [None, Some(900)]);
    assert_eq!(lease.tree(), without_git(&lease));
}
