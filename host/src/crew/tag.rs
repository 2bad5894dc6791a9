//! The tag that a crew's leases wear in a tailnet: `tag:cbx-crew-OWNER-NAME`. A tailnet is shared with others, so the
//! owner is part of it.

use std::process::Command;

use crabbox_protocol::records::Claim;
use sha2::{Digest as _, Sha256};

use super::peers::of_crew;
use crate::config::Env;
use crate::error::Result;
use crate::host::Host;
use crate::lease::normalise;

/// How much of a tag its owner takes: with the longest name of a crew it is 63 characters then, as many as a tag has.
const OWNER: usize = 7;

/// What every crew's tag begins with.
const BEGIN: &str = "tag:cbx-crew-";

/// The tag of a crew of this user.
pub(crate) fn tag(host: &Host, crew: &str) -> Result<String> {
    Ok(tag_of(&host.env, crew, &of_crew(host, crew)?.0))
}

/// The tag of a crew with these members: the one that they have, so that all have the same, wherever they were made.
pub(crate) fn tag_of(env: &Env, crew: &str, claims: &[Claim]) -> String {
    let is_its = |tag: &&String| tag.starts_with(BEGIN) && tag.ends_with(&format!("-{crew}"));
    let worn = |claim: &Claim| claim.tailscale.as_ref()?.tags.iter().find(is_its).cloned();
    claims.iter().find_map(worn).unwrap_or_else(|| new_tag(env, crew))
}

fn new_tag(env: &Env, crew: &str) -> String {
    format!("{BEGIN}{}-{crew}", owner(identity(env).as_deref().unwrap_or_default()))
}

/// Who the user is: what they say, else the address of their commits.
fn identity(env: &Env) -> Option<String> {
    let said = ["CRABBOX_OWNER", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"];
    let said = said.into_iter().find_map(|name| env.text(name).ok().flatten().map(str::to_owned));
    said.or_else(|| {
        let git = Command::new("git").args(["config", "user.email"]).current_dir(env.cwd()).output().ok()?;
        let address = String::from_utf8(git.stdout).ok()?.trim().to_owned();
        (git.status.success() && !address.is_empty()).then_some(address)
    })
}

/// What stands for somebody in a tag: the part before the `@`, and a digest of it where that is long. Upstream's form,
/// so that both name the same crew the same.
fn owner(identity: &str) -> String {
    let local = match identity.split_once('@') {
        Some((local, _)) if !local.is_empty() => local,
        _ => identity,
    };
    match normalise(local) {
        name if name.is_empty() => "user".to_owned(),
        name if name.len() <= OWNER => name,
        name => base32(&Sha256::digest(&name), OWNER),
    }
}

/// The first digits in RFC 4648's alphabet, in lower case.
fn base32(bytes: &[u8], digits: usize) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bit = |at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
    let digit = |at: usize| (0..5).fold(0, |value, next| value << 1 | bit(at * 5 + next));
    (0..digits).map(|at| char::from(ALPHABET[usize::from(digit(at))])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are upstream's, so that both give the same tag.
    #[test]
    fn the_owner_of_a_tag_is_short_and_no_two_are_one() {
        for (identity, short) in [
            ("alice", "alice"),
            ("a@b", "a"),
            ("yossi.eliaz@incredibuild.com", "xyuoqa6"),
            ("@foo", "foo"),
            ("", "user"),
            ("!!", "user"),
        ] {
            assert_eq!(owner(identity), short, "{identity}");
        }
        assert_ne!(owner("yossi.eliaz@b"), owner("yossi.elman@b"));
    }

    #[test]
    fn the_user_is_whom_they_say_else_the_author_of_their_commits() {
        let env = |vars: &[(&str, &str)]| Env::new("/", vars.iter().copied());
        let git = ("GIT_AUTHOR_EMAIL", "ann@b");
        assert_eq!(new_tag(&env(&[("CRABBOX_OWNER", "Bo"), git]), "shop"), "tag:cbx-crew-bo-shop");
        assert_eq!(new_tag(&env(&[git, ("GIT_COMMITTER_EMAIL", "cy@b")]), "shop"), "tag:cbx-crew-ann-shop");
        assert_eq!(new_tag(&env(&[("GIT_COMMITTER_EMAIL", "cy@b")]), "shop"), "tag:cbx-crew-cy-shop");
    }
}
