//! Which files are brought over, what is said about them, and what is refused before there is a lease.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use crabbox_tests::{Plugin, World, ended, skip};
use serde_json::{Value, json};

use crate::support::{assert_fits, assert_has, assert_nothing_left};

/// What the command sees of a repository.
const LIST: &[&str] = &["--", "sh", "-c", "find . ! -type d | sort"];

/// The files that a run brings over, and what is said meanwhile.
fn brought(world: &World, flags: &[&str]) -> (Vec<String>, String) {
    let (code, stdout, stderr) = world.run(&[&["run"], flags, LIST].concat());
    assert_eq!(code, 0, "{stderr}");
    (stdout.lines().map(|line| line.trim_start_matches("./").to_owned()).collect(), stderr)
}

/// Fails unless a run ends with 6, an error and a hint, and nothing is created.
fn refused(world: &World, directory: &str, parts: &[&str]) {
    let mut run = world.crabbox(&["run", "--", "true"]);
    let (code, stdout, stderr) = ended(run.current_dir(world.repo().join(directory)));
    assert_eq!((code, stdout.as_str()), (6, ""), "{stderr}");
    assert_has(&stderr, parts);
    assert_has(&stderr, &["error: ", "hint: "]);
    assert!(!stderr.contains("leased"), "{stderr}");
    assert_nothing_left(world, Plugin::Local);
}

#[test]
fn a_start_below_the_root_brings_the_whole_repository() {
    let world = World::new();
    world.write("a/b/c", "");
    let mut run = world.crabbox(&[&["run"], LIST].concat());
    let (code, stdout, stderr) = ended(run.current_dir(world.repo().join("a/b")));
    assert_eq!((code, stdout.as_str()), (0, "./README.md\n./a/b/c\n./src/main.c\n"), "{stderr}");
}

#[test]
fn the_patterns_decide_in_their_order() {
    let world = World::new();
    for path in [
        "node_modules/a",
        "deep/.venv/b",
        "target/c",
        "keep/node_modules/d",
        "docs/e",
        "docs/f.md",
        "logs/g.log",
        ".crabbox/env/secret",
        ".crabbox/Runs/h",
        ".crabbox/config",
    ] {
        world.write(path, path);
    }
    world.write("crabbox.yaml", "sync:\n  exclude: [docs, '!docs/f.md', crabbox.yaml]\n");
    world.write(
        ".crabboxignore",
        "# remark\n*.log\n.crabboxignore\n!keep/node_modules\n!.crabbox/env\n!*secret\n",
    );
    let (files, _) = brought(&world, &[]);
    assert_eq!(files, [".crabbox/config", "README.md", "docs/f.md", "keep/node_modules/d", "src/main.c"]);
    assert_nothing_left(&world, Plugin::Local);
}

#[test]
fn what_git_tracks_in_a_builds_directory_is_brought_over_with_one_warning() {
    let world = World::new();
    for n in 0..7 {
        world.write(&format!("dist/{n}.js"), "");
    }
    world.write("node_modules/x", "");
    world.git(&["add", "--all"]);
    world.write("dist/new.js", "");
    let (files, stderr) = brought(&world, &[]);
    assert_eq!(files.len(), 2 + 7, "{files:?}");
    let warnings: Vec<_> = stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(warnings.len(), 1, "{stderr}");
    assert_has(
        warnings[0],
        &["protected 7 tracked files from built-in artifact excludes", "dist/4.js (dist) (+2 more)"],
    );
    world.write(".crabboxignore", "dist\n");
    let (files, stderr) = brought(&world, &[]);
    assert_eq!(files.len(), 3, "{files:?}");
    assert!(!stderr.contains("warning"), "{stderr}");
}

