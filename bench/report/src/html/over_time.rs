//! Everything that was recorded over time.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::format;
use crate::plot::{Band, Keep, Kind, Mark, Notes, Plot, Scale, Series, Tone, Unit, lines};
use crate::result::{Point, Queue, RunResult, Seats, StepLatency};

/// Incidents that have a letter of their own in plots.
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// Stretches of failures that are listed, at most; plots show all.
const STRETCHES_SHOWN_MAX: usize = 3;
/// Outcomes of calls from the bottom of the plot to its top.
const OUTCOMES: [(&str, &str, Tone); 6] = [
    ("granted", "Granted", Tone::Granted),
    ("refused", "Refused", Tone::Refused),
    ("limited", "Limited (429)", Tone::Limited),
    ("other", "Other", Tone::Other),
    ("unavailable", "Unavailable (503)", Tone::Unavailable),
    ("failed", "Failed", Tone::Failed),
];

pub(super) fn plots(result: &RunResult) -> Markup {
    let points = &result.series.points;
    if points.is_empty() {
        return html! { p.card.empty style="padding:12px 16px" { "No steps were recorded." } };
    }
    let notes = notes(result);
    html! {
        (incidents(&notes))
        div.grid2.plots {
            @for plot in all(result, &notes) { (lines::figure(&plot)) }
        }
        p.note {
            "Steps of " (format::milliseconds(result.series.interval_ms as f64))
            ". A pointer on a plot shows the values below it."
        }
    }
}

/// Returns the plots that tell the most: latency of hold, outcomes, the first event's seats.
pub(super) fn main_plots(result: &RunResult) -> Vec<Plot> {
    let all = all(result, &notes(result));
    let is_main = |plot: &Plot| ["hold", "outcomes"].contains(&plot.id.as_str());
    let seats = all.iter().find(|plot| plot.id.starts_with("seats-")).cloned();
    all.into_iter().filter(is_main).chain(seats).collect()
}

/// Returns all plots that have something to show; latencies of hold and outcomes always.
fn all(result: &RunResult, notes: &Notes) -> Vec<Plot> {
    let points = &result.series.points;
    let mut plots = vec![
        latency(result, notes, "hold", "Latency of hold"),
        outcomes(result, notes, "outcomes", "Outcomes of calls", |point| &point.outcomes),
        latency(result, notes, "confirm", "Latency of confirm"),
        outcomes(result, notes, "bot-outcomes", "Outcomes of calls of bots", |point| {
            &point.bot_outcomes
        }),
        hold_by_event(result, notes),
    ];
    plots.extend(events(result).into_iter().map(|(id, name)| seats(result, notes, id, &name)));
    if points.iter().any(|point| point.queue.is_some()) {
        plots.push(queue(
            result,
            notes,
            "waiting",
            "Waiting room: people who wait",
            Tone::Waiting,
            |queue| queue.waiting,
        ));
        plots.push(queue(
            result,
            notes,
            "inside",
            "Waiting room: people inside",
            Tone::Inside,
            |queue| queue.inside,
        ));
    }
    if points.iter().any(|point| point.archive_behind_entries.is_some()) {
        let lag = |point: &Point| point.archive_behind_entries.map(|entries| entries as f64);
        plots.push(Plot {
            title: "Archive behind the booking log".to_owned(),
            about: "log entries, at the end of each step".to_owned(),
            series: vec![Series::new(
                "Entries",
                Tone::Lag,
                Keep::Max,
                points.iter().map(lag).collect(),
            )],
            ..frame(result, notes, "lag")
        });
    }
    plots.retain(|plot| !plot.is_empty() || plot.id == "hold" || plot.id == "outcomes");
    plots
}

/// Returns a plot without series.
fn frame(result: &RunResult, notes: &Notes, id: &str) -> Plot {
    Plot {
        id: id.to_owned(),
        title: String::new(),
        about: String::new(),
        unit: Unit::Count,
        scale: Scale::Linear,
        kind: Kind::Lines,
        seconds: seconds(&result.series.points),
        series: Vec::new(),
        notes: notes.clone(),
    }
}

/// Returns the ends of steps, rising whatever the document says.
pub(crate) fn seconds(points: &[Point]) -> Vec<f64> {
    let mut last = 0.0_f64;
    let rising = points.iter().enumerate().map(|(index, point)| {
        if point.seconds.is_finite() {
            last = if index == 0 { point.seconds } else { last.max(point.seconds) };
        }
        last
    });
    rising.collect()
}

