//! The three charts of a comparison.

use super::document::{Comparison, Strategy};
use crate::format;
use crate::plot::Scale;
use crate::plot::bars::{Bar, Bars};

/// From this ratio of the largest to the smallest value on, bars are logarithmic.
const LOGARITHMIC_FROM: f64 = 50.0;

/// Returns grants a second, refusals a second, and p99 at equal load.
pub(super) fn all(comparison: &Comparison) -> [Bars; 3] {
    let rate = comparison.equal_rate().map_or(String::new(), |rate| {
        format!(", {} requests a second for each", format::figure(rate))
    });
    [
        chart(
            comparison,
            "grants",
            "Seats granted a second",
            "more is better",
            per_second,
            |one| one.grants_per_second,
        ),
        chart(comparison, "refusals", "Refusals a second", "more is better", per_second, |one| {
            one.refusals_per_second
        }),
        chart(
            comparison,
            "latency",
            "Latency at equal load, p99",
            &format!("less is better{rate}"),
            format::milliseconds,
            |one| one.equal_load.p99_ms,
        ),
    ]
}

fn per_second(value: f64) -> String {
    format!("{}/s", format::figure(value))
}

fn chart(
    comparison: &Comparison,
    id: &str,
    title: &str,
    about: &str,
    show: fn(f64) -> String,
    value: fn(&Strategy) -> Option<f64>,
) -> Bars {
    let value = |one: &Strategy| value(one).filter(|value| value.is_finite());
    let values: Vec<f64> =
        comparison.strategies.iter().filter_map(value).filter(|value| *value > 0.0).collect();
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    let scale = if most / least >= LOGARITHMIC_FROM { Scale::Log } else { Scale::Linear };
    let about = match scale {
        Scale::Log => format!("{about}; logarithmic"),
        Scale::Linear => about.to_owned(),
    };
    let bar = |one: &Strategy| Bar {
        name: one.title().to_owned(),
        value: value(one),
        text: value(one).map_or(format::ABSENT.to_owned(), show),
        is_ours: one.is_ours(),
        flaw: one
            .oversold
            .filter(|oversold| *oversold > 0)
            .map(|oversold| format!("oversold {}", format::count(oversold))),
    };
    Bars {
        id: id.to_owned(),
        title: title.to_owned(),
        about,
        unit: title.to_owned(),
        scale,
        bars: comparison.strategies.iter().map(bar).collect(),
    }
}
