//! A request's path and query, taken apart.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use super::answer::Answer;

/// The parameters of a request; of one that is given twice, the first.
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    pub(super) fn parse(query: &str) -> Self {
        let mut all = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            all.entry(decoded(&key.replace('+', " "))).or_insert_with(|| decoded(&value.replace('+', " ")));
        }
        Self(all)
    }

    /// A parameter, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// A parameter that must be there.
    pub(super) fn need(&self, key: &str) -> Result<&str, Answer> {
        self.get(key).ok_or_else(|| Answer::bad(format!("missing query parameter `{key}`")))
    }

    /// A parameter that is a number, in decimal, if it is there.
    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, Answer> {
        let wrong = || Answer::bad(format!("query parameter `{key}` must be a number"));
        self.get(key).map(|text| text.parse().map_err(|_| wrong())).transpose()
    }
}

/// A text without its percent-encoding.
pub(super) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The segments of a path, each decoded on its own, so that `%2F` stays within its segment.
pub(super) fn segments(path: &str) -> Vec<String> {
    path.trim_start_matches('/').split('/').map(decoded).collect()
}