fn latency(result: &RunResult, notes: &Notes, operation: &str, title: &str) -> Plot {
    let series = |name: &str, tone: Tone, value: fn(&StepLatency) -> f64| {
        Series::new(name, tone, Keep::Max, of_operation(result, operation, value))
    };
    Plot {
        title: title.to_owned(),
        about: "from when the call was due, logarithmic".to_owned(),
        unit: Unit::Milliseconds,
        scale: Scale::Log,
        series: vec![
            series("p50", Tone::P50, |step| step.p50_ms),
            series("p90", Tone::P90, |step| step.p90_ms),
            series("p99", Tone::P99, |step| step.p99_ms),
        ],
        ..frame(result, notes, operation)
    }
}

/// Returns a value of an operation by step; `None` where it was not called.
pub(crate) fn of_operation(
    result: &RunResult,
    operation: &str,
    value: fn(&StepLatency) -> f64,
) -> Vec<Option<f64>> {
    let step =
        |point: &Point| point.operations.get(operation).filter(|step| step.calls > 0).map(value);
    result.series.points.iter().map(step).collect()
}

/// Compares the events of a run with several.
fn hold_by_event(result: &RunResult, notes: &Notes) -> Plot {
    const TONES: [Tone; 4] = [Tone::First, Tone::Second, Tone::Waiting, Tone::P50];
    let points = &result.series.points;
    let series = result.events.iter().zip(TONES).map(|(event, tone)| {
        let p99 = |point: &Point| {
            let step = point.events.get(&event.id)?.get("hold")?;
            (step.calls > 0).then_some(step.p99_ms)
        };
        Series::new(&event.name, tone, Keep::Max, points.iter().map(p99).collect())
    });
    Plot {
        title: "Latency of hold by event, p99".to_owned(),
        about: "from when the call was due, logarithmic".to_owned(),
        unit: Unit::Milliseconds,
        scale: Scale::Log,
        series: series.collect(),
        ..frame(result, notes, "hold-by-event")
    }
}

fn outcomes(
    result: &RunResult,
    notes: &Notes,
    id: &str,
    title: &str,
    of: fn(&Point) -> &BTreeMap<String, u64>,
) -> Plot {
    let series = OUTCOMES.map(|(key, name, tone)| {
        let calls = |point: &Point| of(point).get(key).copied().unwrap_or(0);
        Series::new(name, tone, Keep::Mean, per_second(result, calls))
    });
    let is_used = |one: &Series| one.values.iter().flatten().any(|value| *value > 0.0);
    Plot {
        title: title.to_owned(),
        about: "a second, by what the server answered".to_owned(),
        unit: Unit::PerSecond,
        kind: Kind::Stack,
        series: series.into_iter().filter(is_used).collect(),
        ..frame(result, notes, id)
    }
}

/// Returns the calls that were answered a second, those of bots among them, by step.
pub(crate) fn calls_per_second(result: &RunResult) -> Vec<Option<f64>> {
    per_second(result, |point| point.outcomes.values().chain(point.bot_outcomes.values()).sum())
}

/// Divides counts by the length of their step. A step without a length has no rate.
fn per_second(result: &RunResult, calls: impl Fn(&Point) -> u64) -> Vec<Option<f64>> {
    let ends = seconds(&result.series.points);
    let usual = result.series.interval_ms as f64 / 1_000.0;
    let rate = |(index, point): (usize, &Point)| {
        let measured = match index {
            0 => ends[0],
            index => ends[index] - ends[index - 1],
        };
        let length = if measured > 0.0 { measured } else { usual };
        (length > 0.0).then(|| calls(point) as f64 / length)
    };
    result.series.points.iter().enumerate().map(rate).collect()
}

/// Returns the events that have seats recorded, by id, with their names.
fn events(result: &RunResult) -> Vec<(u32, String)> {
    let mut ids: Vec<u32> =
        result.series.points.iter().flat_map(|point| point.seats.keys().copied()).collect();
    ids.sort_unstable();
    ids.dedup();
    let is_only = ids.len() == 1;
    let title = |id: u32| match result.events.iter().find(|event| event.id == id) {
        Some(event) if !is_only && !event.name.is_empty() => format!("Seats of {}", event.name),
        _ if is_only => "Seats".to_owned(),
        _ => format!("Seats of event {id}"),
    };
    ids.iter().map(|id| (*id, title(*id))).collect()
}

