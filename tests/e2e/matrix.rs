//! `docs/providers/README.md`: what each provider can do, as its manifest says it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crabbox_tests::{World, binary, tool};
use serde_json::Value;

use crate::support::repository;

/// The methods that a provider may leave out, and the features, in the order of the specification.
const METHODS: &[&str] =
    &["configure", "doctor", "resolve", "run", "put", "kill", "touch", "list", "bridge", "unbridge"];
const FEATURES: &[&str] = &["cancel", "outputPaths", "concurrent", "lifeline", "nearby", "tailscale"];

/// What a provider says about itself.
fn manifest(world: &World, executable: &Path) -> Value {
    let file = executable.file_name().unwrap().to_str().unwrap();
    // An example of the kit is called as a plugin has to be.
    let file = if file == "minimal" { "crabbox-provider-minimal" } else { file };
    let link = world.bin().join(file);
    symlink(executable, &link).unwrap();
    let name = file.strip_prefix("crabbox-provider-").unwrap();
    let manifest = world.json(&["plugins", "describe", name, "--json"])["manifest"].clone();
    fs::remove_file(link).unwrap();
    manifest
}

/// One row for each thing that a provider may have, one column for each provider.
fn table(providers: &[(String, Value)]) -> String {
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let cells = |head: &str, of: &dyn Fn(&Value) -> String| {
        let values = providers.iter().map(|(_, manifest)| of(manifest));
        row([head.to_owned()].into_iter().chain(values).collect())
    };
    let names = providers.iter().map(|(name, _)| name.clone());
    let mut table = row(["".to_owned()].into_iter().chain(names).collect());
    table += &row(vec!["---".to_owned(); providers.len() + 1]);
    table += &cells("name", &|manifest| format!("`{}`", manifest["name"].as_str().unwrap()));
    table += &cells("lifecycle", &|manifest| manifest["lifecycle"].as_str().unwrap().to_owned());
    for (what, names) in [("methods", METHODS), ("features", FEATURES)] {
        for name in names {
            let has = |manifest: &Value| {
                manifest[what].as_array().is_some_and(|all| all.iter().any(|one| one == name))
            };
            // Without a list these are the methods of a leased provider.
            let default = |manifest: &Value| *name == "run" && manifest.get("methods").is_none();
            table += &cells(&format!("`{name}`"), &|manifest| {
                if has(manifest) || default(manifest) { "yes" } else { "" }.to_owned()
            });
        }
    }
    let settings = |manifest: &Value| {
        let keys = manifest["config"]["properties"].as_object().into_iter().flatten().map(|(key, _)| key);
        keys.map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" ")
    };
    table + &cells("settings", &settings)
}

/// The providers that come along: a crate each in `plugins/`.
fn ours() -> Vec<(String, PathBuf)> {
    let crates = fs::read_dir(repository().join("plugins")).unwrap().map(|entry| entry.unwrap().path());
    let names = crates.filter(|path| path.join("src/main.rs").exists());
    let mut names: Vec<_> =
        names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
        .into_iter()
        .map(|name| (format!("[{name}](../../plugins/{name})"), binary(&format!("crabbox-provider-{name}"))))
        .collect()
}

/// The text with these tables in it.
fn with_tables(text: &str, tables: &BTreeMap<&str, String>) -> String {
    let mut result = text.to_owned();
    for (name, table) in tables {
        let begin = format!("<!-- generated: {name} -->\n");
        let from = result.find(&begin).unwrap() + begin.len();
        let to = from + result[from..].find("<!-- end -->").unwrap();
        result.replace_range(from..to, &format!("\n{table}\n"));
    }
    result
}

#[test]
fn the_matrix_of_providers_is_what_they_say() {
    let world = World::new();
    for name in ["python3", "jq", "node"] {
        let Some(path) = tool(name) else { return };
        symlink(path, world.bin().join(name)).unwrap();
    }
    let file = |path: &str| repository().join(path);
    let examples = [
        ("[Python](../../tests/providers/python)", file("tests/providers/python/crabbox-provider-pydir")),
        ("[sh](../../tests/providers/sh)", file("tests/providers/sh/crabbox-provider-shdir")),
        ("[Rust, by the kit](../../plugins/kit/examples)", binary("examples/minimal")),
        (
            "[new, Python](../../host/templates/python)",
            file("host/templates/python/crabbox-provider-example"),
        ),
        ("[new, Node.js](../../host/templates/node)", file("host/templates/node/crabbox-provider-example")),
        ("[new, sh](../../host/templates/sh)", file("host/templates/sh/crabbox-provider-example")),
        ("[new, Rust](../../host/templates/rust)", binary("examples/crabbox-provider-example")),
    ];
    let read = |all: Vec<(String, PathBuf)>| -> String {
        let all = all.into_iter().map(|(name, path)| (name, manifest(&world, &path)));
        table(&all.collect::<Vec<_>>())
    };
    let examples = examples.into_iter().map(|(name, path)| (name.to_owned(), path)).collect();
    let tables = BTreeMap::from([("providers", read(ours())), ("examples", read(examples))]);
    let path = file("docs/providers/README.md");
    let text = fs::read_to_string(&path).unwrap();
    let current = with_tables(&text, &tables);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &current).unwrap();
        return;
    }
    assert!(
        text == current,
        "docs/providers/README.md is stale; run `UPDATE_DOCS=1 cargo test -p crabbox-tests --test e2e matrix`"
    );
}
