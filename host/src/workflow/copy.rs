//! `crabbox cp`: files to a lease and back, beside whatever runs there.

mod exchange;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::sync::Arc;

use crabbox_protocol::CancelReason;
use crabbox_protocol::records::Claim;

use self::exchange::Parcel;
use super::aside::{Stop, Watched, aside};
use super::execute::cancel_exit;
use super::held::Held;
use super::script::Said;
use crate::copy::{Copy, Landing, Pack, Remote, Sending, Source, Stage, copy_error};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::{Chosen, Host};
use crate::lease::{RunDir, new_run_id};
use crate::output::{foreign, human, say, warn};
use crate::progress::{Progress, shown_while};
use crate::provider::{Interrupts, Relay};
use crate::sync::unwritable;

/// Copies, and returns what to exit with. What can be checked here is checked before the lease hears of it.
pub(crate) async fn copy(host: &Host, chosen: Chosen, claim: &Claim, what: Copy) -> Result<u8> {
    let mut interrupts = Interrupts::listen()?;
    let done = match what {
        Copy::Up { from, to } => {
            let from = from.into_iter().map(Source::of).collect::<Vec<_>>();
            let pack = Pack::look(&from)?;
            let names = from.into_iter().map(|source| source.name).collect();
            up(host, chosen, claim, Parcel { pack, names, to }, &mut interrupts).await
        }
        Copy::In { to } => {
            let spool = RunDir::create(&host.paths, new_run_id()?)?;
            match standard_input(&spool, &mut interrupts).await {
                Ok(pack) => {
                    let parcel = Parcel { pack, names: vec![None], to };
                    up(host, chosen, claim, parcel, &mut interrupts).await
                }
                Err(error) => Err(error),
            }
        }
        Copy::Down { from, to } => {
            let landing = Landing::of(&to, from.len() > 1)?;
            let run = RunDir::create(&host.paths, new_run_id()?)?;
            run.owns(&landing.stage(run.id()))?;
            let stage = Stage::make(landing, run.id())?;
            down(host, chosen, claim, &from, stage, &mut interrupts).await
        }
        Copy::Out { from } => out(host, chosen, claim, &from, &mut interrupts).await,
    };
    done.map_err(|error| interrupts.blame(error))
}

/// Keeps standard input until it has ended: its size has to be known before it is sent.
async fn standard_input(spool: &RunDir, interrupts: &mut Interrupts) -> Result<Pack> {
    let path = spool.path().join("input");
    let to = path.clone();
    let work = move |stop: Stop| {
        let mut out = Watched::new(File::create(&to).map_err(unwritable)?, stop);
        let copied = io::copy(&mut io::stdin().lock(), &mut out);
        copied.map_err(|error| match out.failed {
            true => unwritable(error),
            false => copy_error("cannot read standard input").cause(error),
        })
    };
    let size = shown_while(&Progress::of("reading standard input"), aside(interrupts, work)).await?;
    Ok(Pack::of_file(path, size, 0o644))
}

/// The lease, ready, with nothing of dead hosts at work on it. Goes in beside the commands that run there.
async fn hold<'a>(
    host: &'a Host,
    chosen: Chosen,
    claim: &Claim,
    interrupts: &mut Interrupts,
) -> Result<Held<'a>> {
    let reused = tokio::select! {
        reused = Held::reuse(host, chosen, claim, None, true) => reused,
        number = interrupts.next() => Err(Error::new(Exit::Signal(number), "interrupted")),
    };
    let mut held = reused?;
    match held.kill_abandoned(true, interrupts).await {
        Ok(()) => Ok(held),
        Err(error) => {
            held.let_go().await;
            Err(error)
        }
    }
}

async fn up(
    host: &Host,
    chosen: Chosen,
    claim: &Claim,
    parcel: Parcel,
    interrupts: &mut Interrupts,
) -> Result<u8> {
    let (files, bytes) = (parcel.pack.files as u64, parcel.pack.bytes);
    let mut held = hold(host, chosen, claim, interrupts).await?;
    let said = held.receive(parcel, interrupts).await;
    held.let_go().await;
    let Said { code, output } = said?;
    if code != Some(0) || !output.stdout.ends_with(b"placed\n") {
        return Err(failed(code, &output.stderr));
    }
    sum_up(files, bytes);
    Ok(0)
}

async fn down(
    host: &Host,
    chosen: Chosen,
    claim: &Claim,
    from: &[Remote],
    stage: Stage,
    interrupts: &mut Interrupts,
) -> Result<u8> {
    let stage = Arc::new(stage);
    let mut held = hold(host, chosen, claim, interrupts).await?;
    let mut parts = Vec::new();
    let mut outcome = Ok(());
    for (n, from) in from.iter().enumerate() {
        let part = OsString::from(n.to_string());
        match held.fetch(from, &stage, part.clone(), interrupts).await {
            Ok(unpacked) => parts.push((part, from.spot().name, unpacked)),
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    held.let_go().await;
    outcome?;
    let (files, bytes) = parts
        .iter()
        .fold((0, 0), |(files, bytes), (_, _, unpacked)| (files + unpacked.files, bytes + unpacked.bytes));
    stage.check(&parts)?;
    let stage = Arc::try_unwrap(stage).map_err(|_| Error::failure("what came is still being written"))?;
    stage.commit(&parts)?;
    sum_up(files, bytes);
    Ok(0)
}

async fn out(
    host: &Host,
    chosen: Chosen,
    claim: &Claim,
    from: &Remote,
    interrupts: &mut Interrupts,
) -> Result<u8> {
    let mut held = hold(host, chosen, claim, interrupts).await?;
    let (code, output) = held.send(from, Sending::Bytes, Relay::half_live, interrupts).await;
    held.let_go().await;
    match (output.broken, output.failure) {
        (true, None) => Ok(cancel_exit(CancelReason::Hangup).code()),
        (_, Some(error)) => Err(copy_error("cannot write to standard output").cause(error)),
        (false, None) => {
            let code = code?;
            if code == Some(0) { Ok(0) } else { Err(failed(code, &output.stderr)) }
        }
    }
}

/// Whether the lease has sent everything. A file that grew while it was read came as it was when that began.
fn check_sent(code: Option<i32>, stderr: &[u8]) -> Result<()> {
    let said = lines(stderr);
    let grew = || !said.is_empty() && said.iter().all(|line| line.ends_with(": file changed as we read it"));
    if code == Some(0) || (code == Some(1) && grew()) {
        said.iter().take(MOST).for_each(|line| warn(format!("the lease says: {line}")));
        return Ok(());
    }
    Err(failed(code, stderr))
}

/// What failed on the lease.
fn failed(code: Option<i32>, stderr: &[u8]) -> Error {
    let said = lines(stderr);
    match (code, &said[..]) {
        (Some(1), [only]) => copy_error(only),
        (Some(_), [_, ..]) => {
            said.iter().take(MOST).fold(copy_error("the copy failed on the lease"), Error::cause)
        }
        (Some(code), []) => copy_error(format!("the copy failed on the lease with code {code}")),
        (None, _) => copy_error("the copy was ended on the lease by a signal"),
    }
}

/// How many lines of what a lease says are passed on.
const MOST: usize = 5;

/// The lines that were printed, safe to print.
fn lines(printed: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(printed);
    text.lines().filter(|line| !line.trim().is_empty()).map(foreign).collect()
}

fn sum_up(files: u64, bytes: u64) {
    let what = if files == 1 { "file" } else { "files" };
    say(format!("copied {files} {what}, {}", human(bytes)));
}
