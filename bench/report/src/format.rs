//! Numbers and times as people read them. Whatever is no finite number is [`ABSENT`].

/// Stands for a figure that is not there.
pub const ABSENT: &str = "–";

/// Returns a count with thousands separators.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a number of things with its noun.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Returns a number with three significant digits, without zeros at its end.
pub fn figure(value: f64) -> String {
    if !value.is_finite() {
        return ABSENT.to_owned();
    }
    if value < 0.0 {
        return format!("−{}", figure(-value));
    }
    if value >= 999.5 {
        return count(to_three_digits(value) as u64);
    }
    let decimals = match value {
        value if value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        value if value >= 0.9995 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

fn to_three_digits(value: f64) -> f64 {
    let step = 10_f64.powi(value.log10().floor() as i32 - 2).max(1.0);
    (value / step).round() * step
}

/// Returns milliseconds, as seconds from one second on.
pub fn milliseconds(value: f64) -> String {
    match value {
        value if !value.is_finite() => ABSENT.to_owned(),
        value if value.abs() >= 1_000.0 => format!("{} s", figure(value / 1_000.0)),
        value => format!("{} ms", figure(value)),
    }
}

/// Returns seconds, as milliseconds below a tenth, as minutes and seconds from two minutes on.
pub fn seconds(value: f64) -> String {
    match value {
        value if !value.is_finite() => ABSENT.to_owned(),
        value if value >= 120.0 => {
            let whole = value.round() as u64;
            match (whole / 60, whole % 60) {
                (minutes, 0) => format!("{} min", count(minutes)),
                (minutes, rest) => format!("{} min {rest} s", count(minutes)),
            }
        }
        value if value > 0.0 && value < 0.1 => milliseconds(1_000.0 * value),
        value => format!("{} s", figure(value)),
    }
}

/// Returns a place on the axis of time: seconds, or minutes and seconds as `4:05`.
pub fn moment(value: f64, in_minutes: bool) -> String {
    if !in_minutes || !value.is_finite() || value < 0.0 {
        return seconds(value);
    }
    let whole = value.round() as u64;
    format!("{}:{:02}", whole / 60, whole % 60)
}

/// Returns how much of a whole a part is, in percent.
pub fn share(part: u64, whole: u64) -> String {
    match whole {
        0 => ABSENT.to_owned(),
        whole => format!("{:.1} %", 100.0 * part as f64 / whole as f64),
    }
}

/// Returns bytes in the unit that fits.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 1_024.0 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    format!("{} {}", figure(value), UNITS[unit])
}

/// Returns an identifier such as `went_without` as words.
pub fn words(identifier: &str) -> String {
    let text = identifier.replace('_', " ");
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => ABSENT.to_owned(),
    }
}

/// Returns an ISO 8601 time in UTC as a date and a time of day, anything else as it is.
pub fn date(iso: &str) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    if !is_utc_time(iso) {
        return iso.to_owned();
    }
    let part = |range| iso.get(range).unwrap_or_default();
    let month = part(5..7).parse::<usize>().unwrap_or(0).checked_sub(1);
    match month.and_then(|month| MONTHS.get(month)) {
        Some(month) => format!(
            "{} {month} {}, {} UTC",
            part(8..10).trim_start_matches('0'),
            part(0..4),
            part(11..16)
        ),
        None => iso.to_owned(),
    }
}

/// Returns whether a text begins with `2026-11-30T20:46` and ends with `Z`.
pub fn is_utc_time(text: &str) -> bool {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd";
    let bytes = text.as_bytes();
    let begins = bytes.len() > SHAPE.len()
        && bytes.iter().zip(SHAPE).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            shape => byte == shape,
        });
    begins && text.is_ascii() && text.ends_with('Z')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        let figures = [0.0, 0.1234, 1.0, 1.239, 12.34, 99.99, 999.7, 48_211.0, 1_234_567.0];
        let texts = figures.map(figure);
        let expected = ["0", "0.123", "1", "1.24", "12.3", "100", "1,000", "48,200", "1,230,000"];
        assert_eq!(texts, expected);
        assert_eq!(figure(-2.5), "−2.5");
    }

    #[test]
    fn numbers_that_are_none_are_absent() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for text in [figure(value), milliseconds(value), seconds(value), moment(value, true)] {
                assert_eq!(text, ABSENT);
            }
        }
        assert_eq!(share(1, 0), ABSENT);
    }

    #[test]
    fn units_follow_the_size() {
        assert_eq!(milliseconds(0.42), "0.42 ms");
        assert_eq!(milliseconds(1_240.0), "1.24 s");
        assert_eq!(seconds(12.0), "12 s");
        assert_eq!([0.0, 0.001, 0.4].map(seconds), ["0 s", "1 ms", "0.4 s"]);
        assert_eq!(seconds(3_600.0), "60 min");
        assert_eq!(seconds(134.6), "2 min 15 s");
        assert_eq!(moment(245.0, true), "4:05");
        assert_eq!(bytes(8_241_000_000), "7.68 GiB");
        assert_eq!(count(1_240), "1,240");
    }

    #[test]
    fn dates_are_read_and_other_texts_kept() {
        assert_eq!(date("2026-11-05T20:46:02Z"), "5 November 2026, 20:46 UTC");
        for text in ["", "yesterday", "2026-13-05T20:46:02Z", "2026-11-05T20:46:02+01:00"] {
            assert_eq!(date(text), text);
        }
    }
}
