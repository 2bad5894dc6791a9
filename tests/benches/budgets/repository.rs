//! Repositories to measure with: always the same text, as compressible as source code is.

use std::fmt::Write as _;

use crabbox_tests::{Profile, World};

/// A world whose repository has so many files of that size on average.
pub(crate) fn repository(files: u32, size: u32) -> World {
    let world = World::of(Profile::Release);
    let mut text = Text::new();
    for n in 0..files {
        // Most are small and a few are large, as in any repository.
        let bytes = f64::from(size) * -(1.0 - text.fraction()).ln();
        world.write(&path(n), text.take(bytes as usize));
    }
    // Git's own copy is not what is measured.
    world.git(&["-c", "core.looseCompression=0", "-c", "core.fsync=none", "add", "--all"]);
    world
}

/// Twenty to a directory, three directories deep.
pub(crate) fn path(n: u32) -> String {
    format!("module{:02}/part{:03}/unit{:02}/file{n:06}.rs", n / 20 % 50, n / 1000, n / 20 % 7)
}

/// Lines of made-up words: some often, most seldom.
struct Text {
    state: u64,
    words: Vec<String>,
}

impl Text {
    fn new() -> Self {
        let mut text = Self { state: 0x9e37_79b9_7f4a_7c15, words: Vec::new() };
        for _ in 0..3000 {
            let length = 2 + text.below(9);
            let word = (0..length).map(|_| char::from(b'a' + text.below(26) as u8)).collect();
            text.words.push(word);
        }
        text
    }

    /// Xorshift: nothing of it has to be unpredictable.
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() % most as u64) as usize
    }

    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn take(&mut self, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes + 80);
        while text.len() < bytes {
            let indent = 4 * self.below(5);
            let _ = write!(text, "{:indent$}", "");
            for _ in 0..1 + self.below(8) {
                let rare = self.fraction().powi(8);
                let word = &self.words[(rare * self.words.len() as f64) as usize];
                text.push_str(word);
                text.push_str([" ", " ", ".", "(", ", ", " = "][self.state as usize % 6]);
            }
            text.push_str(";\n");
        }
        text.truncate(bytes);
        text
    }
}
