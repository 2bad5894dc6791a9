//! Which paths are brought over: the built-in patterns, `sync.exclude`, `.crabboxignore`, `sync.include`.
//!
//! The rules are those of openclaw/crabbox. A pattern fits a path when it is the path or a directory above
//! it; when it has no slash, also any single name in the path; `*` and `?` stop at slashes. Of the patterns
//! that fit, the last one decides, and `!` brings back. `sync.include`, where it is set, lets nothing else in.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};

use super::builtin::{BuiltIn, is_own};
use crate::config::small_text;
use crate::error::{Error, Result};
use crate::output::foreign;

/// The file with patterns at the root of a repository, one a line, `#` for remarks.
const IGNORE_FILE: &str = ".crabboxignore";

/// Which paths are brought over.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    exclude: Vec<Rule>,
    include: Vec<Rule>,
}

/// What the patterns make of a directory, and so of everything below it that no later one fits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Above {
    built_in: BuiltIn,
    /// The last of the user's patterns that fits.
    last: Option<usize>,
}

/// What becomes of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is brought over.
    In,
    /// It is brought over because git tracks it; else this built-in pattern would leave it out.
    Protected(&'static str),
    /// It is left out.
    Out,
}

#[derive(Debug)]
struct Rule {
    brings_back: bool,
    text: String,
    /// It fits single names in a path.
    is_name: bool,
    /// Absent where the text is all that fits.
    glob: Option<GlobMatcher>,
}

impl Filter {
    /// The filter of a repository.
    pub(crate) fn of(root: &Path, exclude: &[String], include: &[String]) -> Result<Self> {
        let ignored = match small_text(&root.join(IGNORE_FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(Error::usage(format!("cannot read `{IGNORE_FILE}`"))
                    .cause(error)
                    .hint("make it a readable text file, or move it away"));
            }
        };
        let ignored =
            ignored.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let exclude = exclude.iter().map(|text| (text.as_str(), "sync.exclude"));
        let exclude = exclude.chain(ignored.map(|text| (text, IGNORE_FILE)));
        let include = include.iter().map(|text| (text.as_str(), "sync.include"));
        Ok(Self {
            exclude: exclude.map(|(text, of)| Rule::parse(text, of)).collect::<Result<_>>()?,
            include: include.map(|(text, of)| Rule::parse(text, of)).collect::<Result<_>>()?,
        })
    }

    /// What the patterns make of a path, given what they make of its directory.
    pub(super) fn below(&self, above: Above, path: &Path) -> Above {
        // By bytes, because it is asked for every file.
        let name = path.as_os_str().as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let fits = self.exclude.iter().rposition(|rule| rule.fits(path, name));
        Above { built_in: above.built_in.below(path, name), last: fits.max(above.last) }
    }

    /// What becomes of a path, given what the patterns make of its directory. `regular`: git tracks a regular
    /// file there.
    pub(super) fn decide(&self, above: Above, path: &Path, regular: bool) -> Verdict {
        if is_own(path) || !(self.include.is_empty() || self.include.iter().any(|rule| rule.includes(path))) {
            return Verdict::Out;
        }
        let here = self.below(above, path);
        match (here.last, here.built_in) {
            (Some(last), _) if self.exclude[last].brings_back => Verdict::In,
            (Some(_), _) | (None, BuiltIn::Cache) => Verdict::Out,
            (None, BuiltIn::Artifact(pattern)) if regular => Verdict::Protected(pattern),
            (None, BuiltIn::Artifact(_)) => Verdict::Out,
            (None, BuiltIn::Nothing) => Verdict::In,
        }
    }

    /// What becomes of a single path.
    pub(super) fn verdict(&self, path: &Path, regular: bool) -> Verdict {
        let above: Vec<_> = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()).collect();
        let above = above.into_iter().rev().fold(Above::default(), |above, path| self.below(above, path));
        self.decide(above, path, regular)
    }
}

impl Rule {
    fn parse(text: &str, of: &str) -> Result<Self> {
        let (brings_back, pattern) = match text.strip_prefix('!') {
            Some(rest) => (true, rest.trim_start()),
            None => (false, text.strip_prefix('\\').filter(|rest| rest.starts_with('!')).unwrap_or(text)),
        };
        let pattern = pattern.trim_matches('/');
        let wrong = |why: String| {
            Error::usage(format!("the pattern `{}` of {of} cannot be used: {why}", foreign(text)))
                .hint("a pattern is a path from the root of the repository, or a name, with `*` and `?`")
        };
        if pattern.is_empty() {
            return Err(wrong("it is empty".to_owned()));
        }
        let glob = || GlobBuilder::new(pattern).literal_separator(true).build();
        let glob = pattern.contains(['*', '?', '[', '{', '\\']).then(glob).transpose();
        Ok(Self {
            brings_back,
            text: pattern.to_owned(),
            is_name: !pattern.contains('/'),
            glob: glob.map_err(|error| wrong(error.kind().to_string()))?.map(|glob| glob.compile_matcher()),
        })
    }

