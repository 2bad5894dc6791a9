//! What a lease's workspace is called, and how one is spoken of.
//!
//! Coder's names have 1 to 32 letters, digits and single dashes, none at either end, and are neither `new` nor
//! `create`. Ours are in lower case, because Coder compares them without regard to case.

use std::fmt;

use crabbox_provider_kit::protocol::LeaseId;
use sha2::{Digest as _, Sha256};

/// The longest name that Coder takes.
const LONGEST: usize = 32;

/// The hexadecimal digits at a name's end.
const DIGITS: usize = 6;

/// The shortest part of a slug that is worth to be shown: a longer prefix is refused.
const SHOWN: usize = 4;

/// The name of a lease's workspace: prefix, slug, and a hash of the lease's id. A slug that is too long is cut, and
/// the hash is of it, too.
pub(crate) fn workspace(prefix: &str, id: &LeaseId, slug: &str) -> String {
    let slug = words(slug);
    let room = LONGEST - prefix.len() - 1 - DIGITS;
    if slug.is_empty() {
        return format!("{prefix}{}", digest(id.as_str(), DIGITS));
    }
    if slug.len() <= room {
        return format!("{prefix}{slug}-{}", digest(id.as_str(), DIGITS));
    }
    let cut = slug[..room].trim_end_matches('-');
    format!("{prefix}{cut}-{}", digest(&format!("{id} {slug}"), DIGITS))
}

/// A configured prefix in one spelling: lower case, exactly one dash at its end.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn prefix(text: &str) -> Result<String, String> {
    let name = text.trim().to_lowercase();
    let name = name.trim_matches('-');
    if name.is_empty() {
        return Ok("crabbox-".to_owned());
    }
    if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return Err("has something else than letters, digits and dashes".to_owned());
    }
    if name.contains("--") {
        return Err("has two dashes in a row, which Coder does not take".to_owned());
    }
    let most = LONGEST - DIGITS - 1 - SHOWN - 1;
    if name.len() > most {
        return Err(format!("has {} characters, and {most} is the most", name.len()));
    }
    Ok(format!("{name}-"))
}

/// Letters and digits in lower case, every run of anything else one dash.
fn words(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

/// The first hexadecimal digits of a text's hash.
pub(crate) fn digest(text: &str, digits: usize) -> String {
    let hash = Sha256::digest(text.as_bytes());
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    hex[..digits].to_owned()
}

/// How a workspace is spoken of: by its name, and its owner's where that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) owner: Option<String>,
    pub(crate) name: String,
}

impl Reference {
    /// Reads `NAME` or `OWNER/NAME`. `None` for what Coder would not take either, and for what could be an option.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (owner, name) = match text.split_once('/') {
            Some((owner, name)) => (Some(owner), name),
            None => (None, text),
        };
        let legal = |text: &str| {
            let fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            !text.is_empty() && !text.starts_with('-') && text.bytes().all(fit)
        };
        let whole = legal(name) && !name.contains(['_', '.']) && owner.is_none_or(legal);
        whole.then(|| Self { owner: owner.map(str::to_owned), name: name.to_owned() })
    }

    /// Whether this is a workspace of that owner and name.
    pub(crate) fn means(&self, owner: &str, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
            && self.owner.as_ref().is_none_or(|ours| ours.eq_ignore_ascii_case(owner))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            Some(owner) => write!(f, "{owner}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digits: &str) -> LeaseId {
        format!("cbx_{digits}").parse().unwrap()
    }

    /// Coder's own rule.
    fn valid(name: &str) -> bool {
        (1..=32).contains(&name.len())
            && name.split('-').all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric()))
            && !["new", "create"].contains(&name)
    }

    #[test]
    fn a_name_is_a_function_of_lease_and_slug_that_coder_takes() {
        let one = workspace("crabbox-", &id("5f3a9c0e71b2"), "blue-otter");
        assert_eq!(one, workspace("crabbox-", &id("5f3a9c0e71b2"), "Blue--Otter!"));
        assert!(one.starts_with("crabbox-blue-otter-") && one.len() == "crabbox-blue-otter-".len() + 6);
        assert_ne!(one, workspace("crabbox-", &id("5f3a9c0e71b3"), "blue-otter"));
        let long = "a-slug-that-is-much-too-long-for-what-coder-takes";
        for slug in
            ["x", "new", "create", "", "---", "übung", "a_b.c", "a--b", long, &long[..17], &long[..18]]
        {
            for text in ["crabbox-", "", "x", "A-Team-", "twenty-characters-20"] {
                let name = workspace(&prefix(text).unwrap(), &id("5f3a9c0e71b2"), slug);
                assert!(valid(&name) && name == name.to_lowercase(), "{name}");
            }
        }
    }

    #[test]
    fn two_long_slugs_never_collide() {
        let name = |slug: &str| workspace("crabbox-", &id("5f3a9c0e71b2"), slug);
        let (one, other) =
            (name("the-same-beginning-and-then-this"), name("the-same-beginning-and-then-that"));
        assert_ne!(one, other);
        assert_eq!(one[..26], other[..26]);
    }

    #[test]
    fn a_prefix_has_one_spelling() {
        for (text, want) in [
            ("crabbox-", "crabbox-"),
            ("", "crabbox-"),
            ("--", "crabbox-"),
            ("-Team-", "team-"),
            ("a-b", "a-b-"),
        ] {
            assert_eq!(prefix(text).unwrap(), want, "{text}");
        }
        for text in ["a--b", "a_b", "ä", "a/b", "much-too-long-for-this"] {
            assert!(prefix(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_reference_has_an_owner_or_not() {
        for (text, owner, name) in
            [("x", None, "x"), ("ada/x", Some("ada"), "x"), (" a.b_c/x-1 ", Some("a.b_c"), "x-1")]
        {
            let reference = Reference::parse(text).unwrap();
            assert_eq!((reference.owner.as_deref(), reference.name.as_str()), (owner, name));
            assert_eq!(reference.to_string(), text.trim());
        }
        for text in ["", "/", "a/", "/x", "a/b/c", "x.agent", "-x", "-a/x", "a b", "!!!", "a--b/../c"] {
            assert_eq!(Reference::parse(text), None, "{text}");
        }
        let reference = Reference::parse("Ada/Box").unwrap();
        assert!(reference.means("ada", "box") && !reference.means("bob", "box"));
        assert!(Reference::parse("BOX").unwrap().means("bob", "box"));
    }
}
