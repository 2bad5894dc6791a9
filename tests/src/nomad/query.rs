//! A request's path and query, taken apart as Go takes them apart.

use std::collections::BTreeMap;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::answer::Answer;

/// The longest that a read may block.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// The parameters of a request; of one that is given twice, the first.
pub(super) struct Query(BTreeMap<String, String>);

/// What a read waits for.
pub(super) struct Wait {
    /// The answer's index must be higher than this one; 0 is no wait.
    pub(super) index: u64,
    /// But no longer than this.
    pub(super) at_most: Duration,
}

impl Query {
    pub(super) fn parse(query: &str) -> Self {
        let mut all = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            all.entry(decoded(&key.replace('+', " "))).or_insert_with(|| decoded(&value.replace('+', " ")));
        }
        Self(all)
    }

    /// A parameter; "" when it is absent, as `url.Values.Get` has it.
    pub(super) fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    /// A parameter that is true or false, or an error.
    pub(super) fn flag(&self, key: &str) -> Result<bool, Answer> {
        match self.get(key) {
            "" => Ok(false),
            value => parse_bool(value).ok_or_else(|| {
                let cause = format!("strconv.ParseBool: parsing {value:?}: invalid syntax");
                Answer::error(500, format!("Failed to parse value of {key:?} ({value}) as a bool: {cause}"))
            }),
        }
    }

    /// A parameter that is true, or anything else for false.
    pub(super) fn lenient_flag(&self, key: &str) -> bool {
        parse_bool(self.get(key)).unwrap_or_default()
    }

    /// What the read waits for.
    pub(super) fn wait(&self) -> Result<Wait, Answer> {
        let at_most = match self.get("wait") {
            "" => Duration::ZERO,
            // One that is negative is none.
            text => duration(text.trim_start_matches('-'))
                .ok_or_else(|| Answer::error(400, "Invalid wait time"))?,
        };
        let index = match self.get("index") {
            "" => 0,
            text => text.parse().map_err(|_| Answer::error(400, "Invalid index"))?,
        };
        let at_most = if at_most.is_zero() || self.get("wait").starts_with('-') {
            MAX_WAIT
        } else {
            at_most.min(MAX_WAIT)
        };
        // The agent adds up to a sixteenth, so that not all clients come back at once.
        Ok(Wait { index, at_most: at_most + at_most.mul_f64(fastrand::f64() / 16.0) })
    }
}

/// A text without its percent-encoding.
pub(super) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// What `strconv.ParseBool` accepts.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A duration such as `1m30s`, of what `time.ParseDuration` accepts that which is not negative.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut all) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        all += Duration::try_from_secs_f64(number * unit).ok()?;
        rest = &rest[end..];
    }
    (!text.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        assert_eq!(duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("1.5s"), Some(Duration::from_millis(1500)));
        for wrong in ["", "5", "s", "-1s", "1x", "1s2"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn of_a_parameter_that_is_given_twice_the_first_counts() {
        let query = Query::parse("a=%20x&a=2&b&c=+");
        assert_eq!((query.get("a"), query.get("b"), query.get("c"), query.get("d")), (" x", "", " ", ""));
    }
}
