//! Builds the result document of a run.

use std::collections::BTreeMap;
use std::sync::Arc;

use hdrhistogram::Histogram;
use holdfast_bench_report::result::{
    Checked, EventResult, FORMAT, Generator, Latency, OperationResult, RunResult, Seats, Settled,
};
use jiff::Timestamp;

use crate::machine::machine;
use crate::options::RunOptions;
use crate::scenarios;
use crate::series::Record;
use crate::shop::Shop;
use crate::tally::{BuyerResult, Operations};

/// Options whose value is not shown.
const SECRETS: [&str; 1] = ["--admin-key"];

/// What a run has found, beside the counts of its shop.
pub struct Findings {
    /// The course of the sale.
    pub record: Record,
    /// How it ended.
    pub settled: Settled,
    /// The result of the checks.
    pub checked: Checked,
    /// Versions of Redis and MongoDB.
    pub programs: BTreeMap<String, String>,
}

/// Builds the document.
pub fn result(shop: &Arc<Shop>, findings: Findings) -> RunResult {
    let Findings { record, settled, checked, mut programs } = findings;
    programs.extend(record.version.clone().map(|version| ("holdfast".to_owned(), version)));
    let counts = shop.tally.lock();
    let options = &shop.options;
    RunResult {
        format: FORMAT,
        scenario: options.scenario.clone().unwrap_or_else(|| "custom".to_owned()),
        title: title(options, shop),
        command: shown_command(std::env::args_os().map(|word| word.to_string_lossy().into_owned())),
        began: began(shop.began_unix_ms),
        seconds: shop.sale_seconds(),
        machine: machine(programs),
        clean: is_clean(&checked),
        event: shop.events[0].id,
        total_seats: shop.events[0].total_seats,
        events: events(shop, (&record, &settled, &checked), &counts.events),
        buyers: shop.crowd.len() as u64,
        bots: shop.crowd.bots() as u64,
        fates: fates(&counts.fates),
        bot_fates: fates(&counts.bot_fates),
        operations: operations(&counts.people),
        bot_operations: operations(&counts.bots),
        generator: Generator {
            late_ms: counts.late_us.as_ref().map(latency).unwrap_or_default(),
            in_flight_max: options.in_flight,
            waited_calls: counts.waited,
            waited_ms_max: counts.waited_us_max as f64 / 1_000.0,
        },
        settled,
        checked,
        series: record.series(),
        incidents: record.incidents,
    }
}

/// Returns whether no check found anything.
pub fn is_clean(checked: &Checked) -> bool {
    let says_clean = |report: &Option<serde_json::Value>| {
        report.as_ref().is_none_or(|report| report["clean"] == true)
    };
    checked.problems.is_empty() && says_clean(&checked.verify) && says_clean(&checked.reconcile)
}

fn title(options: &RunOptions, shop: &Shop) -> String {
    let about = options.scenario.as_deref().and_then(scenarios::named).map(|one| one.about);
    let seats: u64 = shop.events.iter().map(|event| u64::from(event.total_seats)).sum();
    let bots = shop.crowd.bots();
    let people = shop.crowd.len() - bots;
    let crowd = match bots {
        0 => format!("{people} buyers, {seats} seats"),
        _ => format!("{people} buyers and {bots} bots, {seats} seats"),
    };
    match about {
        Some(about) => format!("{crowd}: {about}"),
        None => crowd,
    }
}

/// The command line without the values of secrets, and without passwords in addresses.
fn shown_command(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut hide_next = false;
    let show = |word: String| {
        if std::mem::take(&mut hide_next) {
            return "…".to_owned();
        }
        hide_next = SECRETS.contains(&word.as_str());
        let secret = SECRETS
            .iter()
            .find(|secret| word.strip_prefix(**secret).is_some_and(|value| value.starts_with('=')));
        match secret {
            Some(secret) => format!("{secret}=…"),
            None => without_password(word),
        }
    };
    words.map(show).collect()
}

/// Hides the passwords of every address in a word, which may be a list.
fn without_password(word: String) -> String {
    let show = |part: &str| {
        let hidden = part.split_once("://").and_then(|(scheme, rest)| {
            let (_, host) = rest.rsplit_once('@')?;
            Some(format!("{scheme}://…@{host}"))
        });
        hidden.unwrap_or_else(|| part.to_owned())
    };
    word.split(',').map(show).collect::<Vec<_>>().join(",")
}

fn began(unix_ms: u64) -> String {
    // A clock beyond the year 9999 is not shown.
    let at = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.map(|at| at.to_string()).unwrap_or_default()
}

