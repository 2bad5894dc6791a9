//! `crabbox plugins new`: what it writes is a provider that works, in every language.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crabbox_tests::{Profile, World, binaries, ended, tool, wait_for};

use crate::support::{assert_has, repository};

/// A provider that was just written, built where it has to be, on the PATH of a world.
struct Written {
    world: World,
    directory: PathBuf,
}

/// Writes a provider named `mine-too`. `None`: its language is absent, and that has been said.
fn written(lang: &str) -> Option<Written> {
    let world = World::new();
    let needed: &[&str] = match lang {
        "python" => &["python3"],
        "node" => &["node"],
        "sh" => &["jq"],
        "go" => &["go"],
        _ => &[],
    };
    for name in needed {
        symlink(tool(name)?, world.bin().join(name)).unwrap();
    }
    let home = world.home();
    let mut arguments = vec!["plugins", "new", "mine-too", "--lang", lang, "--dir", home.to_str().unwrap()];
    let kit = repository().join("plugins/kit");
    if lang == "rust" {
        arguments.extend(["--kit", kit.to_str().unwrap()]);
    }
    let printed = world.ok(&arguments);
    let directory = home.join("crabbox-provider-mine-too");
    assert_eq!(printed, format!("{}\n", directory.display()));
    let executable = match lang {
        "go" => {
            succeeds(go(&world).arg("build").current_dir(&directory));
            directory.join("crabbox-provider-mine-too")
        }
        "rust" => {
            // Our own lock file has all that it needs, so that nothing is fetched.
            fs::copy(repository().join("Cargo.lock"), directory.join("Cargo.lock")).unwrap();
            succeeds(cargo().arg("build").current_dir(&directory));
            builds().join("debug/crabbox-provider-mine-too")
        }
        _ => directory.join("crabbox-provider-mine-too"),
    };
    world.install(&executable);
    Some(Written { world, directory })
}

/// Where what the tests build is kept, so that it is built once.
fn builds() -> PathBuf {
    binaries(Profile::Debug).parent().unwrap().join("templates")
}

fn go(world: &World) -> Command {
    let mut command = world.command(world.bin().join("go"));
    command.env("GOCACHE", builds().join("go")).env("GOTOOLCHAIN", "local").env("GOFLAGS", "-mod=mod");
    command
}

fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_")) {
        if name != "CARGO_HOME" {
            command.env_remove(name);
        }
    }
    command
        .env("CARGO_TARGET_DIR", builds())
        .env("CARGO_NET_OFFLINE", "true")
        .env("CARGO_PROFILE_DEV_DEBUG", "0");
    command
}

fn succeeds(command: &mut Command) {
    let (code, stdout, stderr) = ended(command);
    assert_eq!(code, 0, "{command:?}\n{stdout}{stderr}");
}

/// What every one of them has to do.
fn works(lang: &str) {
    let Some(Written { world, directory }) = written(lang) else { return };
    let row = &world.json(&["plugins", "describe", "mine-too", "--json"]);
    assert_eq!(
        (&row["plugin"]["state"], &row["settings"][0]["flag"]),
        (&"ok".into(), &"--mine-too-root".into())
    );
    let script = "cat README.md; printf '\\000\\377'; echo err >&2; exit 7";
    let output =
        world.crabbox(&["run", "--provider", "mine-too", "--", "sh", "-c", script]).output().unwrap();
    assert_eq!(output.stdout, b"hello\n\0\xff", "{lang}");
    assert_eq!(output.status.code(), Some(7), "{lang}");
    assert_has(&String::from_utf8_lossy(&output.stderr), &["\nerr\n"]);

    let run = ["run", "--provider", "mine-too", "--no-sync", "--timeout", "1s", "--"];
    let (code, _, stderr) =
        world.run(&[&run[..], &["sh", "-c", "sleep 600 & trap '' TERM; sleep 600"]].concat());
    assert_eq!(code, 124, "{lang}: {stderr}");
    wait_for("the end of every process", || world.processes().is_empty());

    let root = world.root().join("leases");
    let root = root.to_str().unwrap();
    world.ok(&["warmup", "--provider", "mine-too", "--mine-too-root", root, "--slug", "demo"]);
    assert_has(&world.ok(&["status", "demo"]), &["state=ready"]);
    world.ok(&["run", "--id", "demo", "--no-sync", "--", "sh", "-c", "mkdir -p a/b && chmod 500 a/b a"]);
    assert_eq!(fs::read_dir(root).unwrap().count(), 1, "{lang}");
    world.ok(&["stop", "demo"]);
    assert_eq!(fs::read_dir(root).unwrap().count(), 0, "{lang}");
    let rest = world.home().join(".local/state/crabbox-mine-too");
    assert_eq!(fs::read_dir(rest).unwrap().count(), 0, "{lang}");
    assert!(directory.join("README.md").exists());
    its_own_test_passes(lang, &world, &directory);
}

