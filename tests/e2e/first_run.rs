//! The main job, on every provider that is at hand: a command, its words, its environment, its end.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::Stdio;
use std::time::Duration;

use crabbox_tests::{Plugin, World, ended, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::{ALL, assert_has, assert_nothing_left, end, spawn, timing};

#[test]
fn a_run_gives_output_and_exit_code_and_leaves_nothing() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let command = "ls | wc -l; echo err >&2; exit 7";
        let (code, stdout, stderr) =
            world.run(&["run", "--provider", plugin.name(), "--", "sh", "-c", command]);
        assert_eq!((code, stdout.trim()), (7, "2"), "{plugin:?}: {stderr}");
        assert!(stderr.lines().any(|line| line == "err"), "{plugin:?}: {stderr}");
        assert_eq!(world.ok(&["list"]), "", "{plugin:?}");
        assert_nothing_left(&world, plugin);
    }
}

#[test]
fn words_arrive_byte_for_byte() {
    let words: [&[u8]; 9] = [
        b"",
        b"two  blanks ",
        b"line\nbreak\n",
        b"\xff\xfe\x01",
        b"'\"$HOME`id`\\",
        b"*",
        b"-n",
        b"#crabbox-end",
        b"",
    ];
    let want: Vec<u8> = words.iter().flat_map(|word| [b"[", *word, b"]"].concat()).collect();
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let mut command = world.crabbox(&["run", "--provider", plugin.name(), "--", "printf", "[%s]"]);
        let output = command.args(words.map(|word| OsString::from_vec(word.to_vec()))).output().unwrap();
        assert_eq!(
            OsStr::from_bytes(&output.stdout),
            OsStr::from_bytes(&want),
            "{plugin:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn a_shell_is_used_where_the_words_need_one() {
    let world = World::new();
    for (words, code, stdout) in [
        (&["a=4; exit $((a+1))"][..], 5, ""),
        (&["GREETING=hi", "env", "|", "grep", "^GREETING"], 0, "GREETING=hi\n"),
        (&["true", "&&", "echo", "$((6 * 7))"], 0, "42\n"),
        (&["echo", "$((6 * 7))"], 0, "$((6 * 7))\n"),
        (&["--shell", "echo", "$((6", "*", "7))"], 0, "42\n"),
        (&["--shell", "exit", "3"], 3, ""),
    ] {
        let (ended, printed, stderr) = world.run(&[&["run"], words].concat());
        assert_eq!((ended, printed.as_str()), (code, stdout), "{words:?}: {stderr}");
    }
}

#[test]
fn two_dashes_are_needed_only_before_a_command_that_begins_with_one() {
    let world = World::new();
    let (code, stdout, stderr) = world.run(&["run", "ls", "-a", "--", "src"]);
    assert_eq!((code, stdout.as_str()), (0, ".\n..\nmain.c\n"), "{stderr}");
}

#[test]
fn the_exit_code_is_the_commands_or_128_and_its_signal() {
    let world = World::new();
    for (command, code) in [("exit 0", 0), ("exit 255", 255), ("kill -9 $$", 137), ("kill -15 $$", 143)] {
        assert_eq!(world.run(&["run", "--", "sh", "-c", command]).0, code, "{command}");
    }
    let (code, _, stderr) = world.run(&["run", "--", "no-such-program"]);
    assert_eq!(code, 127, "{stderr}");
    assert_nothing_left(&world, Plugin::Local);
}

#[test]
fn the_command_has_nothing_on_its_standard_input() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let mut command = world.crabbox(&["run", "--provider", plugin.name(), "--", "sh", "-c"]);
        command.arg("wc -c; [ /dev/fd/0 -ef /dev/null ] && echo null");
        command.stdin(fs::File::open(world.write("input", "not for the command")).unwrap());
        let (code, stdout, stderr) = ended(&mut command);
        let words: Vec<_> = stdout.split_whitespace().collect();
        assert_eq!((code, &words[..]), (0, &["0", "null"][..]), "{plugin:?}: {stderr}");
    }
}

