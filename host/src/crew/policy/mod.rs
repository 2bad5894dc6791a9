//! A crew's rows in the policy of its tailnet: who may give its tag, and that its members reach each other.
//!
//! Without them nobody can join under the tag. A policy belongs to everybody in the tailnet, so it is read only, unless
//! the user asked for the rows to be written: then it is read, two rows are added and nothing else is touched, and it
//! is written back under the condition that nobody else wrote in between. `parse` reads a policy, `shape` finds what
//! counts in it, `edit` adds the rows, `control` speaks to the control plane.
//!
//! A policy that is not understood is never written.

mod control;
mod edit;
mod parse;
mod shape;
#[cfg(test)]
mod tests;

pub(crate) use control::{Control, MAYBE_WRITTEN, control_url};

use serde_json::{Value, json};

use crate::config::{Env, boolean};
use crate::error::{Error, Result};

/// How a policy stands with the rows of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// They are in it.
    There,
    /// They have just been written.
    Written,
    /// They are not in it.
    Missing,
    /// The control plane has no policy that could be asked for, and why we think so.
    NoApi(String),
}

/// The variable that says that rows may be written.
const OPT_IN: &str = "CRABBOX_CREW_ACL_BOOTSTRAP";

/// Whether the user wants rows to be written.
pub(crate) fn is_opted_in(env: &Env) -> Result<bool> {
    let wrong = |why: String| {
        Error::usage(format!("`{OPT_IN}`: {why}")).hint("1 lets crabbox edit the tailnet's policy")
    };
    env.text(OPT_IN).and_then(|text| text.map_or(Ok(false), boolean)).map_err(wrong)
}

/// Who may give a crew's tag: what a control plane takes for an owner, and wants to have owned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owners {
    /// A tailnet's administrators, of whom Tailscale has a group. It wants a tag to be somebody's.
    Administrators,
    /// Nobody. headscale has no such group, and refuses a policy with it; what it wants is that the tag is there. A node
    /// has its tags from its auth key, and one that asks for tags besides is refused (0.29.1, `invalid owner format`,
    /// `requested tags`).
    Nobody,
}

impl Owners {
    /// What the control plane takes that the environment names. All that are not Tailscale's are taken for headscale.
    pub(crate) fn of(env: &Env) -> Self {
        let is_headscales = |key: &str| key.starts_with(control::HEADSCALES);
        let key = env.text(super::API_KEY).ok().flatten();
        match control_url(env) {
            Ok(Some(url)) if !control::is_tailscales(url) => Self::Nobody,
            _ if key.is_some_and(is_headscales) => Self::Nobody,
            _ => Self::Administrators,
        }
    }

    fn list(self) -> Value {
        match self {
            Self::Administrators => json!(["autogroup:admin"]),
            Self::Nobody => json!([]),
        }
    }
}

/// The rows of a tag, for somebody who adds them by hand.
pub(crate) fn rows(tag: &str, owners: Owners) -> Vec<String> {
    vec![
        format!("in \"tagOwners\": {}", edit::owner_row(tag, owners)),
        format!("in \"grants\": {}", edit::grant_row(tag)),
        format!("or in \"acls\", where there are no grants: {}", edit::acl_row(tag)),
    ]
}

/// What is to be done besides, where the control plane does not take the tag from those who join.
pub(crate) fn besides(tag: &str, owners: Owners) -> Option<String> {
    (owners == Owners::Nobody)
        .then(|| format!("the auth key has to have the tag: `headscale preauthkeys create --tags {tag}`"))
}