/// Runs the test that comes with it, which is `crabbox plugins check --live`.
fn its_own_test_passes(lang: &str, world: &World, directory: &Path) {
    let mut command = match lang {
        "python" => world.command("python3"),
        "node" => world.command("node"),
        "sh" => world.command("./test"),
        "go" => go(world),
        _ => cargo(),
    };
    match lang {
        "python" => command.arg("test.py"),
        "node" => command.args(["--test", "provider.test.js"]),
        "sh" => &mut command,
        _ => command.arg("test"),
    };
    let crabbox = binaries(Profile::Debug).join("crabbox");
    let command = command.current_dir(directory).env("CRABBOX", crabbox);
    if lang == "rust" {
        // A home of its own, and cargo's where it is.
        let homes = [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")];
        let home = PathBuf::from(std::env::var_os("HOME").unwrap());
        for (name, place) in homes.into_iter().filter(|(name, _)| std::env::var_os(name).is_none()) {
            command.env(name, home.join(place));
        }
        command.env("HOME", world.home()).env_remove("XDG_STATE_HOME").env_remove("XDG_CONFIG_HOME");
    }
    succeeds(command);
}

#[test]
fn a_new_provider_in_python_works() {
    works("python");
}

#[test]
fn a_new_provider_in_javascript_works() {
    works("node");
}

#[test]
fn a_new_provider_in_go_works() {
    works("go");
}

#[test]
fn a_new_provider_in_sh_works() {
    works("sh");
}

#[test]
fn a_new_provider_in_rust_works() {
    works("rust");
}

#[test]
fn what_cannot_be_named_or_is_there_is_refused_and_nothing_is_written() {
    let world = World::new();
    let new = |name: &str, more: &[&str]| {
        let words = [&["plugins", "new", name, "--lang", "sh"], more].concat();
        let (code, stdout, stderr) = world.run(&words);
        assert_eq!((code, stdout.as_str()), (2, ""), "{name}: {stderr}");
        stderr
    };
    assert_has(&new("Mine", &[]), &["`Mine` is not a provider's name"]);
    assert_has(&new("sync", &[]), &["cannot be named `sync`"]);
    assert_has(&new("timeout", &[]), &["crabbox's own flag --timeout"]);
    assert_has(&new("local", &[]), &["there is a provider `local` already"]);
    assert_has(&new("mine", &["--dir", "gone"]), &["cannot make the directory"]);
    assert_has(&new("mine", &["--kit", "."]), &["--kit is for --lang rust"]);
    assert_has(&new("mine", &["--lang", "rust", "--kit", "."]), &["cannot be used multiple times"]);
    let (code, _, stderr) = world.run(&["plugins", "new", "mine", "--lang", "rust", "--kit", "src"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["is not the provider kit", "plugins/kit"]);
    let written = |world: &World| -> Vec<_> {
        fs::read_dir(world.repo()).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    assert_eq!(written(&world).len(), 3, "{:?}", written(&world));

    world.ok(&["plugins", "new", "mine", "--lang", "sh"]);
    let file = world.repo().join("crabbox-provider-mine/crabbox-provider-mine");
    fs::write(&file, "changed\n").unwrap();
    assert_has(&new("mine", &[]), &["is there already", "nothing is overwritten"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "changed\n");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o111, 0o111);
}

#[test]
fn the_kit_is_where_it_is_said_to_be() {
    let world = World::new();
    let manifest = |name: &str| {
        fs::read_to_string(world.repo().join(format!("crabbox-provider-{name}/Cargo.toml"))).unwrap()
    };
    world.ok(&["plugins", "new", "one", "--lang", "rust", "--kit", "https://forge.example/crabbox.git"]);
    assert_has(
        &manifest("one"),
        &[r#"crabbox-provider-kit = { git = "https://forge.example/crabbox.git" }"#],
    );
    let (code, _, stderr) = world.run(&["plugins", "new", "two", "--lang", "rust"]);
    assert_eq!(code, 0, "{stderr}");
    assert_has(&stderr, &["say in Cargo.toml where `crabbox-provider-kit` is"]);
    assert_has(&manifest("two"), &[r#"crabbox-provider-kit = { path = "../crabbox/plugins/kit" }"#]);
}

#[test]
fn the_templates_run_as_they_are() {
    let world = World::new();
    let templates = repository().join("host/templates");
    let runnable = [("python", "python3"), ("node", "node"), ("sh", "jq")];
    for (lang, needed) in runnable {
        let Some(found) = tool(needed) else { continue };
        symlink(found, world.bin().join(needed)).unwrap();
        let (code, stdout, stderr) = ended(&mut world.command(executable(&templates.join(lang))));
        assert_eq!(code, 0, "{lang}: {stderr}");
        assert_has(&stdout, &["crabbox run --provider example"]);
        world.install(&executable(&templates.join(lang)));
        assert_eq!(world.ok(&["run", "--provider", "example", "echo", lang]), format!("{lang}\n"));
        fs::remove_file(world.bin().join("crabbox-provider-example")).unwrap();
    }
}

fn executable(directory: &Path) -> PathBuf {
    directory.join("crabbox-provider-example")
}
