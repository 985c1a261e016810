//! Horizontal bars. The chart is a table, so it needs no other form of its data.

use maud::{Markup, html};

use super::{Scale, scale::Axis};
use crate::format;

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    pub name: String,
    /// `None`: not measured.
    pub value: Option<f64>,
    /// The value with its unit.
    pub text: String,
    /// Whether it is the one that the chart is about.
    pub is_ours: bool,
    /// What is wrong with it, in a few words.
    pub flaw: Option<String>,
}

/// A chart.
#[derive(Clone, Debug)]
pub struct Bars {
    /// Unique in the page.
    pub id: String,
    pub title: String,
    /// What is shown, and which direction is better.
    pub about: String,
    /// What the values are: the head of their column.
    pub unit: String,
    pub scale: Scale,
    pub bars: Vec<Bar>,
}

impl Bars {
    /// Returns the bars' lengths, from 0 to 1. The longest linear bar has the length 1.
    pub fn lengths(&self) -> Vec<f64> {
        let values = || self.bars.iter().map(|bar| bar.value.filter(|value| value.is_finite()));
        let most = values().flatten().fold(0.0, f64::max);
        let least = values().flatten().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
        // A logarithmic bar of the smallest value has a length, too.
        let axis = Axis::of_values(self.scale, least / 2.0, most);
        let length = |value: f64| match self.scale {
            Scale::Linear if most > 0.0 => value / most,
            _ => axis.at(value),
        };
        values().map(|value| value.map_or(0.0, length).clamp(0.0, 1.0)).collect()
    }
}

/// Renders a chart.
pub fn figure(bars: &Bars) -> Markup {
    html! {
        figure.card.bars aria-labelledby=(bars.id) {
            figcaption {
                h3 id=(bars.id) { (bars.title) }
                p.about { (bars.about) }
            }
            table {
                colgroup { col.name; col.figure; col; }
                thead.hidden {
                    tr {
                        th scope="col" { "Name" }
                        th scope="col" { (bars.unit) }
                        th scope="col" aria-hidden="true" {}
                    }
                }
                tbody {
                    @for (bar, length) in bars.bars.iter().zip(bars.lengths()) {
                        tr.is-ours[bar.is_ours] {
                            th scope="row" {
                                (bar.name)
                                @if let Some(flaw) = &bar.flaw { " " span.flaw { (flaw) } }
                            }
                            td.number { (bar.value.map_or(format::ABSENT, |_| &bar.text)) }
                            td.track aria-hidden="true" {
                                svg width="100%" height="14" { (shape(bar, length)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn shape(bar: &Bar, length: f64) -> Markup {
    let (class, fill) = bar.look();
    html! {
        rect.rail width="100%" height="14" rx="3" {}
        rect class=(class) width=(format!("{:.2}%", 100.0 * length)) height="14" rx="3"
            fill=[fill] {}
    }
}

impl Bar {
    /// Returns the class and the paint of its shape.
    pub fn look(&self) -> (&'static str, Option<&'static str>) {
        match (self.is_ours, self.flaw.is_some()) {
            (_, true) => ("bar t-unavailable", Some("url(#paint-unavailable)")),
            (true, false) => ("bar t-first", None),
            (false, false) => ("bar t-refused", None),
        }
    }
}
