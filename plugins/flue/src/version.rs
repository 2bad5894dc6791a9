//! Which generation of Flue a version belongs to, and how each is asked to run something.

use std::fmt;
use std::str::FromStr;

/// The versions that this provider speaks with, for messages.
pub(crate) const KNOWN: &str = "0.11, 1.x from 1.0.0-beta.3 on, and 2.x";

/// A version of the Flue CLI.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    numbers: [u64; 3],
    /// What follows the first `-`; a release has nothing there.
    pre: Option<String>,
}

/// Command lines that mean the same thing, and differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generation {
    /// 0.11: `run NAME --payload JSON`, which builds a server and runs it as a child.
    Payload,
    /// 1.x from 1.0.0-beta.3 on: `run workflow:NAME --input JSON`, served on a loopback port.
    Workflow,
    /// 2.x: `run MODULE --message TEXT`. There are agents, and no workflows.
    Agent,
}

impl FromStr for Version {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.split('+').next().unwrap_or_default();
        let (numbers, pre) = text.split_once('-').map_or((text, None), |(numbers, pre)| (numbers, Some(pre)));
        let mut parts = numbers.split('.').map(|part| part.parse::<u64>().map_err(|_| ()));
        let mut next = || parts.next().unwrap_or(Err(()));
        let numbers = [next()?, next()?, next()?];
        let well = |pre: &str| {
            !pre.is_empty() && pre.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
        };
        match parts.next().is_none() && pre.is_none_or(well) {
            true => Ok(Self { numbers, pre: pre.map(str::to_owned) }),
            false => Err(()),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        self.pre.as_ref().map_or(Ok(()), |pre| write!(f, "-{pre}"))
    }
}

impl Version {
    /// The generation that this version is of; `None`: it is of none that is known.
    pub(crate) fn generation(&self) -> Option<Generation> {
        let beta =
            self.pre.as_deref().map(|pre| pre.strip_prefix("beta.").and_then(|n| n.parse::<u64>().ok()));
        match (self.numbers, beta) {
            ([0, 11, _], _) => Some(Generation::Payload),
            ([1, 0, 0], Some(beta)) => (beta? >= 3).then_some(Generation::Workflow),
            ([1, ..], _) => Some(Generation::Workflow),
            // Workflows were there until shortly before 2.0.0.
            ([2, 0, 0], Some(_)) => None,
            ([2, ..], _) => Some(Generation::Agent),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_of_one_generation_or_refused() {
        for (text, generation) in [
            ("0.11.0", Some(Generation::Payload)),
            ("0.11.1", Some(Generation::Payload)),
            ("0.10.2", None),
            ("0.8.1", None),
            ("0.12.0", None),
            ("1.0.0-beta.2", None),
            ("1.0.0-beta.3", Some(Generation::Workflow)),
            ("1.0.0-beta.9", Some(Generation::Workflow)),
            ("1.0.0-beta.10", Some(Generation::Workflow)),
            ("1.0.0-alpha.9", None),
            ("1.0.0", Some(Generation::Workflow)),
            ("1.4.0", Some(Generation::Workflow)),
            ("2.0.0-nightly.202607240825", None),
            ("2.0.0", Some(Generation::Agent)),
            ("2.1.0+build", Some(Generation::Agent)),
            ("3.0.0", None),
        ] {
            assert_eq!(text.parse::<Version>().unwrap().generation(), generation, "{text}");
        }
    }

    #[test]
    fn what_is_no_version_is_told() {
        for text in ["", "2", "2.0", "2.0.x", "2.0.0.0", "2.0.0-", "2.0.0-a b", "flue/2.0.3", "v2.0.3"] {
            assert_eq!(text.parse::<Version>(), Err(()), "{text}");
        }
        assert_eq!("1.0.0-beta.9".parse::<Version>().unwrap().to_string(), "1.0.0-beta.9");
    }
}
