//! When buyers arrive: drawn before the sale, so that the server's speed does not move an arrival.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use rand::{Rng, RngExt};

use crate::Failure;
use crate::distribution::{Span, duration};

/// Bounds of a rate, arrivals a second.
const RATE_MIN: f64 = 0.1;
const RATE_MAX: f64 = 1_000_000.0;
/// Latest arrival of a trace, seconds: a day.
const TRACE_SECONDS_MAX: f64 = 86_400.0;

/// A schedule of arrivals.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrivals {
    /// A share at the beginning, the others at a constant rate: `--spike`, `--spike-span`, `--rate`.
    Spike,
    /// A constant rate a second, at random moments.
    Constant(f64),
    /// A rate that rises (or falls) evenly over a span and then stays.
    Ramp {
        /// Rate at the beginning, a second.
        from: f64,
        /// Rate at the end.
        to: f64,
        /// How long it changes.
        span: Duration,
    },
    /// A file of arrivals.
    Trace(PathBuf),
}

/// The spike's share and span, and the rate of everybody else.
#[derive(Clone, Copy, Debug)]
pub struct SpikeShape {
    /// Share of the buyers in the spike.
    pub share: f64,
    /// Its length.
    pub span: Span,
    /// Arrivals a second of the others.
    pub rate: f64,
}

impl FromStr for Arrivals {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "spike" => Ok(Arrivals::Spike),
            Some(("constant", value)) => Ok(Arrivals::Constant(rate(value)?)),
            Some(("trace", path)) if !path.is_empty() => Ok(Arrivals::Trace(path.into())),
            Some(("ramp", shape)) => {
                let (rates, span) = shape.split_once('/').ok_or_else(form)?;
                let (from, to) = rates.split_once("..").ok_or_else(form)?;
                Ok(Arrivals::Ramp { from: rate(from)?, to: rate(to)?, span: duration(span)? })
            }
            _ => Err(form()),
        }
    }
}

fn form() -> String {
    "give spike, constant:150, ramp:50..500/60s, or trace:FILE".to_owned()
}

/// Reads a rate a second.
pub fn rate(text: &str) -> Result<f64, String> {
    let value = text.trim().parse::<f64>().ok();
    let value = value.filter(|value| (RATE_MIN..=RATE_MAX).contains(value));
    value.ok_or_else(|| format!("give a rate from {RATE_MIN} to {RATE_MAX} a second"))
}

impl Arrivals {
    /// Draws the arrivals of this many buyers, ascending; a trace has as many as its file says.
    ///
    /// # Errors
    /// If a trace's file cannot be read or is malformed.
    pub fn draw(
        &self,
        buyers: u64,
        spike: SpikeShape,
        rng: &mut impl Rng,
    ) -> Result<Vec<Duration>, Failure> {
        let mut arrivals = match self {
            Arrivals::Spike => {
                let early = (buyers as f64 * spike.share).round() as u64;
                let span = spike.span.draw(rng);
                let at_once = (0..early).map(|_| span.mul_f64(rng.random::<f64>()));
                let mut arrivals: Vec<Duration> = at_once.collect();
                arrivals.extend(poisson(buyers - early, rng, |mean| mean / spike.rate));
                arrivals
            }
            Arrivals::Constant(rate) => poisson(buyers, rng, |mean| mean / rate),
            Arrivals::Ramp { from, to, span } => {
                poisson(buyers, rng, |mean| ramp_seconds(mean, *from, *to, span.as_secs_f64()))
            }
            Arrivals::Trace(path) => {
                let shown = path.display();
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("cannot read {shown}: {error}"))?;
                trace(&text).map_err(|error| format!("{shown}:{error}"))?
            }
        };
        arrivals.sort_unstable();
        Ok(arrivals)
    }

    /// The same schedule at a multiple of its rates; a trace is as it is.
    pub fn at_rates_times(&self, factor: f64) -> Self {
        match self {
            Arrivals::Constant(rate) => Arrivals::Constant(rate * factor),
            Arrivals::Ramp { from, to, span } => {
                // Fewer people come in the same shape: its length shrinks with its rates.
                let span = span.mul_f64(factor);
                Arrivals::Ramp { from: from * factor, to: to * factor, span }
            }
            other => other.clone(),
        }
    }
}

/// A Poisson process: `seconds` says when so many arrivals are expected to have happened.
fn poisson(buyers: u64, rng: &mut impl Rng, seconds: impl Fn(f64) -> f64) -> Vec<Duration> {
    let mut expected = 0.0;
    let next = |_| {
        expected -= (1.0 - rng.random::<f64>()).ln();
        Duration::from_secs_f64(seconds(expected))
    };
    (0..buyers).map(next).collect()
}