#[test]
fn the_command_starts_at_the_root_of_the_tree_wherever_one_stands_in_it() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let mut command = world.crabbox(&["run", "--provider", plugin.name(), "--", "ls"]);
        let (code, stdout, stderr) = ended(command.current_dir(world.repo().join("src")));
        assert_eq!((code, stdout.as_str()), (0, "README.md\nsrc\n"), "{plugin:?}: {stderr}");
    }
}

#[test]
fn what_git_ignores_stays_here_and_what_it_does_not_know_yet_goes_along() {
    let world = World::new();
    world.write(".gitignore", "*.o\n");
    world.write("src/main.o", "object");
    world.write("new file", "new");
    fs::remove_file(world.repo().join("README.md")).unwrap();
    let stdout = world.ok(&["run", "--", "find", ".", "-type", "f"]);
    let mut files: Vec<_> = stdout.lines().collect();
    files.sort_unstable();
    assert_eq!(files, ["./.gitignore", "./new file", "./src/main.c"]);
}

#[test]
fn only_what_is_allowed_is_forwarded_and_ours_cannot_be_overridden() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let mut command = world.crabbox(&["run", "--provider", plugin.name(), "--timing-json"]);
        command.args(["--allow-env", "PASSED,CRABBOX_*", "--allow-env=NPM_*", "--", "env"]);
        command.envs([("PASSED", "a b"), ("NPM_CONFIG_X", "1"), ("NPM", "2"), ("OTHER", "3"), ("CI", "4")]);
        command.envs([("CRABBOX_LEASE_ID", "evil"), ("CRABBOX_SLUG", "evil"), ("CRABBOX_RUN_ID", "evil")]);
        let (code, stdout, stderr) = ended(&mut command);
        assert_eq!(code, 0, "{plugin:?}: {stderr}");
        let value = |name: &str| {
            let mut lines = stdout.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            let first = lines.next();
            assert_eq!(lines.next(), None, "{plugin:?}: {name} twice in {stdout}");
            first
        };
        assert_eq!(["PASSED", "NPM_CONFIG_X", "CI"].map(value), [Some("a b"), Some("1"), Some("4")]);
        assert_eq!(["NPM", "OTHER"].map(value), [None, None], "{plugin:?}");
        let record = timing(&stderr);
        let said = ["leaseId", "slug", "runId"].map(|key| record[key].as_str());
        assert_eq!(["CRABBOX_LEASE_ID", "CRABBOX_SLUG", "CRABBOX_RUN_ID"].map(value), said, "{plugin:?}");
        assert_has(&stderr, &["env forwarding provider=", "PASSED=set"]);
        assert!(!stderr.contains("a b"), "{stderr}");
    }
}

#[test]
fn without_allow_env_the_setting_decides_what_is_forwarded() {
    let world = World::new();
    let mut command = world.crabbox(&["run", "--", "env"]);
    let (_, stdout, _) = ended(command.envs([("CI", "1"), ("NODE_OPTIONS", "2"), ("PASSED", "3")]));
    assert_has(&stdout, &["CI=1\n", "NODE_OPTIONS=2\n"]);
    assert!(!stdout.contains("PASSED"), "{stdout}");
    world.write("crabbox.yaml", "env: {allow: [PASSED]}\n");
    let mut command = world.crabbox(&["run", "--", "env"]);
    let (_, stdout, _) = ended(command.envs([("CI", "1"), ("PASSED", "3")]));
    assert!(stdout.contains("PASSED=3\n") && !stdout.contains("CI="), "{stdout}");
}

