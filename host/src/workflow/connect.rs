//! `crabbox connect`: a shell on a lease that is reached by SSH, for a person.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use crabbox_protocol::records::Claim;

use super::held::Held;
use super::reuse::usable;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::{Chosen, Host};
use crate::lease::{RunDir, new_run_id};
use crate::output::warn;
use crate::provider::Interrupts;
use crate::ssh::{line, quoted};

/// Opens a shell in the lease's workspace, and returns what it exited with. Goes in beside what runs there.
pub(crate) async fn connect(host: &Host, chosen: Chosen, claim: &Claim) -> Result<u8> {
    usable(claim)?;
    let mut interrupts = Interrupts::listen()?;
    let run = RunDir::create(&host.paths, new_run_id()?)?;
    let id = run.id().clone();
    let mut held = tokio::select! {
        held = Held::reuse(host, chosen, claim, Some(run), true) => held?,
        number = interrupts.next() => return Err(Error::new(Exit::Signal(number), "interrupted")),
    };
    let root = quoted(claim_root(held.claim()));
    // By the variable it is found, and ended, as a run is.
    let script = format!(
        "cd {root}/ws 2>/dev/null || cd {root} || exit; CRABBOX_RUN_ID={id}; export CRABBOX_RUN_ID; \
         exec \"${{SHELL:-/bin/sh}}\" -l"
    );
    let line = format!("exec {}", line(&["sh".to_owned(), "-c".to_owned(), script]));
    held.note_run(&id, false)?;
    let mut command = held.connection()?.shell(std::io::stdin().is_terminal());
    let child = command.arg(OsString::from(line)).stdin(Stdio::inherit()).kill_on_drop(true).spawn();
    let mut child = child.map_err(|error| Error::failure("cannot start ssh").cause(error))?;
    let heartbeat = held.heartbeat();
    let mut heartbeat = std::pin::pin!(heartbeat);
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            () = &mut heartbeat => {}
            // What is typed goes to the shell there. Whoever ends crabbox ends the connection.
            number = interrupts.next() => if number != 2 { _ = child.start_kill() },
        }
    };
    if let Err(error) = held.forget_run(&id) {
        warn(format!("{error}; the lease still names the run {id}"));
    }
    held.let_go().await;
    let status = status.map_err(|error| Error::failure("cannot wait for ssh").cause(error))?;
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(Exit::Failure.code()))
}

fn claim_root(claim: &Claim) -> &str {
    claim.lease.root.as_deref().unwrap_or(".")
}
