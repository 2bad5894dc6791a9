//! The providers that are installed: found, listed, remembered, and never in each other's way.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crabbox_tests::{World, ended, quoted};
use serde_json::{Value, json};

use crate::support::{assert_fits, assert_has};

/// The rows of `plugins list` by name, each name once.
fn rows(world: &World, arguments: &[&str]) -> BTreeMap<String, Value> {
    let list = world.json(&[&["plugins", "list", "--json"], arguments].concat());
    assert_fits("plugins", &list);
    let rows = list.as_array().unwrap();
    let by_name: BTreeMap<_, _> =
        rows.iter().map(|row| (row["name"].as_str().unwrap().to_owned(), row.clone())).collect();
    assert_eq!(by_name.len(), rows.len(), "{list:#}");
    by_name
}

/// A directory of the world with a copy of its executable for a provider.
fn moved(world: &World, directory: &str, name: &str) -> PathBuf {
    let directory = world.root().join(directory);
    fs::create_dir_all(&directory).unwrap();
    let file = format!("crabbox-provider-{name}");
    fs::rename(world.bin().join(&file), directory.join(&file)).unwrap();
    directory
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn twenty_good_plugins_and_four_bad_ones_are_all_listed_and_disturb_nobody() {
    let world = World::new();
    let good: Vec<_> = (0..20).map(|n| format!("good-{n}")).collect();
    for name in &good {
        world.provider(name, &json!({"features": ["cancel"], "targets": ["linux"]}), "");
    }
    world.provider("ship", &json!({"methods": ["acquire", "release", "touch"], "targets": ["windows"]}), "");
    world.provider_that("dead", "echo 'no licence file' >&2; exit 3");
    world.provider_that("mute", "cat >/dev/null");
    world.provider("late", &json!({"protocol": 99}), "");
    let plain = world.provider("plain", &json!({}), "");
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).unwrap();

    assert_eq!(world.ok(&["run", "--provider", "local", "echo", "undisturbed"]), "undisturbed\n");
    let starts =
        || good.iter().map(String::as_str).chain(["ship", "dead", "mute", "late"]).map(|n| world.starts(n));
    assert_eq!(starts().sum::<usize>(), 0, "a run starts its own provider only");

    let first = rows(&world, &[]);
    assert_eq!(first.len(), 26, "{first:#?}");
    for name in &good {
        let row = &first[name];
        assert_eq!(
            (&row["state"], &row["version"], &row["protocol"]),
            (&json!("ok"), &json!("1.0.0"), &json!(1))
        );
        assert_eq!((&row["kind"], &row["lifecycle"]), (&json!("delegated-run"), &json!("leased")));
        assert_eq!((&row["features"], &row["source"]), (&json!(["cancel"]), &json!("PATH")));
        assert_eq!(row["path"], text(&world.bin().join(format!("crabbox-provider-{name}"))));
    }
    assert_eq!(first["ship"]["kind"], "ssh-lease");
    assert_eq!(
        (&first["local"]["state"], &first["local"]["source"]),
        (&json!("ok"), &json!("beside crabbox"))
    );
    for (name, state, reasons) in [
        ("dead", "invalid", &["ended before it answered `initialize`", "code 3", "no licence file"][..]),
        ("mute", "invalid", &["did not answer `initialize` within 5s"]),
        ("late", "incompatible", &["speaks protocol 99, and this crabbox speaks 1"]),
        ("plain", "invalid", &["it is not executable"]),
    ] {
        assert_eq!(first[name]["state"], state, "{name}");
        assert_has(first[name]["reason"].as_str().unwrap(), reasons);
    }
    assert_has(first["plain"]["hint"].as_str().unwrap(), &["chmod +x", text(&plain)]);

    // From here on nobody is started: neither the good ones nor those that failed.
    let before: Vec<_> = starts().collect();
    assert_eq!(before, [1; 24]);
    let shown = |row: &Value| (row["name"].clone(), row["state"].clone(), row["reason"].clone());
    let second = rows(&world, &[]);
    assert_eq!(second.values().map(shown).collect::<Vec<_>>(), first.values().map(shown).collect::<Vec<_>>());
    let table = world.ok(&["providers"]);
    assert_has(&table, &["NAME", "good-19", "\n    provider `mute` did not answer"]);
    assert_eq!(rows(&world, &["--kind", "ssh-lease"]).into_keys().collect::<Vec<_>>(), ["ship"]);
    assert_eq!(rows(&world, &["--feature", "touch,list"]).into_keys().collect::<Vec<_>>(), ["local"]);
    assert_eq!(rows(&world, &["--target", "windows"]).into_keys().collect::<Vec<_>>(), ["ship"]);
    assert_eq!(rows(&world, &["--feature", "cancel", "--kind", "delegated-run"]).len(), 21);
    assert_eq!(starts().collect::<Vec<_>>(), before, "a list from the cache starts nobody");
    assert_eq!(world.ok(&["run", "--provider", "local", "echo", "undisturbed"]), "undisturbed\n");

    let (code, _, stderr) = world.run(&["plugins", "list", "--kind", "delegated"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["--kind delegated: there is no such thing", "known are: delegated-run, ssh-lease"]);
}

#[test]
fn a_probe_asks_everybody_again() {
    let world = World::new();
    world.provider("acme", &json!({}), "");
    rows(&world, &[]);
    rows(&world, &["--probe"]);
    assert_eq!(world.starts("acme"), 2);
}

#[test]
fn the_first_of_a_name_is_used_and_the_others_are_shown_as_shadowed() {
    let world = World::new();
    world.local_as("acme", &json!({"version": "second"}));
    let second = moved(&world, "second", "acme");
    world.local_as("acme", &json!({"version": "first"}));
    let path = format!("{}:{}:/usr/bin:/bin", world.bin().display(), second.display());
    let (code, stdout, stderr) = ended(world.crabbox(&["plugins", "list", "--json"]).env("PATH", &path));
    assert_eq!(code, 0, "{stderr}");
    let list: Value = serde_json::from_str(&stdout).unwrap();
    assert_fits("plugins", &list);
    let acme: Vec<_> = list.as_array().unwrap().iter().filter(|row| row["name"] == "acme").collect();
    assert_eq!((acme.len(), &acme[0]["state"], &acme[0]["version"]), (2, &json!("ok"), &json!("first")));
    assert_eq!((&acme[1]["state"], acme[1].get("version")), (&json!("shadowed"), None));
    let first = world.bin().join("crabbox-provider-acme");
    assert_has(acme[1]["reason"].as_str().unwrap(), &[text(&first), "comes before it"]);
    assert_eq!(world.starts("acme"), 1, "what is shadowed is not started");
}

#[test]
fn the_same_file_found_twice_is_one_plugin() {
    let world = World::new();
    world.provider("acme", &json!({}), "");
    let other = world.root().join("other");
    std::os::unix::fs::symlink(world.bin(), &other).unwrap();
    let path = format!("{}:{}:/usr/bin:/bin", world.bin().display(), other.display());
    let (_, stdout, _) = ended(world.crabbox(&["plugins", "list"]).env("PATH", path));
    assert_eq!(stdout.matches("crabbox-provider-acme").count(), 1, "{stdout}");
    assert!(!stdout.contains("shadowed"), "{stdout}");
}

#[test]
fn a_plugin_is_described_with_everything_that_can_be_set() {
    let world = World::new();
    let description = world.json(&["plugins", "describe", "local", "--json"]);
    assert_fits("plugin", &description);
    let root = &description["settings"][0];
    assert_eq!(
        (&root["key"], &root["flag"], &root["userOnly"]),
        (&json!("root"), &json!("--local-root"), &json!(true))
    );
    assert_has(
        &world.ok(&["plugins", "describe", "local"]),
        &["--local-root, CRABBOX_LOCAL_ROOT, local.root"],
    );
    let (code, _, stderr) = world.run(&["plugins", "describe", "locl"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["provider `locl` is not installed", "did you mean `local`?"]);
}

#[test]
fn a_plugin_that_changed_on_disk_is_asked_again() {
    let world = World::new();
    for version in ["1.0.1", "1.0.2"] {
        world.provider("acme", &json!({"version": version}), "");
        assert_eq!(rows(&world, &[])["acme"]["version"], version);
        assert_eq!(rows(&world, &[])["acme"]["version"], version);
    }
    assert_eq!(world.starts("acme"), 2);
}

#[test]
fn a_plugin_that_failed_is_asked_again_by_a_run() {
    let world = World::new();
    let broken = world.root().join("broken");
    fs::write(&broken, "").unwrap();
    let check = format!("[ ! -e {} ] || exit 3", quoted(text(&broken)));
    let executable = world.local_as("acme", &json!({}));
    let script = fs::read_to_string(&executable).unwrap().replacen('\n', &format!("\n{check}\n"), 1);
    world.script("crabbox-provider-acme", &script);
    assert_eq!(rows(&world, &[])["acme"]["state"], "invalid");
    fs::remove_file(broken).unwrap();
    assert_eq!(world.ok(&["run", "--provider", "acme", "echo", "well again"]), "well again\n");
    assert_eq!(rows(&world, &[])["acme"]["state"], "ok");
}

#[test]
fn directories_of_our_own_variable_come_before_path() {
    let world = World::new();
    world.provider("acme", &json!({"version": "named"}), "");
    let named = moved(&world, "named", "acme");
    world.provider("acme", &json!({"version": "on-path"}), "");
    let list = |variable: &str| {
        let mut command = world.crabbox(&["plugins", "describe", "acme", "--json"]);
        let (code, stdout, stderr) = ended(command.env("CRABBOX_PLUGIN_PATH", variable));
        assert_eq!(code, 0, "{stderr}");
        let plugin: Value = serde_json::from_str(&stdout).unwrap();
        (plugin["plugin"]["version"].clone(), plugin["plugin"]["source"].clone())
    };
    assert_eq!(list(text(&named)), (json!("named"), json!("CRABBOX_PLUGIN_PATH")));
    assert_eq!(list("named"), (json!("on-path"), json!("PATH")), "a relative entry is no place");
}

#[test]
fn the_users_file_names_an_executable_and_the_repositorys_may_not() {
    let world = World::new();
    world.provider("acme", &json!({"version": "mine"}), "");
    let mine = moved(&world, "mine", "acme").join("crabbox-provider-acme");
    fs::rename(&mine, mine.with_file_name("anything")).unwrap();
    let mine = mine.with_file_name("anything");
    world.provider("acme", &json!({"version": "on-path"}), "");

    world.write("crabbox.yaml", format!("plugins: {{acme: {{path: {}}}}}\n", mine.display()));
    let (code, stdout, stderr) = world.run(&["plugins", "describe", "acme", "--json"]);
    assert_eq!(code, 0, "{stderr}");
    let plugin: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(plugin["plugin"]["version"], "on-path");
    let file = world.repo().join("crabbox.yaml");
    let ignored =
        format!("warning: `plugins` in {} is ignored: a repository does not choose", file.display());
    assert_has(&stderr, &[&ignored, text(&world.config())]);

    fs::remove_file(file).unwrap();
    world.write_config(&format!("plugins: {{acme: {{path: {}}}}}\n", mine.display()));
    let plugin = &world.json(&["plugins", "describe", "acme", "--json"])["plugin"];
    assert_eq!((&plugin["version"], &plugin["source"]), (&json!("mine"), &json!("config")));

    world.write_config("plugins: {acme: {path: ../gone}}\n");
    let (code, _, stderr) = world.run(&["run", "--provider", "acme", "true"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["the plugin of provider `acme` is not there", "`plugins.acme.path` in"]);
}

#[test]
fn a_directory_that_everybody_can_write_is_no_place_for_plugins() {
    let world = World::new();
    world.provider("acme", &json!({}), "");
    let open = moved(&world, "open", "acme");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let path = format!("{}:{}:/usr/bin:/bin", world.bin().display(), open.display());
    let run = |arguments: &[&str]| ended(world.crabbox(arguments).env("PATH", &path));
    let (code, stdout, stderr) = run(&["plugins", "list", "--probe"]);
    assert!(code == 0 && !stdout.contains("acme"), "{stdout}");
    assert_has(&stderr, &[&format!("skipped `{}`: everybody can put files", open.display())]);
    let (code, _, stderr) = run(&["run", "--provider", "acme", "true"]);
    assert_eq!(code, 2, "{stderr}");
    assert_has(&stderr, &["provider `acme` is not installed", "everybody can put files there", "chmod o-w"]);
    assert_eq!(world.starts("acme"), 0);
}

#[test]
fn a_lease_whose_plugin_is_gone_says_which_one_made_it() {
    let world = World::new();
    world.local_as("acme", &json!({"version": "4.5.6"}));
    world.ok(&["warmup", "--provider", "acme", "--slug", "demo"]);
    let path = world.bin().join("crabbox-provider-acme");
    let away = moved(&world, "away", "acme");
    for arguments in [&["stop", "demo"][..], &["run", "--id", "demo", "true"]] {
        let (code, _, stderr) = world.run(arguments);
        assert_eq!(code, 2, "{stderr}");
        let made = format!("caused by: lease demo was made by `{}`, version 4.5.6", text(&path));
        assert_has(&stderr, &["error: provider `acme` is not installed", &made]);
    }
    fs::rename(away.join("crabbox-provider-acme"), path).unwrap();
    world.ok(&["stop", "demo"]);
}

#[test]
fn a_slow_provider_does_not_hold_up_the_others_of_a_list() {
    let world = World::new();
    // Each answers only once all of them have been asked.
    let names = ["one", "two", "three"];
    let begun = |name: &str| quoted(text(&world.root().join(format!("{name}.begun"))));
    let all = names.map(|name| format!("[ -e {} ]", begun(name))).join(" && ");
    for name in names {
        let rows =
            format!(r#"{{"leases":[{{"name":"of-{name}","ref":"r","state":"ready"}}],"complete":true}}"#);
        let cases = format!(
            "list) : >{}; n=0; until {all} || [ $n -eq 400 ]; do n=$((n + 1)); sleep 0.05; done\n\
             if {all}; then ok '{rows}'; else no alone '{{\"kind\":\"unavailable\"}}'; fi ;;",
            begun(name)
        );
        world.provider(name, &json!({"methods": ["acquire", "run", "release", "list"]}), &cases);
    }
    let (code, stdout, stderr) = world.run(&["list", "--refresh"]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let places = ["of-one", "of-three", "of-two"].map(|name| stdout.find(name));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "by provider:\n{stdout}");
}

#[test]
fn before_a_flag_is_unknown_the_plugin_is_asked_once() {
    let world = World::new();
    let manifest = world.root().join("manifest");
    let config = |keys: Value| {
        let says = json!({"protocol": 1, "name": "acme", "version": "1", "lifecycle": "leased",
                          "config": {"type": "object", "properties": keys}});
        fs::write(&manifest, says.to_string()).unwrap();
    };
    // What it says about itself can change while its file does not.
    let cases = r#"acquire) no 'not today' '{"kind":"quota","created":false}' ;;"#;
    let executable = world.provider("acme", &json!({}), cases);
    let script = fs::read_to_string(&executable).unwrap();
    let begin = script.find("initialize) ok ").unwrap() + "initialize) ok ".len();
    let end = begin + script[begin..].find(" ;;").unwrap();
    let reads = format!("\"$(cat {})\"", quoted(text(&manifest)));
    world.script("crabbox-provider-acme", &format!("{}{reads}{}", &script[..begin], &script[end..]));

    config(json!({}));
    rows(&world, &[]);
    assert_eq!(world.starts("acme"), 1);
    let (code, _, stderr) = world.run(&["run", "--provider", "acme", "--acme-region", "eu", "true"]);
    assert_eq!((code, world.starts("acme")), (2, 2), "{stderr}");
    assert_has(&stderr, &["there is no flag `--acme-region` with provider=acme"]);

    config(json!({"region": {"type": "string"}}));
    let (code, _, stderr) = world.run(&["run", "--provider", "acme", "--acme-region", "eu", "true"]);
    assert_eq!(code, 5, "the flag is known now: {stderr}");
    assert_has(&stderr, &["not today"]);
    assert_eq!(world.starts("acme"), 4, "asked once, then used");

    // The same for a key of a file.
    config(json!({"region": {"type": "string"}, "zone": {"type": "string"}}));
    world.write("crabbox.yaml", "acme: {zone: a}\n");
    let (code, _, stderr) = world.run(&["run", "--provider", "acme", "true"]);
    assert_eq!((code, world.starts("acme")), (5, 6), "{stderr}");
}
