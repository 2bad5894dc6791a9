//! What the user leaves out of the tree: `sync.exclude`, `.crabboxignore`, `sync.include`.
//!
//! The rules are those of openclaw/crabbox. A pattern fits a path when it is the path or a directory above
//! it; when it has no slash, also any single name in the path; `*` and `?` stop at slashes. Of the patterns
//! that fit, the last one decides, and `!` brings back. `sync.include`, where it is set, lets nothing else in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

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

#[derive(Debug)]
struct Rule {
    brings_back: bool,
    /// It may fit any single name in a path.
    anywhere: bool,
    path: PathBuf,
    glob: GlobMatcher,
}

impl Filter {
    /// The filter of a repository.
    pub(crate) fn of(root: &Path, exclude: &[String], include: &[String]) -> Result<Self> {
        let ignored = match fs::read_to_string(root.join(IGNORE_FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::usage(format!("cannot read `{IGNORE_FILE}`")).cause(error)),
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

    /// Whether a path is brought over.
    pub(super) fn keeps(&self, path: &Path) -> bool {
        let last = self.exclude.iter().rev().find(|rule| rule.fits(path));
        let included = self.include.is_empty() || self.include.iter().any(|rule| rule.fits_whole(path));
        last.is_none_or(|rule| rule.brings_back) && included
    }
}

impl Rule {
    fn parse(text: &str, of: &str) -> Result<Self> {
        let (brings_back, pattern) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('\\').filter(|rest| rest.starts_with('!')).unwrap_or(text)),
        };
        let pattern = pattern.trim_end_matches('/');
        let wrong = |why: String| {
            Error::usage(format!("the pattern `{}` of {of} cannot be used: {why}", foreign(text)))
                .hint("a pattern is a path from the root of the repository, or a name, with `*` and `?`")
        };
        if pattern.is_empty() {
            return Err(wrong("it is empty".to_owned()));
        }
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        Ok(Self {
            brings_back,
            anywhere: !pattern.contains('/'),
            path: pattern.into(),
            glob: glob.map_err(|error| wrong(error.kind().to_string()))?.compile_matcher(),
        })
    }

    /// Whether it fits the path, a directory above it, or a single name in it.
    fn fits(&self, path: &Path) -> bool {
        self.fits_whole(path)
            || path.ancestors().skip(1).any(|above| self.glob.is_match(above))
            || (self.anywhere
                && path.iter().any(|name| self.path == name || self.glob.is_match(Path::new(name))))
    }

    /// Whether it fits the path from its beginning.
    fn fits_whole(&self, path: &Path) -> bool {
        path.starts_with(&self.path) || self.glob.is_match(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(exclude: &[&str], include: &[&str], path: &str) -> bool {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let root = tempfile::tempdir().unwrap();
        Filter::of(root.path(), &texts(exclude), &texts(include)).unwrap().keeps(Path::new(path))
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
    fn only_what_is_included_is_kept_where_anything_is() {
        assert!(kept(&[], &["src", "*.md"], "src/a/b") && kept(&[], &["src", "*.md"], "README.md"));
        assert!(!kept(&[], &["src", "*.md"], "docs/a.md") && !kept(&["src/gen"], &["src"], "src/gen/x"));
    }

    #[test]
    fn a_file_in_the_repository_has_patterns_too_and_wrong_ones_are_named() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(IGNORE_FILE), "# remark\n\n  *.bin  \n!a.bin\n").unwrap();
        let filter = Filter::of(root.path(), &[], &[]).unwrap();
        assert!(!filter.keeps(Path::new("x/b.bin")) && filter.keeps(Path::new("x/a.bin")));
        let error = Filter::of(root.path(), &["a[".to_owned()], &[]).unwrap_err();
        assert!(error.message.contains("`a[` of sync.exclude"), "{error}");
    }
}
