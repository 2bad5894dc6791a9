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

/// The rows of a tag, for somebody who adds them by hand.
pub(crate) fn rows(tag: &str) -> Vec<String> {
    vec![
        format!("in \"tagOwners\": {}", edit::owner_row(tag)),
        format!("in \"grants\": {}", edit::grant_row(tag)),
        format!("or in \"acls\", where there are no grants: {}", edit::acl_row(tag)),
    ]
}
