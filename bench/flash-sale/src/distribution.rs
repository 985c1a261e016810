//! Random choices as flags write them: shares, spans of time, numbers of seats.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use rand::{Rng, RngExt};

/// Longest draw of an exponential span, in means: nobody thinks for ever.
const EXPONENTIAL_MEANS_MAX: f64 = 10.0;
/// Longest span that an option may give, seconds.
const SPAN_SECONDS_MAX: f64 = 3_600.0;
/// Most seats one buyer wants: what one booking can have.
pub const SEATS_WANTED_MAX: u32 = 10;

/// Reads a share: `0.2` or `20%`.
pub fn share(text: &str) -> Result<f64, String> {
    let value = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|value| value / 100.0),
        None => text.parse::<f64>(),
    };
    value
        .ok()
        .filter(|value| (0.0..=1.0).contains(value))
        .ok_or_else(|| "give a share from 0 to 1, or from 0% to 100%".to_owned())
}

/// A span of time that is drawn anew each time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Span {
    /// Always the same.
    Fixed(Duration),
    /// Anything between the two alike.
    Uniform(Duration, Duration),
    /// Mostly short, sometimes long, with this mean.
    Exponential(Duration),
}

impl Span {
    /// Draws one.
    pub fn draw(self, rng: &mut impl Rng) -> Duration {
        match self {
            Span::Fixed(span) => span,
            Span::Uniform(least, most) => rng.random_range(least..=most),
            Span::Exponential(mean) => {
                let means = -(1.0 - rng.random::<f64>()).ln();
                mean.mul_f64(means.min(EXPONENTIAL_MEANS_MAX))
            }
        }
    }
}

impl Span {
    /// Returns a span that is so many times as long.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        match self {
            Span::Fixed(span) => Span::Fixed(span.mul_f64(factor)),
            Span::Uniform(least, most) => {
                Span::Uniform(least.mul_f64(factor), most.mul_f64(factor))
            }
            Span::Exponential(mean) => Span::Exponential(mean.mul_f64(factor)),
        }
    }
}

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(mean) = text.strip_prefix("exponential:") {
            return Ok(Span::Exponential(duration(mean)?));
        }
        match text.strip_prefix("uniform:") {
            None => Ok(Span::Fixed(duration(text)?)),
            Some(range) => {
                let (least, most) = range.split_once("..").ok_or_else(form)?;
                let (least, most) = (duration(least)?, duration(most)?);
                if least > most { Err(form()) } else { Ok(Span::Uniform(least, most)) }
            }
        }
    }
}

fn form() -> String {
    "give a span such as 2s, 300ms, uniform:0.5s..3s or exponential:2s".to_owned()
}

/// Reads a fixed span: `2s`, `300ms`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let (number, unit_seconds) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').ok_or_else(form)?, 1.0),
    };
    let seconds = number.trim().parse::<f64>().map_err(|_| form())? * unit_seconds;
    match (0.0..=SPAN_SECONDS_MAX).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err(format!("a span is 0 to {SPAN_SECONDS_MAX} seconds")),
    }
}

/// How many seats a buyer wants: numbers with their weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted(Vec<(u32, f64)>);

impl Wanted {
    /// Draws one.
    pub fn draw(&self, rng: &mut impl Rng) -> u32 {
        let total: f64 = self.0.iter().map(|(_, weight)| weight).sum();
        let mut left = rng.random::<f64>() * total;
        for (seats, weight) in &self.0 {
            left -= weight;
            if left < 0.0 {
                return *seats;
            }
        }
        // Rounding may leave a trace above zero; the list is never empty.
        self.0.last().map_or(1, |(seats, _)| *seats)
    }
}

impl FromStr for Wanted {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        const RANGE: RangeInclusive<u32> = 1..=SEATS_WANTED_MAX;
        let form = || {
            format!("give numbers of seats (1 to {SEATS_WANTED_MAX}): 2, 1..4, or 1:20,2:50,4:30")
        };
        let number = |text: &str| {
            text.trim().parse().ok().filter(|seats| RANGE.contains(seats)).ok_or_else(form)
        };
        if let Some((least, most)) = text.split_once("..") {
            let (least, most) = (number(least)?, number(most)?);
            let all: Vec<_> = (least..=most).map(|seats| (seats, 1.0)).collect();
            return if all.is_empty() { Err(form()) } else { Ok(Wanted(all)) };
        }
        let weighted = text.split(',').map(|item| {
            let (seats, weight) = item.split_once(':').unwrap_or((item, "1"));
            let weight = weight.trim().parse::<f64>().ok();
            let weight = weight.filter(|weight| weight.is_finite() && *weight > 0.0);
            Ok((number(seats)?, weight.ok_or_else(form)?))
        });
        weighted.collect::<Result<Vec<_>, String>>().map(Wanted)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn shares_are_read() {
        assert_eq!((share("0.25"), share("25%")), (Ok(0.25), Ok(0.25)));
        for bad in ["", "2", "-0.1", "101%", "NaN", "half"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_are_read_and_stay_within_their_bounds() {
        let (half, two) = (Duration::from_millis(500), Duration::from_secs(2));
        assert_eq!("500ms".parse(), Ok(Span::Fixed(half)));
        assert_eq!("uniform:0.5s..2s".parse(), Ok(Span::Uniform(half, two)));
        assert_eq!("exponential:2s".parse(), Ok(Span::Exponential(two)));
        for bad in ["", "2", "2m", "uniform:2s..1s", "uniform:2s", "exponential:-1s", "9999s"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
        let rng = &mut StdRng::seed_from_u64(1);
        let draws: Vec<f64> =
            (0..10_000).map(|_| Span::Exponential(two).draw(rng).as_secs_f64()).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        assert!((1.9..2.1).contains(&mean), "{mean}");
        assert!(draws.iter().all(|draw| *draw <= 20.0));
        let uniform = Span::Uniform(half, two);
        assert!((0..1_000).all(|_| (half..=two).contains(&uniform.draw(rng))));
    }

    #[test]
    fn wishes_are_drawn_by_their_weights() {
        let rng = &mut StdRng::seed_from_u64(1);
        let wanted: Wanted = "1:10,4:30".parse().unwrap();
        let fours = (0..10_000).filter(|_| wanted.draw(rng) == 4).count();
        assert!((7_300..7_700).contains(&fours), "{fours}");
        let range: Wanted = "2..3".parse().unwrap();
        assert!((0..100).all(|_| (2..=3).contains(&range.draw(rng))));
        assert_eq!("2".parse(), Ok(Wanted(vec![(2, 1.0)])));
        for bad in ["", "0", "11", "3..2", "1:0", "1:x", "1:-1", "1:inf"] {
            assert!(bad.parse::<Wanted>().is_err(), "{bad}");
        }
    }
}
