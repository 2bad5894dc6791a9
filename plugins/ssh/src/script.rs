//! The script that does everything on the machine, with what it has to know written in front.

use crabbox_provider_kit::protocol::Lease;
use crabbox_provider_kit::{Error, Result};

use crate::settings::BROAD;

const SCRIPT: &str = include_str!("lease.sh");

/// The name of the file in a lease's directory that says whose it is.
pub(crate) const MARKER: &str = ".crabbox-lease";

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Make the lease's directory, unless it is there.
    Acquire,
    /// Look for it.
    Look,
    /// Remove it.
    Release,
    /// Name every lease.
    List,
    /// Check what a lease needs.
    Doctor,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Acquire => "acquire",
            Self::Look => "look",
            Self::Release => "release",
            Self::List => "list",
            Self::Doctor => "doctor",
        }
    }
}

/// A script to send, and the word that each line of its answer begins with: whatever the machine's own start-up files
/// print, it is not that.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) text: String,
    pub(crate) word: String,
}

impl Script {
    /// The script for a verb and, where it is about one, a lease. `id` is that of the directory.
    ///
    /// # Errors
    ///
    /// `internal` when the system gives no random numbers.
    pub(crate) fn new(verb: Verb, root: &str, lease: Option<(&str, &Lease)>) -> Result<Self> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::internal("the system gives no random numbers").cause(error))?;
        let word: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let (id, slug, name) = lease.map_or(("", "", ""), |(id, lease)| (id, &lease.slug, &lease.name));
        let broad = BROAD.join(" ");
        let values = [
            ("word", word.as_str()),
            ("verb", verb.name()),
            ("root", root),
            ("broad", &broad),
            ("marker", MARKER),
            ("id", id),
            ("slug", slug),
            ("name", name),
        ];
        let head: String = values.iter().map(|(key, value)| format!("{key}={}\n", quoted(value))).collect();
        Ok(Self { text: head + SCRIPT, word })
    }
}

/// A word for a POSIX shell, and for fish.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:@=,+".contains(&byte);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests;
