use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

/// Directories with files in them: `dir/name` is executable, `dir/name-` is not.
struct Tree {
    dir: tempfile::TempDir,
}

impl Tree {
    fn new(files: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let (path, mode) = match file.strip_suffix('!') {
                Some(path) => (path, 0o644),
                None => (*file, 0o755),
            };
            let (directory, name) = path.split_once('/').unwrap();
            fs::create_dir_all(dir.path().join(directory)).unwrap();
            let path = dir.path().join(directory).join(format!("{PREFIX}{name}"));
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        Self { dir }
    }

    fn at(&self, path: &str) -> PathBuf {
        let (directory, name) = path.split_once('/').unwrap();
        self.dir.path().join(directory).join(format!("{PREFIX}{name}"))
    }

    fn places(&self, path: &[&str], plugin_path: &[&str], named: &[(&str, PathBuf)]) -> Places {
        let join = |entries: &[&str]| -> OsString {
            let real = |entry: &&str| match entry.starts_with('.') || entry.is_empty() {
                true => PathBuf::from(entry),
                false => self.dir.path().join(entry),
            };
            std::env::join_paths(entries.iter().map(real)).unwrap()
        };
        let env = Env::new("/", [("PATH", join(path)), (VARIABLE, join(plugin_path))]);
        let named = named.iter().map(|(name, path)| ((*name).to_owned(), path.clone())).collect();
        Places::new(&env, named, Some(self.dir.path().join("beside")), "/user.yaml".into())
    }
}

/// Name, path below the tree, source, and whether it is shadowed or has a problem.
fn rows(tree: &Tree, places: &Places) -> Vec<(String, String, &'static str, &'static str)> {
    let row = |found: Found| {
        let path = found.path.strip_prefix(tree.dir.path()).unwrap_or(&found.path).display().to_string();
        let state = match (&found.shadowed_by, &found.problem) {
            (Some(_), _) => "shadowed",
            (None, Some(_)) => "problem",
            (None, None) => "",
        };
        (found.name, path.replace(PREFIX, ""), found.source.name(), state)
    };
    places.all().plugins.into_iter().map(row).collect()
}

#[test]
fn the_first_of_a_name_wins_and_the_others_are_shown() {
    let tree = Tree::new(&["a/x", "a/y", "b/x", "pp/x", "pp/z", "beside/x", "beside/y", "other/w"]);
    let places = tree.places(&["a", "b"], &["pp"], &[("w", tree.at("other/w"))]);
    let row = |name: &str, path: &str, source, state| (name.to_owned(), path.to_owned(), source, state);
    assert_eq!(
        rows(&tree, &places),
        [
            row("w", "other/w", "config", ""),
            row("x", "pp/x", "CRABBOX_PLUGIN_PATH", ""),
            row("x", "beside/x", "beside crabbox", "shadowed"),
            row("x", "a/x", "PATH", "shadowed"),
            row("x", "b/x", "PATH", "shadowed"),
            row("y", "beside/y", "beside crabbox", ""),
            row("y", "a/y", "PATH", "shadowed"),
            row("z", "pp/z", "CRABBOX_PLUGIN_PATH", ""),
        ]
    );
    for (name, path) in [("w", "other/w"), ("x", "pp/x"), ("y", "beside/y"), ("z", "pp/z")] {
        assert_eq!(places.one(name).unwrap().path, tree.at(path));
        assert!(places.has(name));
    }
    assert!(!places.has("v") && !places.has("../x"));
}

#[test]
fn the_same_file_is_one_plugin_but_one_file_can_have_two_names() {
    let tree = Tree::new(&["a/x", "b/none"]);
    symlink(tree.at("a/x"), tree.at("b/x")).unwrap();
    symlink(tree.at("a/x"), tree.at("b/y")).unwrap();
    symlink(tree.dir.path().join("a"), tree.dir.path().join("c")).unwrap();
    let places = tree.places(&["a", "b", "c", "a"], &[], &[]);
    let rows: Vec<_> = rows(&tree, &places).into_iter().map(|row| (row.0, row.1)).collect();
    let row = |name: &str, path: &str| (name.to_owned(), path.to_owned());
    assert_eq!(rows, [row("none", "b/none"), row("x", "a/x"), row("y", "b/y")]);
}

