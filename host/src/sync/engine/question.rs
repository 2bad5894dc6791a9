//! What a lease holds, without changing anything there.

use std::path::PathBuf;

use crabbox_protocol::RunId;

use super::{Engine, failed, script};
use crate::error::Result;
use crate::sync::manifest::Marker;
use crate::sync::tree::sync_error;

/// How a lease's tree differs from ours.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The marker of the tree that it holds; absent where it holds none.
    pub(crate) base: Option<Marker>,
    /// How many files a sync would send, and their bytes.
    pub(crate) send: (usize, u64),
    /// The paths that it would remove, as far as the base is known here.
    pub(crate) remove: Vec<PathBuf>,
    /// The paths that are not as they were left there.
    pub(crate) dirty: Vec<PathBuf>,
}

impl Engine {
    /// The script that asks a lease what it holds.
    pub(crate) fn question(&self, root: Option<&str>, run: &RunId) -> Vec<u8> {
        // No tree has this marker: the answer is the lease's own.
        let nothing = "0".repeat(64);
        let base = self.base.as_ref().map_or(nothing, |(_, marker)| marker.as_str().to_owned());
        let settings =
            [("how", "check"), ("base", &base), ("next", "-"), ("alone", ""), ("zip", ""), ("file", "")];
        script(root, run, &settings.map(|(name, value)| (name, value.to_owned())))
    }

    /// Takes the answer. `None`: it holds another tree than was thought, which is known; ask again.
    ///
    /// # Errors
    ///
    /// Says why the lease cannot tell.
    pub(crate) fn answered(
        &mut self,
        code: Option<i32>,
        stdout: &[u8],
        stderr: &[u8],
    ) -> Result<Option<Difference>> {
        let mut lines = stdout.split(|byte| *byte == b'\n');
        let answer = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
        match answer.split_once(' ').unwrap_or((&answer, "")) {
            _ if code != Some(0) => Err(failed(code, stdout, stderr)),
            ("clean", _) => Ok(Some(self.difference())),
            ("dirty", _) => {
                self.report(lines.filter(|line| !line.is_empty()));
                Ok(Some(self.difference()))
            }
            ("base", theirs) => {
                let theirs = Marker::parse(theirs);
                let known = theirs.as_ref().and_then(|marker| self.bases.as_ref()?.load(marker));
                let asked = self.base.as_ref().map(|(_, marker)| marker);
                if let (Some(marker), Some(known)) = (&theirs, known)
                    && asked != Some(marker)
                {
                    self.other_base(Some((known, marker.clone())));
                    return Ok(None);
                }
                self.other_base(None);
                Ok(Some(Difference { base: theirs, ..self.difference() }))
            }
            ("many", _) => {
                let base = self.base.as_ref().map(|(_, marker)| marker.clone());
                self.other_base(None);
                Ok(Some(Difference { base, ..self.difference() }))
            }
            ("pending", _) => Err(sync_error("an earlier sync of this lease was not finished")
                .hint("the next `crabbox run` on it finishes it first")),
            _ => self.heard(code, stdout, stderr).map(|_| None),
        }
    }

    fn difference(&self) -> Difference {
        let send = self.bundle().map_or((0, 0), |bundle| (bundle.count(), bundle.content));
        let Some((base, marker)) = &self.base else { return Difference { send, ..Difference::default() } };
        let dirty = self.dirty.iter().map(|n| self.manifest.items[*n].path.clone());
        let remove = self.manifest.delta(base).remove;
        Difference { base: Some(marker.clone()), send, remove, dirty: dirty.collect() }
    }
}
