//! Runs as the rules ask for them: begun, waited for, and some that do not end by themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use crabbox_protocol::{FileRef, Method, PathRef, RunId, RunParams, RunResult, Workspace, feature};
use serde_json::Value;

use super::check::{Check, Place, read, value};
use super::ledger::{Finding, Verdict};
use super::output::{Heard, Pipe};
use super::rules;
use super::talk::Talk;
use crate::lease::{file_at, new_run_id};
use crate::output::foreign;

/// How long a command may take that does next to nothing.
pub(super) const RUN: Duration = Duration::from_secs(60);

/// How long the first output may take to arrive.
pub(super) const FIRST: Duration = Duration::from_secs(15);

/// A command that does not end by itself, nor by SIGTERM. It notes its processes in the file `$1`.
const STUBBORN: &str =
    "trap '' HUP INT TERM; sleep 600 & echo $$ $! >\"$1.new\"; mv \"$1.new\" \"$1\"; echo ready; wait";

/// Prints which of the processes that the file `$1` names are alive. What has ended and was not waited for
/// is not.
const ALIVE: &str = r#"for pid in $(cat "$1"); do
  if [ -r /proc/self/stat ]; then
    { IFS= read -r stat </proc/$pid/stat; } 2>/dev/null || continue
    stat=${stat##*") "}
  else
    stat=$(ps -o stat= -p "$pid") || continue
  fi
  case $stat in Z* | X* | '') ;; *) echo "$pid" ;; esac
done"#;

/// A command that has ended.
pub(super) struct Ended {
    answer: Result<Value, Value>,
    pub(super) out: Heard,
    pub(super) err: Heard,
}

impl Ended {
    /// How it ended: the exit code, or 128 and the number of the signal.
    pub(super) fn code(&self, talk: &Talk) -> Result<i32, Finding> {
        let result = self.result(talk)?;
        let signal = result.signal.as_ref().and_then(|signal| signal.number());
        result
            .exit_code
            .or(signal.map(|number| 128 + i32::from(number)))
            .ok_or_else(|| talk.finding("it ended with a signal that has no number"))
    }

    fn result(&self, talk: &Talk) -> Result<RunResult, Finding> {
        match &self.answer {
            Ok(result) => read::<RunParams>(result.clone()),
            Err(error) => Err(talk.refused("`run`", error)),
        }
    }

    /// Fails unless it ended so.
    pub(super) fn expect_code(&self, talk: &Talk, code: i32) -> Verdict {
        let theirs = self.code(talk)?;
        if theirs == code {
            return Ok(());
        }
        let said = foreign(&String::from_utf8_lossy(&self.err.bytes));
        Err(talk.finding(format!("the command ended with {theirs}, not {code}; it printed `{said}`")))
    }
}

/// The argv of a script with words.
pub(super) fn shell(script: &str, words: &[&str]) -> Vec<String> {
    ["sh", "-c", script, "sh"].iter().chain(words).map(|word| (*word).to_owned()).collect()
}

/// Runs a script where things are run, and requires that it succeeds.
pub(super) async fn sh(
    check: &Check<'_>,
    talk: &mut Talk,
    script: &str,
    words: &[&str],
) -> Result<Ended, Finding> {
    let ended = any(check, talk, shell(script, words), None).await?;
    ended.expect_code(talk, 0)?;
    Ok(ended)
}

/// Runs an argv where things are run.
pub(super) async fn any(
    check: &Check<'_>,
    talk: &mut Talk,
    argv: Vec<String>,
    stdin: Option<&[u8]>,
) -> Result<Ended, Finding> {
    on(check, talk, place(check)?, argv, stdin, RUN).await
}

pub(super) fn place(check: &Check<'_>) -> Result<Place, Finding> {
    check.place.clone().map_err(Finding::skipped)
}

/// Runs an argv in a place, and waits for its end.
pub(super) async fn on(
    check: &Check<'_>,
    talk: &mut Talk,
    place: Place,
    argv: Vec<String>,
    stdin: Option<&[u8]>,
    within: Duration,
) -> Result<Ended, Finding> {
    let (id, _) = begin(check, talk, place, argv, stdin)?;
    end(talk, id, within).await
}

/// Asks for a run.
pub(super) fn begin(
    check: &Check<'_>,
    talk: &mut Talk,
    place: Place,
    argv: Vec<String>,
    stdin: Option<&[u8]>,
) -> Result<(u64, RunId), Finding> {
    begin_with(check, talk, place, argv, stdin, None)
}

/// Asks for a run with signs of life, where an interval is given.
pub(super) fn begin_with(
    check: &Check<'_>,
    talk: &mut Talk,
    place: Place,
    argv: Vec<String>,
    stdin: Option<&[u8]>,
    lifeline_ms: Option<u64>,
) -> Result<(u64, RunId), Finding> {
    prepare(check, talk, place, argv, stdin, lifeline_ms)
        .map_err(|error| Finding::skipped(format!("cannot prepare a run: {error}")))
}