#[test]
fn what_is_not_looked_at_has_a_reason() {
    let tree = Tree::new(&["a/x!", "a/Bad", "open/x", "open/y", "a/y.bak"]);
    fs::set_permissions(tree.dir.path().join("open"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::create_dir(tree.at("a/directory")).unwrap();
    symlink("nowhere", tree.at("a/dangling")).unwrap();
    let places = tree.places(&["", "./bin", "absent", "open", "a"], &[], &[]);
    let all = places.all();
    let mut reasons: Vec<_> = all
        .skipped
        .iter()
        .map(|skipped| (skipped.path.display().to_string(), skipped.reason.as_str()))
        .collect();
    reasons.sort();
    let shown = |path: &str| tree.at(path).display().to_string();
    let mut want = vec![
        (String::new(), "an empty entry of PATH means another directory at every place"),
        ("./bin".to_owned(), "a relative entry of PATH means another directory at every place"),
        (
            tree.dir.path().join("open").display().to_string(),
            "everybody can put files into this directory of PATH",
        ),
        (shown("a/x"), "it is not executable"),
        (shown("a/Bad"), "what follows the prefix is not a provider's name"),
        (shown("a/y.bak"), "what follows the prefix is not a provider's name"),
    ];
    want.sort();
    assert_eq!(reasons, want);
    assert_eq!(all.plugins.len(), 1);
    assert_eq!(all.plugins[0].problem.as_deref(), Some("is not executable"));
    assert_eq!(all.usable().count(), 0);
}

#[test]
fn what_is_not_executable_is_passed_over() {
    let tree = Tree::new(&["a/x!", "b/x"]);
    let places = tree.places(&["a", "b"], &[], &[]);
    assert_eq!(places.one("x").unwrap().path, tree.at("b/x"));
    assert_eq!(rows(&tree, &places).len(), 1);
}

#[test]
fn a_provider_that_is_not_found_is_an_error_that_helps() {
    let tree = Tree::new(&["a/nimbo", "a/local!", "open/other"]);
    fs::set_permissions(tree.dir.path().join("open"), fs::Permissions::from_mode(0o777)).unwrap();
    let places = tree.places(&["a", "open", "."], &["pp"], &[("named", "/none/x".into())]);
    let text = |name: &str| {
        let error = places.one(name).unwrap_err();
        assert_eq!(error.exit.code(), 2);
        format!("{error}\n{}", error.hints.join("\n"))
    };
    let nimob = text("nimob");
    assert!(nimob.starts_with("provider `nimob` is not installed\ndid you mean `nimbo`?\n"), "{nimob}");
    assert!(nimob.contains("install `crabbox-provider-nimob`"), "{nimob}");
    assert!(nimob.contains("`plugins.nimob.path` in /user.yaml"), "{nimob}");
    assert!(nimob.contains("1 directory of CRABBOX_PLUGIN_PATH, `"), "{nimob}");
    assert!(nimob.contains("2 directories of PATH, not in 1 relative or empty entries"), "{nimob}");
    assert!(text("local").contains(&format!("`chmod +x {}`", tree.at("a/local").display())));
    assert!(text("other").contains("was skipped: everybody can put files there"));
    assert!(text("Nimbo").contains("`Nimbo` is not a provider's name"));
    assert!(text("Nimbo").contains("did you mean `nimbo`?"));
    assert!(text("named").starts_with("the plugin of provider `named` is not there: `/none/x`"));
}

#[test]
fn identity_changes_with_the_file() {
    let tree = Tree::new(&["a/x"]);
    let before = Identity::of(&tree.at("a/x")).unwrap();
    assert_eq!(before, Identity::of(&tree.at("a/x")).unwrap());
    fs::write(tree.at("a/x"), "more").unwrap();
    assert_ne!(before, Identity::of(&tree.at("a/x")).unwrap());
}
