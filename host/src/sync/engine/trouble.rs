//! What goes wrong on a lease, and what the engine makes of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::harness::{Lease, each_toolbox, remove_and_write, run_id, tree_at, without_git};
use super::*;
use crate::testing::{Toolbox, toolbox};

#[test]
fn a_bundle_that_is_cut_short_leaves_the_old_tree() {
    let lease = Lease::new();
    lease.write("a", "1");
    lease.sync();
    lease.write("a", "2");
    lease.write("b", &"x".repeat(10_000));
    let engine = lease.engine(Apply::Update);
    let input = lease.input(&engine);
    // In the middle of a file, and between two entries, where tar sees nothing wrong.
    for missing in [6_000, 1024 + 512] {
        let answer = lease.send(input[..input.len() - missing].to_vec());
        let error =
            lease.engine(Apply::Update).heard(answer.code, &answer.stdout, &answer.stderr).unwrap_err();
        assert_eq!(error.exit, Exit::Sync);
        assert!(error.causes[0].contains("bundle"), "{missing}: {error:?}");
        assert_eq!(lease.names(), ["a"]);
    }
    lease.sync();
    assert_eq!(lease.tree(), without_git(&lease));
}

#[test]
fn links_in_the_place_of_what_is_ours_lead_nowhere() {
    each_toolbox(|name, lease| {
        let outside = lease.outside();
        fs::create_dir(outside.join("sub")).unwrap();
        for path in ["old", "kept", "sub/file", "top"] {
            fs::write(outside.join(path), "theirs").unwrap();
        }
        let theirs = tree_at(&outside);
        for path in ["dir/old", "dir/kept", "dir/sub/file", "top", "other/file"] {
            lease.write(path, "1");
        }
        lease.sync();
        let ws = lease.ws();
        // A directory, a file, a directory that nothing here changes in, and the workspace itself.
        fs::remove_dir_all(ws.join("dir")).unwrap();
        symlink(&outside, ws.join("dir")).unwrap();
        fs::remove_file(ws.join("top")).unwrap();
        symlink(outside.join("top"), ws.join("top")).unwrap();
        fs::rename(ws.join("other"), ws.join("elsewhere")).unwrap();
        symlink("elsewhere", ws.join("other")).unwrap();
        fs::remove_file(lease.here().join("dir/old")).unwrap();
        lease.write("top", "2");
        lease.sync();
        let mut expected = without_git(&lease);
        expected.insert(b"elsewhere/file".to_vec(), b"644 1".to_vec());
        assert_eq!(lease.tree(), expected, "{name}");
        assert_eq!(tree_at(&outside), theirs, "{name}");

        fs::rename(&ws, lease.there().join("moved")).unwrap();
        symlink(&outside, &ws).unwrap();
        lease.write("top", "3");
        lease.sync();
        assert_eq!(lease.tree(), without_git(&lease), "{name}");
        assert!(!fs::symlink_metadata(&ws).unwrap().is_symlink(), "{name}");
        assert_eq!(tree_at(&outside), theirs, "{name}");

        let own = lease.there().join(".crabbox/sync");
        fs::rename(&own, lease.there().join("own")).unwrap();
        symlink(&outside, &own).unwrap();
        lease.write("top", "4");
        assert!(lease.sync_as(Apply::Update).unwrap_err().causes[0].contains("symbolic link"), "{name}");
        assert_eq!(tree_at(&outside), theirs, "{name}");
    });
}

