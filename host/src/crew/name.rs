//! What the user calls things: crews, labels, ports.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::lease::normalise_slug;

/// How many ports of a lease others may be promised.
const PORTS: usize = 10;

/// How long a label's key and value may be.
const LABEL: usize = 63;

/// A crew's name as it is compared: written as a slug is. Nothing is no crew. At most 41 characters, so that it fits
/// into a tag of a tailnet behind its owner's name.
pub(crate) fn crew_name(text: &str) -> Result<Option<String>> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let name = normalise_slug(text).map_err(|error| {
        Error::usage(format!("`{}` is no crew's name", text.escape_debug()))
            .cause(error)
            .hint("use letters, digits and `-`")
    })?;
    Ok(Some(name))
}

/// A label, written `KEY=VALUE`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if key.is_empty() || key.len() > LABEL || !key.chars().all(plain) {
        return Err(format!(
            "the key has to be 1 to {LABEL} of the characters A-Z, a-z, 0-9, `.`, `_` and `-`"
        ));
    }
    if value.len() > LABEL || !value.chars().all(|c| plain(c) || "/: ".contains(c)) {
        return Err(format!(
            "the value may have up to {LABEL} of the characters A-Z, a-z, 0-9, `.`, `_`, `-`, `/`, `:` and blank"
        ));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Ports in order, each once.
pub(crate) fn ports(given: &[u16]) -> Result<Vec<u16>> {
    let ports: BTreeSet<u16> = given.iter().copied().collect();
    if ports.contains(&0) {
        return Err(Error::usage("0 is no port").hint("`--expose` takes a port from 1 to 65535"));
    }
    if ports.len() > PORTS {
        return Err(Error::usage(format!("{} ports are more than {PORTS}", ports.len()))
            .hint("leave out some `--expose`"));
    }
    Ok(ports.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crew_is_one_name_however_it_is_written() {
        for (text, name) in [
            ("Alpha_Bravo Charlie", Some("alpha-bravo-charlie")),
            ("crew!!", Some("crew")),
            ("---alpha---", Some("alpha")),
            ("alpha//bravo??", Some("alpha-bravo")),
            ("  ", None),
        ] {
            assert_eq!(crew_name(text).unwrap().as_deref(), name, "{text}");
        }
        assert!(crew_name("!!").is_err());
        assert!(crew_name(&"x".repeat(41)).is_ok() && crew_name(&"x".repeat(42)).is_err());
    }

    #[test]
    fn labels_and_ports_are_checked() {
        assert_eq!(label("team=core/a b").unwrap(), ("team".to_owned(), "core/a b".to_owned()));
        for text in ["", "team", "=x", "a b=c", "a=\n"] {
            assert!(label(text).is_err(), "{text:?}");
        }
        assert_eq!(ports(&[443, 80, 443]).unwrap(), [80, 443]);
        assert!(ports(&[0]).is_err());
        assert!(ports(&(1..=11).collect::<Vec<_>>()).is_err());
    }
}
