//! `run`: what goes in, what comes out, and how it ended.

use std::time::Duration;

use rustix::process::Signal;
use sha2::{Digest, Sha256};

use super::check::Check;
use super::ledger::Verdict;
use super::output::Heard;
use super::processes;
use super::rules;
use super::running::{FIRST, RUN, VARIABLE, any, begin, end, on, place, sh, shell, stubborn};
use super::talk::Talk;
use crate::output::foreign;
use crate::provider::STEP;

/// How long 100 MB may take.
const LARGE: Duration = Duration::from_secs(10 * 60);

/// Waits for a moment, also where `sleep` knows whole seconds only.
const MOMENT: &str = "{ sleep 0.1 2>/dev/null || sleep 1; }";

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
