//! The engine: what a lease needs to have the tree, request by request, whatever way a request takes.
//!
//! A request is a script and, where something is to be sent, a bundle for its input. The lease answers with one
//! line (`apply.sh` lists the answers), and the engine says whether the lease has the tree now, or what to
//! ask next. The first guess is usually right: an unchanged tree takes one request without a bundle, a
//! changed one takes one with a delta.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crabbox_protocol::RunId;

use super::bases::Bases;
use super::bundle::Bundle;
use super::manifest::{Delta, Manifest, Marker};
use super::tree::{Tree, sync_error};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::output::foreign;
use crate::remote::Script;

mod question;

pub(crate) use question::Difference;

const APPLY: &str = include_str!("apply.sh");

/// How often a lease may answer that its tree is another than was thought.
const TRIES: u32 = 6;

/// What applying a tree does to what is on the lease and not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Apply {
    /// What was managed goes, everything else stays.
    Update,
    /// Everything stays.
    Add,
    /// Everything goes, also what was never managed.
    Replace,
}

/// How a request gets to the lease.
#[derive(Debug, Default)]
pub(crate) struct Way {
    /// Whether nothing else runs there.
    pub(crate) alone: bool,
    /// The bundle's name in `.crabbox/sync/`, where it does not follow on standard input.
    pub(crate) file: Option<String>,
}

/// What the lease's answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The lease has the tree.
    Done,
    /// It does not have it, nothing was touched, and the next request may be the one. It has to be alone on
    /// the lease.
    Again,
}

/// A tree on its way to a lease.
#[derive(Debug)]
pub(crate) struct Engine {
    tree: Tree,
    manifest: Manifest,
    marker: Marker,
    how: Apply,
    /// Whether bundles that are worth it are compressed.
    compressed: bool,
    /// Where to remember what the lease has; absent when nobody will ask it again.
    bases: Option<Bases>,
    /// What the lease is thought to have. Absent: nothing that can be told.
    base: Option<(Manifest, Marker)>,
    /// What to send because it was changed on the lease, by its place in the manifest.
    dirty: BTreeSet<usize>,
    /// What the lease has said to be changed.
    reported: BTreeSet<Vec<u8>>,
    tries: u32,
}

impl Engine {
    /// A tree for a lease. With `bases` the lease's tree can be told in the next sync.
    pub(crate) fn new(tree: Tree, manifest: Manifest, how: Apply, bases: Option<Bases>) -> Self {
        let marker = manifest.marker();
        let base = bases.as_ref().filter(|_| how != Apply::Replace).and_then(Bases::latest);
        let base = base.map(|base| (base.marker(), base)).map(|(marker, base)| (base, marker));
        let (dirty, reported) = Default::default();
        Self { tree, manifest, marker, how, compressed: true, bases, base, dirty, reported, tries: 0 }
    }

    /// Sends bundles as they are: the way to the lease is faster than a compressor.
    pub(crate) fn uncompressed(&mut self) {
        self.compressed = false;
    }

    /// From now on the lease's tree can be told.
    pub(crate) fn remember_in(&mut self, bases: Bases) {
        self.bases = Some(bases);
    }

    /// Whether the lease is thought to have the tree already.
    pub(crate) fn is_up_to_date(&self) -> bool {
        self.dirty.is_empty() && self.base.as_ref().is_some_and(|(_, marker)| *marker == self.marker)
    }

    /// What the next request sends; `None` when it only asks.
    pub(crate) fn bundle(&self) -> Option<Bundle> {
        if self.is_up_to_date() {
            return None;
        }
        let Some((base, _)) = &self.base else {
            let all = 0..self.tree.files.len();
            return Some(Bundle::of(&self.tree, self.lists(), all, self.compressed));
        };
        let mut delta = self.manifest.delta(base);
        delta.send.extend(&self.dirty);
        let mut lists = if delta.other_paths { self.lists() } else { Vec::new() };
        lists.push(("cover", self.cover(&delta)));
        let remove = if self.how == Apply::Add { &[][..] } else { &delta.remove };
        lists.push(("remove", with_nul(remove.iter().map(AsRef::as_ref))));
        Some(Bundle::of(&self.tree, lists, delta.send.into_iter(), self.compressed))
    }

    /// The script of the next request, with what it sends.
    pub(crate) fn script(
        &self,
        root: Option<&str>,
        run: &RunId,
        way: &Way,
        bundle: Option<&Bundle>,
    ) -> Vec<u8> {
        let marker = |marker: Option<&Marker>| marker.map_or("-", Marker::as_str).to_owned();
        let flag = |flag: bool| if flag { "1" } else { "" }.to_owned();
        let base = self.base.as_ref().map(|(_, marker)| marker);
        let (how, next) = match self.how {
            _ if self.is_up_to_date() => ("check", None),
            Apply::Update => ("update", Some(&self.marker)),
            Apply::Add => ("add", Some(&self.marker)),
            Apply::Replace => ("replace", Some(&self.marker)),
        };
        let next = next.filter(|_| self.bases.is_some());
        let settings = [
            ("how", how.to_owned()),
            ("base", marker(base)),
            ("next", marker(next)),
            ("alone", flag(way.alone)),
            ("zip", flag(bundle.is_some_and(Bundle::is_compressed))),
            ("file", way.file.clone().unwrap_or_default()),
        ];
        script(root, run, &settings)
    }

    /// Remembers what the lease will have when the request succeeds, also when nobody hears of it.
    pub(crate) fn announce(&self) {
        if let Some(bases) = &self.bases
            && !self.is_up_to_date()
        {
            bases.keep(&self.manifest, &self.marker);
        }
    }

