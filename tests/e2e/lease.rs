//! Leases that stay: made once, used often, shared, ended.

use std::fs;

use crabbox_tests::{Plugin, World, ended, wait_for};
use serde_json::{Value, json};

use crate::support::{
    ALL, assert_fits, assert_has, assert_nothing_left, claim, end, go, long_run, spawn, warm,
};

#[test]
fn a_build_of_the_first_run_is_there_in_the_second_and_what_is_deleted_here_is_not() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let id = warm(&world, plugin);
        world.ok(&["run", "--id", "demo", "--", "sh", "-c", "mkdir -p target src; echo built >target/out"]);
        fs::remove_file(world.repo().join("README.md")).unwrap();
        world.write("added", "new\n");
        let second = world.ok(&["run", "--id", &id, "--", "sh", "-c", "cat target/out added; ls"]);
        assert_eq!(second, "built\nnew\nadded\nsrc\ntarget\n", "{plugin:?}");
        world.ok(&["stop", &id]);
        assert_nothing_left(&world, plugin);
    }
}

#[test]
fn status_and_list_tell_how_a_lease_stands() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let id = warm(&world, plugin);
        for arguments in [&["status", "demo", "--json"][..], &["status", "--id", &id, "--wait", "--json"]] {
            let (code, stdout, stderr) = world.run(arguments);
            // The one in sh cannot tell, so that it never becomes ready.
            let status: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stderr}"));
            assert_fits("status", &status);
            assert_eq!(code, 0, "{plugin:?}: {stderr}");
            let state = if plugin == Plugin::Sh { "unknown" } else { "ready" };
            assert_eq!((&status["id"], &status["state"]), (&json!(id), &json!(state)));
            assert_eq!(status["ready"], plugin != Plugin::Sh, "{plugin:?}");
        }
        for arguments in [&["list", "--json"][..], &["list", "--json", "--refresh"]] {
            let list = world.json(arguments);
            assert_fits("leases", &list);
            assert_eq!(list.as_array().unwrap().len(), 1, "{plugin:?}: {list:#}");
            let row = &list[0];
            assert_eq!((&row["id"], &row["slug"]), (&json!(id), &json!("demo")));
            assert_eq!((&row["provider"], &row["claim"]), (&json!(plugin.name()), &json!("leased")));
            assert_eq!((&row["owner"], &row["running"]), (&json!("user"), &json!(0)));
            assert_eq!(row["repoRoot"], world.repo().to_str().unwrap());
            assert_eq!(row["stopCommand"], format!("crabbox stop {id}"));
        }
        assert_has(&world.ok(&["list"]), &[&id, "demo", plugin.name(), "leased"]);
        assert_fits("claim", &claim(&world).1);
        world.ok(&["stop", "demo"]);
    }
}

#[test]
fn what_was_stopped_cannot_be_stopped_again() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let id = warm(&world, plugin);
        let (code, stdout, stderr) = world.run(&["stop", "demo"]);
        assert_eq!((code, stdout.as_str()), (0, ""), "{plugin:?}: {stderr}");
        assert_has(&stderr, &[&format!("released {id} slug=demo")]);
        assert_nothing_left(&world, plugin);
        for name in ["demo", &id] {
            let (code, _, stderr) = world.run(&["stop", name]);
            assert_eq!(code, 4, "{plugin:?}: {stderr}");
            assert_has(&stderr, &[&format!("error: no lease `{name}`"), "hint: `crabbox list`"]);
        }
    }
}

#[test]
fn release_is_another_word_for_stop() {
    let world = World::new();
    warm(&world, Plugin::Local);
    world.ok(&["release", "--id", "demo"]);
    assert_nothing_left(&world, Plugin::Local);
}

