//! What is left out without being asked: caches, what builds make, and crabbox's own files.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Names that are never worth bringing over, wherever they are in a path.
const CACHES: &[&str] = &[
    ".git",
    "node_modules",
    ".ignored",
    ".turbo",
    ".next",
    ".vite",
    ".parcel-cache",
    ".rollup.cache",
    ".cache",
    ".tmp",
    ".local",
    ".swiftpm",
    ".pnpm-store",
    ".npm",
    ".venv",
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".gradle",
];

/// How the names of files begin that macOS leaves on other file systems.
const APPLE_DOUBLE: &[u8] = b"._";

/// The same for a path from the root.
const YARN_CACHE: &[u8] = b".yarn/cache";

/// Names of directories that builds make, and that people also use for sources.
const ARTIFACTS: &[&str] =
    &["dist", "dist-runtime", "coverage", "playwright-report", "test-results", ".build", "target"];

/// One of them in every application of a repository that has several.
const APP_BUILD: &str = "apps/*/.build";

/// What belongs to crabbox below `.crabbox`, and may hold secrets.
const OWN: &[&str] = &["env", "scripts", "logs", "captures", "runs"];

/// What the built-in patterns make of a path, its directories included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum BuiltIn {
    /// None fits.
    #[default]
    Nothing,
    /// Only such fit as may also name sources; the pattern.
    Artifact(&'static str),
    /// It is left out.
    Cache,
}

impl BuiltIn {
    /// What they make of a path whose directory they have made `self` of.
    pub(super) fn below(self, path: &Path, name: &[u8]) -> Self {
        if self == Self::Cache || is_cache(path, name) {
            return Self::Cache;
        }
        if is_app_build(path, name) {
            return Self::Artifact(APP_BUILD);
        }
        match ARTIFACTS.iter().find(|artifact| artifact.as_bytes() == name) {
            Some(artifact) => Self::Artifact(artifact),
            None => self,
        }
    }
}

fn is_cache(path: &Path, name: &[u8]) -> bool {
    // Nearly all of them begin with one of these two.
    let maybe = matches!(name.first(), Some(b'.' | b'_')) || name == b"node_modules" || name == b"cache";
    maybe
        && (name.starts_with(APPLE_DOUBLE)
            || CACHES.iter().any(|cache| cache.as_bytes() == name)
            || path.as_os_str().as_bytes() == YARN_CACHE)
}

fn is_app_build(path: &Path, name: &[u8]) -> bool {
    let middle = || path.as_os_str().as_bytes().strip_prefix(b"apps/")?.strip_suffix(b"/.build");
    name == b".build" && middle().is_some_and(|middle| !middle.contains(&b'/'))
}

/// Whether a path is crabbox's own. Nothing brings it back, and its case does not matter: some file systems
/// do not tell one from the other.
pub(super) fn is_own(path: &Path) -> bool {
    let is =
        |name: Option<&[u8]>, own: &str| name.is_some_and(|name| name.eq_ignore_ascii_case(own.as_bytes()));
    if path.as_os_str().as_bytes().first() != Some(&b'.') {
        return false;
    }
    let mut names = path.as_os_str().as_bytes().split(|byte| *byte == b'/');
    is(names.next(), ".crabbox") && {
        let second = names.next();
        OWN.iter().any(|own| is(second, own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> BuiltIn {
        let above: Vec<_> = Path::new(path).ancestors().filter(|path| *path != Path::new("")).collect();
        let name = |path: &Path| path.file_name().unwrap().as_bytes().to_vec();
        above.into_iter().rev().fold(BuiltIn::Nothing, |above, path| above.below(path, &name(path)))
    }

    #[test]
    fn caches_are_left_out_wherever_they_are() {
        for name in CACHES.iter().chain(&["._x", "a/._x", ".yarn/cache", ".yarn/cache/a.zip"]) {
            assert_eq!(of(name), BuiltIn::Cache, "{name}");
            assert_eq!(of(&format!("{name}/b/c")), BuiltIn::Cache, "{name}");
        }
        assert_eq!(of("a/node_modules/dist/b"), BuiltIn::Cache);
        assert_eq!(of("dist/node_modules/b"), BuiltIn::Cache);
        for path in ["src/a", "a/.yarn/cache/b", "cache/a", ".github/a", "gitignore", "_x", ".gitignore"] {
            assert_eq!(of(path), BuiltIn::Nothing, "{path}");
        }
    }

    #[test]
    fn what_a_build_makes_is_told_by_its_pattern() {
        for name in ARTIFACTS {
            assert_eq!(of(&format!("a/{name}/b")), BuiltIn::Artifact(name));
        }
        assert_eq!(of("apps/one/.build/x"), BuiltIn::Artifact(APP_BUILD));
        assert_eq!(of("apps/one/two/.build/x"), BuiltIn::Artifact(".build"));
        assert_eq!(of("distribution/x"), BuiltIn::Nothing);
    }

    #[test]
    fn what_is_crabboxs_own_is_so_in_any_case() {
        for path in [".crabbox/env", ".crabbox/env/a", ".CrabBox/RUNS/x", ".crabbox/logs/a/b"] {
            assert!(is_own(Path::new(path)), "{path}");
        }
        for path in [".crabbox", ".crabbox/environment", "a/.crabbox/env", ".crabbox/hooks/env", "env"] {
            assert!(!is_own(Path::new(path)), "{path}");
        }
    }
}
