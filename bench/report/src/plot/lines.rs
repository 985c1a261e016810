//! A plot over time as part of a page: the picture in SVG stretches to any width, labels are text
//! of the page at places in percent.

use std::fmt::Write;

use maud::{Markup, html};

use super::scale::{Axis, Tick};
use super::{Kind, Plot, Series, data, legend};
use crate::format;

/// Steps that are drawn, at most: more would be too narrow to be told apart.
const STEPS_MAX: usize = 300;
/// Places that show their values to a pointer, at most.
const TIPS_MAX: usize = 96;
/// The picture's size in its own units.
const SIDE: f64 = 1_000.0;
/// From this length on the axis of time counts in minutes, seconds.
const MINUTES_FROM: f64 = 240.0;

/// Where everything lies.
pub struct Frame {
    pub time: Axis,
    pub values: Axis,
    /// Whether times are minutes and seconds.
    pub in_minutes: bool,
}

impl Frame {
    /// Returns the frame that has room for all of a plot.
    pub fn of(plot: &Plot) -> Self {
        let (from, to) = plot.time_range();
        let (least, most) = plot.value_range();
        Frame {
            time: Axis::of_time(from, to),
            values: Axis::of_values(plot.scale, least, most),
            in_minutes: to >= MINUTES_FROM,
        }
    }
}

/// Renders a plot with its title, legend and data.
pub fn figure(plot: &Plot) -> Markup {
    html! {
        figure.card.plot aria-labelledby={(plot.id) "-title"} {
            figcaption {
                div {
                    h3 id={(plot.id) "-title"} { (plot.title) }
                    p.about { (plot.about) }
                }
                (legend::of_plot(plot))
            }
            @if plot.is_empty() {
                p.empty { "Nothing was recorded." }
            } @else {
                (picture(&plot.thinned(STEPS_MAX)))
                (data::table(plot))
            }
        }
    }
}

fn picture(plot: &Plot) -> Markup {
    let frame = Frame::of(plot);
    let ticks = frame.values.ticks();
    html! {
        div.picture.has-notes[!plot.notes.marks.is_empty()]
            .has-two-rows[plot.notes.marks.len() > 1] {
            div.values aria-hidden="true" {
                @for tick in &ticks {
                    span.is-minor[tick.is_minor && ticks.len() > 4]
                        style={"bottom:" (percent(tick.at))} {
                        (plot.unit.tick(tick.value))
                    }
                }
            }
            div.area {
                svg.drawing role="img"
                    aria-label={(description(plot)) " The data is in the table below."} {
                    (drawing(plot, &frame))
                    (tips(plot, &frame))
                }
                (note_labels(plot, &frame))
            }
            (time_labels(&frame))
        }
    }
}

/// Renders everything but text: it fills the place that it is in, whatever its size.
pub fn drawing(plot: &Plot, frame: &Frame) -> Markup {
    html! {
        (grid(&frame.values.ticks()))
        (bands(plot, frame))
        (series(plot, frame))
        (marks(plot, frame))
    }
}

/// Says in words what the picture shows.
pub fn description(plot: &Plot) -> String {
    let mut text = format!("{}, {}.", plot.title, plot.about);
    for one in plot.series.iter().filter(|one| !one.is_empty()) {
        let values = || one.values.iter().flatten().copied();
        let most = values().fold(f64::NEG_INFINITY, f64::max);
        let last = values().next_back().unwrap_or(f64::NAN);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            " {}: {} at most, {} at the end.",
            one.name,
            plot.unit.text(most),
            plot.unit.text(last)
        );
    }
    text
}

fn grid(ticks: &[Tick]) -> Markup {
    html! {
        @for tick in ticks {
            @let y = percent(1.0 - tick.at);
            line.grid.is-zero[tick.at <= 0.0] x1="0" x2="100%" y1=(y) y2=(y) {}
        }
    }
}

fn bands(plot: &Plot, frame: &Frame) -> Markup {
    let edges = |from: f64, to: f64| {
        let (from, to) = (frame.time.at(from), frame.time.at(to));
        // A moment has a width, too.
        (percent(from), percent((to - from).max(0.003)))
    };
    html! {
        @for band in &plot.notes.bands {
            @let (x, width) = edges(band.from, band.to.unwrap_or(f64::MAX));
            rect.band x=(x) width=(width) y="0" height="100%" {}
        }
        @for (from, to) in &plot.notes.failures {
            @let (x, width) = edges(*from, *to);
            rect.fails x=(x) width=(width) y="100%" height="4" {}
        }
    }
}

fn marks(plot: &Plot, frame: &Frame) -> Markup {
    html! {
        @for mark in &plot.notes.marks {
            @let x = percent(frame.time.at(mark.at));
            line.mark x1=(x) x2=(x) y1="0" y2="100%" {}
        }
    }
}

/// Labels what is noted, above the picture; marks in two rows, as they may be close to each other.
/// Marks to the right of the middle have their label on the left.
fn note_labels(plot: &Plot, frame: &Frame) -> Markup {
    html! {
        @for band in &plot.notes.bands {
            span.band-key style={"left:" (percent(frame.time.at(band.from)))} title=(band.what) {
                (band.key)
            }
        }
        @for (index, mark) in plot.notes.marks.iter().enumerate() {
            @let at = frame.time.at(mark.at);
            @let (side, place) = if at > 0.5 { ("right:", 1.0 - at) } else { ("left:", at) };
            span.mark-label.is-second[index % 2 == 1] style={(side) (percent(place))} {
                (mark.what)
            }
        }
    }
}

