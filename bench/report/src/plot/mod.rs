//! Plots without scripts: [`lines`] and areas over time, horizontal [`bars`], and complete SVG
//! files ([`standalone`]). Everything in a page stretches to the width at hand; text does not.

pub mod bars;
pub mod data;
pub mod legend;
pub mod lines;
pub mod notes;
pub mod scale;
pub mod spark;
pub mod standalone;
pub mod thin;
pub mod tone;

pub use notes::{Band, Mark, Notes};
pub use scale::Scale;
pub use thin::Keep;
pub use tone::Tone;

use crate::format;

/// What the values of a plot are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Milliseconds,
    PerSecond,
    /// Things that are counted, such as seats.
    Count,
}

impl Unit {
    /// Returns a value with its unit.
    pub fn text(self, value: f64) -> String {
        match self {
            Unit::Milliseconds => format::milliseconds(value),
            Unit::PerSecond if value.is_finite() => format!("{}/s", format::figure(value)),
            Unit::Count if value.is_finite() && value >= 0.0 => format::count(value.round() as u64),
            Unit::PerSecond | Unit::Count => format::figure(value),
        }
    }

    /// Returns the label of a tick.
    pub fn tick(self, value: f64) -> String {
        match self {
            Unit::Milliseconds => format::milliseconds(value),
            Unit::PerSecond | Unit::Count if value >= 1_000_000.0 => {
                format!("{} M", format::figure(value / 1_000_000.0))
            }
            Unit::PerSecond | Unit::Count => format::figure(value),
        }
    }
}

/// How the series of a plot are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Lines,
    /// Areas on top of each other, the first series at the bottom.
    Stack,
}

/// One series of values.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    pub tone: Tone,
    /// Which value stands for several steps.
    pub keep: Keep,
    /// A value a step; `None` where there is none.
    pub values: Vec<Option<f64>>,
}

impl Series {
    /// Creates a series. Values that are no finite numbers count as absent.
    pub fn new(name: &str, tone: Tone, keep: Keep, values: Vec<Option<f64>>) -> Self {
        let values =
            values.into_iter().map(|value| value.filter(|value| value.is_finite())).collect();
        Series { name: name.to_owned(), tone, keep, values }
    }

    /// Returns whether no step has a value.
    pub fn is_empty(&self) -> bool {
        self.values.iter().all(Option::is_none)
    }
}

/// A plot over time.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Unique in the page.
    pub id: String,
    pub title: String,
    /// What is shown, in a few words.
    pub about: String,
    pub unit: Unit,
    pub scale: Scale,
    pub kind: Kind,
    /// The end of each step, seconds after the beginning; rising.
    pub seconds: Vec<f64>,
    pub series: Vec<Series>,
    pub notes: Notes,
}

impl Plot {
    /// Returns the plot's data as few steps as asked for.
    pub fn thinned(&self, steps_max: usize) -> Plot {
        let buckets = thin::buckets(self.seconds.len(), steps_max);
        let seconds = buckets.iter().filter_map(|bucket| self.seconds.get(bucket.end - 1).copied());
        let series = self.series.iter().map(|series| Series {
            values: thin::values(&series.values, &buckets, series.keep),
            ..series.clone()
        });
        Plot { seconds: seconds.collect(), series: series.collect(), ..self.clone() }
    }

    /// Returns whether there is nothing to draw.
    pub fn is_empty(&self) -> bool {
        self.seconds.is_empty() || self.series.iter().all(Series::is_empty)
    }

    /// Returns the beginning of each step.
    pub fn beginnings(&self) -> Vec<f64> {
        let first = match self.seconds[..] {
            [] => return Vec::new(),
            [only] => only.min(0.0),
            [first, second, ..] => (first - (second - first)).max(first.min(0.0)),
        };
        let rest = self.seconds.iter().copied().take(self.seconds.len() - 1);
        std::iter::once(first).chain(rest).collect()
    }

    /// Returns the axis of time: to the last step, or to the end of what is noted.
    pub fn time_range(&self) -> (f64, f64) {
        let from = self.beginnings().first().copied().unwrap_or(0.0).min(0.0);
        let to = self.seconds.last().copied().unwrap_or(0.0).max(self.notes.last_second());
        if to > from { (from, to) } else { (from, from + 1.0) }
    }

    /// Returns the largest value that is drawn, and the smallest above zero.
    pub fn value_range(&self) -> (f64, f64) {
        let all = || self.series.iter().flat_map(|series| series.values.iter().flatten().copied());
        let least = all().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
        let most = match self.kind {
            Kind::Lines => all().fold(0.0, f64::max),
            Kind::Stack => (0..self.seconds.len())
                .map(|step| self.series.iter().filter_map(|one| *one.values.get(step)?).sum())
                .fold(0.0, f64::max),
        };
        (least, most)
    }
}
