//! The same in the background: a process of crabbox's own in a session of its own, which says once how it went.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use crabbox_protocol::records::CrewConnection;
use rustix::process::{Pid, Signal, kill_process, setsid};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use super::Plan;
use super::seat::{Seat, Taken};
use super::supervise::supervise;
use crate::crew::members;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::output;
use crate::provider::{Interrupts, own_program};

/// What the process says to whoever started it, once.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Word {
    /// All of it stands.
    Stands(CrewConnection),
    /// Another was first.
    Taken,
    /// It was told to end before it stood.
    Disconnected,
    /// Nothing of it stands.
    Failed { message: String, causes: Vec<String>, hints: Vec<String> },
}

/// How it went.
#[derive(Debug)]
pub(crate) enum Answer {
    /// All of it stands, and goes on without us.
    Stands(CrewConnection),
    /// Another was first.
    Taken,
    /// It was told to end before it stood, by somebody else than us.
    Disconnected,
    /// Nothing of it stands. The process exited so.
    Failed(u8, Error),
}

/// Starts the process, and waits until all stands or has failed. `arguments` are those of [`hold`].
pub(crate) async fn aside(arguments: &[&str], interrupts: &mut Interrupts) -> Result<Answer> {
    let failed = |error| Error::failure("cannot start crabbox in the background").cause(error);
    let mut child = Command::new(own_program().map_err(failed)?)
        .arg0("crabbox")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let mut stdout = child.stdout.take().ok_or_else(|| Error::failure("a pipe is missing"))?;
    let mut said = Vec::new();
    let mut end = None;
    loop {
        tokio::select! {
            read = stdout.read_buf(&mut said) => match read {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            },
            // It is our child, and nobody has waited for it.
            number = interrupts.next() => {
                end = end.or(Some(number));
                pid.map(|pid| kill_process(pid, Signal::TERM));
            }
        }
    }
    if let Some(number) = end {
        pid.map(|pid| kill_process(pid, Signal::TERM));
        let _ = child.wait().await;
        return Err(Error::new(Exit::Signal(number), "interrupted"));
    }
    Ok(match serde_json::from_slice(&said) {
        Ok(Word::Stands(record)) => Answer::Stands(record),
        word => {
            let status = child.wait().await.ok();
            let signal = status.and_then(|status| status.signal());
            let code = status.and_then(|status| status.code());
            let code = code.and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
            let code = code.unwrap_or(Exit::Failure.code());
            match word {
                Ok(Word::Taken) => Answer::Taken,
                Ok(Word::Disconnected) => Answer::Disconnected,
                // That was before it listened.
                Err(_) if signal == Some(Signal::TERM.as_raw()) => Answer::Disconnected,
                Ok(Word::Failed { message, causes, hints }) => {
                    Answer::Failed(code, Error { causes, hints, ..Error::failure(message) })
                }
                _ => Answer::Failed(code, Error::failure("crabbox in the background ended without a word")),
            }
        }
    })
}

/// What the process does. Returns what to exit with.
pub(crate) async fn hold(host: &Host, crew: &str, provider: Option<&str>) -> Result<u8> {
    // Without a terminal, whose end would be ours.
    let _ = setsid();
    let mut seat = match Seat::take(&host.paths, crew).await {
        Ok(Taken::Ours(seat)) => seat,
        Ok(Taken::By(_)) => return tell(&Word::Taken).map(|()| 0),
        Err(error) => return refuse(error),
    };
    let mut stood = false;
    let ended = async {
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(seat.files().log());
        let log = log.and_then(|log| Ok(rustix::stdio::dup2_stderr(log)?));
        log.map_err(|error| Error::failure("cannot write a log").cause(error))?;
        let plan = Plan::of(crew, &members(host, crew, None)?, provider);
        if plan.is_empty() {
            return Err(Error::failure(format!("crew {crew} has nothing to forward any more")));
        }
        let ready = |record: &CrewConnection| {
            tell(&Word::Stands(record.clone()))?;
            stood = true;
            let _ = std::env::set_current_dir("/");
            Ok(())
        };
        supervise(host, &plan, &seat, ready).await
    };
    match ended.await {
        Ok(_) => Ok(0),
        Err(error) if stood => {
            output::error(&error);
            seat.keep_log();
            Ok(error.exit.code())
        }
        Err(error) => {
            drop(seat);
            if matches!(error.exit, Exit::Signal(_)) {
                return tell(&Word::Disconnected).map(|()| error.exit.code());
            }
            refuse(error)
        }
    }
}

fn refuse(error: Error) -> Result<u8> {
    let code = error.exit.code();
    tell(&Word::Failed { message: error.message, causes: error.causes, hints: error.hints })?;
    Ok(code)
}

/// Says it, and lets go of the pipe that it was said into. Where nobody listens any more, nobody wants it any more.
fn tell(word: &Word) -> Result<()> {
    let failed = |error: std::io::Error| Error::failure("nobody hears how it went").cause(error);
    let text = serde_json::to_vec(word).map_err(|error| failed(error.into()))?;
    output::write_all(rustix::stdio::stdout(), &text).map_err(|error| failed(error.into()))?;
    let nowhere = File::options().write(true).open("/dev/null").map_err(failed)?;
    rustix::stdio::dup2_stdout(nowhere).map_err(|error| failed(error.into()))
}
