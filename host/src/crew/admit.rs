//! Whether the tailnet lets a new lease in under its crew's tag, and the members reach each other. Asked last of all
//! checks, right before the lease is made.

use std::sync::atomic::AtomicBool;

use super::policy::{Control, Owners, Standing, besides, is_opted_in, rows};
use crate::config::Env;
use crate::error::Result;
use crate::output::{say, warn};

/// What the environment says about the tailnet's policy, checked. Nobody is asked.
pub(crate) fn check(env: &Env) -> Result<()> {
    Control::of(env)?;
    is_opted_in(env).map(drop)
}

/// Looks at the policy where there is a key to it, and writes the crew's rows where the user asked for that. Without
/// the rows the lease is made all the same, and they are printed: somebody may add them by hand, or the crew may do
/// without. A policy that should be written and cannot be is an error. Who gives up while `writing` is true cannot know
/// whether it was.
pub(crate) async fn admit(env: &Env, crew: &str, tag: &str, writing: &AtomicBool) -> Result<()> {
    let Some(control) = Control::of(env)? else { return Ok(()) };
    let by_hand = |why: &str| {
        warn(format!(
            "{why}; members of crew {crew} may not reach each other before these rows are in the policy"
        ));
        let owners = Owners::of(env);
        rows(tag, owners).into_iter().chain(besides(tag, owners)).for_each(|row| say(format!("  {row}")));
    };
    if !is_opted_in(env)? {
        match control.look(tag).await {
            Ok(Standing::Missing) => by_hand(
                "the tailnet's policy lacks the crew's rows (CRABBOX_CREW_ACL_BOOTSTRAP=1 writes them)",
            ),
            Ok(Standing::NoApi(why)) => by_hand(&format!("the tailnet's policy cannot be looked at: {why}")),
            Ok(Standing::There | Standing::Written) => {}
            Err(error) => warn(error.to_string()),
        }
        return Ok(());
    }
    match control.ensure(tag, writing).await? {
        Standing::Written => say(format!("the tailnet's policy has rows for {tag} now ({})", control.api())),
        Standing::There => {}
        Standing::Missing => by_hand("the tailnet's policy lacks the crew's rows"),
        Standing::NoApi(why) => by_hand(&format!("the tailnet's policy cannot be written: {why}")),
    }
    Ok(())
}