#[test]
fn a_lease_that_went_away_behind_our_back_is_said_to_be_gone_and_can_be_stopped() {
    let world = World::new();
    let id = warm(&world, Plugin::Local);
    fs::remove_dir_all(Plugin::Local.leases(&world).join(&id)).unwrap();
    let (code, _, stderr) = world.run(&["status", "demo"]);
    assert_eq!(code, 4, "{stderr}");
    assert_has(&stderr, &["error: lease demo is gone", &format!("`crabbox stop {id}`")]);
    world.ok(&["stop", "demo"]);
    assert_nothing_left(&world, Plugin::Local);
    warm(&world, Plugin::Local);
    fs::remove_dir_all(Plugin::Local.leases(&world)).unwrap();
    let (code, _, stderr) = world.run(&["run", "--id", "demo", "true"]);
    assert_eq!(code, 4, "{stderr}");
    assert_has(&stderr, &["is gone", "`crabbox warmup` makes a new one"]);
    assert_nothing_left(&world, Plugin::Local);
}

#[test]
fn another_repository_has_to_reclaim_a_lease() {
    let world = World::new();
    warm(&world, Plugin::Local);
    world.ok(&["run", "--id", "demo", "true"]);
    let other = world.root().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("theirs"), "").unwrap();
    assert!(world.command("git").args(["init", "--quiet"]).current_dir(&other).status().unwrap().success());
    let run = |arguments: &[&str]| {
        let arguments = [&["run", "--id", "demo"], arguments].concat();
        ended(world.crabbox(&arguments).current_dir(&other))
    };
    let (code, _, stderr) = run(&["ls"]);
    assert_eq!(code, 2, "{stderr}");
    let both = [world.repo(), other.clone()].map(|path| format!("`{}`", path.display()));
    assert_has(&stderr, &[&both[0], &both[1], "hint: use `--reclaim`"]);
    assert_eq!(world.json(&["list", "--json"])[0]["repoRoot"], world.repo().to_str().unwrap());
    let (code, stdout, stderr) = run(&["--reclaim", "ls"]);
    assert_eq!((code, stdout.as_str()), (0, "theirs\n"), "{stderr}");
    assert_eq!(world.json(&["list", "--json"])[0]["repoRoot"], other.to_str().unwrap());
    world.ok(&["stop", "demo"]);
}

#[test]
fn a_lease_with_a_run_on_it_is_stopped_only_by_force_which_ends_both() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let id = warm(&world, plugin);
        let run = long_run(&world);
        let claim = claim(&world).1;
        let run_id = claim["runs"].as_object().unwrap().keys().next().unwrap();
        let (code, _, stderr) = world.run(&["stop", "demo"]);
        assert_eq!(code, 4, "{plugin:?}: {stderr}");
        assert_has(&stderr, &[run_id, &format!("`crabbox stop {id} --force`")]);
        world.ok(&["stop", "demo", "--force"]);
        let (code, _, stderr) = end(run);
        assert_ne!(code, 0, "{plugin:?}: {stderr}");
        assert_nothing_left(&world, plugin);
        wait_for("the end of every process", || world.processes().is_empty());
    }
}

#[test]
fn a_run_with_changes_waits_for_the_run_that_is_on_the_lease_and_says_for_whom() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        warm(&world, plugin);
        let first = long_run(&world);
        let run_id = claim(&world).1["runs"].as_object().unwrap().keys().next().unwrap().clone();
        world.write("added", "new\n");
        let seen = world.root().join("seen");
        let mut second = world.crabbox(&["run", "--id", "demo", "--", "cat", "added"]);
        let second = second.stdout(std::process::Stdio::piped()).stderr(fs::File::create(&seen).unwrap());
        let second = second.spawn().unwrap();
        let waits = format!("waiting for lease demo: run {run_id} is on it");
        wait_for("the second run's wait", || fs::read_to_string(&seen).unwrap().contains(&waits));
        go(&world);
        assert_eq!(end(first).0, 0, "{plugin:?}");
        let (code, stdout, _) = end(second);
        assert_eq!((code, stdout.as_str()), (0, "new\n"), "{plugin:?}");
        world.ok(&["stop", "demo"]);
        assert_nothing_left(&world, plugin);
    }
}