/// When a ramp is expected to have had so many arrivals: the inverse of its rate's integral.
fn ramp_seconds(expected: f64, from: f64, to: f64, span: f64) -> f64 {
    let during = f64::midpoint(from, to) * span;
    if expected >= during {
        return span + (expected - during) / to;
    }
    let slope = (to - from) / span;
    if slope.abs() < 1e-9 {
        return expected / from;
    }
    ((from * from + 2.0 * slope * expected).max(0.0).sqrt() - from) / slope
}

/// Reads a trace: lines of `SECONDS [COUNT]`; `#` begins a comment. An error begins with its line's number.
fn trace(text: &str) -> Result<Vec<Duration>, String> {
    let mut arrivals = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(seconds) = words.next() else { continue };
        let wrong = |what: &str| format!("{}: {what}", index + 1);
        let seconds = seconds.parse::<f64>().ok();
        let seconds = seconds.filter(|seconds| (0.0..=TRACE_SECONDS_MAX).contains(seconds));
        let seconds = seconds.ok_or_else(|| {
            wrong(&format!("the first word is seconds after the opening, 0 to {TRACE_SECONDS_MAX}"))
        })?;
        let count = words.next().map_or(Ok(1), str::parse::<usize>);
        let count = count.map_err(|_| wrong("the second word is a number of buyers"))?;
        if words.next().is_some() {
            return Err(wrong("a line is SECONDS [COUNT]"));
        }
        if arrivals.len().saturating_add(count) > crate::options::BUYERS_MAX as usize {
            return Err(wrong(&format!("more than {} buyers", crate::options::BUYERS_MAX)));
        }
        arrivals.extend(std::iter::repeat_n(Duration::from_secs_f64(seconds), count));
    }
    if arrivals.is_empty() { Err(" no arrivals in it".to_owned()) } else { Ok(arrivals) }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn drawn(text: &str, buyers: u64) -> Vec<Duration> {
        let spike = SpikeShape { share: 0.0, span: Span::Fixed(Duration::ZERO), rate: 1.0 };
        let arrivals: Arrivals = text.parse().unwrap();
        arrivals.draw(buyers, spike, &mut StdRng::seed_from_u64(1)).unwrap()
    }

    fn between(arrivals: &[Duration], from: f64, to: f64) -> usize {
        arrivals.iter().filter(|at| (from..to).contains(&at.as_secs_f64())).count()
    }

    #[test]
    fn constant_rate_is_kept() {
        let arrivals = drawn("constant:1000", 10_000);
        for second in 0..9 {
            let count = between(&arrivals, f64::from(second), f64::from(second + 1));
            assert!((850..1_150).contains(&count), "{second}: {count}");
        }
    }

    #[test]
    fn ramp_rises_and_stays() {
        let arrivals = drawn("ramp:100..1000/10s", 9_000);
        let counts = [(0.0, 1.0, 145), (9.0, 10.0, 955), (11.0, 12.0, 1_000)];
        for (from, to, expected) in counts {
            let count = between(&arrivals, from, to);
            assert!(count.abs_diff(expected) < expected / 4, "{from}: {count} of {expected}");
        }
        // One that falls.
        let arrivals = drawn("ramp:1000..100/10s", 5_000);
        assert!(between(&arrivals, 0.0, 1.0) > 4 * between(&arrivals, 9.0, 10.0));
    }

    #[test]
    fn malformed_schedules_are_refused() {
        let bad = ["", "constant", "constant:0", "ramp:1..2", "ramp:1/2s", "trace:", "burst:3"];
        for bad in bad {
            assert!(bad.parse::<Arrivals>().is_err(), "{bad}");
        }
    }

    #[test]
    fn trace_is_read_and_a_malformed_line_is_named() {
        let arrivals = trace("# seconds count\n0.5 2\n\n3 # late\n").unwrap();
        let half = Duration::from_millis(500);
        assert_eq!(arrivals, [half, half, Duration::from_secs(3)]);
        let cases = [
            ("1\nsoon\n", "2: the first word"),
            ("1 two\n", "1: the second word"),
            ("1 2 3\n", "1: a line is"),
            ("1 9000000\n", "1: more than"),
            ("-1\n", "1: the first word"),
            ("# nothing\n", "no arrivals"),
        ];
        for (text, expected) in cases {
            let error = trace(text).unwrap_err();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}
