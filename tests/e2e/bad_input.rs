//! Bad input: one clear error with a hint, the right exit code, and nothing is created.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crabbox_tests::{Plugin, World, ended, wait_for};
use serde_json::json;

use crate::support::{assert_has, claim};

/// Fails unless there is not even a directory for a lease, a claim, a lock or a run.
fn assert_nothing_created(world: &World) {
    let mut found = world.leftovers(Plugin::Local);
    found.extend(Plugin::Local.leases(world).exists().then(|| Plugin::Local.leases(world)));
    assert_eq!(found, Vec::<PathBuf>::new());
}

/// Fails unless a command ends with this code, one error that has the first part in its first line, the
/// others anywhere, and a hint; and unless nothing is created.
fn refused_command(world: &World, command: &mut Command, code: i32, parts: &[&str]) -> String {
    let (ended, stdout, stderr) = ended(command);
    assert_eq!((ended, stdout.as_str()), (code, ""), "{command:?}: {stderr}");
    let errors: Vec<_> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{stderr}");
    assert_has(errors[0], &parts[..1]);
    assert_has(&stderr, parts);
    assert!(stderr.lines().any(|line| line.starts_with("hint: ")), "no hint: {stderr}");
    assert_nothing_created(world);
    stderr
}

fn refused(world: &World, arguments: &[&str], code: i32, parts: &[&str]) -> String {
    refused_command(world, &mut world.crabbox(arguments), code, parts)
}

#[test]
fn no_command() {
    let world = World::new();
    for arguments in [&["run"][..], &["run", "--"], &["run", "--provider", "local"]] {
        refused(&world, arguments, 2, &["no command was given", "`crabbox run -- COMMAND`"]);
    }
    refused(&world, &[], 2, &["no command was given", "`crabbox --help`"]);
    let parts = ["there is no command `crabbox plugins lits`", "did you mean `crabbox plugins list`?"];
    refused(&world, &["plugins", "lits"], 2, &parts);
    refused(
        &world,
        &["rnu", "true"],
        2,
        &["there is no command `crabbox rnu`", "did you mean `crabbox run`?"],
    );
}

#[test]
fn a_provider_that_is_not_installed() {
    let world = World::new();
    let parts = [
        "provider `locl` is not installed",
        "did you mean `local`?",
        "`crabbox-provider-locl`",
        "3 directories of PATH",
        "`plugins.locl.path` in",
        "looked for it in",
    ];
    refused(&world, &["run", "--provider", "locl", "true"], 2, &parts);
    refused(&world, &["warmup", "--provider", "locl"], 2, &parts);
    let mut command = world.crabbox(&["run", "true"]);
    refused_command(&world, command.env("CRABBOX_PROVIDER", "locl"), 2, &parts);
    let stderr = refused(
        &world,
        &["run", "--provider", "hetzner", "true"],
        2,
        &["provider `hetzner` is not installed"],
    );
    assert!(!stderr.contains("did you mean"), "{stderr}");
    refused(&world, &["run", "--provider", "../evil", "true"], 2, &["`../evil` is not a provider's name"]);
}

#[test]
fn a_plugin_that_cannot_be_executed() {
    let world = World::new();
    let path = world.bin().join("crabbox-provider-plain");
    fs::write(&path, "#!/bin/sh\n").unwrap();
    let path = path.display();
    let parts = [
        "provider `plain` is not installed",
        &format!("`{path}` is not executable"),
        &format!("`chmod +x {path}`"),
    ];
    refused(&world, &["run", "--provider", "plain", "true"], 2, &parts);
    world.script("crabbox-provider-lost", "#!/no/such/interpreter\n");
    let parts = ["failed to start provider `lost`", "the interpreter in its first line may be missing"];
    refused(&world, &["run", "--provider", "lost", "true"], 3, &parts);
}

#[test]
fn a_plugin_that_exits_at_once() {
    let world = World::new();
    world.provider_that("dead", "echo 'no licence file' >&2; exit 3");
    let parts = [
        "provider `dead` ended before it answered `initialize`: it exited with code 3",
        "the last that it said: no licence file",
        "this is a fault of crabbox-provider-dead",
    ];
    refused(&world, &["run", "--provider", "dead", "true"], 1, &parts);
    assert_eq!(world.starts("dead"), 1, "it is asked once");
}

