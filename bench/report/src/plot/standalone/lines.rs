//! Plots over time as a file.

use maud::{Markup, html};

use super::{MARGIN, TOP, WIDTH, file};
use crate::format;
use crate::plot::lines::{self, Frame};
use crate::plot::{Kind, Plot, legend};

/// Steps that are drawn, at most.
const STEPS_MAX: usize = 400;
/// Width of the labels of values.
const VALUES: f64 = 56.0;
/// Height of a plot without its title and its labels.
const HEIGHT: f64 = 190.0;
/// From a plot's title to its upper edge.
const HEAD: f64 = 52.0;
/// About the width of a letter of a legend: nobody measures text here.
const LETTER: f64 = 6.4;
/// From a plot's lower edge to the next title.
const GAP: f64 = 66.0;

/// Renders plots below each other as a complete SVG file.
pub fn lines(title: &str, note: &str, plots: &[Plot]) -> String {
    let mut top = TOP + 18.0;
    let mut parts = Vec::new();
    let mut described = String::new();
    for plot in plots.iter().filter(|plot| !plot.is_empty()) {
        let plot = plot.thinned(STEPS_MAX);
        parts.push(one_plot(&plot, top));
        described.push_str(&lines::description(&plot));
        described.push(' ');
        top += HEAD + HEIGHT + GAP;
    }
    let note = with_bands(note, plots);
    file(title, &note, top - GAP + 22.0 + MARGIN, described.trim_end(), &parts)
}

/// Returns a note that says what the bands are.
fn with_bands(note: &str, plots: &[Plot]) -> String {
    let bands = plots.first().map_or(&[][..], |plot| &plot.notes.bands);
    let bands: Vec<String> =
        bands.iter().map(|band| format!("{}: {}", band.key, band.what)).collect();
    match bands.is_empty() {
        true => note.to_owned(),
        false => format!("{note} {}.", bands.join(", ")),
    }
}

fn one_plot(plot: &Plot, top: f64) -> Markup {
    let (left, edge) = (MARGIN + VALUES, top + HEAD);
    let room = WIDTH - MARGIN - left;
    let frame = Frame::of(plot);
    html! {
        text x=(MARGIN) y=(top) {
            tspan.head { (plot.title) }
            tspan.soft.small dx="8" { (plot.about) }
        }
        (legend_row(plot, top + 20.0))
        svg x=(left) y=(edge) width=(room) height=(HEIGHT) overflow="visible" {
            (lines::drawing(plot, &frame))
        }
        @for tick in frame.values.ticks() {
            @let base = edge + HEIGHT * (1.0 - tick.at) + 4.0;
            text.soft.small x=(left - 8.0) y=(format!("{base:.1}")) text-anchor="end" {
                (plot.unit.tick(tick.value))
            }
        }
        @for tick in frame.time.ticks() {
            text.soft.small x=(format!("{:.1}", left + room * tick.at)) y=(edge + HEIGHT + 18.0)
                text-anchor=(anchor(tick.at)) { (format::moment(tick.value, frame.in_minutes)) }
        }
        @for mark in &plot.notes.marks {
            @let at = frame.time.at(mark.at);
            text.small x=(format!("{:.1}", left + room * at)) y=(edge - 5.0)
                text-anchor=(if at > 0.5 { "end" } else { "start" }) { (mark.what) }
        }
        @for band in &plot.notes.bands {
            @let x = left + room * frame.time.at(band.from);
            rect.key x=(format!("{x:.1}")) y=(edge) width="16" height="15" {}
            text.bad.small.strong x=(format!("{:.1}", x + 8.0)) y=(edge + 12.0)
                text-anchor="middle" { (band.key) }
        }
    }
}

fn anchor(at: f64) -> &'static str {
    match at {
        at if at < 0.03 => "start",
        at if at > 0.97 => "end",
        _ => "middle",
    }
}

/// Renders the legend below the title.
fn legend_row(plot: &Plot, base: f64) -> Markup {
    let sample = if plot.kind == Kind::Lines { 24.0 } else { 12.0 };
    let mut left = MARGIN;
    let mut items = Vec::new();
    for one in legend::order(plot) {
        items.push(html! {
            svg x=(left) y=(base - 10.0) width=(sample) height="12" {
                (legend::sample(one.tone, plot.kind))
            }
            text.small x=(left + sample + 6.0) y=(base) { (one.name) }
        });
        left += sample + 24.0 + LETTER * one.name.chars().count() as f64;
    }
    html! { @if items.len() > 1 { @for item in &items { (item) } } }
}