#[test]
fn the_leases_marker_is_believed_and_not_what_is_known_here() {
    let lease = Lease::new();
    lease.write("a", "1");
    lease.write("b", "1");
    lease.sync();
    let cache = lease.directory.path().join("cache/leases");
    let older = lease.directory.path().join("older");
    fs::rename(&cache, &older).unwrap();
    // What the lease has is not known: it gets everything.
    lease.write("a", "2");
    assert_eq!(lease.sync(), [Some(2)]);
    // Something older is known, and by it the lease lacks `a`: it says what it has, which is not known either.
    fs::remove_dir_all(&cache).unwrap();
    fs::rename(&older, &cache).unwrap();
    lease.write("a", "3");
    assert_eq!(lease.sync(), [Some(1), Some(2)]);
    // The host dies after the lease's answer: both trees are known, and the lease says which it has.
    lease.write("a", "4");
    let engine = lease.engine(Apply::Update);
    assert_eq!(lease.request(&engine).stdout, b"applied\n");
    lease.write("a", "5");
    assert_eq!(lease.sync(), [Some(1)]);
    lease.write("a", "6");
    lease.engine(Apply::Update).announce();
    lease.write("a", "7");
    assert_eq!(lease.sync(), [Some(1), Some(1)], "one that was announced and never sent");
    // The lease's own records are lost.
    fs::remove_file(lease.there().join(".crabbox/sync/index")).unwrap();
    assert_eq!(lease.sync(), [None, Some(2)]);
    assert_eq!(lease.tree(), without_git(&lease));
}

#[test]
fn an_unfinished_sync_is_finished_alone_before_anything_else() {
    let lease = Lease::new();
    lease.write("a", "1");
    lease.sync();
    lease.write("a", "2");
    let engine = lease.engine(Apply::Update);
    // Up to the commit, and no further.
    let input = String::from_utf8(lease.input(&engine)).unwrap();
    let committed = "|| cbx_fail 'cannot commit the sync'\n";
    let input = input.replace(committed, &format!("{committed}exit 1\n"));
    engine.announce();
    lease.send(input.into_bytes());
    assert!(lease.there().join(".crabbox/sync/redo").exists());
    assert_eq!(lease.tree()[&b"a"[..]], b"644 1");

    let mut beside = lease.engine(Apply::Update);
    assert!(beside.is_up_to_date());
    let answer = lease.send(beside.script(None, &run_id(), &Way::default(), None));
    assert_eq!(answer.stdout, b"pending\n");
    assert_eq!(beside.heard(answer.code, &answer.stdout, b"").unwrap(), Heard::Again);
    assert_eq!(lease.tree()[&b"a"[..]], b"644 1", "it was not alone");
    assert_eq!(lease.send(finish_script(None, &run_id())).stdout, b"applied\n");
    assert_eq!(lease.tree()[&b"a"[..]], b"644 2");
    assert_eq!(lease.sync(), [None]);
}

#[test]
fn a_lease_without_a_tool_says_which() {
    let lease = Lease::of(toolbox("sh").unwrap());
    let tools = tempfile::tempdir().unwrap();
    for tool in ["sh", "mkdir", "rm", "mv", "find", "xargs", "cp", "sort", "uniq", "sed", "cmp", "setsid"] {
        if let Ok(path) = which::which(tool) {
            symlink(path, tools.path().join(tool)).unwrap();
        }
    }
    let toolbox = Toolbox { path: tools.path().into(), ..toolbox("sh").unwrap() };
    let lease = Lease { toolbox, ..lease };
    lease.write("a", "1");
    let error = lease.sync_as(Apply::Update).unwrap_err();
    assert_eq!(error.message, "this lease lacks what sync needs: tar stat");
    assert_eq!(error.exit, Exit::Sync);
    assert!(!lease.ws().exists());
}

#[test]
fn a_lease_that_never_stands_still_is_given_up() {
    let lease = Lease::new();
    lease.write("a", "1");
    lease.sync();
    let mut engine = lease.engine(Apply::Update);
    let answers = (0..10).map(|_| engine.heard(Some(0), b"dirty\na\n", b""));
    let error = answers.take_while(|answer| answer.as_ref().is_ok()).count();
    assert_eq!(error, TRIES as usize - 1);
}

