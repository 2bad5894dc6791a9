//! HuJSON as JSON: a small reader of its own, so that the tests do not believe the one that they test.

/// The same with blanks in the place of comments and trailing commas. `None` for a comment without an end; whether the
/// rest is JSON is for a reader of JSON to say.
pub fn plain(text: &str) -> Option<String> {
    let mut plain = text.as_bytes().to_vec();
    let mut comma = None;
    let mut last = b'{';
    let mut at = 0;
    while at < plain.len() {
        let rest = &text.as_bytes()[at..];
        let comment = match rest {
            [b'/', b'/', ..] => Some(rest.iter().position(|byte| *byte == b'\n')? + 1),
            [b'/', b'*', ..] => Some(rest[2..].windows(2).position(|pair| pair == b"*/")? + 4),
            _ => None,
        };
        match (comment, rest[0]) {
            (Some(length), _) => {
                plain[at..at + length].fill(b' ');
                at += length;
                continue;
            }
            (_, b' ' | b'\t' | b'\r' | b'\n') => {}
            // One that follows nothing stays, and is no JSON.
            (_, b',') => comma = (!b"[{,".contains(&last)).then_some(at),
            (_, b'"') => {
                comma = None;
                let mut escaped = false;
                at += 1 + rest[1..].iter().position(|byte| {
                    let end = *byte == b'"' && !escaped;
                    escaped = *byte == b'\\' && !escaped;
                    end
                })?;
            }
            (_, close) => {
                if let (Some(comma), b'}' | b']') = (comma.take(), close) {
                    plain[comma] = b' ';
                }
            }
        }
        if !rest[0].is_ascii_whitespace() {
            last = rest[0];
        }
        at += 1;
    }
    String::from_utf8(plain).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn comments_and_trailing_commas_go_and_nothing_else() {
        let json = |text: &str| serde_json::from_str::<Value>(&plain(text)?).ok();
        let text = "/* { */ {\"a\": [1, 2, /* , */ ], // ]\n \"b\\\"//\": \",]\\\\\", \"c\": {},}\n";
        assert_eq!(json(text), Some(json!({"a": [1, 2], "b\"//": ",]\\", "c": {}})));
        for text in ["{} // a", "{} /* a", "{\"a", "[,]", "{\"a\": 1,,}", "{} {}", "// a\n"] {
            assert_eq!(json(text), None, "{text}");
        }
    }
}