fn time_labels(frame: &Frame) -> Markup {
    let ticks = frame.time.ticks();
    html! {
        div.times aria-hidden="true" {
            @for tick in &ticks {
                span.is-minor[tick.is_minor && ticks.len() > 4].is-last[tick.at > 0.97]
                    style={"left:" (percent(tick.at))} {
                    (format::moment(tick.value, frame.in_minutes))
                }
            }
        }
    }
}

fn series(plot: &Plot, frame: &Frame) -> Markup {
    match plot.kind {
        Kind::Lines => html! {
            svg.stretch viewBox="0 0 1000 1000" preserveAspectRatio="none"
                width="100%" height="100%" overflow="visible" {
                @for one in plot.series.iter().filter(|one| !one.is_empty()) {
                    path class={"stroke t-" (one.tone.name())}
                        stroke-dasharray=[one.tone.dashes()]
                        d=(line(plot, one, frame)) {}
                }
            }
        },
        Kind::Stack => stack(plot, frame),
    }
}

/// Returns a line's path. Steps without a value interrupt it; a value alone becomes a dot.
fn line(plot: &Plot, series: &Series, frame: &Frame) -> String {
    let mut path = String::new();
    let mut is_down = false;
    for (index, (second, value)) in plot.seconds.iter().zip(&series.values).enumerate() {
        let Some(value) = value else {
            is_down = false;
            continue;
        };
        let x = SIDE * frame.time.at(*second);
        let y = SIDE * (1.0 - frame.values.at(*value));
        let is_alone = !is_down && series.values.get(index + 1).copied().flatten().is_none();
        // Writing to a String cannot fail.
        let _ = write!(path, "{}{x:.1} {y:.1}", if is_down { 'L' } else { 'M' });
        if is_alone {
            path.push_str("h.01");
        }
        is_down = true;
    }
    path
}

/// Draws areas on top of each other, in steps. Shapes clip unstretched paint.
fn stack(plot: &Plot, frame: &Frame) -> Markup {
    let mut below = vec![0.0; plot.seconds.len()];
    let mut shapes = Vec::new();
    for (index, one) in plot.series.iter().enumerate().filter(|(_, one)| !one.is_empty()) {
        let values = one.values.iter().map(|value| value.unwrap_or(0.0).max(0.0));
        let above: Vec<f64> =
            below.iter().zip(values).map(|(below, value)| below + value).collect();
        let outline = area(plot, frame, &below, &above);
        shapes.push((format!("{}-{index}", plot.id), one.tone, outline));
        below = above;
    }
    html! {
        defs {
            @for (id, _, outline) in &shapes {
                clipPath id=(id) clipPathUnits="objectBoundingBox" { path d=(outline) {} }
            }
        }
        @for (id, tone, _) in &shapes {
            rect.layer width="100%" height="100%" fill=(tone.paint())
                clip-path={"url(#" (id) ")"} {}
        }
    }
}

/// Returns the outline between two staircases, in parts of the picture.
fn area(plot: &Plot, frame: &Frame, below: &[f64], above: &[f64]) -> String {
    let beginnings = plot.beginnings();
    let x = |second: f64| frame.time.at(second);
    let y = |value: f64| 1.0 - frame.values.at(value);
    let mut path = String::new();
    // Writing to a String cannot fail.
    for (index, value) in above.iter().enumerate() {
        let (from, to) = (x(beginnings[index]), x(plot.seconds[index]));
        let begin = if index == 0 { 'M' } else { 'L' };
        let _ = write!(path, "{begin}{from:.4} {:.4}H{to:.4}", y(*value));
    }
    for (index, value) in below.iter().enumerate().rev() {
        let (from, to) = (x(beginnings[index]), x(plot.seconds[index]));
        let _ = write!(path, "L{to:.4} {:.4}H{from:.4}", y(*value));
    }
    path.push('Z');
    path
}

/// Draws invisible columns that show their values to a pointer.
fn tips(plot: &Plot, frame: &Frame) -> Markup {
    let plot = plot.thinned(TIPS_MAX);
    html! {
        @for (step, from) in plot.beginnings().into_iter().enumerate() {
            @let (x, end) = (frame.time.at(from), frame.time.at(plot.seconds[step]));
            rect.tip x=(percent(x)) width=(percent(end - x)) y="0" height="100%" {
                title { (tip(&plot, step, frame)) }
            }
        }
    }
}

fn tip(plot: &Plot, step: usize, frame: &Frame) -> String {
    let mut text = format::moment(plot.seconds[step], frame.in_minutes);
    for one in plot.series.iter().rev() {
        if let Some(value) = one.values.get(step).copied().flatten() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n{}: {}", one.name, plot.unit.text(value));
        }
    }
    text
}

fn percent(part: f64) -> String {
    format!("{:.2}%", 100.0 * part)
}
