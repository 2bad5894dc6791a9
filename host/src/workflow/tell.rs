//! A short script of ours on a lease that is reached by SSH.

use std::time::Duration;

use crabbox_protocol::records::Claim;

use super::held::Held;
use crate::error::Result;
use crate::host::{Chosen, Host};
use crate::ssh::Answer;

/// Executes a script there, beside what runs there.
pub(crate) async fn tell(
    host: &Host,
    chosen: Chosen,
    claim: &Claim,
    script: &[u8],
    limit: Duration,
) -> Result<Answer> {
    let held = Held::reuse(host, chosen, claim, None, true).await?;
    let answer = match (held.connection(), held.locks()) {
        (Ok(connection), Ok(locks)) => {
            connection.say(locks, script, limit).await.map_err(|failure| failure.error)
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    held.let_go().await;
    answer
}
