//! Seat lists on the command line: `1-20,33`.

use std::str::FromStr;

use crate::domain::SeatId;
use crate::domain::limits::SEATS_PER_EVENT_MAX;

/// Seats, ascending and without duplicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeatList(pub Vec<SeatId>);

impl FromStr for SeatList {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut seats: Vec<u32> = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| {
                let number = text.trim().parse().ok();
                number.filter(|number| (1..=SEATS_PER_EVENT_MAX).contains(number))
            };
            match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last => seats.extend(first..=last),
                _ => return Err(format!("{part:?} is no seat, nor a range such as 1-20")),
            }
            // Bounds the total; each range is bounded already.
            if seats.len() > SEATS_PER_EVENT_MAX as usize {
                return Err(format!("an event has at most {SEATS_PER_EVENT_MAX} seats"));
            }
        }
        seats.sort_unstable();
        seats.dedup();
        Ok(SeatList(seats.into_iter().map(SeatId).collect()))
    }
}

/// Formats ascending seats as ranges.
pub(super) fn ranges(seats: &[SeatId]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for seat in seats {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == seat.0 => *last = seat.0,
            _ => ranges.push((seat.0, seat.0)),
        }
    }
    let texts = ranges.into_iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    texts.collect::<Vec<String>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_parsed_and_formatted() {
        let parsed = |text: &str| text.parse::<SeatList>();
        for text in ["5", "1-20,33", "1-2,4-5,7"] {
            assert_eq!(ranges(&parsed(text).unwrap().0), text);
        }
        assert_eq!(ranges(&parsed(" 3, 1-2 ,2-4").unwrap().0), "1-4");
        for text in ["", "0", "2-1", "x", "1-", "1,,2", "1-2-3", "1-4000000000", "-1"] {
            assert!(parsed(text).is_err(), "{text}");
        }
        let twice = format!("1-{SEATS_PER_EVENT_MAX},1-{SEATS_PER_EVENT_MAX}");
        assert!(parsed(&twice).unwrap_err().contains("at most"));
    }
}