#[test]
fn a_plugin_that_never_answers() {
    let world = World::new();
    world.provider_that("mute", "exec sleep 600");
    let (code, stdout, stderr) = world.run(&["run", "--provider", "mute", "true"]);
    assert_eq!((code, stdout.as_str()), (5, ""), "{stderr}");
    assert_has(&stderr, &["error: provider `mute` did not answer `initialize` within 5s"]);
    assert_eq!(world.starts("mute"), 1, "it is asked once");
    assert_nothing_created(&world);
    wait_for("the end of every process", || world.processes().is_empty());
}

#[test]
fn a_plugin_that_speaks_another_version() {
    let world = World::new();
    world.provider("late", &json!({"protocol": 99}), "");
    let parts = ["provider `late` speaks protocol 99, and this crabbox speaks 1", "hint: update crabbox"];
    refused(&world, &["run", "--provider", "late", "true"], 2, &parts);
}

#[test]
fn a_plugin_that_talks_nonsense() {
    let world = World::new();
    world.provider_that("chatty", "read -r line; echo '{\"jsonrpc\":\"2.0\",\"id\":1,'; echo later; sleep 5");
    let parts = [
        "provider `chatty` broke the protocol while it answered `initialize`",
        "{\"jsonrpc\":\"2.0\",\"id\":1,",
    ];
    refused(&world, &["run", "--provider", "chatty", "true"], 1, &parts);
}

#[test]
fn a_file_that_is_no_yaml() {
    let world = World::new();
    let path = world.write("crabbox.yaml", "provider: local\nenv: {allow: [CI\n");
    let (code, _, stderr) = world.run(&["run", "true"]);
    assert_eq!(code, 2, "{stderr}");
    let place = stderr.lines().next().unwrap().strip_prefix(&format!("error: {}:", path.display()));
    let numbers: Vec<_> = place.unwrap().splitn(3, ':').collect();
    assert!(numbers[0].parse::<u32>().is_ok() && numbers[1].parse::<u32>().is_ok(), "{stderr}");
    assert_eq!(numbers[2], " invalid YAML", "{stderr}");
    assert_nothing_created(&world);
}

#[test]
fn a_configuration_file_without_an_end() {
    let world = World::new();
    let path = world.repo().join("crabbox.yaml");
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    let cannot = format!("cannot read the configuration file `{}`", path.display());
    let parts = [cannot.as_str(), "caused by: it is not a regular file", "hint: make it a readable"];
    refused(&world, &["run", "true"], 2, &parts);
    fs::remove_file(&path).unwrap();
    assert!(world.command("mkfifo").arg(&path).status().unwrap().success());
    refused(&world, &["run", "true"], 2, &parts);
}

#[test]
fn a_place_for_leases_that_cannot_be_made() {
    let world = World::new();
    if !PathBuf::from("/proc/self").exists() {
        return;
    }
    let (code, stdout, stderr) = world.run(&["run", "--local-root", "/proc/x", "--", "true"]);
    assert_eq!((code, stdout.as_str()), (3, ""), "{stderr}");
    assert_has(
        &stderr,
        &["error: provider `local`: cannot make `/proc/x`", "caused by: No such file", "`--local-root`"],
    );
    assert_nothing_created(&world);
}

#[test]
fn a_plugin_that_says_more_than_a_claim_can_hold() {
    let world = World::new();
    // The line is legal; with all else that a claim has, it is too much.
    let cases = r#"configure) ok "{\"scope\":\"$(head -c 1048400 /dev/zero | tr '\0' x)\"}" ;;
    acquire) ok '{"lease":{}}' ;;"#;
    world.provider("verbose", &json!({"methods": ["configure", "acquire", "run", "release"]}), cases);
    let parts = ["the claim of lease cbx_", "1 MiB is the most", "a fault of crabbox-provider-verbose"];
    let (code, stdout, stderr) = world.run(&["warmup", "--provider", "verbose"]);
    assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
    assert_has(&stderr, &parts);
    assert_nothing_created(&world);
}

