//! What the words of `crabbox cp` mean: which side is the lease's, and what a path names.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::shown;
use crate::error::{Error, Result};

/// What is to be copied, and where to.
#[derive(Debug, PartialEq)]
pub(crate) enum Copy {
    /// From here to the lease.
    Up {
        /// Files and directories here.
        from: Vec<PathBuf>,
        /// Where they go.
        to: Remote,
    },
    /// From standard input to a file of the lease.
    In {
        /// The file.
        to: Remote,
    },
    /// From the lease to here.
    Down {
        /// Files and directories of the lease.
        from: Vec<Remote>,
        /// Where they go.
        to: PathBuf,
    },
    /// From a file of the lease to standard output.
    Out {
        /// The file.
        from: Remote,
    },
}

/// A path on a lease.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Remote {
    /// What the user called the lease.
    lease: String,
    /// The path, absolute, or below the workspace.
    path: OsString,
}

impl Remote {
    /// The path as a shell can have it: absolute, or with `./` before it.
    pub(crate) fn word(&self) -> OsString {
        word(self.path.as_bytes())
    }

    /// What it names.
    pub(crate) fn spot(&self) -> Spot {
        Spot::of(&self.path)
    }
}

/// What a path says of what it names.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spot {
    /// The directory that it is in.
    pub(crate) parent: OsString,
    /// Its name there. Absent for a directory by which what is in it is meant: `.`, `dir/..`, `/`.
    pub(crate) name: Option<OsString>,
    /// Whether it has to be a directory.
    pub(crate) directory: bool,
}

impl Spot {
    /// Takes a path apart.
    pub(crate) fn of(path: &OsStr) -> Self {
        let bytes = path.as_bytes();
        let end = bytes.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        let (whole, slash) = (&bytes[..end], end < bytes.len());
        let start = whole.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let name = match &whole[start..] {
            b"" | b"." | b".." => None,
            name => Some(OsStr::from_bytes(name).to_owned()),
        };
        let directory = slash || name.is_none();
        let parent = match &whole[..start] {
            b"" if bytes.starts_with(b"/") => OsString::from("/"),
            parent => word(parent),
        };
        Self { parent, name, directory }
    }
}

/// A path that no program takes for a flag.
fn word(path: &[u8]) -> OsString {
    match path {
        b"" => OsString::from("."),
        [b'/', ..] => OsStr::from_bytes(path).to_owned(),
        path => OsString::from_vec([b"./", path].concat()),
    }
}

/// One of the words.
enum Operand {
    Remote(Remote),
    Local(PathBuf),
    Standard,
}

impl Operand {
    fn parse(word: &OsStr) -> Result<Self> {
        match (word.as_bytes(), lease_in(word)) {
            (b"", _) => Err(Error::usage("an empty word names no file")),
            (b"-", _) => Ok(Self::Standard),
            (bytes, Some(lease)) => {
                let path = OsStr::from_bytes(&bytes[lease.len() + 1..]).to_owned();
                if lease.is_empty() {
                    return Err(Error::usage(format!("`{}` names no lease before the colon", shown(word)))
                        .hint(format!("a file of that name is written `./{}`", shown(word))));
                }
                let lease = String::from_utf8_lossy(lease).into_owned();
                Ok(Self::Remote(Remote { lease, path }))
            }
            (_, None) => Ok(Self::Local(PathBuf::from(word))),
        }
    }
}

/// What stands before a colon, if that is not part of a path: `LEASE:PATH`, and not `./a:b`.
pub(crate) fn lease_in(word: &OsStr) -> Option<&[u8]> {
    let bytes = word.as_bytes();
    let end = bytes.iter().position(|byte| matches!(byte, b':' | b'/'))?;
    (bytes[end] == b':').then_some(&bytes[..end])
}

impl Copy {
    /// What the words mean, and the lease that they name.
    pub(crate) fn parse(sources: &[OsString], destination: &OsStr) -> Result<(String, Self)> {
        let (mut remote, mut local, mut standard) = (Vec::new(), Vec::new(), false);
        for word in sources {
            match Operand::parse(word)? {
                Operand::Remote(path) => remote.push(path),
                Operand::Local(path) => local.push(path),
                Operand::Standard => standard = true,
            }
        }
        let to = Operand::parse(destination)?;
        if standard && sources.len() > 1 {
            return Err(Error::usage("`-` is copied by itself, and there are other sources"));
        }
        if !remote.is_empty() && (standard || !local.is_empty()) {
            return Err(Error::usage("some of the sources are on a lease and some are here")
                .hint("copy them one after the other"));
        }
        let copy = match (to, remote.is_empty()) {
            (Operand::Remote(to), true) => {
                let lease = to.lease.clone();
                return Ok((
                    lease,
                    if standard {
                        file_of(&to)?;
                        Self::In { to }
                    } else {
                        up(local, to)?
                    },
                ));
            }
            (Operand::Remote(_), false) => {
                return Err(Error::usage("both sides are on a lease")
                    .hint("copy to this machine first, or have the one lease fetch it from the other"));
            }
            (_, true) => {
                return Err(Error::usage("neither side is on a lease")
                    .hint("a path on a lease is written `LEASE:PATH`, such as `demo:target/report`"));
            }
            (Operand::Local(to), false) => down(&remote, to)?,
            (Operand::Standard, false) => match &remote[..] {
                [from] => {
                    file_of(from)?;
                    Self::Out { from: from.clone() }
                }
                _ => return Err(Error::usage("only one file goes to standard output")),
            },
        };
        if let Some(other) = remote.iter().find(|path| path.lease != remote[0].lease) {
            let (one, other) = (shown(&remote[0].lease), shown(&other.lease));
            return Err(Error::usage(format!("the sources are on two leases, `{one}` and `{other}`"))
                .hint("copy them one after the other"));
        }
        Ok((remote[0].lease.clone(), copy))
    }
}

