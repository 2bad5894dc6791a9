//! What the script answers, line by line.

use crabbox_provider_kit::Error;
use crabbox_provider_kit::protocol::{ErrorKind, LeaseId};
use jiff::Timestamp;

/// What became of a lease's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is there, and ours.
    Lease,
    /// Making it was interrupted.
    Acquiring,
    /// Removing it was interrupted.
    Releasing,
    /// It was there, and is not any more.
    Released,
    /// It is certainly not there.
    Absent,
}

/// The lines of an answer: a key and a value each.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    lines: Vec<(String, String)>,
}

/// A lease's directory, as the list has it.
#[derive(Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) id: LeaseId,
    pub(crate) found: Found,
    pub(crate) slug: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) created: Option<Timestamp>,
}

impl Answer {
    /// Reads what came. `None` when the script did not come to its end.
    pub(crate) fn read(output: &[u8], word: &str) -> Option<Self> {
        let text = String::from_utf8_lossy(output);
        let ours = text.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
        let lines: Vec<_> = ours
            .map(|line| {
                let (key, value) = line.split_once(' ').unwrap_or((line, ""));
                (key.to_owned(), value.trim().to_owned())
            })
            .collect();
        (lines.last()?.0 == "end").then_some(Self { lines })
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.lines.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// What became of the lease's directory.
    pub(crate) fn found(&self) -> Option<Found> {
        Some(match self.get("found")? {
            "lease" => Found::Lease,
            "acquiring" => Found::Acquiring,
            "releasing" => Found::Releasing,
            "released" => Found::Released,
            "absent" => Found::Absent,
            _ => return None,
        })
    }

    /// The error that the script ended with.
    pub(crate) fn error(&self) -> Option<Error> {
        let (kind, text) = self.get("error")?.split_once(' ')?;
        let kind = match kind {
            "configInvalid" => ErrorKind::ConfigInvalid,
            "conflict" => ErrorKind::Conflict,
            "auth" => ErrorKind::Auth,
            "capacity" => ErrorKind::Capacity,
            "unavailable" => ErrorKind::Unavailable,
            _ => ErrorKind::Provider,
        };
        let error = Error::new(kind, text);
        let error = if self.get("untouched").is_some() { error.created(false) } else { error };
        Some(match kind {
            ErrorKind::ConfigInvalid => error.hint("`workRoot` in the block `ssh` says where leases are"),
            ErrorKind::Conflict => error.hint("look at it, and remove it by hand if nobody needs it"),
            _ => error,
        })
    }

    /// The leases that were named. Directories whose names are none of a lease's are nobody's of ours.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut known = false;
        for (key, value) in &self.lines {
            if key == "entry" {
                let (found, id) = if let Some(id) = value.strip_prefix(".acquiring-") {
                    (Found::Acquiring, id)
                } else if let Some(id) = value.strip_prefix(".releasing-") {
                    (Found::Releasing, id)
                } else {
                    (Found::Lease, value.as_str())
                };
                let id = id.parse().ok();
                known = id.is_some();
                entries.extend(id.map(|id| Entry { id, found, slug: None, name: None, created: None }));
                continue;
            }
            let Some(entry) = entries.last_mut().filter(|_| known) else { continue };
            match key.as_str() {
                "slug" => entry.slug = Some(value.clone()),
                "name" => entry.name = Some(value.clone()),
                "created" => entry.created = value.parse().ok(),
                _ => {}
            }
        }
        // Without its marker a directory is nobody's lease.
        entries.retain(|entry| entry.found != Found::Lease || entry.name.is_some());
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Option<Answer> {
        Answer::read(text.as_bytes(), "w0")
    }

    #[test]
    fn what_the_machine_prints_besides_is_no_answer() {
        let text = "Welcome to box!\nw0 begin\nfound lease\nw0 root /x\nw0 found absent\nw1 found lease\nw0 end\nbye\n";
        let answer = answer(text).unwrap();
        assert_eq!((answer.found(), answer.get("root")), (Some(Found::Absent), Some("/x")));
        assert!(answer.error().is_none());
    }

    #[test]
    fn an_answer_without_an_end_is_none() {
        for text in ["", "w0 begin\nw0 found absent\n", "end\n", "w0 found absent\nw0 en"] {
            assert!(answer(text).is_none(), "{text}");
        }
        let error = answer("w0 error conflict `x` is a link\nw0 end\n").unwrap().error().unwrap();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Conflict, "`x` is a link"));
    }

    #[test]
    fn the_list_has_what_is_marked() {
        let text = "w0 entry cbx_000000000001\nw0 lease cbx_000000000001\nw0 slug a b\nw0 name n\nw0 created 2026-11-21T15:00:00Z\n\
                    w0 entry cbx_000000000002\nw0 entry cbx_x\nw0 name no\nw0 entry .releasing-cbx_000000000003\nw0 end\n";
        let entries = answer(text).unwrap().entries();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].slug.as_deref(), Some("a b"));
        assert!(entries[0].created.is_some());
        assert_eq!(entries[1].found, Found::Releasing);
    }
}