#[test]
fn a_slug_that_is_too_long_or_none() {
    let world = World::new();
    for command in ["run", "warmup"] {
        let words: &[&str] = if command == "run" { &["true"] } else { &[] };
        let long = "x".repeat(42);
        let parts =
            [&format!("the slug `{long}` has 42 characters, and 41 is the most"), "choose a shorter one"];
        refused(&world, &[&[command, "--slug", &long], words].concat(), 2, &parts);
        refused(&world, &[&[command, "--slug", "!!"], words].concat(), 2, &["`!!` is no slug"]);
    }
    world.ok(&["run", "--slug", &"x".repeat(41), "true"]);
    assert_has(
        &world.run(&["run", "--id", "x", "--slug", "y", "true"]).2,
        &["`--slug` is about a new lease"],
    );
}

#[test]
fn a_claim_that_was_edited_by_hand() {
    let world = World::new();
    world.ok(&["warmup", "--slug", "demo"]);
    let (path, good) = claim(&world);
    let id = good["lease"]["id"].as_str().unwrap();
    let mut other = good.clone();
    other["lease"]["id"] = "cbx_000000000000".into();
    let mut newer = good.clone();
    newer["version"] = 2.into();
    let mut wrong = good.clone();
    wrong["state"] = "lost".into();
    let mut elsewhere = good.clone();
    elsewhere["provider"] = "../\u{1b}[2J".into();
    let mut nameless = good.clone();
    nameless["lease"]["slug"] = "a; b".into();
    for (text, why) in [
        ("{\"version\": 1,\n".to_owned(), "line 2"),
        (String::new(), "EOF"),
        (other.to_string(), "it is about lease cbx_000000000000"),
        (newer.to_string(), "it is of version 2, and this crabbox knows version 1"),
        (wrong.to_string(), "lost"),
        (elsewhere.to_string(), "`../\\u{1b}[2J` is not a provider's name"),
        (nameless.to_string(), "`a; b` is no slug"),
    ] {
        fs::write(&path, &text).unwrap();
        let cannot = format!("the claim `{}` cannot be used", path.display());
        for arguments in [&["status", id][..], &["run", "--id", id, "true"], &["stop", id]] {
            let (code, stdout, stderr) = world.run(arguments);
            assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
            assert_has(
                &stderr,
                &[&format!("error: {cannot}"), why, "if it was edited by hand, put it right"],
            );
        }
        let (code, _, stderr) = world.run(&["stop", "demo"]);
        assert_eq!(code, 4, "{stderr}");
        assert_has(&stderr, &["error: no lease `demo`", &cannot]);
        // Others go on, and say so.
        let (code, stdout, stderr) = world.run(&["list"]);
        assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
        assert_has(&stderr, &[&format!("warning: {cannot}")]);
        assert_eq!(world.ok(&["run", "echo", "fine"]), "fine\n");
        let (code, stdout, _) = world.run(&["cleanup"]);
        assert_eq!(code, 1, "{stdout}");
        assert_has(&stdout, &["FAILED", why]);
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "it is left as it is");
        assert!(Plugin::Local.leases(&world).join(id).is_dir());
    }
    fs::write(&path, good.to_string()).unwrap();
    world.ok(&["stop", "demo"]);
}

#[test]
fn a_state_directory_that_cannot_be_written() {
    let world = World::new();
    let file = world.root().join("file");
    fs::write(&file, "").unwrap();
    for arguments in [&["run", "true"][..], &["warmup"]] {
        let mut command = world.crabbox(arguments);
        command.env("XDG_STATE_HOME", &file);
        let parts =
            ["cannot make the directory", file.to_str().unwrap(), "make it writable, or set XDG_STATE_HOME"];
        refused_command(&world, &mut command, 1, &parts);
    }
    let (code, stdout, stderr) = ended(world.crabbox(&["doctor"]).env("XDG_STATE_HOME", &file));
    assert_eq!(code, 1, "{stderr}");
    assert_has(&stdout, &["FAIL  state", "cannot make the directory"]);
}

