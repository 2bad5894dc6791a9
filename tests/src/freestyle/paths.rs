//! A guest's paths: where they are on the host.

use std::io;
use std::path::{Path, PathBuf};

use super::answer::Answer;
use super::guest::Guest;
use super::isolation::is_shared;

/// The most links that are followed.
const MAX_LINKS: usize = 40;

/// Checks a path as the API takes it.
pub(super) fn checked(path: &str) -> Result<&str, Answer> {
    let wrong = match () {
        () if !path.starts_with('/') => "must be absolute",
        () if path.split('/').any(|part| part == "..") => "must not contain `..`",
        () if path.chars().count() > 4096 => "is limited to 4096 characters",
        () if path.contains('\0') => "must not contain NUL",
        () => return Ok(path),
    };
    Err(Answer::bad(format!("`path` {wrong}")))
}

impl Guest {
    /// Where a path of the guest is on the host. Links are followed as the guest sees them, the last one only when
    /// `follow` says so. The path need not exist.
    pub(super) fn locate(&self, path: &str, follow: bool) -> io::Result<PathBuf> {
        let mut ahead: Vec<String> = parts(path).rev().collect();
        let mut behind: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(part) = ahead.pop() {
            if part == ".." {
                behind.pop();
                continue;
            }
            behind.push(part);
            if ahead.is_empty() && !follow {
                break;
            }
            let here = self.on_host(&behind);
            if !here.is_symlink() {
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(io::Error::other("too many levels of symbolic links"));
            }
            let target = std::fs::read_link(&here)?;
            let target = target.to_string_lossy();
            if target.starts_with('/') {
                behind.clear();
            } else {
                behind.pop();
            }
            ahead.extend(parts(&target).rev());
        }
        Ok(self.on_host(&behind))
    }

    /// Where a path of the guest is on the host, if it may be written there.
    pub(super) fn locate_writable(&self, path: &str, follow: bool) -> Result<PathBuf, Answer> {
        let located = self.locate(path, follow).map_err(|error| failed(path, &error))?;
        if located == self.root {
            return Err(Answer::bad("`path` must not be the root"));
        }
        if !located.starts_with(&self.root) {
            let message = format!("{path} is the host's, which the emulator's guests only read");
            return Err(Answer::error(403, "READ_ONLY", message));
        }
        Ok(located)
    }

    fn on_host(&self, parts: &[String]) -> PathBuf {
        let shared = parts.first().is_some_and(|first| is_shared(first));
        let root = if shared { Path::new("/") } else { &self.root };
        root.join(parts.join("/"))
    }
}

fn parts(path: &str) -> impl DoubleEndedIterator<Item = String> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned)
}

/// The error of a file that could not be read or written.
pub(super) fn failed(path: &str, error: &io::Error) -> Answer {
    match error.kind() {
        io::ErrorKind::NotFound => Answer::not_found(path),
        io::ErrorKind::IsADirectory => Answer::bad(format!("{path} is a directory")),
        io::ErrorKind::NotADirectory => Answer::bad(format!("{path}: not a directory")),
        io::ErrorKind::AlreadyExists => Answer::error(409, "CONFLICT", format!("{path} exists")),
        _ => Answer::error(500, "INTERNAL", format!("{path}: {error}")),
    }
}
