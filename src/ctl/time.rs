//! Times and durations on the command line and in tables.

use jiff::{Span, SpanRelativeTo};

pub(super) use crate::domain::time::age_seconds;
use crate::domain::time::parse_iso8601;

/// Longest duration: for more, omit it.
const SPAN_DAYS_MAX: i64 = 366;

/// Parses a time with its offset, for clap; Unix ms.
pub(super) fn parse_time(text: &str) -> Result<i64, String> {
    parse_iso8601(text).ok_or_else(|| {
        "give date, time and offset (±18:00 at most), such as 2026-03-01T18:00:00Z or …T19:00:00+01:00".to_owned()
    })
}

/// Parses a duration such as `30m`, `2h` or `7d`; ms.
pub(super) fn parse_span(text: &str) -> Result<i64, String> {
    let form = || "give a span such as 90s, 30m, 2h or 7d".to_owned();
    let span: Span = text.parse().map_err(|_| form())?;
    // Months have no fixed length: jiff refuses them here.
    let span = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| form())?;
    let max_ms = SPAN_DAYS_MAX * 86_400_000;
    match i64::try_from(span.as_millis()) {
        Ok(ms) if (1..=max_ms).contains(&ms) => Ok(ms),
        _ => Err(format!("give more than nothing and {SPAN_DAYS_MAX} days at most")),
    }
}

/// Formats a duration: `0.4 s`, `12 s`, `3 min`, `5 h`, `2 d`.
pub(super) fn span(seconds: f64) -> String {
    const UNITS: [(f64, &str); 3] = [(86_400.0, "d"), (3_600.0, "h"), (60.0, "min")];
    // A unit is used from two of it on: 90 s is more precise than 1 min.
    match UNITS.iter().find(|(size, _)| seconds >= 2.0 * size) {
        Some((size, unit)) => format!("{:.0} {unit}", (seconds / size).floor()),
        None if seconds >= 10.0 => format!("{seconds:.0} s"),
        None => format!("{seconds:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_time_is_refused_with_the_format() {
        assert_eq!(parse_time("2026-03-01T19:00:00+01:00"), Ok(1_772_388_000_000));
        assert!(parse_time("tomorrow").unwrap_err().contains("offset"));
    }

    #[test]
    fn invalid_span_is_refused_with_the_format() {
        let cases =
            [("90s", 90_000), ("1h 30m", 5_400_000), ("7d", 604_800_000), ("2w", 1_209_600_000)];
        for (text, ms) in cases {
            assert_eq!(parse_span(text), Ok(ms), "{text}");
        }
        for bad in ["", "2", "soon", "1mo", "1y"] {
            assert!(parse_span(bad).unwrap_err().contains("such as"), "{bad}");
        }
        for bad in ["0s", "-2h", "367d"] {
            assert!(parse_span(bad).unwrap_err().contains("at most"), "{bad}");
        }
    }

    #[test]
    fn spans_keep_about_two_digits() {
        let cases = [(0.44, "0.4 s"), (42.2, "42 s"), (119.0, "119 s"), (150.0, "2 min")];
        for (seconds, text) in cases {
            assert_eq!(span(seconds), text);
        }
        assert_eq!((span(7_300.0), span(200_000.0)), ("2 h".to_owned(), "2 d".to_owned()));
        assert_eq!(age_seconds(5, 9), 0.0);
    }
}