#[test]
fn a_place_that_is_no_git_repository() {
    let world = World::new();
    let outside = world.root().join("outside");
    fs::create_dir(&outside).unwrap();
    let mut command = world.crabbox(&["run", "true"]);
    let error = format!("error: `{}` is not in a git repository", outside.display());
    let parts = [&*error, "hint: run `git init`", "`--no-sync`"];
    refused_command(&world, command.current_dir(&outside), 6, &parts);
    let mut command = world.crabbox(&["run", "--no-sync", "echo", "fine"]);
    let (code, stdout, stderr) = ended(command.current_dir(&outside));
    assert_eq!((code, stdout.as_str()), (0, "fine\n"), "{stderr}");
}

#[test]
fn flags_that_only_upstream_has() {
    let world = World::new();
    world.provider("acme", &json!({}), "");
    for (flag, name) in [
        (&["--checksum"][..], "--checksum"),
        (&["--class", "beast"], "--class"),
        (&["--class=beast"], "--class"),
        (&["--actions-runner"], "--actions-runner"),
        (&["--type", "x"], "--type"),
        (&["--script", "x"], "--script"),
        (&["--download", "a=b"], "--download"),
        (&["--capture-stdout", "x"], "--capture-stdout"),
    ] {
        for provider in ["local", "acme"] {
            let arguments = [&["run", "--provider", provider], flag, &["--", "true"]].concat();
            refused(&world, &arguments, 2, &[&format!("`{name}` is not supported for provider={provider}")]);
        }
    }
    let said = ["`--lease-id` is not supported for provider=local"];
    refused(&world, &["warmup", "--lease-id", "cbx_000000000000"], 2, &said);
}

#[test]
fn a_flag_that_nobody_has() {
    let world = World::new();
    for (flag, meant) in
        [("--sulg", "--slug"), ("--keep-on-fail", "--keep-on-failure"), ("--local-rot", "--local-root")]
    {
        let parts =
            [&format!("there is no flag `{flag}` with provider=local"), &*format!("did you mean `{meant}`?")];
        refused(&world, &["run", flag, "x", "true"], 2, &parts);
    }
    let parts = ["there is no flag `-x`", "two dashes before the command"];
    refused(&world, &["run", "-x", "ls"], 2, &parts);
    refused(&world, &["run", "--ttl", "0s", "true"], 2, &["`0s`", "`crabbox run --help`"]);
    refused(&world, &["run", "--timeout", "soon", "true"], 2, &["`soon`"]);
}

#[test]
fn a_duration_that_nobody_lives_to_see() {
    let world = World::new();
    let long = "99999999999999h";
    let problem = format!("`{long}` is too long: ten years is the most");
    for flag in ["--ttl", "--idle-timeout", "--timeout"] {
        refused(&world, &["run", flag, long, "true"], 2, &[long, &problem]);
    }
    let mut command = world.crabbox(&["run", "true"]);
    let (code, _, stderr) = ended(command.env("CRABBOX_TTL", long));
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &[&problem]);
    let file = world.write("crabbox.yaml", format!("lease: {{idleTimeout: {long}}}\n"));
    let (code, _, stderr) = world.run(&["run", "true"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &[&problem, file.to_str().unwrap()]);
    assert_nothing_created(&world);
}

