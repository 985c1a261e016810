//! The first screen: what was run, whether it is clean, and the figures that count.

use maud::{Markup, html};
use serde_json::Value;

use super::over_time;
use crate::format;
use crate::page::{self, Tile};
use crate::plot::{Keep, Tone, spark};
use crate::result::{Point, RunResult};

/// Problems that are listed, at most; the rest is counted.
const PROBLEMS_SHOWN_MAX: usize = 50;

pub(super) fn banner(result: &RunResult) -> Markup {
    let machine = &result.machine;
    html! {
        div.headline {
            h1 { (result.scenario) }
            (page::verdict(result.clean, "Clean", "Not clean"))
        }
        @if !result.title.is_empty() { p.lead { (result.title) } }
        dl.facts {
            dt { "Began" }
            dd {
                @if format::is_utc_time(&result.began) {
                    time datetime=(result.began) { (format::date(&result.began)) }
                } @else {
                    (result.began)
                }
                ", took " (format::seconds(result.seconds))
            }
            dt { "Machine" }
            dd {
                (machine.processor) ", "
                (format::counted(u64::from(machine.processors), "processor", "processors"))
                " shared by all programs, " (format::bytes(machine.memory_bytes)) " of memory"
            }
            dt { "Command" }
            dd { code { (result.command.join(" ")) } }
        }
        (problem_list(result))
    }
}

fn problem_list(result: &RunResult) -> Markup {
    let problems = problems(result);
    html! {
        @if !problems.is_empty() || !result.clean {
            div.problems {
                h2 { (format::counted(problems.len() as u64, "problem", "problems")) }
                ul {
                    @for problem in problems.iter().take(PROBLEMS_SHOWN_MAX) { li { (problem) } }
                    @if let Some(more @ 1..) = problems.len().checked_sub(PROBLEMS_SHOWN_MAX) {
                        li { "… and " (format::count(more as u64)) " more" }
                    }
                    @if problems.is_empty() {
                        li { "The result says that it is not clean, and names no problem." }
                    }
                }
            }
        }
    }
}

/// Returns every problem that a result names, those of `verify` and `reconcile` among them.
pub(crate) fn problems(result: &RunResult) -> Vec<String> {
    let checked = &result.checked;
    let mut problems = checked.problems.clone();
    if let Some(verify) = &checked.verify {
        problems.extend(texts(verify.get("problems")));
        for part in ["partitions", "events"] {
            let reports = verify.get(part).and_then(Value::as_array).into_iter().flatten();
            problems.extend(reports.flat_map(|report| texts(report.get("problems"))));
        }
    }
    let differences = checked.reconcile.as_ref().and_then(|report| report.get("differences"));
    for difference in differences.and_then(Value::as_array).into_iter().flatten() {
        let text = |field| difference.get(field).and_then(Value::as_str).unwrap_or_default();
        problems.push(format!("payment of booking {}: {}", text("booking"), text("problem")));
    }
    let mut seen = std::collections::BTreeSet::new();
    problems.retain(|problem| seen.insert(problem.clone()));
    problems
}

fn texts(list: Option<&Value>) -> impl Iterator<Item = String> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.map(|text| text.as_str().map_or_else(|| text.to_string(), str::to_owned))
}

pub(super) fn tiles(result: &RunResult) -> Markup {
    let calls = calls(result);
    let tile = |label: &str, value: String, beside: String, spark: Markup| Tile {
        label: label.to_owned(),
        value,
        beside,
        spark: Some(spark),
    };
    let hold = result.operations.get("hold").map(|one| one.latency_ms);
    let latency =
        |value: Option<f64>| value.map_or(format::ABSENT.to_owned(), format::milliseconds);
    let buyers_beside = match result.bots {
        0 => String::new(),
        bots => format!("{} of them bots", format::count(bots)),
    };
    let (sold_out, sold_out_beside) = sold_out(result);
    let (archive, archive_beside) = archive(result);
    page::tiles(&[
        tile("Buyers", format::count(result.buyers), buyers_beside, html! {}),
        tile(
            "Calls",
            format::count(calls),
            format!("{} a second", format::figure(calls as f64 / result.seconds)),
            spark::sparkline(&over_time::calls_per_second(result), Keep::Mean, Tone::First),
        ),
        tile(
            "Seats sold",
            format::count(result.events.iter().map(|event| event.sold_seats).sum()),
            format!("of {}", format::count(total_seats(result))),
            of_points(result, Keep::Last, Tone::Granted, |point| {
                Some(point.seats.values().map(|seats| seats.sold).sum::<u64>() as f64)
            }),
        ),
        tile("Sold out after", sold_out, sold_out_beside, html! {}),
        tile(
            "Hold, p99",
            latency(hold.map(|hold| hold.p99)),
            format!("p50 {}", latency(hold.map(|hold| hold.p50))),
            of_points(result, Keep::Max, Tone::First, |point| {
                Some(point.operations.get("hold")?.p99_ms)
            }),
        ),
        tile(
            "Archive caught up after",
            archive,
            archive_beside,
            of_points(result, Keep::Max, Tone::Lag, |point| {
                Some(point.archive_behind_entries? as f64)
            }),
        ),
    ])
}

/// Returns the number of all calls, those of bots among them.
pub(crate) fn calls(result: &RunResult) -> u64 {
    result.operations.values().chain(result.bot_operations.values()).map(|one| one.calls).sum()
}

/// Returns the number of seats of all events.
pub(crate) fn total_seats(result: &RunResult) -> u64 {
    match result.events[..] {
        [] => u64::from(result.total_seats),
        ref events => events.iter().map(|event| u64::from(event.total_seats)).sum(),
    }
}

/// Returns when the last event was sold out, and of which events that is not known.
fn sold_out(result: &RunResult) -> (String, String) {
    let times: Vec<f64> = result.events.iter().filter_map(|event| event.sold_out_seconds).collect();
    let last = times.iter().copied().fold(f64::NAN, f64::max);
    let beside = match (times.len(), result.events.len()) {
        (0, _) => "never".to_owned(),
        (some, all) if some < all => format!("{some} of {all} events"),
        (1, _) => String::new(),
        (all, _) => format!("the last of {all} events"),
    };
    (format::seconds(last), beside)
}

fn archive(result: &RunResult) -> (String, String) {
    match &result.settled.archive {
        None => (format::ABSENT.to_owned(), "not read".to_owned()),
        Some(lag) => {
            let behind = counted_entries(lag.behind_entries_max);
            match lag.caught_up_seconds {
                Some(seconds) => (format::seconds(seconds), format!("{behind} behind at most")),
                None => ("Not in time".to_owned(), format!("{behind} behind at most")),
            }
        }
    }
}

fn counted_entries(number: u64) -> String {
    format::counted(number, "entry", "entries")
}

fn of_points(
    result: &RunResult,
    keep: Keep,
    tone: Tone,
    value: impl Fn(&Point) -> Option<f64>,
) -> Markup {
    let values: Vec<_> = result.series.points.iter().map(value).collect();
    spark::sparkline(&values, keep, tone)
}
