//! Durations as people write them: `5m`, `1h30m`.

use std::time::Duration;

/// The longest duration that anybody means: ten years. What is longer is a slip, and would overflow
/// wherever it is added to a date.
pub(crate) const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);

/// Reads a duration. Also fit to be a value parser of clap's.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text.trim()) {
        Ok(duration) if duration <= LONGEST => Ok(duration),
        Ok(_) | Err(humantime::DurationError::NumberOverflow) => Err(too_long(text)),
        Err(_) => Err(format!("`{text}` is not a duration; write it like `90s`, `5m` or `1h30m`")),
    }
}

/// What is said of a duration over [`LONGEST`].
pub(crate) fn too_long(text: &str) -> String {
    format!("`{text}` is too long: ten years is the most")
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

    #[test]
    fn ten_years_is_the_most() {
        assert_eq!(parse("3650d"), Ok(LONGEST));
        for text in ["3650d 1ms", "99999999999999h", "99999999999999999999999h", "18446744073709551615s 1s"] {
            assert_eq!(parse(text), Err(format!("`{text}` is too long: ten years is the most")));
        }
    }
}
