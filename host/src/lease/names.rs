//! Identifiers and friendly names.
//!
//! Slugs and remote names are those of openclaw/crabbox for the same lease id, so that a lease is known
//! by one name whichever program looks at it.

use crabbox_protocol::{LeaseId, RunId};

use crate::error::{Error, Result};

const ADJECTIVES: [&str; 14] = [
    "amber", "blue", "brisk", "coral", "crimson", "golden", "harbor", "jade", "pearl", "quick", "silver",
    "swift", "tidal", "violet",
];
const NOUNS: [&str; 8] = ["barnacle", "crab", "crayfish", "hermit", "krill", "lobster", "prawn", "shrimp"];

/// The longest slug.
const LONGEST: usize = 41;

/// FNV-1a, 32 bits.
fn fnv(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn random() -> Result<[u8; 6]> {
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::failure("the system gives no random numbers").cause(error))?;
    Ok(bytes)
}

/// Makes a lease's identifier.
pub(crate) fn new_lease_id() -> Result<LeaseId> {
    random().map(LeaseId::from_bytes)
}

/// Makes a run's identifier.
pub(crate) fn new_run_id() -> Result<RunId> {
    random().map(RunId::from_bytes)
}

/// The slug that a lease gets by itself; `attempt` 0 is the friendly one, the others are for when it is taken.
pub(super) fn slug(id: &LeaseId, attempt: u32) -> String {
    let hash = fnv(id.as_str()) as usize;
    let base =
        format!("{}-{}", ADJECTIVES[hash % ADJECTIVES.len()], NOUNS[(hash / ADJECTIVES.len()) % NOUNS.len()]);
    if attempt == 0 { base } else { format!("{base}-{:04x}", fnv(&format!("{id}-{attempt}")) & 0xffff) }
}

/// The name of the remote resource.
pub(crate) fn remote_name(id: &LeaseId, slug: &str) -> String {
    format!("crabbox-{slug}-{:08x}", fnv(id.as_str()))
}

/// A slug as the user means it: lowercase, each run of anything but letters and digits one dash.
pub(crate) fn normalise_slug(text: &str) -> Result<String> {
    let slug = normalise(text);
    if slug.is_empty() {
        return Err(Error::usage(format!("`{}` is no slug", text.escape_debug()))
            .hint("a slug has letters, digits and dashes, such as `my-branch`"));
    }
    if slug.len() > LONGEST {
        return Err(Error::usage(format!(
            "the slug `{slug}` has {} characters, and {LONGEST} is the most",
            slug.len()
        ))
        .hint("choose a shorter one"));
    }
    Ok(slug)
}

/// A text in lowercase, each run of anything but letters and digits one dash, and none at either end.
pub(crate) fn normalise(text: &str) -> String {
    let mut plain = String::new();
    for c in text.to_lowercase().chars() {
        if c.is_ascii_alphanumeric() {
            plain.push(c);
        } else if !plain.is_empty() && !plain.ends_with('-') {
            plain.push('-');
        }
    }
    plain.trim_end_matches('-').to_owned()
}

/// Whether a text is a slug as we make them.
pub(super) fn is_slug(text: &str) -> bool {
    normalise_slug(text).is_ok_and(|slug| slug == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> LeaseId {
        text.parse().unwrap()
    }

    #[test]
    fn slugs_and_names_are_those_of_upstream() {
        assert_eq!(slug(&id("cbx_000000000001"), 0), "tidal-lobster");
        assert_eq!(slug(&id("cbx_abcdef123456"), 0), "blue-prawn");
        assert_eq!(slug(&id("cbx_deadbeefcafe"), 0), "silver-crab");
        assert_eq!(remote_name(&id("cbx_abcdef123456"), "my-app"), "crabbox-my-app-c80c2195");
        assert!(slug(&id("cbx_abcdef123456"), 1).starts_with("blue-prawn-"));
    }

    #[test]
    fn a_requested_slug_is_made_proper_or_refused() {
        assert_eq!(normalise_slug(" Alpha_Bravo  Charlie! ").unwrap(), "alpha-bravo-charlie");
        assert_eq!(normalise_slug("---a---").unwrap(), "a");
        assert!(normalise_slug("!!").is_err());
        assert!(normalise_slug(&"x".repeat(41)).is_ok());
        assert!(normalise_slug(&"x".repeat(42)).unwrap_err().message.contains("42 characters"));
    }
}
