//! Whether a lease can be reached by SSH now: over a connection of its own, which ends at once. One that stands says
//! nothing: it is there for a while after the machine is gone.

use std::time::Duration;

use crabbox_protocol::records::Claim;
use tokio::time::timeout;

use super::failure::Failure;
use super::forward::stays;
use super::target::Target;
use crate::Exit;
use crate::error::{Error, Result};
use crate::host::{Chosen, Host};
use crate::paths::private_dir;
use crate::provider::{Guard, Locks};

/// Connects to a lease, and leaves it as it is. An error says why there is no connection within this time.
pub(crate) async fn look(host: &Host, chosen: &Chosen, claim: &Claim, within: Duration) -> Result<()> {
    let no_way = || Error::failure(format!("lease {} is not reached by SSH", claim.lease.slug));
    let target = Target::of(host, &chosen.name, &chosen.env, claim.ssh.as_ref().ok_or_else(no_way)?)?;
    private_dir(&host.paths.known_hosts())?;
    // Not over a connection of the user's own, and not without the command.
    let mut options = vec!["ControlMaster=no".to_owned(), "ControlPath=none".to_owned()];
    if let Some(stays) = stays(&target).await {
        // As old as that one.
        options.extend([stays, "SessionType=default".to_owned(), "StdinNull=no".to_owned()]);
    }
    let guard = Guard::spawn(&Locks::default())
        .map_err(|error| Error::failure("cannot start a guard").cause(error))?;
    let connected = target
        .ssh()
        .args(target.to_connect(&options))
        .arg("exit")
        .process_group(guard.group().as_raw_nonzero().get())
        .kill_on_drop(true)
        .output();
    let connected = timeout(within, connected).await;
    // A proxy that still runs goes with it.
    guard.end().await;
    match connected {
        Ok(Ok(output)) if output.status.code().is_some_and(|code| code != 255) => Ok(()),
        Ok(Ok(output)) => Err(Failure::of(&target, &String::from_utf8_lossy(&output.stderr)).error),
        Ok(Err(error)) => Err(Error::failure("cannot start ssh").cause(error)),
        Err(_) => {
            let after = humantime::format_duration(within);
            Err(Error::new(Exit::Unavailable, format!("{} did not answer within {after}", target.shown())))
        }
    }
}