    /// Writes a bundle of the tree. `wrote` hears how many bytes of its files are done.
    pub(crate) fn write(
        &self,
        bundle: &Bundle,
        out: &mut dyn Write,
        wrote: &mut dyn FnMut(u64),
    ) -> Result<()> {
        bundle.write(&self.tree, out, wrote)
    }

    /// Takes the lease's answer: what it printed, and the code that it ended with.
    ///
    /// # Errors
    ///
    /// Says what failed on the lease. Its previous tree is whole, or the next request makes it so.
    pub(crate) fn heard(&mut self, code: Option<i32>, stdout: &[u8], stderr: &[u8]) -> Result<Heard> {
        let mut lines = stdout.split(|byte| *byte == b'\n');
        let answer = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
        let (word, rest) = answer.split_once(' ').unwrap_or((&answer, ""));
        if code != Some(0) {
            return Err(failed(code, stdout, stderr));
        }
        match word {
            "clean" | "applied" => {
                if let Some(bases) = &self.bases {
                    bases.settle(&self.marker);
                }
                return Ok(Heard::Done);
            }
            "pending" => {}
            "plain" if self.compressed => self.compressed = false,
            "base" => {
                let theirs = Marker::parse(rest);
                let base = theirs.and_then(|marker| Some((self.bases.as_ref()?.load(&marker)?, marker)));
                self.other_base(base);
            }
            "many" => self.other_base(None),
            "dirty" => self.report(lines.filter(|line| !line.is_empty())),
            "lacks" => {
                let tools = foreign(rest);
                return Err(sync_error(format!("this lease lacks what sync needs: {tools}")).hint(
                    "install it where the provider makes leases (an image, a template), or use `--no-sync`",
                ));
            }
            _ => return Err(failed(code, stdout, stderr)),
        }
        self.tries += 1;
        if self.tries >= TRIES {
            return Err(sync_error("the lease's files keep changing while they are synced")
                .hint("end what runs on the lease, or replace its tree with `--full-resync`"));
        }
        Ok(Heard::Again)
    }

    fn other_base(&mut self, base: Option<(Manifest, Marker)>) {
        self.base = base;
        self.dirty.clear();
        self.reported.clear();
    }

    /// The lease's paths that are not as they were left are sent, too. What is not ours goes or stays as ever.
    fn report<'a>(&mut self, lines: impl Iterator<Item = &'a [u8]>) {
        let mut files: HashMap<&[u8], Vec<usize>> = HashMap::new();
        let mut below: HashMap<&[u8], Vec<usize>> = HashMap::new();
        for (n, item) in self.manifest.items.iter().enumerate() {
            files.entry(first_line(&item.path)).or_default().push(n);
            for parent in item.path.ancestors().skip(1) {
                below.entry(first_line(parent)).or_default().push(n);
            }
        }
        for line in lines {
            let found = match line.strip_suffix(b"/") {
                Some(directory) => below.get(directory),
                None => files.get(line),
            };
            self.dirty.extend(found.into_iter().flatten());
            self.reported.insert(line.to_owned());
        }
    }

    /// What the lease need not report because it is dealt with: a line each.
    fn cover(&self, delta: &Delta) -> Vec<u8> {
        let items = self.manifest.items.iter().enumerate();
        let sent = delta.send.iter().map(|n| first_line(&self.manifest.items[*n].path));
        let removed = delta.remove.iter().map(|path| first_line(path));
        let mut lines: BTreeSet<&[u8]> = sent.chain(removed).collect();
        // A line may stand for several paths, where names have newlines: it counts when all are dealt with.
        for (_, item) in items.filter(|(n, _)| !delta.send.contains(n)) {
            lines.remove(first_line(&item.path));
        }
        lines.extend(self.reported.iter().map(Vec::as_slice));
        lines.into_iter().flat_map(|line| [line, b"\n"]).flatten().copied().collect()
    }

    /// The paths of the tree and of its directories, for the lease to keep.
    fn lists(&self) -> Vec<(&'static str, Vec<u8>)> {
        let managed = self.manifest.items.iter().map(|item| item.path.as_ref());
        vec![("managed", with_nul(managed)), ("dirs", with_nul(self.manifest.directories()))]
    }
}

/// The script that finishes a sync that was begun, and changes nothing else.
pub(crate) fn finish_script(root: Option<&str>, run: &RunId) -> Vec<u8> {
    let settings =
        [("how", "finish"), ("base", "-"), ("next", "-"), ("alone", "1"), ("zip", ""), ("file", "")];
    script(root, run, &settings.map(|(name, value)| (name, value.to_owned())))
}

/// What failed on the lease.
pub(crate) fn failed(code: Option<i32>, stdout: &[u8], stderr: &[u8]) -> Error {
    let code = code.map_or("a signal".to_owned(), |code| format!("code {code}"));
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    Error::new(Exit::Sync, format!("the sync failed on the lease with {code}")).cause(foreign(&said))
}

fn script(root: Option<&str>, run: &RunId, settings: &[(&str, String)]) -> Vec<u8> {
    let mut script = Script::new(root);
    for (name, value) in settings {
        script.assign(&format!("cbx_{name}"), value.as_ref());
    }
    script.record(run);
    script.source(APPLY);
    script.finish()
}

/// Paths with a NUL after each.
fn with_nul<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Vec<u8> {
    let bytes = paths.into_iter().flat_map(|path| [path.as_os_str().as_bytes(), b"\0"]);
    bytes.flatten().copied().collect()
}

fn first_line(path: &Path) -> &[u8] {
    let bytes = path.as_os_str().as_bytes();
    bytes.split(|byte| *byte == b'\n').next().unwrap_or(bytes)
}

#[cfg(test)]
mod harness;
#[cfg(test)]
mod rounds;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trouble;
