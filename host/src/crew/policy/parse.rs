//! Reads a policy: HuJSON, which is JSON with comments and trailing commas and nothing else. Whatever else the parser
//! would let pass is refused here, so that nobody reads the result in another way than we did: Tailscale's own reader
//! is the measure (github.com/tailscale/hujson).

use std::ops::Range;

use jsonc_parser::ast::{Object, Value};
use jsonc_parser::tokens::{Token, TokenAndRange};
use jsonc_parser::{CollectOptions, CommentCollectionStrategy, ParseOptions, parse_to_ast};

/// A policy that was understood.
#[derive(Debug)]
pub(super) struct Policy<'a> {
    /// All of it.
    pub(super) text: &'a str,
    /// What it is, with places.
    pub(super) root: Object<'a>,
    /// What it means, read a second time by another parser.
    pub(super) value: serde_json::Value,
    /// Where its comments are, in their order.
    comments: Vec<Range<usize>>,
}

/// Only what HuJSON has.
const STRICT: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// Reads a policy, or says why it is none.
pub(super) fn parse(bytes: &[u8]) -> Result<Policy<'_>, String> {
    let text =
        str::from_utf8(bytes).map_err(|error| format!("it is not UTF-8 at byte {}", error.valid_up_to()))?;
    if text.starts_with('\u{feff}') {
        return Err("it begins with a byte order mark".to_owned());
    }
    let collect = CollectOptions { comments: CommentCollectionStrategy::AsTokens, tokens: true };
    let parsed = parse_to_ast(text, &collect, &STRICT).map_err(|error| {
        let at = Place::of(text, error.range().start);
        format!("{} {at}", lower(&error.kind().to_string()))
    })?;
    let tokens = parsed.tokens.unwrap_or_default();
    let comments = comments(text, &tokens)?;
    let plain = plain(text, &tokens, &comments);
    let root = match parsed.value {
        Some(Value::Object(root)) => root,
        Some(_) => return Err("it is no object".to_owned()),
        None => return Err("it is empty".to_owned()),
    };
    let value = serde_json::from_str(&plain).map_err(|error| lower(&error.to_string()))?;
    Ok(Policy { text, root, value, comments })
}

/// Looks at everything between the tokens and within them. Returns where the comments are.
fn comments(text: &str, tokens: &[TokenAndRange<'_>]) -> Result<Vec<Range<usize>>, String> {
    let mut comments = Vec::new();
    let mut last = 0;
    for token in tokens {
        let Range { start, end } = token.range.start..token.range.end;
        blank(text, last..start)?;
        last = end;
        let source = &text[start..end];
        match token.token {
            Token::CommentLine(_) => {
                // The parser ends one at a carriage return, too, others go on.
                if !text[end..].starts_with('\n') && !text[end..].starts_with("\r\n") {
                    return Err(format!("no line ends after the comment {}", Place::of(text, start)));
                }
                // Lines of JavaScript end at these, and Tailscale's reader wants none where that would matter.
                if source.contains(['\u{2028}', '\u{2029}']) {
                    return Err(format!(
                        "there is a line separator in the comment {}",
                        Place::of(text, start)
                    ));
                }
                comments.push(start..end);
            }
            Token::CommentBlock(_) => comments.push(start..end),
            Token::String(_) if source.bytes().any(|byte| byte < b' ') => {
                return Err(format!("there is a control character in the string {}", Place::of(text, start)));
            }
            _ => {}
        }
    }
    blank(text, last..text.len())?;
    Ok(comments)
}

/// JSON has four blanks.
fn blank(text: &str, range: Range<usize>) -> Result<(), String> {
    let odd = text[range.clone()].find(|c| !matches!(c, ' ' | '\t' | '\r' | '\n'));
    odd.map_or(Ok(()), |n| {
        Err(format!("there is something else than blanks {}", Place::of(text, range.start + n)))
    })
}

/// The same as JSON: blanks in the place of comments and trailing commas.
fn plain(text: &str, tokens: &[TokenAndRange<'_>], comments: &[Range<usize>]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for range in comments {
        bytes[range.clone()].fill(b' ');
    }
    let is_comment =
        |token: &&TokenAndRange<'_>| matches!(token.token, Token::CommentLine(_) | Token::CommentBlock(_));
    let tokens: Vec<_> = tokens.iter().filter(|token| !is_comment(token)).collect();
    for pair in tokens.windows(2) {
        if let (Token::Comma, Token::CloseBrace | Token::CloseBracket) = (&pair[0].token, &pair[1].token) {
            bytes[pair[0].range.start] = b' ';
        }
    }
    // Comments were replaced as a whole, so it is UTF-8 as before.
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Policy<'_> {
    /// The bytes of a range that belong to no comment, with their places.
    pub(super) fn outside(&self, range: Range<usize>) -> impl DoubleEndedIterator<Item = (usize, u8)> {
        let bytes = self.text.as_bytes()[range.clone()].iter().copied();
        range.zip(bytes).filter(|(at, _)| {
            let after = self.comments.partition_point(|comment| comment.start <= *at);
            after == 0 || self.comments[after - 1].end <= *at
        })
    }

    /// Where lines begin in a range, unless within a comment.
    pub(super) fn lines(&self, range: Range<usize>) -> impl DoubleEndedIterator<Item = usize> {
        self.outside(range).filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1)
    }
}

/// A place in a text, for people.
struct Place {
    line: usize,
    column: usize,
}

impl Place {
    fn of(text: &str, at: usize) -> Self {
        let before = &text[..text.floor_char_boundary(at)];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Self { line, column }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "in line {}, column {}", self.line, self.column)
    }
}

/// Others begin their messages in upper case.
fn lower(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