/// A lease whose `cp` does what the script says before it is the real one.
fn with_cp(script: &str) -> (Lease, tempfile::TempDir) {
    let tools = tempfile::tempdir().unwrap();
    let (cp, real) = (tools.path().join("cp"), which::which("cp").unwrap());
    fs::write(&cp, format!("#!/bin/sh\n{script}\nexec {} \"$@\"\n", real.display())).unwrap();
    fs::set_permissions(&cp, fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let path = std::iter::once(tools.path().to_owned()).chain(std::env::split_paths(&path));
    let toolbox = Toolbox { path: std::env::join_paths(path).unwrap(), ..toolbox("sh").unwrap() };
    (Lease::of(toolbox), tools)
}

#[test]
fn a_file_system_without_hard_links_gets_copies() {
    let (lease, _tools) = with_cp("case $1 in *l*) echo 'not supported' >&2; exit 1 ;; esac");
    lease.write("a", "1");
    lease.write("dir/b", "1");
    lease.sync();
    fs::hard_link(lease.ws().join("a"), lease.ws().join("theirs")).unwrap();
    lease.write("a", "2");
    lease.write("dir/b", "2");
    assert_eq!(lease.sync(), [Some(2)]);
    assert_eq!(fs::read(lease.ws().join("theirs")).unwrap(), b"1", "nothing is written through a link");
    fs::remove_file(lease.ws().join("theirs")).unwrap();
    assert_eq!(lease.tree(), without_git(&lease));
    assert_eq!(lease.sync(), [None]);
}

/// GNU's `cp -l` over a file that is there links beside it, under a name of its own. Killed before it renames that, it
/// would leave a file in the workspace that nobody knows.
#[test]
fn nothing_is_in_the_way_of_what_is_placed() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let (lease, _tools) = with_cp(&format!(
        "for to; do :; done; (cd \"$2\" && find . ! -type d) | while read -r f; do
           [ ! -e \"$to/$f\" ] && [ ! -L \"$to/$f\" ] || echo \"$f\"; done >>{0}; echo placed >>{0}",
        log.path().display()
    ));
    for path in ["a", "dir/b", "becomes/a/file"] {
        lease.write(path, "1");
    }
    symlink("a", lease.here().join("link")).unwrap();
    lease.sync();
    for path in ["a", "dir/b"] {
        lease.write(path, "2");
    }
    remove_and_write(&lease.here().join("link"), b"a file");
    remove_and_write(&lease.here().join("becomes"), b"a file");
    assert_eq!(lease.sync(), [Some(4)]);
    assert_eq!(lease.tree(), without_git(&lease));
    assert_eq!(fs::read_to_string(log.path()).unwrap(), "placed\n");
}

#[test]
fn what_fails_after_the_commit_is_finished_by_the_next_sync() {
    let (lease, tools) =
        with_cp("[ ! -e \"${0%/*}/full\" ] || { echo 'No space left on device' >&2; exit 1; }");
    lease.write("a", "1");
    lease.write("b", "1");
    lease.sync();
    lease.write("a", "2");
    fs::remove_file(lease.here().join("b")).unwrap();
    fs::write(tools.path().join("full"), "").unwrap();
    let error = lease.sync_as(Apply::Update).unwrap_err();
    assert_eq!(error.exit, Exit::Sync);
    assert!(error.causes[0].contains("No space left on device"), "{error:?}");
    assert!(error.causes[0].contains("the next sync goes on from here"), "{error:?}");
    let error = lease.sync_as(Apply::Update).unwrap_err();
    assert!(error.causes[0].contains("cannot finish the last sync"), "{error:?}");
    fs::remove_file(tools.path().join("full")).unwrap();
    lease.sync();
    assert_eq!(lease.tree(), without_git(&lease));
}

#[test]
fn a_disk_that_fills_up_leaves_the_old_tree_or_the_new_one() {
    let lease = Lease::new();
    lease.write("a", "1");
    lease.sync();
    lease.write("b", &"x".repeat(200_000));
    let engine = lease.engine(Apply::Update);
    engine.announce();
    // No file may grow beyond 50 KiB: to tar it is as if the disk were full.
    let mut input = b"ulimit -f 100; trap '' XFSZ\n".to_vec();
    input.extend(lease.input(&engine));
    let answer = lease.send(input);
    let error = lease.engine(Apply::Update).heard(answer.code, &answer.stdout, &answer.stderr).unwrap_err();
    assert!(error.causes[0].contains("cannot unpack the bundle"), "{error:?}");
    assert_eq!(lease.names(), ["a"]);
    assert!(!lease.there().join(".crabbox/sync/stage").exists());
    lease.sync();
    assert_eq!(lease.tree(), without_git(&lease));
}
