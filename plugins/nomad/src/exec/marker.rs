//! Finding the word that ends a stream, wherever it was cut into pieces.

/// What a stream ended with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The command's exit code.
    Exited(i32),
    /// The command was never started: its directory could not be made.
    NotStarted,
}

/// Passes on a stream up to its marker: `\x01`, the word, the ending and `;`.
///
/// Nothing is held back but what may be the beginning of the marker: the word is 128 random bits, so nothing else
/// looks like it for long.
#[derive(Debug)]
pub(crate) struct Splitter {
    marker: Vec<u8>,
    /// What may belong to the marker.
    held: Vec<u8>,
    ending: Option<Ending>,
}

/// The longest ending: a code and `;`, with room to spare.
const LONGEST: usize = 16;

impl Splitter {
    /// A splitter for a word.
    pub(crate) fn new(word: &str) -> Self {
        Self { marker: [b"\x01", word.as_bytes()].concat(), held: Vec::new(), ending: None }
    }

    /// Takes the next piece and returns what of the stream is certain now. After the end there is nothing.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        if self.ending.is_some() {
            return Vec::new();
        }
        self.held.extend_from_slice(piece);
        let mut from = 0;
        loop {
            let Some(start) = self.held[from..].iter().position(|byte| *byte == 1).map(|at| from + at) else {
                return std::mem::take(&mut self.held);
            };
            let rest = &self.held[start..];
            let known = rest.len().min(self.marker.len());
            if rest[..known] != self.marker[..known] {
                from = start + 1;
                continue;
            }
            let tail = &rest[known..];
            match tail.iter().position(|byte| *byte == b';') {
                Some(end) => match ending(&tail[..end]) {
                    Some(ending) => {
                        self.ending = Some(ending);
                        self.held.truncate(start);
                        return std::mem::take(&mut self.held);
                    }
                    None => from = start + 1,
                },
                None if tail.len() > LONGEST => from = start + 1,
                None => {
                    let held = self.held.split_off(start);
                    return std::mem::replace(&mut self.held, held);
                }
            }
        }
    }

    /// How the stream ended, once it has.
    pub(crate) fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// What was held back, for a stream that ended without its marker.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

/// How a command ended, once both of its streams have said so: before, what is on its way on the other may be cut off.
pub(crate) fn both(stdout: &Splitter, stderr: &Splitter) -> Option<Ending> {
    stdout.ending().filter(|_| stderr.ending().is_some()).cloned()
}

fn ending(text: &[u8]) -> Option<Ending> {
    match std::str::from_utf8(text).ok()? {
        "fail" => Some(Ending::NotStarted),
        code => code.parse().ok().map(Ending::Exited),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORD: &str = "0123456789abcdef";

    fn whole(stream: &[u8], size: usize) -> (Vec<u8>, Option<Ending>) {
        let mut splitter = Splitter::new(WORD);
        let mut out: Vec<u8> = stream.chunks(size).flat_map(|piece| splitter.push(piece)).collect();
        out.extend(splitter.rest());
        (out, splitter.ending().cloned())
    }

    #[test]
    fn the_marker_is_found_however_it_is_cut() {
        let mut all: Vec<&[u8]> =
            vec![b"", b"\x01", b"\x01\x01\x01", b"\x010123456789abcdeX", b"a\x01012345678"];
        let binary: Vec<u8> = (0..=255).collect();
        all.push(&binary);
        for before in all {
            let stream = [before, b"\x010123456789abcdef137;", b"late"].concat();
            for size in 1..=stream.len() {
                assert_eq!(
                    whole(&stream, size),
                    (before.to_vec(), Some(Ending::Exited(137))),
                    "{size} {before:?}"
                );
            }
        }
        assert_eq!(whole(b"x\x010123456789abcdeffail;", 3), (b"x".to_vec(), Some(Ending::NotStarted)));
    }

    #[test]
    fn a_command_has_ended_when_both_streams_say_so() {
        let (mut one, mut other) = (Splitter::new(WORD), Splitter::new(WORD));
        assert_eq!(both(&one, &other), None);
        one.push(b"\x010123456789abcdef7;");
        assert_eq!((both(&one, &other), both(&other, &one)), (None, None));
        other.push(b"\x010123456789abcdef7;");
        assert_eq!(both(&one, &other), Some(Ending::Exited(7)));
    }

    #[test]
    fn without_a_marker_everything_is_output() {
        for stream in [
            &b"\x010123456789abcdef"[..],
            b"\x010123456789abcdefnonsense;\x01",
            b"\x010123456789abcdef12345678901234567890",
        ] {
            for size in 1..=stream.len() {
                assert_eq!(whole(stream, size), (stream.to_vec(), None), "{size}");
            }
        }
    }

    #[test]
    fn nothing_is_held_back_that_cannot_be_the_marker() {
        let mut splitter = Splitter::new(WORD);
        assert_eq!(splitter.push(b"prompt> "), b"prompt> ");
        assert_eq!(splitter.push(b"a\x01b"), b"a\x01b");
        assert_eq!(splitter.push(b"a\x01"), b"a");
        assert_eq!(splitter.push(b"b"), b"\x01b");
    }
}
