//! The framing: the lines are the same however the input is cut, and any of them can be decoded.
#![no_main]

use crabbox_protocol::{LineBuffer, decode_host_line, decode_plugin_line};
use libfuzzer_sys::fuzz_target;

/// The lines of an input that arrives in pieces, and what is left at its end.
fn cut<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut buffer = LineBuffer::new();
    let mut lines = Vec::new();
    for piece in pieces {
        buffer.input(piece.len()).extend_from_slice(piece);
        while let Some(line) = buffer.next_line().expect("no input is as long as the limit") {
            lines.push(line.to_vec());
        }
    }
    let rest = buffer.take_rest().unwrap_or_default();
    assert_eq!(buffer.next_line(), Ok(None));
    (lines, rest)
}

fuzz_target!(|input: &[u8]| {
    let mut expected: Vec<_> = input.split(|b| *b == b'\n').collect();
    let rest = expected.pop().unwrap_or_default();
    let expected: Vec<_> = expected.iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    // The input says itself how it is cut: that way the fuzzer can find the cuts that matter.
    let seed = input.iter().fold(0, |sum: usize, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
    for size in [input.len().max(1), 1, 1 + seed % 64] {
        let (lines, left) = cut(input.chunks(size));
        assert_eq!((&lines, &*left), (&expected.iter().map(|line| line.to_vec()).collect(), rest));
    }
    for line in expected.into_iter().chain([rest]) {
        let _ = decode_plugin_line(line);
        let _ = decode_host_line(line);
    }
});