fn events(
    shop: &Shop,
    (record, settled, checked): (&Record, &Settled, &Checked),
    counts: &[Operations],
) -> Vec<EventResult> {
    let one = |(index, event): (usize, &crate::shop::EventOnSale)| {
        let mut seats = seats_at_the_end(record, checked, event.id);
        if shop.events.len() == 1 && !is_read_at_the_end(record, event.id) {
            seats.held = settled.held_seats;
        }
        EventResult {
            id: event.id,
            name: event.name.clone(),
            total_seats: event.total_seats,
            sold_seats: seats.sold,
            held_seats: seats.held,
            sold_out_seconds: record.sold_out.get(&event.id).copied(),
            operations: counts.get(index).map(operations).unwrap_or_default(),
        }
    };
    shop.events.iter().enumerate().map(one).collect()
}

fn is_read_at_the_end(record: &Record, event: u32) -> bool {
    record.points.last().is_some_and(|point| point.seats.contains_key(&event))
}

/// Returns an event's seats at the end: those of the last look, or those that `verify` counted, or the
/// latest that are known.
fn seats_at_the_end(record: &Record, checked: &Checked, event: u32) -> Seats {
    let latest = record.seats.get(&event).copied();
    if let Some(seats) = latest.filter(|_| is_read_at_the_end(record, event)) {
        return seats;
    }
    verified(checked, event).or(latest).unwrap_or_default()
}

/// Reads an event's seats in the report of `verify`; blocked ones count as sold here as well.
fn verified(checked: &Checked, event: u32) -> Option<Seats> {
    let events = checked.verify.as_ref()?["events"].as_array()?;
    let found = events.iter().find(|one| one["event"] == event && one["loaded"] == true)?;
    let number = |name: &str| found[name].as_u64();
    Some(Seats {
        free: number("free")?,
        held: number("held")?,
        sold: number("sold")? + number("blocked")?,
    })
}

fn fates(counts: &BTreeMap<BuyerResult, u64>) -> BTreeMap<String, u64> {
    counts.iter().map(|(fate, count)| (fate.as_str().to_owned(), *count)).collect()
}

fn operations(counts: &Operations) -> BTreeMap<String, OperationResult> {
    let one = |counts: &crate::tally::OperationCounts| {
        let outcomes = counts.outcomes();
        OperationResult {
            calls: outcomes.values().sum(),
            outcomes,
            latency_ms: latency(&counts.latency_us),
            service_ms: latency(&counts.service_us),
        }
    };
    counts.iter().map(|(kind, counts)| (kind.as_str().to_owned(), one(counts))).collect()
}

fn latency(histogram: &Histogram<u64>) -> Latency {
    let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    let max = histogram.max() as f64 / 1_000.0;
    Latency { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_is_shown_without_secrets() {
        let words = "flash-sale run --admin-key hunter2 --admin-key=hunter2 \
                     --url http://ann:pw@host:1,http://eve:p@w@host:2,http://host:3 --wants 1:2,2:3";
        let shown = shown_command(words.split_whitespace().map(str::to_owned)).join(" ");
        let expected = "flash-sale run --admin-key … --admin-key=… \
                        --url http://…@host:1,http://…@host:2,http://host:3 --wants 1:2,2:3";
        assert_eq!(shown, expected);
    }

    #[test]
    fn seats_at_the_end_are_those_of_the_last_look_or_of_verify() {
        use holdfast_bench_report::result::Point;
        let looked = Seats { free: 1, held: 2, sold: 3 };
        let point = |seats: &[(u32, Seats)]| Point {
            seats: seats.iter().copied().collect(),
            ..Point::default()
        };
        let mut record = Record { seats: BTreeMap::from([(7, looked)]), ..Record::default() };
        record.points = vec![point(&[(7, looked)]), point(&[])];
        let event = serde_json::json!({
            "event": 7, "loaded": true, "free": 0, "held": 1, "sold": 4, "blocked": 1,
        });
        let verify = Some(serde_json::json!({ "events": [event] }));
        let checked = Checked { verify, ..Checked::default() };
        let sold = |record: &Record, checked: &Checked| seats_at_the_end(record, checked, 7).sold;
        assert_eq!(sold(&record, &checked), 5);
        assert_eq!(sold(&record, &Checked::default()), 3);
        record.points.push(point(&[(7, looked)]));
        assert_eq!(sold(&record, &checked), 3);
    }

    #[test]
    fn run_is_clean_only_if_every_report_is() {
        let report = |clean: bool| Some(serde_json::json!({ "clean": clean }));
        let checked = Checked { verify: report(true), ..Checked::default() };
        assert!(is_clean(&checked));
        assert!(!is_clean(&Checked { reconcile: report(false), ..checked.clone() }));
        assert!(!is_clean(&Checked { problems: vec!["one".to_owned()], ..checked }));
    }
}
