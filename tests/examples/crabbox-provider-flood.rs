//! A provider whose `run` prints `FLOOD_MIB` of text as fast as the host takes it, without the kit: what is
//! measured is the host. Called `crabbox-provider-flood` it prints by notification, `flood-path` by path.

use std::fs::File;
use std::io::{self, BufRead, Write};

use crabbox_protocol::{Note, Output, Stream, encode, note};
use crabbox_tests::flood::{DIGITS, block};
use serde_json::{Value, json};

fn main() -> io::Result<()> {
    let own = std::env::args().next().unwrap_or_default();
    let name = own.rsplit("crabbox-provider-").next().unwrap_or_default();
    let features: &[&str] = if name == "flood-path" { &["outputPaths"] } else { &[] };
    let mebibytes: u64 = std::env::var("FLOOD_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(16);
    let mut stdout = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let result = match request["method"].as_str() {
            Some("initialize") => json!({
                "protocol": 1, "name": name, "version": "1", "lifecycle": "leased", "env": ["FLOOD_*"],
                "limits": {"createSettleMs": 0}, "features": features,
            }),
            Some("acquire") => json!({"lease": {}}),
            Some("release") => json!({"outcome": "released"}),
            Some("run") => {
                let blocks = mebibytes * 32;
                match request["params"]["stdout"]["path"].as_str() {
                    Some(path) => by_path(path, blocks)?,
                    None => by_notification(&mut stdout, request["id"].as_u64().unwrap_or_default(), blocks)?,
                }
                json!({"exitCode": 0})
            }
            _ => continue,
        };
        writeln!(stdout, "{}", json!({"jsonrpc": "2.0", "id": request["id"], "result": result}))?;
        stdout.flush()?;
    }
    Ok(())
}

/// Sends a block a message. It is encoded once; then only its number changes.
fn by_notification(stdout: &mut impl Write, request: u64, blocks: u64) -> io::Result<()> {
    let text = block(0);
    let mut message =
        encode(&Note::new(note::OUTPUT, Output::new(request, Stream::Stdout, text.as_bytes())))?;
    let digits = &text.as_bytes()[..DIGITS];
    let at = message.windows(DIGITS).position(|part| part == digits).unwrap_or_default();
    (0..blocks).try_for_each(|number| {
        message[at..at + DIGITS].copy_from_slice(format!("{number:0DIGITS$x}").as_bytes());
        stdout.write_all(&message)
    })
}

/// Writes the blocks as they are, several at a time.
fn by_path(path: &str, blocks: u64) -> io::Result<()> {
    const AT_ONCE: u64 = 32;
    let mut file = File::options().write(true).open(path)?;
    let text = block(0).into_bytes();
    let mut buffer = text.repeat(AT_ONCE as usize);
    for first in (0..blocks).step_by(AT_ONCE as usize) {
        for (number, block) in (first..blocks).zip(buffer.chunks_mut(text.len())) {
            block[..DIGITS].copy_from_slice(format!("{number:0DIGITS$x}").as_bytes());
        }
        file.write_all(&buffer[..text.len() * (blocks - first).min(AT_ONCE) as usize])?;
    }
    Ok(())
}
