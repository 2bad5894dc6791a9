//! Output of any size, of which every byte can be told: numbered blocks.

use std::io::{self, Read};

/// The length of a block: as much as a notification of output carries.
pub const BLOCK: usize = 32 * 1024;

/// How many digits a block's number has, at its beginning.
pub const DIGITS: usize = 16;

/// A block: its number, then text with colours, quotes and letters that are not ASCII.
pub fn block(number: u64) -> String {
    let line =
        "\u{1b}[32mok\u{1b}[0m  test \"caf\u{e9}\"\tpassed in 0.12 s, with 3 assertions and 1 warning\n";
    let mut text = format!("{number:0DIGITS$x}") + &line.repeat((BLOCK - DIGITS) / line.len());
    text.push_str(&"x".repeat(BLOCK - text.len()));
    text
}

/// Reads to the end and says how many blocks came.
///
/// # Errors
///
/// Says which block is not what it should be.
pub fn check(mut from: impl Read) -> io::Result<u64> {
    let (mut expected, mut read, mut count) = (block(0).into_bytes(), vec![0; 32 * BLOCK], 0);
    let mut filled = 0;
    loop {
        match from.read(&mut read[filled..])? {
            0 if filled == 0 => return Ok(count),
            0 => return Err(io::Error::other(format!("block {count} ends after {filled} bytes"))),
            more => filled += more,
        }
        let whole = filled / BLOCK * BLOCK;
        for block in read[..whole].chunks(BLOCK) {
            expected[..DIGITS].copy_from_slice(format!("{count:0DIGITS$x}").as_bytes());
            if block != expected {
                return Err(io::Error::other(format!("block {count} is another")));
            }
            count += 1;
        }
        read.copy_within(whole..filled, 0);
        filled -= whole;
    }
}