#[test]
fn a_credential_of_the_provider_in_use_never_reaches_the_command() {
    let world = World::new();
    let token = json!({"type": "string", "x-crabbox": {"secret": true, "env": ["ACME_TOKEN"]}});
    world.local_as("acme", &json!({"config": {"type": "object", "properties": {"token": token}}}));
    let run = |provider: &str| {
        let mut command = world.crabbox(&["run", "--provider", provider, "--allow-env", "ACME_*"]);
        command.args(["--allow-env", "CRABBOX_ACME_TOKEN", "--", "env"]);
        ended(command.envs([("ACME_TOKEN", "hush"), ("CRABBOX_ACME_TOKEN", "hush"), ("ACME_REGION", "eu")]))
    };
    let (code, stdout, stderr) = run("acme");
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("ACME_REGION=eu\n") && !stdout.contains("hush"), "{stdout}");
    assert_has(&stderr, &["warning: ACME_TOKEN is not forwarded: it is a credential of provider acme"]);
    assert!(!stderr.contains("hush"), "{stderr}");
    // That of another provider is the user's to give away, with a warning.
    let (code, stdout, stderr) = run("local");
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("ACME_TOKEN=hush\n"), "{stdout}");
    assert_has(&stderr, &["warning: ACME_TOKEN, a credential of provider acme, is forwarded"]);
    assert!(!stderr.contains("hush"), "{stderr}");
}

#[test]
fn the_summary_and_the_timing_record_say_how_it_went() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let base = ["run", "--provider", plugin.name(), "--timing-json", "--label", "nightly"];
        let (code, stdout, stderr) = world.run(&[&base[..], &["--", "sh", "-c", "exit 3"]].concat());
        assert_eq!((code, stdout.as_str()), (3, ""), "{plugin:?}: {stderr}");
        let summary = stderr.lines().find(|line| line.contains(" run summary ")).unwrap();
        assert!(summary.starts_with(&format!("{} run summary sync=", plugin.name())), "{summary}");
        assert!(summary.contains(" command=") && summary.ends_with(" exit=3"), "{summary}");
        let record = timing(&stderr);
        assert_eq!(record["provider"], plugin.name());
        assert_eq!((&record["exitCode"], &record["runStatus"]), (&json!(3), &json!("failed")));
        assert_eq!((&record["errorKind"], &record["label"]), (&json!("command-exit"), &json!("nightly")));
        assert_eq!((&record["leaseReleased"], &record["syncSkipped"]), (&json!(true), &json!(false)));
        assert_eq!(record["repoPath"], world.repo().to_str().unwrap());
        let (_, _, stderr) = world.run(&[&base[..], &["--no-sync", "true"]].concat());
        let record = timing(&stderr);
        assert_eq!((&record["syncSkipped"], &record["runStatus"]), (&json!(true), &json!("succeeded")));
    }
}

#[test]
fn with_no_provider_configured_it_says_that_it_uses_local() {
    let world = World::new();
    let says = "using provider local: none is configured";
    assert_has(&world.run(&["run", "true"]).2, &[says]);
    for arguments in [&["run", "--provider", "local", "true"][..], &["run", "--no-sync", "true"]] {
        world.write("crabbox.yaml", if arguments.len() == 3 { "provider: local\n" } else { "" });
        let (code, _, stderr) = world.run(arguments);
        assert!(code == 0 && !stderr.contains(says), "{stderr}");
    }
}

#[test]
fn a_timeout_ends_the_command_with_124_and_leaves_nothing() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let command = "sleep 60; echo never";
        let base = ["run", "--provider", plugin.name(), "--timing-json", "--timeout", "300ms", "--"];
        let (code, stdout, stderr) = world.run(&[&base[..], &["sh", "-c", command]].concat());
        assert_eq!((code, stdout.as_str()), (124, ""), "{plugin:?}: {stderr}");
        assert_has(&stderr, &["its time was over", "exit=124"]);
        let record = timing(&stderr);
        assert_eq!((&record["runStatus"], &record["errorKind"]), (&json!("timed-out"), &json!("timeout")));
        wait_for("the end of every process", || world.processes().is_empty());
        assert_nothing_left(&world, plugin);
    }
}

