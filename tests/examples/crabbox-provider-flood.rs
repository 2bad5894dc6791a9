//! A provider for benches whose `run` prints `FLOOD_MIB` of text as fast as the host takes it, by
//! notification, without the kit: what is measured is the host.

use std::io::{self, BufRead, Write};

use crabbox_protocol::{MAX_CHUNK, Note, Output, Stream, encode, note};
use serde_json::{Value, json};

fn main() -> io::Result<()> {
    let mebibytes: usize = std::env::var("FLOOD_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(16);
    let mut stdout = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let result = match request["method"].as_str() {
            Some("initialize") => json!({
                "protocol": 1, "name": "flood", "version": "1", "lifecycle": "leased", "env": ["FLOOD_*"],
                "limits": {"createSettleMs": 0},
            }),
            Some("acquire") => json!({"lease": {}}),
            Some("release") => json!({"outcome": "released"}),
            Some("run") => {
                flood(&mut stdout, request["id"].as_u64().unwrap_or_default(), mebibytes)?;
                json!({"exitCode": 0})
            }
            _ => continue,
        };
        writeln!(stdout, "{}", json!({"jsonrpc": "2.0", "id": request["id"], "result": result}))?;
        stdout.flush()?;
    }
    Ok(())
}

/// Prints coloured log lines in pieces of 32 KiB, encoded once.
fn flood(stdout: &mut impl Write, request: u64, mebibytes: usize) -> io::Result<()> {
    let line =
        "\u{1b}[32mok\u{1b}[0m  test \"caf\u{e9}\"\tpassed in 0.12 s, with 3 assertions and 1 warning\n";
    let mut text = line.repeat(MAX_CHUNK / line.len());
    text.push_str(&"x".repeat(MAX_CHUNK - text.len()));
    let message = encode(&Note::new(note::OUTPUT, Output::new(request, Stream::Stdout, text.as_bytes())))?;
    (0..mebibytes * 32).try_for_each(|_| stdout.write_all(&message))
}
