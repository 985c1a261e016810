//! What was checked after the run, and what came of it.

use maud::{Markup, html};
use serde_json::Value;

use crate::format;
use crate::page;
use crate::result::{Checked, RunResult};

/// Characters of a raw document in the page, at most.
const RAW_MAX: usize = 200_000;

pub(super) fn all(result: &RunResult) -> Markup {
    let checked = &result.checked;
    html! {
        div.card {
            ul.checks {
                li {
                    (page::verdict(checked.problems.is_empty(), "History", "History"))
                    span.says { (history(checked)) }
                }
                li { (report("verify", &checked.verify, verify)) }
                li { (report("reconcile", &checked.reconcile, reconcile)) }
                li {
                    @if has_settled(result) {
                        (page::verdict(true, "Settled", ""))
                    } @else {
                        p.badge.is-warn { "Not settled" }
                    }
                    span.says { (settled(result)) }
                }
            }
            (raw("Raw report of verify", &checked.verify))
            (raw("Raw report of reconcile", &checked.reconcile))
        }
        @if let Some(history) = &checked.history {
            p.note { "Every call is in " code { (history) } "." }
        }
    }
}

fn history(checked: &Checked) -> String {
    format!(
        "Every response was checked against every other: {}, {}, {} of them CONFIRMED; {}.",
        format::counted(checked.calls, "call", "calls"),
        format::counted(checked.bookings, "booking", "bookings"),
        format::count(checked.confirmed),
        contradictions(checked.problems.len())
    )
}

fn contradictions(number: usize) -> String {
    match number {
        0 => "no contradiction".to_owned(),
        number => format::counted(number as u64, "contradiction", "contradictions"),
    }
}

/// Renders the summary of one of the operator's tools.
fn report(name: &str, report: &Option<Value>, says: fn(&Value) -> String) -> Markup {
    html! {
        @match report {
            None => {
                p.badge.is-warn { (name) }
                span.says {
                    "Not made: whether Redis, the archive and the payments agree was not checked \
                     by it."
                }
            }
            Some(report) => {
                @let is_clean = report.get("clean").and_then(Value::as_bool) == Some(true);
                (page::verdict(is_clean, name, name))
                span.says { (says(report)) }
            }
        }
    }
}

fn verify(report: &Value) -> String {
    let list =
        |part: &str| report.get(part).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let sum = |part: &str, field: &str| -> u64 {
        list(part).iter().filter_map(|one| one.get(field)?.as_u64()).sum()
    };
    format!(
        "Redis, the booking log and the archive were compared: {} and {} with {}, {} in the \
         archive.",
        format::counted(list("events").len() as u64, "event", "events"),
        format::counted(list("partitions").len() as u64, "partition", "partitions"),
        format::counted(sum("partitions", "entries"), "log entry", "log entries"),
        format::counted(sum("events", "bookings_in_archive"), "booking", "bookings"),
    )
}

fn reconcile(report: &Value) -> String {
    let number = |field: &str| report.get(field).and_then(Value::as_u64).unwrap_or(0);
    let length =
        |field: &str| report.get(field).and_then(Value::as_array).map_or(0, Vec::len) as u64;
    format!(
        "Redis, the archive and the payment provider were compared: {}, {} mended, {}.",
        format::counted(number("payments"), "payment", "payments"),
        format::count(length("mended")),
        format::counted(length("differences"), "difference", "differences"),
    )
}

fn has_settled(result: &RunResult) -> bool {
    let lag = result.settled.archive.as_ref();
    result.settled.held_seats == 0 && lag.is_none_or(|lag| lag.caught_up_seconds.is_some())
}

fn settled(result: &RunResult) -> String {
    let settled = &result.settled;
    let mut text = format!(
        "{} after the last buyer {} still held.",
        format::seconds(settled.seconds),
        match settled.held_seats {
            1 => "1 seat was".to_owned(),
            seats => format!("{} seats were", format::count(seats)),
        }
    );
    if let Some(lag) = &settled.archive {
        text.push_str(&match lag.caught_up_seconds {
            Some(seconds) => format!(
                " The archive had everything {} after the last response.",
                format::seconds(seconds)
            ),
            None => " The archive did not catch up in time.".to_owned(),
        });
        if lag.looks_failed > 0 {
            text.push_str(&format!(
                " {} of its lag failed.",
                format::counted(lag.looks_failed, "measurement", "measurements")
            ));
        }
    }
    text
}

fn raw(title: &str, report: &Option<Value>) -> Markup {
    html! {
        @if let Some(report) = report {
            @let text = format!("{report:#}");
            @let end = text.char_indices().nth(RAW_MAX).map_or(text.len(), |(end, _)| end);
            details.raw {
                summary { (title) }
                pre tabindex="0" { (&text[..end]) @if end < text.len() { "\n… cut here" } }
            }
        }
    }
}