#[test]
fn files_are_brought_over_alone_or_not_at_all() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let run = |arguments: &[&str]| world.ok(&[&["run", "--provider", plugin.name()], arguments].concat());
        assert!(run(&["--sync-only"]).starts_with("synced "), "{plugin:?}");
        assert_nothing_left(&world, plugin);
        assert_eq!(run(&["--no-sync", "--", "ls", "-A"]), "", "{plugin:?}");
        run(&["--sync-only", "--keep", "--slug", "demo"]);
        assert_eq!(run(&["--id", "demo", "--no-sync", "--", "cat", "README.md"]), "hello\n", "{plugin:?}");
        world.ok(&["stop", "demo"]);
        assert_nothing_left(&world, plugin);
    }
}

#[test]
fn what_a_build_left_goes_only_with_a_full_resync() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let base = ["run", "--provider", plugin.name()];
        world.ok(&[&base[..], &["--keep", "--slug", "demo", "--", "mkdir", "target"]].concat());
        let list =
            |arguments: &[&str]| world.ok(&[&["run", "--id", "demo"], arguments, &["--", "ls"]].concat());
        assert_eq!(list(&[]), "README.md\nsrc\ntarget\n", "{plugin:?}");
        assert_eq!(list(&["--full-resync"]), "README.md\nsrc\n", "{plugin:?}");
        world.ok(&["stop", "demo"]);
    }
}

#[test]
fn a_lease_is_kept_on_failure_only_where_that_was_asked_for_and_there_was_one() {
    let world = World::new();
    world.ok(&["run", "--keep-on-failure", "true"]);
    assert_nothing_left(&world, Plugin::Local);
    let (code, _, stderr) = world.run(&["run", "--keep-on-failure", "--slug", "demo", "touch made; false"]);
    assert_eq!(code, 1, "{stderr}");
    assert_has(&stderr, &["lease demo is kept", "crabbox run --id demo", "crabbox stop cbx_"]);
    assert_eq!(world.ok(&["run", "--id", "demo", "--", "ls", "made"]), "made\n");
    let stop = stderr.split("crabbox stop ").nth(1).unwrap().split_whitespace().next().unwrap();
    world.ok(&["stop", stop]);
    assert_nothing_left(&world, Plugin::Local);
}

#[test]
fn output_comes_while_the_command_runs() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let (seen, go) = (world.root().join("seen"), world.root().join("go"));
        let command = format!("echo first; while ! [ -e {} ]; do sleep 0.02; done; echo last", go.display());
        let mut run = world.crabbox(&["run", "--provider", plugin.name(), "--", "sh", "-c", &command]);
        run.stdout(fs::File::create(&seen).unwrap()).stderr(Stdio::piped());
        let child = run.spawn().unwrap();
        wait_for("the first line", || fs::read_to_string(&seen).unwrap() == "first\n");
        fs::write(go, "").unwrap();
        assert_eq!(end(child).0, 0, "{plugin:?}");
        assert_eq!(fs::read_to_string(&seen).unwrap(), "first\nlast\n", "{plugin:?}");
    }
}

#[test]
fn a_slow_reader_gets_everything_and_one_that_stands_still_does_not_stop_ctrl_c() {
    for plugin in ALL {
        let Some(world) = World::with(plugin) else { continue };
        let ended = world.root().join("ended");
        let command = format!("head -c 120000 /dev/zero; touch {}", ended.display());
        let start = || {
            let run =
                spawn(&mut world.crabbox(&["run", "--provider", plugin.name(), "--", "sh", "-c", &command]));
            wait_for("the command's end", || ended.exists());
            // The provider answers a moment after its command ended.
            std::thread::sleep(Duration::from_millis(300));
            fs::remove_file(&ended).unwrap();
            run
        };
        let (code, stdout, stderr) = end(start());
        assert_eq!((code, stdout.len()), (0, 120_000), "{plugin:?}: {stderr}");
        let mut run = start();
        kill_process(Pid::from_child(&run), Signal::INT).unwrap();
        assert_eq!(run.wait().unwrap().code(), Some(130), "{plugin:?}");
        assert_nothing_left(&world, plugin);
    }
}
