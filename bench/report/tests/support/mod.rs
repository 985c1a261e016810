//! Documents of runs that never were.

#![allow(dead_code, reason = "each test program uses a part")]

use std::collections::BTreeMap;

use holdfast_bench_report::read;
use holdfast_bench_report::result::{
    EventResult, FORMAT, Machine, OperationResult, Point, RunResult, Seats, StepLatency,
};
use serde_json::Value;

/// A run with everything: two events, bots, a waiting room, incidents, problems.
pub fn rich() -> RunResult {
    read::run(include_str!("../fixtures/rich.json")).unwrap()
}

/// A comparison of strategies.
pub fn strategies() -> Value {
    serde_json::from_str(include_str!("../fixtures/strategies.json")).unwrap()
}

/// A clean run of one event with steps of a second, each with a latency of its own.
pub fn plain(steps: usize, value: impl Fn(usize) -> f64) -> RunResult {
    let latency = |step: usize| StepLatency {
        calls: 100,
        p50_ms: value(step) / 4.0,
        p90_ms: value(step) / 2.0,
        p99_ms: value(step),
        max_ms: value(step) * 2.0,
    };
    let point = |step: usize| Point {
        seconds: step as f64 + 1.0,
        operations: BTreeMap::from([
            ("hold".to_owned(), latency(step)),
            ("confirm".to_owned(), latency(step)),
        ]),
        outcomes: BTreeMap::from([
            ("granted".to_owned(), 40),
            ("refused".to_owned(), 50),
            ("limited".to_owned(), 10),
        ]),
        seats: BTreeMap::from([(7, Seats { free: 100, held: 20, sold: step as u64 })]),
        archive_behind_entries: Some(step as u64 % 17),
        ..Point::default()
    };
    let mut result = empty();
    result.series.interval_ms = 1_000;
    result.series.points = (0..steps).map(point).collect();
    result
}

/// A clean run that recorded nothing.
pub fn empty() -> RunResult {
    let hold = OperationResult { calls: 1_000, ..OperationResult::default() };
    RunResult {
        format: FORMAT,
        scenario: "stadium".to_owned(),
        began: "2026-11-30T20:46:02Z".to_owned(),
        seconds: 60.0,
        clean: true,
        machine: Machine {
            processors: 2,
            processor: "A processor".to_owned(),
            ..Machine::default()
        },
        event: 7,
        total_seats: 120,
        events: vec![EventResult { id: 7, total_seats: 120, ..EventResult::default() }],
        buyers: 1_000,
        operations: BTreeMap::from([("hold".to_owned(), hold)]),
        ..RunResult::default()
    }
}

/// Fails if a page could load something, has a number that is none, or unbalanced plots.
pub fn assert_self_contained(page: &str) {
    for forbidden in
        ["http://", "https://", "<script", "<link", "<img", "<iframe", "@import", "url(\"", "src="]
    {
        // Names of XML, which nobody loads.
        let page = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!page.contains(forbidden), "the page has {forbidden}");
    }
    assert!(page.contains("default-src 'none'"));
    assert_no_nonsense(page);
}

/// Fails if a text shows a number that is none.
pub fn assert_no_nonsense(text: &str) {
    for word in text.split(|letter: char| !letter.is_alphanumeric()) {
        assert!(!matches!(word, "NaN" | "inf" | "Infinity" | "infinity"), "the text has {word}");
    }
}
