//! Durations as people write them: `5m`, `1h30m`.

use std::time::Duration;

/// Reads a duration. Also fit to be a value parser of clap's.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim())
        .map_err(|_| format!("`{text}` is not a duration; write it like `90s`, `5m` or `1h30m`"))
}

/// Writes a duration so that it can be read again.
pub(crate) fn format(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

/// A duration in the unit of the wire.
pub(crate) fn to_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds per unit, for variables of other programs that hold a bare number.
pub(crate) fn unit_ms(unit: &str) -> Option<u64> {
    match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        for (text, ms) in [("5m", 300_000), ("1h30m", 5_400_000), ("1h 30m", 5_400_000), ("250ms", 250)] {
            let duration = parse(text).unwrap();
            assert_eq!(to_ms(duration), ms, "{text}");
            assert_eq!(parse(&format(duration)), Ok(duration));
        }
        assert_eq!(format(Duration::from_secs(5_400)), "1h30m");
        for text in ["", "5", "five", "-1m", "5 parsecs"] {
            assert!(parse(text).unwrap_err().contains("is not a duration"), "{text}");
        }
    }
}
