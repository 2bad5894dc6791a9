//! Whatever a plugin writes, the codec neither panics nor loses count of the lines.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use crabbox_protocol::*;

/// xorshift64: the same numbers at every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// How many inputs of each kind. `CRABBOX_TEST_FUZZ` multiplies them.
fn rounds() -> usize {
    let factor = std::env::var("CRABBOX_TEST_FUZZ").ok().and_then(|text| text.parse().ok());
    20_000 * factor.unwrap_or(1)
}

/// Every line of the wire examples.
fn lines() -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("wire");
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let texts = files.iter().map(|file| fs::read(file).unwrap());
    texts.flat_map(|text| text.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>()).collect()
}

/// Decodes a line on both sides, and what it carries as the result of every method.
fn decode(line: &[u8]) {
    fn result<C: Call>(value: &serde_json::Value) {
        let _ = decode_lenient::<C::Result>(value.clone(), &mut Vec::new());
    }
    match decode_plugin_line(line) {
        Decoded::Message(PluginMessage::Response { outcome: Ok(raw), .. }, _) => {
            let Ok(value) = serde_json::from_str(raw.get()) else { return };
            result::<InitializeParams>(&value);
            result::<AcquireParams>(&value);
            result::<ResolveParams>(&value);
            result::<RunParams>(&value);
            result::<ListParams>(&value);
        }
        Decoded::Message(PluginMessage::Output(output), _) => drop(output.into_bytes()),
        _ => {}
    }
    let _ = decode_host_line(line);
}

#[test]
fn arbitrary_bytes_are_no_danger() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..rounds() {
        let length = random.below(80);
        let line: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        decode(&line);
    }
}

#[test]
fn arbitrary_json_is_no_danger() {
    const PIECES: &str = r#"
        { } [ ] : , [] {} null true 0 1 -1 7.0 1e308 18446744073709551616 "" "7" "\ud800" "\u0000"
        "id" "method" "params" "result" "error" "data" "kind" "request" "text" "base64"
        "output" "lease" "progress" "cancel" "jsonrpc":"2.0", "id":1, "method":"output", "result":
    "#;
    let pieces: Vec<_> = PIECES.split_whitespace().collect();
    let mut random = Random(0xd1b5_4a32_d192_ed03);
    for _ in 0..rounds() {
        let mut line = String::from("{");
        for _ in 0..random.below(24) {
            line.push_str(random.pick::<&str>(&pieces));
        }
        decode(line.as_bytes());
        line.push('}');
        decode(line.as_bytes());
    }
}

#[test]
fn damaged_messages_are_no_danger() {
    let lines = lines();
    let mut random = Random(0xa076_1d64_78bd_642f);
    for _ in 0..rounds() {
        let mut line = random.pick(&lines).clone();
        for _ in 0..=random.below(4) {
            let at = random.below(line.len() + 1);
            match random.below(4) {
                0 => line.truncate(at),
                1 => line.insert(at, random.next() as u8),
                2 if at < line.len() => line[at] = random.next() as u8,
                _ if at < line.len() => drop(line.remove(at)),
                _ => {}
            }
        }
        decode(&line);
    }
}

#[test]
fn depth_is_no_danger() {
    for (open, close) in
        [("[", "]"), ("{\"result\":", "}"), ("{\"id\":1,\"result\":", "}"), ("{\"params\":", "}")]
    {
        for depth in [100, 200, 100_000] {
            decode(format!("{}0{}", open.repeat(depth), close.repeat(depth)).as_bytes());
            decode(open.repeat(depth).as_bytes());
        }
    }
}

/// The lines of an input that arrives in pieces, and what is left at its end.
fn cut<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Option<Vec<u8>>) {
    let mut buffer = LineBuffer::new();
    let mut lines = Vec::new();
    for piece in pieces {
        buffer.input(piece.len()).extend_from_slice(piece);
        while let Some(line) = buffer.next_line().unwrap() {
            lines.push(line.to_vec());
        }
    }
    (lines, buffer.take_rest())
}

#[test]
fn the_lines_are_the_same_however_the_input_is_cut() {
    let mut random = Random(0xe703_7ed1_a0b4_28db);
    for _ in 0..300 {
        let length = random.below(400);
        let input: Vec<u8> = (0..length).map(|_| *random.pick(b"ab{\"\r\n\n\0\xff")).collect();
        let whole = cut([&input[..]].into_iter());
        let expected: Vec<_> = input.split(|b| *b == b'\n').collect();
        let (last, complete) = expected.split_last().unwrap();
        let complete = complete.iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec());
        assert_eq!(whole.0, complete.collect::<Vec<_>>());
        assert_eq!(whole.1.as_deref().unwrap_or_default(), *last);
        for size in [1, 2, 3, 7, 64] {
            assert_eq!(cut(input.chunks(size)), whole);
        }
        let mut rest = &input[..];
        let pieces = std::iter::from_fn(|| {
            let (piece, after) = rest.split_at(random.below(rest.len().min(50) + 1));
            let end = rest.is_empty();
            rest = after;
            (!end).then_some(piece)
        });
        assert_eq!(cut(pieces), whole);
    }
}
