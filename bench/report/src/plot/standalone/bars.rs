//! Bar charts as a file.

use maud::{Markup, html};

use super::{MARGIN, TOP, WIDTH, cut, file};
use crate::format;
use crate::plot::bars::{Bar, Bars};

/// Width of the names.
const NAMES: f64 = 262.0;
/// Width of the values, behind the longest bar.
const VALUES: f64 = 110.0;
const ROW: f64 = 24.0;
const BAR: f64 = 14.0;
/// From a chart's title to its first row.
const HEAD: f64 = 18.0;
/// Between two charts.
const GAP: f64 = 36.0;
/// Letters of a name, at most; fewer where something is wrong, which stands behind it.
const NAME_LETTERS_MAX: usize = 38;
const FLAWED_NAME_LETTERS_MAX: usize = 28;

/// Renders charts below each other as a complete SVG file.
pub fn bars(title: &str, note: &str, charts: &[Bars]) -> String {
    let mut top = TOP + 10.0;
    let mut parts = Vec::new();
    for chart in charts {
        parts.push(one_chart(chart, top));
        top += HEAD + ROW * chart.bars.len() as f64 + GAP;
    }
    file(title, note, top - GAP + MARGIN, &description(charts), &parts)
}

fn one_chart(chart: &Bars, top: f64) -> Markup {
    html! {
        text x=(MARGIN) y=(top + 8.0) {
            tspan.head { (chart.title) }
            tspan.soft.small dx="8" { (chart.about) }
        }
        @for (index, (bar, length)) in chart.bars.iter().zip(chart.lengths()).enumerate() {
            (row(bar, top + HEAD + ROW * index as f64, length))
        }
    }
}

fn row(bar: &Bar, top: f64, length: f64) -> Markup {
    let room = WIDTH - 2.0 * MARGIN - NAMES - VALUES;
    let left = MARGIN + NAMES;
    let width = (room * length).max(if bar.value.is_some() { 2.0 } else { 0.0 });
    let (class, fill) = bar.look();
    let letters_max = if bar.flaw.is_some() { FLAWED_NAME_LETTERS_MAX } else { NAME_LETTERS_MAX };
    let (edge, base) = (top + (ROW - BAR) / 2.0, top + ROW / 2.0 + 4.5);
    html! {
        text.strong[bar.is_ours] x=(MARGIN) y=(base) { (cut(&bar.name, letters_max)) }
        rect.rail x=(left) y=(edge) width=(room) height=(BAR) rx="3" {}
        rect class=(class) fill=[fill] x=(left) y=(edge) width=(format!("{width:.1}"))
            height=(BAR) rx="3" {}
        text.strong[bar.is_ours] x=(left + room + 10.0) y=(base) {
            (bar.value.map_or(format::ABSENT, |_| &bar.text))
        }
        @if let Some(flaw) = &bar.flaw {
            text.bad.small.strong x=(left - 12.0) y=(base) text-anchor="end" { (flaw) }
        }
    }
}

/// Says in words what the picture shows.
fn description(charts: &[Bars]) -> String {
    let chart = |chart: &Bars| {
        let bars = chart.bars.iter().map(|bar| match &bar.flaw {
            Some(flaw) => format!("{} {} ({flaw})", bar.name, bar.text),
            None => format!("{} {}", bar.name, bar.text),
        });
        format!("{}: {}.", chart.title, bars.collect::<Vec<_>>().join(", "))
    };
    charts.iter().map(chart).collect::<Vec<_>>().join(" ")
}
