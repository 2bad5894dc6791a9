//! Arbitrary bytes from a plugin: messages that are damaged, cut, repeated, mixed with what is none.

use std::fs;

use crabbox_tests::{Ended, World, wait_for};

use super::{MOST, TRUE};
use crate::support::repository;

/// How many inputs each request gets. `CRABBOX_TEST_FUZZ` multiplies them.
fn inputs() -> u64 {
    let factor: Option<u64> = std::env::var("CRABBOX_TEST_FUZZ").ok().and_then(|text| text.parse().ok());
    12 * factor.unwrap_or(1)
}

/// xorshift64: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// Every line of the wire examples, about the request that is under way.
fn messages() -> Vec<Vec<u8>> {
    let files = fs::read_dir(repository().join("protocol/wire")).unwrap();
    let mut paths: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let texts = paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect::<String>();
    texts.lines().map(|line| about_this(line).into_bytes()).collect()
}

/// Puts the plugin's word for the request under way in the place of a number.
fn about_this(line: &str) -> String {
    let mut text = line.to_owned();
    for key in ["\"id\":", "\"request\":"] {
        if let Some(at) = text.find(key) {
            let begin = at + key.len();
            let digits = text[begin..].bytes().take_while(u8::is_ascii_digit).count();
            if digits > 0 {
                text.replace_range(begin..begin + digits, "@ID@");
            }
        }
    }
    text
}

/// A few lines, some of them damaged.
fn input(messages: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=random.below(6) {
        let mut line = messages[random.below(messages.len())].clone();
        for _ in 0..random.below(4) {
            let at = random.below(line.len() + 1);
            match random.below(5) {
                0 => line.truncate(at),
                1 => line.insert(at, random.below(256) as u8),
                2 => line.extend_from_within(..at),
                3 if at < line.len() => drop(line.remove(at)),
                _ => line.extend((0..random.below(300_000)).map(|n| (n * 7 + at) as u8 | 1)),
            }
        }
        bytes.extend(line);
        bytes.push(b'\n');
    }
    bytes
}

fn survives(method: &str) {
    let messages = messages();
    let world = World::rude(&format!("replay {method}"));
    for seed in 1..=inputs() {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        fs::write(world.bin().join(".rude/bytes"), input(&messages, &mut random)).unwrap();
        world.be(&format!("replay {method} {} once", random.below(2)));
        let ended = Ended::of(world.crabbox(&TRUE).env("CRABBOX_TIMEOUT", "5s"));
        let what = format!("{method}, seed {seed}: {}", ended.stderr);
        assert!(!world.reached().is_empty(), "{what}");
        assert!((0..=7).contains(&ended.code) || ended.code > 128, "{}: {what}", ended.code);
        assert!(!ended.stderr.contains("panicked"), "{what}");
        assert!(ended.peak < MOST, "the host had {} KiB: {what}", ended.peak);
        wait_for("the end of every process", || world.processes().is_empty());
        // Whatever was made of it, the host still knows what there may be, and ends it.
        world.be("");
        assert_eq!(world.run(&["cleanup", "--wait"]).0, 0, "{what}");
        assert_eq!(world.ok(&["list"]), "", "{what}");
    }
}

#[test]
fn in_the_place_of_its_manifest() {
    survives("initialize");
}

#[test]
fn in_the_place_of_a_lease() {
    survives("acquire");
}

#[test]
fn in_the_place_of_a_command() {
    survives("run");
}

#[test]
fn in_the_place_of_a_release() {
    survives("release");
}
