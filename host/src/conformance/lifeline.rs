//! Signs of life on a run's standard input.

use std::time::Duration;

use crabbox_protocol::feature;

use super::cancel::{GRACE, cancel};
use super::check::Check;
use super::ledger::Verdict;
use super::rules;
use super::run;
use super::running::{self, FIRST, begin_with, shell};
use crate::provider::STEP;

/// How often they are asked for.
const INTERVAL_MS: u64 = 250;

/// How often it is looked whether a command has ended, and how long.
const LOOK: Duration = Duration::from_millis(250);
const LOOKS: usize = 40;

/// Prints the first `$1` bytes of standard input, and then a word for each line that is empty, until there were
/// three of them.
const LISTEN: &str = r#"dd bs=1 count="$1" 2>/dev/null
for n in 1 2 3; do
  IFS= read -r line || { echo ended; exit 0; }
  [ -z "$line" ] && echo alive || { echo "$line"; echo ended; exit 0; }
done"#;

/// A command that ends when its standard input does, and by no signal that can be ignored.
const WAIT: &str = r#"trap '' HUP INT TERM; echo $$ >"$1.new"; mv "$1.new" "$1"; echo ready
while IFS= read -r line; do :; done"#;

/// Tries all of them.
pub(super) async fn check(check: &mut Check<'_>) {
    check.rule(rules::LIFELINE_BEATS, beats).await;
    check.rule(rules::LIFELINE_CLOSES, closes).await;
}

async fn beats(check: &mut Check<'_>) -> Verdict {
    // No LF at its end: what follows is not the file's.
    let file: Vec<u8> = (0..2_001u32).map(|n| (n * 31 % 251) as u8).collect();
    let mut talk = check.ready().await?;
    let argv = shell(LISTEN, &[&file.len().to_string()]);
    let (id, _) = begin_with(check, &mut talk, running::place(check)?, argv, Some(&file), Some(INTERVAL_MS))?;
    let expected = [&file[..], b"alive\nalive\nalive\n"].concat();
    let all = expected.len() as u64;
    let heard = talk.wait("send signs of life", FIRST, |talk| {
        let out = &talk.heard[0];
        (out.size >= all || out.bytes.ends_with(b"ended\n")).then_some(())
    });
    if let Err(finding) = heard.await {
        // The command waits as long as its input is open.
        talk.close().await;
        return Err(finding);
    }
    let ended = running::end(&mut talk, id, running::RUN).await?;
    ended.expect_code(&talk, 0)?;
    run::same(&talk, "standard input with its signs of life", &expected, &ended.out)?;
    talk.close().await;
    Ok(())
}

/// By a cancel, and by the end of the plugin.
async fn closes(check: &mut Check<'_>) -> Verdict {
    if check.feature(feature::CANCEL) {
        let mut talk = check.ready().await?;
        let waits = running::start(check, &mut talk, WAIT, Some(b"begin\n"), Some(INTERVAL_MS)).await?;
        cancel(&mut talk, waits.id);
        // How it is answered is a rule of its own.
        let _ = talk.answer(waits.id, GRACE).await;
        talk.pipes = None;
        ends(check, &waits).await?;
        talk.close().await;
    }
    let mut talk = check.ready().await?;
    let waits = running::start(check, &mut talk, WAIT, Some(b"begin\n"), Some(INTERVAL_MS)).await?;
    talk.close_input().await;
    talk.ended(STEP).await;
    talk.kill().await;
    ends(check, &waits).await
}

/// Waits for the end of a command, which comes by the end of its input.
async fn ends(check: &Check<'_>, waits: &running::Stubborn) -> Verdict {
    let mut beside = check.ready().await?;
    let mut verdict = Ok(());
    for _ in 0..LOOKS {
        verdict = waits.is_dead(check, &mut beside).await;
        if verdict.is_ok() {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    if let Err(finding) = &mut verdict
        && !finding.skipped
    {
        finding.why = format!("its standard input did not end: {}", finding.why);
    }
    beside.close().await;
    verdict
}