    /// Whether it fits the path itself, whose last name is `name`.
    fn fits(&self, path: &Path, name: &[u8]) -> bool {
        let what = if self.is_name { Path::new(OsStr::from_bytes(name)) } else { path };
        what.as_os_str() == self.text.as_str() || self.glob.as_ref().is_some_and(|glob| glob.is_match(what))
    }

    /// Whether it includes the path: as the path, a directory above it, or a glob of the whole.
    fn includes(&self, path: &Path) -> bool {
        path.starts_with(&self.text) || self.glob.as_ref().is_some_and(|glob| glob.is_match(path))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn kept(exclude: &[&str], include: &[&str], path: &str) -> bool {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let root = tempfile::tempdir().unwrap();
        let filter = Filter::of(root.path(), &texts(exclude), &texts(include)).unwrap();
        filter.verdict(Path::new(path), false) == Verdict::In
    }

    #[test]
    fn what_fits_is_left_out() {
        for (pattern, path) in [
            ("secrets.env", "secrets.env"),
            ("secrets.env", "a/secrets.env"),
            ("build", "a/build/b/c"),
            ("a/b", "a/b/c"),
            ("a/b/", "a/b/c"),
            ("*.log", "a/b.log"),
            ("a/*/c", "a/b/c/d"),
            ("a/*.txt", "a/b.txt"),
            ("\\!odd", "!odd"),
            ("/build/", "a/build/b"),
            ("[id]", "app/[id]/page"),
            ("[id]", "app/i"),
            ("docs/**/*.md", "docs/a/b/c.md"),
        ] {
            assert!(!kept(&[pattern], &[], path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("a/*.txt", "a/b/c.txt"),
            ("b/c", "a/b/c"),
            ("build", "builds/x"),
            ("*.log", "a.logs"),
            ("a/*", "b"),
        ] {
            assert!(kept(&[pattern], &[], path), "{pattern} {path}");
        }
    }

    #[test]
    fn the_last_that_fits_decides() {
        assert!(kept(&["*.log", "!keep.log"], &[], "a/keep.log"));
        assert!(!kept(&["!keep.log", "*.log"], &[], "a/keep.log"));
        assert!(!kept(&["*.log", "!keep.log"], &[], "a/other.log"));
    }

    #[test]
    fn the_built_in_patterns_come_first_and_crabboxs_own_last() {
        for path in ["node_modules/a", "a/.venv/b", "target/debug/a", "dist/a.js", "apps/a/.build/b"] {
            assert!(!kept(&[], &[], path) && kept(&["!*"], &[], path), "{path}");
        }
        assert!(kept(&["!node_modules"], &[], "a/node_modules/b"));
        assert!(kept(&["!dist/keep.js"], &[], "dist/keep.js") && !kept(&["!dist/keep.js"], &[], "dist/a.js"));
        for path in [".crabbox/env/x", ".Crabbox/Scripts/x"] {
            assert!(!kept(&["!*", "!.crabbox", &format!("!{path}")], &[], path), "{path}");
        }
        assert!(kept(&[], &[], ".crabbox/config"));
    }

    #[test]
    fn what_git_tracks_is_protected_from_the_patterns_that_may_name_sources() {
        let of = |exclude: &[&str], path: &str| {
            let exclude: Vec<_> = exclude.iter().map(|text| (*text).to_owned()).collect();
            Filter::of(Path::new("/nowhere"), &exclude, &[]).unwrap().verdict(Path::new(path), true)
        };
        assert_eq!(of(&[], "pkg/dist/a.js"), Verdict::Protected("dist"));
        assert_eq!(of(&[], "apps/a/.build/b"), Verdict::Protected("apps/*/.build"));
        assert_eq!(of(&["!dist"], "dist/a.js"), Verdict::In);
        assert_eq!(of(&["dist"], "dist/a.js"), Verdict::Out);
        assert_eq!(of(&["*.map"], "dist/a.map"), Verdict::Out);
        assert_eq!(of(&[], "node_modules/dist/a.js"), Verdict::Out);
        assert_eq!(of(&[], "dist/__pycache__/a"), Verdict::Out);
    }

    #[test]
    fn only_what_is_included_is_kept_where_anything_is() {
        assert!(kept(&[], &["src", "*.md"], "src/a/b") && kept(&[], &["src", "*.md"], "README.md"));
        assert!(!kept(&[], &["src", "*.md"], "docs/a.md") && !kept(&["src/gen"], &["src"], "src/gen/x"));
    }

    #[test]
    fn a_file_in_the_repository_has_patterns_too_and_wrong_ones_are_named() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(IGNORE_FILE), "# remark\n\n  *.bin  \n!a.bin\n").unwrap();
        let filter = Filter::of(root.path(), &[], &[]).unwrap();
        assert_eq!(filter.verdict(Path::new("x/b.bin"), true), Verdict::Out);
        assert_eq!(filter.verdict(Path::new("x/a.bin"), true), Verdict::In);
        let error = Filter::of(root.path(), &["a[".to_owned()], &[]).unwrap_err();
        assert!(error.message.contains("`a[` of sync.exclude"), "{error}");
    }
}