fn seats(result: &RunResult, notes: &Notes, event: u32, title: &str) -> Plot {
    let sold_out = result.events.iter().find(|one| one.id == event);
    let sold_out =
        sold_out.and_then(|one| one.sold_out_seconds).filter(|second| second.is_finite());
    let own = sold_out.map(|at| Mark { at, what: "Sold out".to_owned() }).into_iter().collect();
    let series = |name: &str, tone: Tone, value: fn(&Seats) -> u64| {
        let value = |point: &Point| point.seats.get(&event).map(|seats| value(seats) as f64);
        Series::new(name, tone, Keep::Last, result.series.points.iter().map(value).collect())
    };
    Plot {
        title: title.to_owned(),
        about: "at the end of each step".to_owned(),
        kind: Kind::Stack,
        notes: Notes { marks: own, ..notes.clone() },
        series: vec![
            series("Sold", Tone::Sold, |seats| seats.sold),
            series("Held", Tone::Held, |seats| seats.held),
            series("Free", Tone::Free, |seats| seats.free),
        ],
        ..frame(result, notes, &format!("seats-{event}"))
    }
}

fn queue(
    result: &RunResult,
    notes: &Notes,
    id: &str,
    title: &str,
    tone: Tone,
    value: fn(&Queue) -> u64,
) -> Plot {
    let value = |point: &Point| point.queue.as_ref().map(|queue| value(queue) as f64);
    Plot {
        title: title.to_owned(),
        about: "at the end of each step".to_owned(),
        series: vec![Series::new(
            "People",
            tone,
            Keep::Last,
            result.series.points.iter().map(value).collect(),
        )],
        ..frame(result, notes, id)
    }
}

/// Returns what happened: incidents, steps with failed calls, when seats ran out.
pub(crate) fn notes(result: &RunResult) -> Notes {
    let bands = result.incidents.iter().enumerate().filter(|(_, one)| one.seconds.is_finite());
    let bands = bands.map(|(index, incident)| Band {
        key: LETTERS.get(index).map_or("+".to_owned(), |letter| char::from(*letter).to_string()),
        from: incident.seconds,
        to: incident.ended_seconds.filter(|second| second.is_finite()),
        what: incident.what.clone(),
    });
    let is_only = result.events.len() == 1;
    let marks = result.events.iter().filter_map(|event| {
        let at = event.sold_out_seconds.filter(|second| second.is_finite())?;
        let what = if is_only { "Sold out".to_owned() } else { format!("{} sold out", event.name) };
        Some(Mark { at, what })
    });
    Notes { bands: bands.collect(), marks: marks.collect(), failures: failures(result) }
}

/// Returns the stretches of steps in which calls failed or the service was unavailable.
fn failures(result: &RunResult) -> Vec<(f64, f64)> {
    let points = &result.series.points;
    let ends = seconds(points);
    let mut stretches: Vec<(f64, f64)> = Vec::new();
    for (index, point) in points.iter().enumerate() {
        let fails = ["failed", "unavailable"]
            .iter()
            .any(|key| point.outcomes.get(*key).is_some_and(|calls| *calls > 0));
        let from = index.checked_sub(1).map_or(0.0, |before| ends[before]);
        match stretches.last_mut() {
            Some((_, to)) if fails && *to >= from => *to = ends[index],
            _ if fails => stretches.push((from, ends[index])),
            _ => {}
        }
    }
    stretches
}

/// Lists what plots have letters and bars for.
fn incidents(notes: &Notes) -> Markup {
    if notes.bands.is_empty() && notes.failures.is_empty() {
        return html! {};
    }
    html! {
        div.card {
            ul.incidents aria-label="Incidents" {
                @for band in &notes.bands {
                    li {
                        span.band-key { (band.key) }
                        span { (band.what) }
                        span.when {
                            (format::seconds(band.from)) " to "
                            (band.to.map_or("the end".to_owned(), format::seconds))
                        }
                    }
                }
                @if !notes.failures.is_empty() {
                    li {
                        svg width="15" height="8" aria-hidden="true" {
                            rect.fails width="15" height="4" y="3" {}
                        }
                        span { "Calls failed or found the service unavailable" }
                        span.when { (stretches(&notes.failures)) }
                    }
                }
            }
        }
    }
}

/// Returns the first stretches as text.
fn stretches(failures: &[(f64, f64)]) -> String {
    let first = failures.iter().take(STRETCHES_SHOWN_MAX);
    let texts =
        first.map(|(from, to)| format!("{} to {}", format::seconds(*from), format::seconds(*to)));
    let mut texts: Vec<String> = texts.collect();
    if failures.len() > STRETCHES_SHOWN_MAX {
        texts
            .push(format!("{} more", format::count((failures.len() - STRETCHES_SHOWN_MAX) as u64)));
    }
    texts.join(", ")
}
