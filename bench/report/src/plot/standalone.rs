//! Complete SVG files for READMEs and documents: a fixed size, text in the picture, and a ground of
//! their own, so they can be read on pages of any colour. They follow the reader's light or dark
//! theme.

use maud::{Markup, PreEscaped, html};

use super::bars::{Bar, Bars};
use crate::format;

const WIDTH: f64 = 880.0;
const MARGIN: f64 = 28.0;
/// Width of the names.
const NAMES: f64 = 262.0;
/// Width of the values, behind the longest bar.
const VALUES: f64 = 110.0;
/// Width of what is wrong with a bar.
const FLAW: f64 = 110.0;
const ROW: f64 = 24.0;
const BAR: f64 = 14.0;
/// Letters of a name or a line, at most: there is no room for more.
const NAME_LETTERS_MAX: usize = 38;
const LINE_LETTERS_MAX: usize = 130;

const STYLE: &str = include_str!("standalone.css");

/// Renders charts below each other as a complete SVG file.
pub fn bars(title: &str, note: &str, charts: &[Bars]) -> String {
    let mut y = MARGIN + 18.0;
    let head = html! {
        text.title.text x=(MARGIN) y=(y) { (title) }
        text.soft.small x=(MARGIN) y=(y + 20.0) { (cut(note, LINE_LETTERS_MAX)) }
    };
    y += 34.0;
    let mut body = Vec::new();
    for chart in charts {
        body.push(one_chart(chart, y));
        y += 44.0 + ROW * chart.bars.len() as f64 + 10.0;
    }
    let height = y + MARGIN - 14.0;
    let described = description(charts);
    let file = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(WIDTH) height=(height)
            viewBox={"0 0 " (WIDTH) " " (height)} role="img" aria-labelledby="title description" {
            title #title { (title) }
            desc #description { (described) }
            style { (PreEscaped(STYLE)) }
            defs {
                pattern #stripes patternUnits="userSpaceOnUse" width="8" height="8" {
                    rect.bad-ground width="8" height="8" {}
                    path.bad-line d="M-2 6L2 10M-1 -1L9 9M6 -2L10 2" {}
                }
            }
            rect.ground x="0.5" y="0.5" width=(WIDTH - 1.0) height=(height - 1.0) rx="12" {}
            (head)
            @for chart in &body { (chart) }
        }
    };
    file.into_string() + "\n"
}

fn one_chart(chart: &Bars, top: f64) -> Markup {
    html! {
        text.text x=(MARGIN) y=(top + 28.0) {
            tspan.head { (chart.title) }
            tspan.soft.small dx="8" { (chart.about) }
        }
        @for (index, (bar, length)) in chart.bars.iter().zip(chart.lengths()).enumerate() {
            (row(bar, top + 38.0 + ROW * index as f64, length))
        }
    }
}

fn row(bar: &Bar, top: f64, length: f64) -> Markup {
    let room = WIDTH - 2.0 * MARGIN - NAMES - VALUES;
    let left = MARGIN + NAMES;
    let width = (room * length).max(if bar.value.is_some() { 2.0 } else { 0.0 });
    let (class, fill) = match (bar.is_ours, bar.flaw.is_some()) {
        (_, true) => ("flawed", Some("url(#stripes)")),
        (true, false) => ("ours", None),
        (false, false) => ("other", None),
    };
    let base = top + ROW / 2.0 + 4.5;
    html! {
        text.text.strong[bar.is_ours] x=(MARGIN) y=(base) { (cut(&bar.name, NAME_LETTERS_MAX)) }
        rect.rail x=(left) y=(top + (ROW - BAR) / 2.0) width=(room) height=(BAR) rx="3" {}
        rect class=(class) fill=[fill] x=(left) y=(top + (ROW - BAR) / 2.0)
            width=(format!("{width:.1}")) height=(BAR) rx="3" {}
        text.text.strong[bar.is_ours] x=(left + room + 10.0) y=(base) {
            (if bar.value.is_some() { &bar.text } else { format::ABSENT })
        }
        @if let Some(flaw) = &bar.flaw {
            // Behind the bar; behind a long one is no room, and its end is covered.
            @let x = (left + width).min(left + room - FLAW);
            rect.plate x=(format!("{x:.1}")) y=(top + (ROW - BAR) / 2.0)
                width=(FLAW) height=(BAR) {}
            text.bad.small.strong x=(format!("{:.1}", x + 8.0)) y=(base) { (flaw) }
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

fn cut(text: &str, letters_max: usize) -> String {
    match text.char_indices().nth(letters_max) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}
