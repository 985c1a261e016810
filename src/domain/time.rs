//! Times in the API: ISO 8601. Output is UTC with milliseconds.

use jiff::Timestamp;
use jiff::fmt::temporal::Pieces;

/// Largest offset from UTC in use, seconds; larger ones are typing errors.
const OFFSET_SECONDS_MAX: i32 = 18 * 3_600;

/// Formats a time, such as `2026-03-01T18:00:00.000Z`.
pub fn iso8601(unix_ms: i64) -> String {
    // A time beyond year 9999 can only come from a defect; it shows as the epoch.
    format!("{:.3}", Timestamp::from_millisecond(unix_ms).unwrap_or_default())
}

/// Formats a time, or `None` for 0, which means "not yet".
pub fn iso8601_once(unix_ms: i64) -> Option<String> {
    (unix_ms != 0).then(|| iso8601(unix_ms))
}

/// Parses a time; an offset from UTC (or `Z`) is required, at most ±18:00.
pub fn parse_iso8601(text: &str) -> Option<i64> {
    let offset = Pieces::parse(text).ok()?.to_numeric_offset()?;
    if offset.seconds().abs() > OFFSET_SECONDS_MAX {
        return None;
    }
    let unix_ms = text.parse::<Timestamp>().ok()?.as_millisecond();
    // Zero means "not yet" in records.
    (unix_ms > 0).then_some(unix_ms)
}

/// Seconds since a moment; never negative.
pub fn age_seconds(now_ms: i64, then_ms: u64) -> f64 {
    // Unix times stay below 2^53 for longer than any sale.
    (now_ms as f64 - then_ms as f64).max(0.0) / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_formatted_and_parsed() {
        assert_eq!(iso8601(1_772_388_000_000), "2026-03-01T18:00:00.000Z");
        assert_eq!(parse_iso8601("2026-03-01T18:00:00Z"), Some(1_772_388_000_000));
        assert_eq!(parse_iso8601("2026-03-01T19:00:00.5+01:00"), Some(1_772_388_000_500));
        assert_eq!(iso8601_once(0), None);
    }

    #[test]
    fn offsets_beyond_eighteen_hours_are_refused() {
        assert_eq!(parse_iso8601("2026-03-02T12:00:00+18:00"), Some(1_772_388_000_000));
        assert_eq!(parse_iso8601("2026-03-01T00:00:00-18:00"), Some(1_772_388_000_000));
        for bad in ["+18:01", "-18:00:01", "+19:00", "-24:00", "+25:59", "+99:00"] {
            assert_eq!(parse_iso8601(&format!("2026-03-01T18:00:00{bad}")), None, "{bad}");
        }
    }

    #[test]
    fn times_without_an_offset_are_refused() {
        for bad in ["", "2026-03-01", "2026-03-01T18:00:00", "tomorrow", "1969-01-01T00:00:00Z"] {
            assert_eq!(parse_iso8601(bad), None, "{bad}");
        }
    }
}
