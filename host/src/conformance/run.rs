//! `run`: what goes in, what comes out, and how it ended.

use std::collections::BTreeMap;
use std::time::Duration;

use crabbox_protocol::{FileRef, Lease, Method, PathRef, RunId, RunParams, RunResult, Workspace, feature};
use rustix::process::Signal;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::check::{Check, Place, read, value};
use super::ledger::{Finding, Verdict};
use super::output::{Heard, Pipe};
use super::processes;
use super::rules;
use super::talk::Talk;
use crate::lease::{file_at, new_run_id};
use crate::output::foreign;
use crate::provider::STEP;

/// How long a command may take that does next to nothing.
pub(super) const RUN: Duration = Duration::from_secs(60);

/// How long the first output may take to arrive.
pub(super) const FIRST: Duration = Duration::from_secs(15);

/// How long 100 MB may take.
const LARGE: Duration = Duration::from_secs(10 * 60);

/// Waits for a moment, also where `sleep` knows whole seconds only.
const MOMENT: &str = "{ sleep 0.1 2>/dev/null || sleep 1; }";

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
async fn any(
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
const VARIABLE: (&str, &str) = ("CRABBOX_CHECK", "caf\u{e9} 'n' \"b\"\n$HOME");

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

/// Everything that is tried with runs.
pub(super) async fn check(check: &mut Check<'_>) {
    check.rule(rules::ARGV, argv).await;
    check.rule(rules::STDIN, stdin).await;
    check.rule(rules::NO_STDIN, no_stdin).await;
    check.rule(rules::OUTPUT, output).await;
    check.rule(rules::LIVE, live).await;
    check.rule(rules::LARGE, large).await;
    check.rule(rules::CODES, codes).await;
    check.rule(rules::SIGNALS, signals).await;
    check.rule(rules::DIRECTORY, directory).await;
    check.rule(rules::WORKSPACE, workspace).await;
}

/// The last thing that is done with runs: it may leave one behind, which ends with the lease.
pub(super) async fn ends(check: &mut Check<'_>) {
    check.rule(rules::INPUT_ENDS, input_ends).await;
}

async fn argv(check: &mut Check<'_>) -> Verdict {
    let words = [
        "",
        " ",
        "a b",
        "'",
        "\"",
        "\\",
        "\\n",
        "$HOME",
        "`id`",
        "$(id)",
        "*",
        "~",
        "#",
        ";",
        "&",
        "|",
        "-n",
        "--",
        "%s",
        "\n",
        "\t",
        "\r",
        "a\u{1}b",
        "\u{7f}",
        "caf\u{e9}",
        "\u{2028}",
        "\u{feff}x",
        "\u{1f980}",
    ];
    let mut talk = check.ready().await?;
    let ended = sh(check, &mut talk, r#"for word do printf '%s\0' "$word"; done"#, &words).await?;
    let said: Vec<_> = ended.out.bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let there = said.get(..said.len().saturating_sub(1)).unwrap_or_default();
    if let Some(n) =
        (0..words.len().max(there.len())).find(|n| words.get(*n).copied() != there.get(*n).map(|w| &**w))
    {
        let show = |word: Option<&str>| word.map_or("none".to_owned(), |word| format!("{word:?}"));
        let (ours, theirs) = (show(words.get(n).copied()), show(there.get(n).map(|word| &**word)));
        return Err(talk.finding(format!("word {} was {ours}, and is {theirs}", n + 1)));
    }
    talk.close().await;
    Ok(())
}

/// Every byte, in no order that a text would have, and no LF at the end.
fn odd_bytes() -> Vec<u8> {
    (0..70_001u32).map(|n| (n * 31 % 256) as u8).collect()
}

async fn stdin(check: &mut Check<'_>) -> Verdict {
    let bytes = odd_bytes();
    let mut talk = check.ready().await?;
    let ended = any(check, &mut talk, shell("cat", &[]), Some(&bytes)).await?;
    ended.expect_code(&talk, 0)?;
    same(&talk, "standard input", &bytes, &ended.out)?;
    talk.close().await;
    Ok(())
}

/// Fails unless these are the bytes.
pub(super) fn same(talk: &Talk, what: &str, bytes: &[u8], heard: &Heard) -> Verdict {
    let differs = bytes.iter().zip(&heard.bytes).position(|(a, b)| a != b);
    match differs {
        None if heard.size == bytes.len() as u64 => Ok(()),
        None => Err(talk.finding(format!("{what} had {} bytes, and {} arrived", bytes.len(), heard.size))),
        Some(at) => {
            let show = |bytes: &[u8]| {
                bytes[at..].iter().take(8).map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
            };
            let (ours, theirs) = (show(bytes), show(&heard.bytes));
            Err(talk.finding(format!("{what} differs at byte {at}: {ours}, and {theirs} arrived")))
        }
    }
}

async fn no_stdin(check: &mut Check<'_>) -> Verdict {
    let mut talk = check.ready().await?;
    let ended = sh(check, &mut talk, "cat; echo end", &[]).await?;
    same(&talk, "the output", b"end\n", &ended.out)?;
    talk.close().await;
    Ok(())
}

/// A character comes in two halves, so that pieces have to end within it.
async fn output(check: &mut Check<'_>) -> Verdict {
    let script = format!(
        r#"printf 'a\342\200'; {MOMENT}; printf '\250\360\237'; printf 'e\303\251\n' >&2; {MOMENT}
printf '\246\200\r\n\000\377\376 \033[31m "\\'; printf '\000\001\200\r' >&2; printf 'no newline at the end'"#
    );
    let out = [
        "a\u{2028}".as_bytes(),
        "\u{1f980}".as_bytes(),
        b"\r\n\0\xff\xfe \x1b[31m \"\\",
        b"no newline at the end",
    ];
    let mut talk = check.ready().await?;
    let ended = sh(check, &mut talk, &script, &[]).await?;
    same(&talk, "standard output", &out.concat(), &ended.out)?;
    same(&talk, "standard error", b"e\xc3\xa9\n\0\x01\x80\r", &ended.err)?;
    talk.close().await;
    Ok(())
}

/// The command waits for a file that is made only when its first output has arrived.
async fn live(check: &mut Check<'_>) -> Verdict {
    let file = "check-go";
    let script = format!(
        "rm -f \"$1\"; echo first; n=0; until [ -e \"$1\" ]; do n=$((n + 1)); [ $n -lt 1200 ] || exit 9; {MOMENT}; done; echo second"
    );
    let mut talk = check.ready().await?;
    let (id, _) = begin(check, &mut talk, place(check)?, shell(&script, &[file]), None)?;
    let first = talk.wait("pass on the first output while the command ran", FIRST, |talk| {
        (talk.heard[0].size >= 6).then_some(())
    });
    let first = first.await;
    let mut beside = check.ready().await?;
    sh(check, &mut beside, ": >\"$1\"", &[file]).await?;
    beside.close().await;
    let ended = end(&mut talk, id, RUN).await;
    first?;
    let ended = ended?;
    ended.expect_code(&talk, 0)?;
    same(&talk, "the output", b"first\nsecond\n", &ended.out)?;
    talk.close().await;
    Ok(())
}

async fn large(check: &mut Check<'_>) -> Verdict {
    const SIZE: usize = 100_000_000;
    const LINE: &str =
        "0123456789 the quick brown crab jumps over the lazy \u{1f980} again and again and again\n";
    let script = "yes \"$1\" | head -c 100000000";
    let mut talk = check.ready().await?;
    let argv = shell(script, &[LINE.trim_end()]);
    let ended = on(check, &mut talk, place(check)?, argv, None, LARGE).await?;
    ended.expect_code(&talk, 0)?;
    let mut hash = Sha256::new();
    let block = LINE.repeat(10_000);
    let mut left = SIZE;
    while left > 0 {
        let count = left.min(block.len());
        hash.update(&block.as_bytes()[..count]);
        left -= count;
    }
    let expected: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if ended.out.size != SIZE as u64 || ended.out.sha256() != expected {
        return Err(talk.finding(format!("{} bytes arrived, or others than were printed", ended.out.size)));
    }
    talk.close().await;
    Ok(())
}

async fn codes(check: &mut Check<'_>) -> Verdict {
    let mut talk = check.ready().await?;
    for code in [0, 7, 255] {
        let ended = any(check, &mut talk, shell(&format!("exit {code}"), &[]), None).await?;
        ended.expect_code(&talk, code)?;
    }
    talk.close().await;
    Ok(())
}

async fn signals(check: &mut Check<'_>) -> Verdict {
    let mut talk = check.ready().await?;
    for (name, number) in [("KILL", 9), ("TERM", 15)] {
        let ended = any(check, &mut talk, shell(&format!("kill -s {name} $$"), &[]), None).await?;
        ended.expect_code(&talk, 128 + number)?;
    }
    talk.close().await;
    Ok(())
}

async fn directory(check: &mut Check<'_>) -> Verdict {
    let file = "check-mark";
    let mut talk = check.ready().await?;
    let before = sh(check, &mut talk, "echo mark >\"$1\"; pwd", &[file]).await?;
    talk.close().await;
    let mut talk = check.ready().await?;
    let after = sh(check, &mut talk, "cat \"$1\" >&2; rm -f \"$1\"; pwd", &[file]).await?;
    if before.out.bytes != after.out.bytes || after.err.bytes != b"mark\n" {
        let text = |bytes: &[u8]| foreign(&String::from_utf8_lossy(bytes));
        let (one, other) = (text(&before.out.bytes), text(&after.out.bytes));
        return Err(
            talk.finding(format!("it is `{one}`, and then `{other}`, or what was left there is gone"))
        );
    }
    talk.close().await;
    Ok(())
}

async fn workspace(check: &mut Check<'_>) -> Verdict {
    let mut talk = check.ready().await?;
    let script = format!("cat top deep/er; printf %s \"${}\"", VARIABLE.0);
    let ended = sh(check, &mut talk, &script, &[]).await?;
    same(&talk, "the output", format!("one\ntwo\n{}", VARIABLE.1).as_bytes(), &ended.out)?;
    talk.close().await;
    Ok(())
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

async fn input_ends(check: &mut Check<'_>) -> Verdict {
    let mut talk = check.ready().await?;
    stubborn(check, &mut talk).await?;
    let pid = talk.process.child.id().and_then(|pid| i32::try_from(pid).ok());
    let family = pid.map(processes::below).unwrap_or_default();
    talk.close_input().await;
    if !talk.ended(STEP).await {
        let finding = talk.finding("it was alive 2 s after its input had ended");
        talk.kill().await;
        return Err(finding);
    }
    // What is left in its group the host ends.
    talk.process.signal(Signal::KILL);
    let left = processes::gone(|| processes::still(&family)).await;
    let finding = talk.finding(format!("alive after it, in a group of its own: {}", processes::names(&left)));
    talk.kill().await;
    if left.is_empty() { Ok(()) } else { Err(finding) }
}

/// The lease that runs are on.
pub(super) fn lease(check: &Check<'_>) -> Result<Lease, Finding> {
    super::lease::lease_of(check)
}
