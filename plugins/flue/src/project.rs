//! What lies in a Flue project: where its sources are, and which packages it has.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::version::{Generation, Version};

/// The endings that Flue takes for a module.
const MODULES: &[&str] = &["ts", "mts", "js", "mjs"];

/// The directory that holds a project's sources: `.flue`, else `src`, else the project itself. Flue 2 has no
/// such rule: there modules are named by their path, and `src` is what its own templates use.
pub(crate) fn sources(root: &Path, generation: Generation) -> PathBuf {
    let candidates: &[&str] = match generation {
        Generation::Payload | Generation::Workflow => &[".flue", "src"],
        Generation::Agent => return root.join("src"),
    };
    let found = candidates.iter().map(|name| root.join(name)).find(|path| path.is_dir());
    found.unwrap_or_else(|| root.to_owned())
}

/// The file of a workflow, if it is there.
pub(crate) fn workflow(root: &Path, generation: Generation, name: &str) -> Option<PathBuf> {
    let path = sources(root, generation).join("workflows").join(name);
    modules(&path).find(|path| path.is_file())
}

/// The files that may hold a module.
pub(crate) fn modules(path: &Path) -> impl Iterator<Item = PathBuf> {
    MODULES.iter().map(|ending| path.with_extension(ending))
}

/// The nearest `node_modules` that has this, from a directory upwards: where Node.js looks.
pub(crate) fn installed(root: &Path, what: &str) -> Option<PathBuf> {
    root.ancestors().map(|directory| directory.join("node_modules").join(what)).find(|path| path.exists())
}

/// The version in the `package.json` of a directory, if it is of this package.
pub(crate) fn version_in(directory: &Path, package: &str) -> Option<Version> {
    let text = std::fs::read(directory.join("package.json")).ok()?;
    let json: Value = serde_json::from_slice(&text).ok()?;
    (json["name"] == package).then(|| json["version"].as_str()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn sources_are_found_in_the_order_that_flue_has() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path();
        assert_eq!(sources(root, Generation::Workflow), root);
        fs::create_dir(root.join("src")).unwrap();
        assert_eq!(sources(root, Generation::Payload), root.join("src"));
        fs::create_dir(root.join(".flue")).unwrap();
        assert_eq!(sources(root, Generation::Workflow), root.join(".flue"));
        assert_eq!(sources(root, Generation::Agent), root.join("src"));
    }

    #[test]
    fn a_package_is_found_above_and_read_by_its_name() {
        let home = tempfile::tempdir().unwrap();
        let package = home.path().join("node_modules/@flue/runtime");
        fs::create_dir_all(&package).unwrap();
        fs::write(package.join("package.json"), r#"{"name": "@flue/runtime", "version": "2.0.3"}"#).unwrap();
        let below = home.path().join("apps/one");
        let found = installed(&below, "@flue/runtime").unwrap();
        assert_eq!(found, package);
        assert_eq!(version_in(&found, "@flue/runtime").unwrap().to_string(), "2.0.3");
        assert_eq!(version_in(&found, "@flue/cli"), None);
        assert_eq!(installed(&below, "@flue/cli"), None);
    }
}