fn prepare(
    check: &Check<'_>,
    talk: &mut Talk,
    place: Place,
    argv: Vec<String>,
    stdin: Option<&[u8]>,
    lifeline_ms: Option<u64>,
) -> std::io::Result<(u64, RunId)> {
    let run_id = new_run_id().map_err(std::io::Error::other)?;
    let directory = check.world.path(run_id.as_str());
    std::fs::create_dir(&directory)?;
    let stdin =
        stdin.map(|bytes| file_at(&directory.join("stdin"), |out| out.write_all(bytes))).transpose()?;
    let mut params = RunParams {
        lease: None,
        run_id: run_id.clone(),
        argv,
        stdin,
        lifeline_ms,
        stdout: None,
        stderr: None,
        timeout_ms: None,
        env: BTreeMap::new(),
        workspace: None,
        scratch: None,
    };
    talk.heard = Default::default();
    talk.pipes = None;
    if check.feature(feature::OUTPUT_PATHS) {
        let pipes = [Pipe::make(&directory.join("stdout"))?, Pipe::make(&directory.join("stderr"))?];
        let [out, err] =
            [&pipes[0], &pipes[1]].map(|pipe| PathRef { path: pipe.path().to_string_lossy().into_owned() });
        (params.stdout, params.stderr, talk.pipes) = (Some(out), Some(err), Some(pipes));
    }
    match place {
        Place::Lease(lease) => params.lease = Some(*lease),
        Place::OneShot => {
            let FileRef { path, size, sha256 } = file_at(&directory.join("workspace.tar"), |out| pack(out))?;
            params.workspace = Some(Workspace { path, format: "tar".to_owned(), size, sha256 });
            params.env.insert(VARIABLE.0.to_owned(), VARIABLE.1.to_owned());
            let scratch = directory.join("scratch");
            std::fs::create_dir(&scratch)?;
            params.scratch = Some(scratch.to_string_lossy().into_owned());
        }
    }
    Ok((talk.request(Method::Run.name(), value(&params)), run_id))
}

/// What a one-shot run finds in its environment.
pub(super) const VARIABLE: (&str, &str) = ("CRABBOX_CHECK", "caf\u{e9} 'n' \"b\"\n$HOME");

/// What a one-shot run finds in its directory.
fn pack(out: &mut dyn std::io::Write) -> std::io::Result<()> {
    let mut archive = tar::Builder::new(out);
    for (name, content) in [("top", "one\n"), ("deep/er", "two\n")] {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, content.as_bytes())?;
    }
    archive.finish()
}

/// Waits for the end of a run, and takes what it printed.
pub(super) async fn end(talk: &mut Talk, id: u64, within: Duration) -> Result<Ended, Finding> {
    let answer = talk.answer(id, within).await?;
    let [mut out, mut err] = std::mem::take(&mut talk.heard);
    // The plugin has answered: everything is in the pipes.
    if let Some([stdout, stderr]) = talk.pipes.take() {
        stdout.drain(&mut out);
        stderr.drain(&mut err);
    }
    Ok(Ended { answer, out, err })
}

/// A run that does not end by itself, and the file that names its processes.
pub(super) struct Stubborn {
    pub(super) id: u64,
    pub(super) run: RunId,
    file: String,
}

/// Starts one, and waits until it is there.
pub(super) async fn stubborn(check: &Check<'_>, talk: &mut Talk) -> Result<Stubborn, Finding> {
    start(check, talk, STUBBORN, None, None).await
}

/// Starts a script that notes its processes in the file `$1` and prints `ready`, and waits for that.
pub(super) async fn start(
    check: &Check<'_>,
    talk: &mut Talk,
    script: &str,
    stdin: Option<&[u8]>,
    lifeline_ms: Option<u64>,
) -> Result<Stubborn, Finding> {
    if check.ledger.borrow().broken(rules::LIVE) {
        return Err(Finding::skipped("it has to be seen that the command runs: see `output-is-live`"));
    }
    let file = format!("check-{:04x}", u16::from_ne_bytes(random()));
    let argv = shell(script, &[&file]);
    let (id, run) = begin_with(check, talk, place(check)?, argv, stdin, lifeline_ms)?;
    talk.wait("pass on what the command printed", FIRST, |talk| (talk.heard[0].size >= 6).then_some(()))
        .await?;
    Ok(Stubborn { id, run, file })
}

fn random() -> [u8; 2] {
    let mut bytes = [0; 2];
    let _ = getrandom::fill(&mut bytes);
    bytes
}

impl Stubborn {
    /// Fails while something of it is alive, as another run on the lease sees it.
    pub(super) async fn is_dead(&self, check: &Check<'_>, talk: &mut Talk) -> Verdict {
        if matches!(check.place, Ok(Place::OneShot)) {
            return Ok(());
        }
        let ended = sh(check, talk, ALIVE, &[&self.file]).await?;
        let alive = String::from_utf8_lossy(&ended.out.bytes).into_owned();
        if alive.trim().is_empty() {
            return Ok(());
        }
        let alive = alive.split_whitespace().collect::<Vec<_>>().join(", ");
        Err(talk.finding(format!("of the command is still alive on the lease: process {}", foreign(&alive))))
    }
}