#[test]
fn a_run_without_changes_goes_in_beside_another() {
    let world = World::new();
    warm(&world, Plugin::Local);
    let first = long_run(&world);
    assert_eq!(world.ok(&["run", "--id", "demo", "--no-sync", "echo", "beside"]), "beside\n");
    assert_eq!(world.json(&["list", "--json"])[0]["running"], 1);
    go(&world);
    assert_eq!(end(first).0, 0);
    world.ok(&["stop", "demo"]);
}

#[test]
fn many_hosts_on_one_claim_do_not_corrupt_it() {
    let world = World::new();
    warm(&world, Plugin::Local);
    world.ok(&["run", "--id", "demo", "true"]);
    let runs: Vec<_> = (0..8)
        .map(|n| {
            spawn(&mut world.crabbox(&["run", "--id", "demo", "--no-sync", "--", "echo", &n.to_string()]))
        })
        .collect();
    for (n, run) in runs.into_iter().enumerate() {
        let (code, stdout, stderr) = end(run);
        assert_eq!((code, stdout), (0, format!("{n}\n")), "{stderr}");
    }
    let claim = claim(&world).1;
    assert_fits("claim", &claim);
    assert_eq!(claim.get("runs").cloned().unwrap_or(json!({})), json!({}));
    world.ok(&["stop", "demo"]);
    assert_nothing_left(&world, Plugin::Local);
}

#[test]
fn a_lease_whose_time_is_over_is_released_by_cleanup_and_no_other_is() {
    for (key, why) in [("createdAt", "its time is over"), ("lastUsedAt", "it stood unused too long")] {
        let world = World::new();
        let id = warm(&world, Plugin::Local);
        let rows = |arguments: &[&str]| {
            let report = world.json(&[&["cleanup", "--json"], arguments].concat());
            assert_fits("cleanup", &report);
            let rows = report["rows"].as_array().unwrap();
            assert_eq!((rows.len(), &rows[0]["id"]), (1, &json!(id)), "{report:#}");
            (rows[0]["action"].as_str().unwrap().to_owned(), rows[0]["message"].as_str().unwrap().to_owned())
        };
        let (action, message) = rows(&[]);
        assert!(action == "kept" && message.starts_with("yours until "), "{action}: {message}");
        let (file, mut claim) = claim(&world);
        claim[key] = "2020-01-01T00:00:00Z".into();
        fs::write(&file, claim.to_string()).unwrap();
        let before = fs::read(&file).unwrap();
        assert_eq!(rows(&["--dry-run"]), ("would-release".to_owned(), why.to_owned()));
        assert_eq!(fs::read(&file).unwrap(), before);
        assert!(Plugin::Local.leases(&world).join(&id).is_dir());
        assert_eq!(rows(&[]), ("released".to_owned(), why.to_owned()));
        assert_nothing_left(&world, Plugin::Local);
        assert_has(&world.ok(&["cleanup"]), &["cleanup removed=0 checked=0"]);
    }
}

#[test]
fn a_lease_in_use_is_left_alone_by_cleanup_even_when_its_time_is_over() {
    let world = World::new();
    warm(&world, Plugin::Local);
    let run = long_run(&world);
    let (file, mut claim) = claim(&world);
    claim["createdAt"] = "2020-01-01T00:00:00Z".into();
    fs::write(&file, claim.to_string()).unwrap();
    assert_has(&world.ok(&["cleanup"]), &["kept", "it is in use", "removed=0 checked=1"]);
    go(&world);
    assert_eq!(end(run).0, 0);
    assert_has(&world.ok(&["cleanup"]), &["released", "its time is over", "removed=1 checked=1"]);
    assert_nothing_left(&world, Plugin::Local);
}

#[test]
fn two_leases_cannot_have_one_slug() {
    let world = World::new();
    let id = warm(&world, Plugin::Local);
    let (code, _, stderr) = world.run(&["warmup", "--slug", "Demo"]);
    assert_eq!(code, 4, "{stderr}");
    assert_has(&stderr, &["the slug `demo` belongs to lease", &id, "hint: use that lease with `--id demo`"]);
    assert_eq!(world.json(&["list", "--json"]).as_array().unwrap().len(), 1);
    world.ok(&["stop", "demo"]);
    assert_nothing_left(&world, Plugin::Local);
}