#[test]
fn flags_that_contradict_each_other() {
    let world = World::new();
    for flags in [&["--no-sync", "--sync-only"][..], &["--no-sync", "--full-resync", "true"]] {
        let (code, _, stderr) = world.run(&[&["run"], flags].concat());
        assert_eq!(code, 2, "{stderr}");
        assert_has(&stderr, &["error: ", "`--no-sync`"]);
    }
    let (code, _, stderr) = world.run(&["run", "--sync-only", "true"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["`--sync-only` runs nothing, and a command was given"]);
    assert_nothing_created(&world);
}

#[test]
fn an_acquire_that_is_refused_for_certain_leaves_nothing() {
    let world = World::new();
    let data = r#"{"kind":"quota","created":false,"hint":"ask for more","causes":["5 of 5 in use"]}"#;
    world.provider("filled", &json!({}), &format!("acquire) no 'the quota is used up' '{data}' ;;"));
    let parts = ["provider `filled`: the quota is used up", "caused by: 5 of 5 in use", "hint: ask for more"];
    refused(&world, &["run", "--provider", "filled", "true"], 5, &parts);
    refused(&world, &["warmup", "--provider", "filled"], 5, &parts);
    assert_eq!(world.ok(&["list"]), "");
}

#[test]
fn an_acquire_that_failed_for_whatever_reason_is_looked_after() {
    let world = World::new();
    // It says that it failed, and the lease appears later.
    let there = world.root().join("there");
    let cases = format!(
        "acquire) no 'bad gateway' '{{\"kind\":\"unavailable\"}}' ;;\n\
         resolve) if [ -e {0} ]; then ok '{{\"state\":\"ready\"}}'; else ok '{{\"state\":\"missing\"}}'; fi ;;\n\
         release) rm {0} && ok '{{\"outcome\":\"released\"}}' ;;",
        there.display()
    );
    let manifest = |settle: u64| json!({"methods": ["acquire", "resolve", "run", "release"], "limits": {"createSettleMs": settle}});
    world.provider("flaky", &manifest(600_000), &cases);
    let (code, _, stderr) = world.run(&["run", "--provider", "flaky", "true"]);
    assert_eq!(code, 5, "{stderr}");
    assert_has(
        &stderr,
        &["error: provider `flaky`: bad gateway", "may still appear; `crabbox cleanup --wait`"],
    );
    assert_eq!(claim(&world).1["state"], "acquiring");
    let (code, stdout, stderr) = world.run(&["cleanup"]);
    assert_eq!(code, 1, "{stderr}");
    assert_has(&stdout, &["pending", "making it was never finished", "run `crabbox cleanup` again after"]);
    fs::write(&there, "").unwrap();
    assert_has(&world.ok(&["cleanup"]), &["released", "removed=1 checked=1"]);
    assert!(!there.exists());
    assert_eq!(world.leftovers(Plugin::Local), Vec::<PathBuf>::new());

    // Where creates do not land late, it is over at once; where they do after a moment, one can wait.
    world.provider("flaky", &manifest(0), &cases);
    let (code, _, stderr) = world.run(&["run", "--provider", "flaky", "true"]);
    assert!(code == 5 && !stderr.contains("may still"), "{stderr}");
    assert_nothing_created(&world);
    world.provider("flaky", &manifest(300), &cases);
    let (code, _, stderr) = world.run(&["run", "--provider", "flaky", "true"]);
    assert_eq!(code, 5, "{stderr}");
    assert_has(&world.ok(&["cleanup", "--wait"]), &["removed=1"]);
    assert_nothing_created(&world);
}

#[test]
fn all_that_a_provider_finds_wrong_with_its_configuration_is_one_error() {
    let world = World::new();
    let problems =
        r#"[{"key":"root","message":"not a directory","hint":"make it"},{"key":"","message":"no account"}]"#;
    let cases = format!("configure) ok '{{\"scope\":\"x\",\"problems\":{problems}}}' ;;");
    world.provider("acme", &json!({"methods": ["configure", "acquire", "run", "release"]}), &cases);
    let parts = [
        "provider `acme` is not configured: 2 problems",
        "caused by: `acme.root`: not a directory",
        "caused by: no account",
        "hint: make it",
    ];
    refused(&world, &["run", "--provider", "acme", "true"], 2, &parts);
}

#[test]
fn a_lease_that_is_not_there() {
    let world = World::new();
    for arguments in [&["run", "--id", "nope", "true"][..], &["status", "nope"], &["stop", "nope"]] {
        refused(&world, arguments, 4, &["no lease `nope`", "`crabbox list` shows your leases"]);
    }
    refused(&world, &["stop"], 2, &["no lease is named"]);
    refused(&world, &["stop", "a", "--id", "b"], 2, &["--id"]);
}
