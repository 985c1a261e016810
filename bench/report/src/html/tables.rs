//! Figures of the whole run as tables.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::format;
use crate::page::{self, Table};
use crate::result::{Latency, OperationResult, RunResult};

pub(super) fn buyers(result: &RunResult) -> Markup {
    let has_bots = !result.bot_fates.is_empty();
    let caption = if has_bots { "What became of people" } else { "What became of them" };
    html! {
        div.grid2 {
            (fates(caption, &result.fates))
            @if has_bots { (fates("What became of bots", &result.bot_fates)) }
        }
        (events(result))
    }
}

fn fates(caption: &str, fates: &BTreeMap<String, u64>) -> Markup {
    let all: u64 = fates.values().sum();
    let mut rows: Vec<_> = fates.iter().collect();
    rows.sort_by(|one, other| other.1.cmp(one.1));
    let row = |(fate, buyers): (&String, &u64)| {
        vec![format::words(fate), format::count(*buyers), format::share(*buyers, all)]
    };
    let rows = rows.into_iter().map(row).collect();
    page::table(&Table { caption, heads: &["Outcome", "Buyers", "Share"], numbers: 1, rows })
}

fn events(result: &RunResult) -> Markup {
    let rows = result.events.iter().map(|event| {
        vec![
            event.name.clone(),
            format::count(u64::from(event.total_seats)),
            format::count(event.sold_seats),
            format::count(event.held_seats),
            event.sold_out_seconds.map_or(format::ABSENT.to_owned(), format::seconds),
        ]
    });
    page::table(&Table {
        caption: "Events at the end",
        heads: &["Event", "Seats", "Sold", "Held", "Sold out after"],
        numbers: 1,
        rows: rows.collect(),
    })
}

pub(super) fn operations(result: &RunResult) -> Markup {
    let (people, bots) = (&result.operations, &result.bot_operations);
    let whose = if bots.is_empty() { "" } else { " of people" };
    let latency = |caption: &str, operations| latencies(caption, operations, |one| &one.latency_ms);
    let service = format!("Service time{whose}, from when a call was sent");
    html! {
        (latency(&format!("Latency{whose}, from when a call was due"), people))
        (latencies(&service, people, |one| &one.service_ms))
        (outcomes(&format!("Responses{whose}, by status and code"), people))
        @if !bots.is_empty() {
            (latency("Latency of bots, from when a call was due", bots))
            (outcomes("Responses of bots, by status and code", bots))
        }
        @for event in result.events.iter().filter(|event| !event.operations.is_empty()) {
            (latency(&format!("Latency of {}", event.name), &event.operations))
        }
    }
}

fn latencies(
    caption: &str,
    operations: &BTreeMap<String, OperationResult>,
    latency: fn(&OperationResult) -> &Latency,
) -> Markup {
    let rows = operations.iter().map(|(name, one)| {
        let mut row = vec![format::words(name), format::count(one.calls)];
        row.extend(cells(latency(one)));
        row
    });
    page::table(&Table {
        caption,
        heads: &["Operation", "Calls", "p50", "p90", "p99", "p99.9", "Max"],
        numbers: 1,
        rows: rows.collect(),
    })
}

fn cells(latency: &Latency) -> [String; 5] {
    let Latency { p50, p90, p99, p999, max } = *latency;
    [p50, p90, p99, p999, max].map(format::milliseconds)
}

fn outcomes(caption: &str, operations: &BTreeMap<String, OperationResult>) -> Markup {
    let rows = operations.iter().flat_map(|(name, one)| {
        let mut outcomes: Vec<_> = one.outcomes.iter().collect();
        outcomes.sort_by(|one, other| other.1.cmp(one.1));
        outcomes.into_iter().map(|(outcome, calls)| {
            vec![
                format::words(name),
                outcome.clone(),
                format::count(*calls),
                format::share(*calls, one.calls),
            ]
        })
    });
    page::table(&Table {
        caption,
        heads: &["Operation", "Response", "Calls", "Share"],
        numbers: 2,
        rows: rows.collect(),
    })
}

pub(super) fn generator(result: &RunResult) -> Markup {
    let generator = &result.generator;
    let mut late = vec!["Delay of calls".to_owned()];
    late.extend(cells(&generator.late_ms));
    let waits = match generator.waited_calls {
        0 => format!(
            "Never more than {} under way; none waited for a connection.",
            format::counted(generator.in_flight_max, "call was", "calls were")
        ),
        calls => format!(
            "{} waited for one of {}, {} at most.",
            format::counted(calls, "call", "calls"),
            format::counted(generator.in_flight_max, "connection", "connections"),
            format::milliseconds(generator.waited_ms_max)
        ),
    };
    html! {
        (page::table(&Table {
            caption: "Its own delay, part of the latencies above",
            heads: &["Of", "p50", "p90", "p99", "p99.9", "Max"],
            numbers: 1,
            rows: vec![late],
        }))
        p.note {
            (waits)
            " Load that the generator could not send in time does not count for the server."
        }
    }
}

pub(super) fn machine(result: &RunResult) -> Markup {
    let machine = &result.machine;
    let mut rows = vec![
        ["Processor".to_owned(), machine.processor.clone()],
        ["Logical processors".to_owned(), machine.processors.to_string()],
        ["Memory".to_owned(), format::bytes(machine.memory_bytes)],
        ["System".to_owned(), machine.system.clone()],
        ["Load generator".to_owned(), machine.version.clone()],
    ];
    rows.extend(
        machine.programs.iter().map(|(name, version)| [format::words(name), version.clone()]),
    );
    page::table(&Table {
        caption: "Where it ran",
        heads: &["What", "Which"],
        numbers: 2,
        rows: rows.into_iter().map(Vec::from).collect(),
    })
}