#[test]
fn a_tree_that_cannot_be_told_is_refused_before_there_is_a_lease() {
    let world = World::new();
    world.write("jj/src/a", "");
    fs::create_dir(world.repo().join("jj/.jj")).unwrap();
    refused(&world, "jj/src", &["jj` is a Jujutsu workspace without git beside it", "--no-sync"]);

    let world = World::new();
    world.git(&["update-index", "--skip-worktree", "src/main.c"]);
    assert_eq!(brought(&world, &[]).0.len(), 2, "it is there");
    fs::remove_file(world.repo().join("src/main.c")).unwrap();
    refused(&world, "", &["`src/main.c` would be missing on the lease", "sparse", "sync.exclude"]);
    world.write(".crabboxignore", "src\n");
    assert_eq!(brought(&world, &[]).0, [".crabboxignore", "README.md"]);

    let world = World::new();
    fs::remove_dir_all(world.repo().join(".git")).unwrap();
    refused(&world, "", &["is not in a git repository", "git init"]);
}

#[test]
fn a_directory_that_cannot_be_read_is_refused_unless_it_is_left_out() {
    let world = World::new();
    let mode = |path: &str, mode| {
        fs::set_permissions(world.repo().join(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    world.write("target/a", "");
    world.write("new/b", "");
    mode("target", 0);
    if fs::read_dir(world.repo().join("target")).is_ok() {
        skip("an unprivileged user", "this user may read everything");
    } else {
        assert_eq!(brought(&world, &[]).0.len(), 3);
        // It can be entered and not listed: git goes on as if it were empty.
        mode("new", 0o300);
        refused(&world, "", &["git cannot read the directory `new`", "Permission denied"]);
    }
    mode("target", 0o700);
    mode("new", 0o700);
}

#[test]
fn a_sparse_checkout_is_refused() {
    let world = World::new();
    world.write("docs/a", "");
    world.git(&["add", "--all"]);
    world.git(&["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "x"]);
    world.git(&["sparse-checkout", "set", "docs"]);
    refused(&world, "", &["`src/main.c` would be missing", "git sparse-checkout disable"]);
    world.git(&["sparse-checkout", "disable"]);
    assert_eq!(brought(&world, &[]).0.len(), 3);
}

#[test]
fn a_large_tree_is_warned_of_and_too_large_a_one_refused() {
    let world = World::new();
    for n in 0..6 {
        world.write(&format!("gen/{n}"), "0123456789");
    }
    world.write_config("sync: {warnFiles: 8, failFiles: 100}\n");
    let (_, stderr) = brought(&world, &[]);
    assert_has(&stderr, &["warning: ", "8 files", "sync top dirs: gen:6 (60 B), .:1 (6 B), src:1"]);
    let limits = "the working tree is too large to sync: 8 files, and the limit is 8";
    world.write_config("sync: {warnFiles: 5, failFiles: 8}\n");
    refused(&world, "", &[limits, "sync top dirs: gen:6", "--force-sync-large"]);
    world.write_config("sync: {failBytes: 64}\n");
    refused(&world, "src", &["too large to sync: 95 B, and the limit is 64 B"]);
    assert_eq!(brought(&world, &["--force-sync-large"]).0.len(), 8);
    let mut allowed = world.crabbox(&["run", "--", "true"]);
    let (code, _, stderr) = ended(allowed.env("CRABBOX_SYNC_ALLOW_LARGE", "1"));
    assert_eq!(code, 0, "{stderr}");
    world.write_config("sync: {failBytes: 64, allowLarge: true}\n");
    brought(&world, &[]);
    // A run that brings nothing over has nothing to check.
    world.write_config("sync: {failFiles: 1}\n");
    let (code, _, stderr) = world.run(&["run", "--no-sync", "--", "true"]);
    assert_eq!(code, 0, "{stderr}");
}

/// What `sync-plan --json` prints, as its schema says.
fn plan(world: &World, flags: &[&str]) -> Value {
    let plan = world.json(&[&["sync-plan", "--json"], flags].concat());
    assert_fits("sync-plan", &plan);
    plan
}

#[test]
fn sync_plan_says_what_would_be_brought_over() {
    let world = World::new();
    world.write("dist/a.js", "12345");
    world.write("old", "");
    world.git(&["add", "--all"]);
    world.git(&["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "x"]);
    fs::remove_file(world.repo().join("old")).unwrap();
    world.write("README.md", "changed\n");
    fs::write(world.repo().join(std::ffi::OsStr::from_bytes(b"odd\xff\n.")), "123").unwrap();
    let inner = world.repo().join("inner");
    fs::create_dir(&inner).unwrap();
    assert!(world.command("git").args(["init", "--quiet"]).current_dir(inner).status().unwrap().success());

    let report = plan(&world, &[]);
    assert_eq!(report["root"], world.repo().to_str().unwrap());
    assert_eq!(report["candidate"], json!({"files": 4, "bytes": 8 + 29 + 5 + 3}));
    assert_eq!(report["dirtyDelta"], json!({"files": 2, "bytes": 8 + 3}));
    assert_eq!(report["remove"], json!(["old"]));
    assert_eq!(report["protectedTracked"], json!([{"path": "dist/a.js", "pattern": "dist"}]));
    assert_eq!(report["guardrail"]["status"], "ok");
    assert_eq!(report["guardrail"]["limits"]["failFiles"], 150_000);
    assert_eq!(report["topFiles"][3], json!({"path": "odd\u{fffd}\n.", "bytes": 3}));
    assert_eq!(report["topDirs"][0], json!({"path": "src", "files": 1, "bytes": 29}));
    assert!(report.get("lease").is_none());
    assert_eq!(plan(&world, &["--limit", "1"])["topFiles"].as_array().unwrap().len(), 1);

    let text = world.ok(&["sync-plan"]);
    assert_has(&text, &["sync candidate  4      45 B", "dirty delta     2      11 B", "guardrail: ok"]);
    assert_has(&text, &["dist/a.js (dist)", "odd\u{fffd}\\n.", "old"]);
    assert!(text.lines().count() < 24, "{text}");
    assert_nothing_left(&world, Plugin::Local);
}

#[test]
fn sync_plan_says_that_a_run_would_fail_and_does_not_fail() {
    let world = World::new();
    world.write_config("sync: {warnFiles: 1, failFiles: 2}\n");
    let report = plan(&world, &[]);
    assert_eq!(report["guardrail"]["status"], "fail");
    let reason = json!({"status": "fail", "metric": "files", "actual": 2, "limit": 2});
    assert_eq!(report["guardrail"]["reasons"][0], reason);
    assert_has(
        &world.ok(&["sync-plan"]),
        &["guardrail: fail (2 files, and the limit is 2)", "--force-sync-large"],
    );
    fs::remove_dir_all(world.repo().join(".git")).unwrap();
    let (code, stdout, stderr) = world.run(&["sync-plan"]);
    assert_eq!((code, stdout.as_str()), (6, ""), "{stderr}");
}

#[test]
fn sync_plan_says_what_a_lease_lacks_and_changes_nothing_there() {
    for plugin in [Plugin::Local, Plugin::Python, Plugin::Sh] {
        let Some(world) = World::with(plugin) else { continue };
        world.write("gone", "1");
        world.write("kept", "1");
        world.ok(&["warmup", "--provider", plugin.name(), "--slug", "demo"]);
        let lease = |world: &World| plan(world, &["--id", "demo"])["lease"].clone();
        let all = plan(&world, &[])["candidate"].clone();
        assert_eq!(lease(&world)["send"], all, "{plugin:?}: it holds nothing yet");
        world.ok(&["run", "--id", "demo", "--", "sh", "-c", "echo changed >kept"]);
        let _ = fs::remove_file(world.repo().join("gone"));
        world.write("new", "12");
        let found = lease(&world);
        assert_eq!(found["send"], json!({"files": 2, "bytes": 3}), "{plugin:?}");
        assert_eq!((&found["remove"], &found["dirty"]), (&json!(["gone"]), &json!(["kept"])), "{plugin:?}");
        assert_eq!(found["base"].as_str().map(str::len), Some(64), "{plugin:?}");
        let seen = world.ok(&["run", "--id", "demo", "--no-sync", "--", "cat", "gone", "kept"]);
        assert_eq!(seen, "1changed\n", "{plugin:?}: nothing was changed");
        assert_has(
            &world.ok(&["sync-plan", "--id", "demo"]),
            &["to send", "to remove there", "changed there"],
        );
        world.ok(&["stop", "demo"]);
        assert_nothing_left(&world, plugin);
    }
}