fn up(from: Vec<PathBuf>, to: Remote) -> Result<Copy> {
    distinct(&from.iter().map(|path| Spot::of(path.as_os_str())).collect::<Vec<_>>())?;
    Ok(Copy::Up { from, to })
}

fn down(from: &[Remote], to: PathBuf) -> Result<Copy> {
    distinct(&from.iter().map(Remote::spot).collect::<Vec<_>>())?;
    Ok(Copy::Down { from: from.to_vec(), to })
}

/// Several sources have a name each, and no two the same.
fn distinct(spots: &[Spot]) -> Result<()> {
    let mut names = BTreeSet::new();
    for spot in spots.iter().filter(|_| spots.len() > 1) {
        let Some(name) = &spot.name else {
            return Err(Error::usage(
                "what is in a directory is copied by itself, and there are other sources",
            )
            .hint("copy them one after the other"));
        };
        if !names.insert(name) {
            return Err(Error::usage(format!("two of the sources are called `{}`", shown(Path::new(name))))
                .hint("copy them one after the other"));
        }
    }
    Ok(())
}

/// Standard input and output are for a file.
fn file_of(remote: &Remote) -> Result<()> {
    if !remote.spot().directory {
        return Ok(());
    }
    Err(Error::usage(format!("`-` stands for a file, and `{}` is a directory", shown(&remote.path)))
        .hint("name a file on the lease"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<(String, Copy)> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let (to, from) = words.split_last().unwrap();
        Copy::parse(from, to)
    }

    fn remote(path: &str) -> Remote {
        Remote { lease: "demo".to_owned(), path: path.into() }
    }

    fn refused(words: &[&str]) -> String {
        let error = parse(words).unwrap_err();
        assert_eq!(error.exit.code(), 2, "{words:?}");
        error.message
    }

    #[test]
    fn one_side_is_on_a_lease_and_the_other_is_here() {
        let (lease, copy) = parse(&["demo:out", "."]).unwrap();
        assert_eq!(
            (lease.as_str(), copy),
            ("demo", Copy::Down { from: vec![remote("out")], to: ".".into() })
        );
        let (_, copy) = parse(&["a", "b", "demo:/tmp/x:y"]).unwrap();
        assert_eq!(copy, Copy::Up { from: vec!["a".into(), "b".into()], to: remote("/tmp/x:y") });
        assert_eq!(parse(&["-", "demo:x"]).unwrap().1, Copy::In { to: remote("x") });
        assert_eq!(parse(&["demo:x", "-"]).unwrap().1, Copy::Out { from: remote("x") });
        assert_eq!(
            parse(&["./a:b", "demo:"]).unwrap().1,
            Copy::Up { from: vec!["./a:b".into()], to: remote("") }
        );
        assert_eq!(parse(&["/tmp/a:b", "demo:"]).unwrap().0, "demo");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(refused(&["a", "b"]).contains("neither side"));
        assert!(refused(&["-", "b"]).contains("neither side"));
        assert!(refused(&["demo:a", "demo:b"]).contains("both sides"));
        assert!(refused(&["demo:a", "b", "c"]).contains("some of the sources"));
        assert!(refused(&["demo:a", "-", "c"]).contains("by itself"));
        assert!(refused(&["-", "a", "demo:c"]).contains("by itself"));
        assert!(refused(&["demo:a", "other:b", "c"]).contains("two leases"));
        assert!(refused(&["demo:a", "demo:b", "-"]).contains("only one file"));
        assert!(refused(&["demo:x/a", "demo:y/a", "c"]).contains("two of the sources are called `a`"));
        assert!(refused(&["a", "x/.", "demo:c"]).contains("what is in a directory"));
        assert!(refused(&["demo:", "-"]).contains("stands for a file"));
        assert!(refused(&["-", "demo:x/"]).contains("stands for a file"));
        assert!(refused(&[":a", "demo:c"]).contains("names no lease"));
        assert!(refused(&["", "demo:c"]).contains("an empty word"));
    }

    #[test]
    fn a_path_is_taken_apart_as_cp_does() {
        let spot = |path: &str| {
            let Spot { parent, name, directory } = Spot::of(path.as_ref());
            (parent.into_string().unwrap(), name.map(|name| name.into_string().unwrap()), directory)
        };
        let is = |parent: &str, name: Option<&str>, directory| {
            (parent.to_owned(), name.map(str::to_owned), directory)
        };
        assert_eq!(spot("a"), is(".", Some("a"), false));
        assert_eq!(spot("-a"), is(".", Some("-a"), false));
        assert_eq!(spot("-x/-a//"), is("./-x/", Some("-a"), true));
        assert_eq!(spot("/a"), is("/", Some("a"), false));
        assert_eq!(spot("/a/b"), is("/a/", Some("b"), false));
        assert_eq!(spot("..."), is(".", Some("..."), false));
        for (path, parent) in [("", "."), (".", "."), ("a/.", "./a/"), ("../..", "./../"), ("/", "/")] {
            assert_eq!(spot(path), is(parent, None, true), "{path}");
        }
    }

    #[test]
    fn no_path_on_a_lease_is_taken_for_a_flag() {
        let word = |path: &str| remote(path).word().into_string().unwrap();
        assert_eq!([word(""), word("-rf"), word("/x"), word("a b")], [".", "./-rf", "/x", "./a b"]);
    }
}
