//! Paths and queries, percent-encoded.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What needs no encoding in a path's segment or a query's value (RFC 3986, "unreserved").
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request's parameters.
pub type Query<'a> = [(&'a str, &'a str)];

/// One segment of a path.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// A path with its query.
pub fn with_query<'a>(path: &str, query: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut all = path.to_owned();
    for (number, (name, value)) in query.into_iter().enumerate() {
        all.push(if number == 0 { '?' } else { '&' });
        all.push_str(&format!("{name}={}", segment(value)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_a_url_is_encoded() {
        assert_eq!(segment("a/b c?d=é"), "a%2Fb%20c%3Fd%3D%C3%A9");
        assert_eq!(with_query("/v1/jobs", [("region", "a&b"), ("x", "")]), "/v1/jobs?region=a%26b&x=");
        assert_eq!(with_query("/v1/jobs", []), "/v1/jobs");
    }
}
