//! Two runs side by side. Ratios are those of the second to the first.

mod page;
mod text;

pub use page::html;
pub use text::text;

use std::collections::{BTreeMap, BTreeSet};

use crate::format;
use crate::html::problems;
use crate::result::{Latency, OperationResult, RunResult};

/// Changes below this part are called none: two runs of the same differ by as much.
const SAME_WITHIN: f64 = 0.05;

/// Which direction is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Better {
    Lower,
    Neither,
}

/// A figure of both runs.
#[derive(Clone, Debug)]
struct Row {
    name: String,
    first: Option<f64>,
    second: Option<f64>,
    better: Better,
    show: fn(f64) -> String,
}

/// What a ratio means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Better,
    Worse,
    Same,
    /// There is no ratio, or neither direction is better.
    Unknown,
}

impl Row {
    fn cell(&self, value: Option<f64>) -> String {
        value.filter(|value| value.is_finite()).map_or(format::ABSENT.to_owned(), self.show)
    }

    /// Returns how many times the first value the second one is.
    fn ratio(&self) -> Option<f64> {
        let ratio = self.second? / self.first?;
        ratio.is_finite().then_some(ratio)
    }

    fn ratio_text(&self) -> String {
        self.ratio().map_or(format::ABSENT.to_owned(), |ratio| format!("{ratio:.2}×"))
    }

    fn change(&self) -> Change {
        match (self.ratio(), self.better) {
            // From none to some: no ratio says so.
            (None, Better::Lower) if self.first == Some(0.0) => match self.second {
                Some(second) if second > 0.0 => Change::Worse,
                Some(_) => Change::Same,
                None => Change::Unknown,
            },
            (None, _) | (_, Better::Neither) => Change::Unknown,
            (Some(ratio), _) if (ratio - 1.0).abs() < SAME_WITHIN => Change::Same,
            (Some(ratio), Better::Lower) if ratio < 1.0 => Change::Better,
            _ => Change::Worse,
        }
    }
}

impl Change {
    fn word(self) -> &'static str {
        match self {
            Change::Better => "better",
            Change::Worse => "worse",
            Change::Same => "same",
            Change::Unknown => "",
        }
    }
}

/// Returns why the runs cannot be compared, or only with care.
fn warnings(first: &RunResult, second: &RunResult) -> Vec<String> {
    let machine = |result: &RunResult| {
        let machine = &result.machine;
        format!(
            "{}, {}, {}, {}",
            machine.processor,
            format::counted(u64::from(machine.processors), "processor", "processors"),
            format::bytes(machine.memory_bytes),
            machine.system
        )
    };
    let seats = |result: &RunResult| {
        let mut seats: Vec<u32> = result.events.iter().map(|event| event.total_seats).collect();
        seats.sort_unstable();
        (result.total_seats, seats)
    };
    let total = |result: &RunResult| format::count(crate::html::total_seats(result));
    let buyers = |result: &RunResult| format::count(result.buyers);
    let mut warnings = Vec::new();
    let mut differ = |what: &str, first: String, second: String| {
        warnings.push(format!("Not comparable: {what} differ: A has {first}, B has {second}."));
    };
    if first.scenario != second.scenario {
        differ("the scenarios", first.scenario.clone(), second.scenario.clone());
    }
    if machine(first) != machine(second) {
        differ("the machines", machine(first), machine(second));
    }
    if seats(first) != seats(second) {
        differ("the seats", total(first), total(second));
    }
    if first.buyers != second.buyers {
        differ("the numbers of buyers", buyers(first), buyers(second));
    }
    if first.machine.programs != second.machine.programs {
        warnings.push("The programs beside it have other versions.".to_owned());
    }
    for (name, result) in [("A", first), ("B", second)] {
        if !result.clean {
            let problems = problems(result).len() as u64;
            warnings.push(format!(
                "{name} is not clean: {}.",
                format::counted(problems, "problem", "problems")
            ));
        }
    }
    warnings
}

/// Returns the figures of the whole runs.
fn totals(first: &RunResult, second: &RunResult) -> Vec<Row> {
    let row = |name: &str, better, show, value: fn(&RunResult) -> Option<f64>| Row {
        name: name.to_owned(),
        first: value(first),
        second: value(second),
        better,
        show,
    };
    vec![
        row("Took", Better::Neither, format::seconds, |run| Some(run.seconds)),
        row("Calls", Better::Neither, whole, |run| Some(calls(run))),
        row("Calls a second", Better::Neither, format::figure, |run| {
            Some(calls(run) / run.seconds)
        }),
        row("Seats sold", Better::Neither, whole, |run| {
            Some(run.events.iter().map(|event| event.sold_seats).sum::<u64>() as f64)
        }),
        row("Sold out after", Better::Neither, format::seconds, |run| {
            run.events.iter().filter_map(|event| event.sold_out_seconds).reduce(f64::max)
        }),
        row("Archive behind at most, entries", Better::Lower, whole, |run| {
            Some(run.settled.archive.as_ref()?.behind_entries_max as f64)
        }),
        row("Archive caught up after", Better::Lower, format::seconds, |run| {
            run.settled.archive.as_ref()?.caught_up_seconds
        }),
        row("Delay by the load generator, p99", Better::Lower, format::milliseconds, |run| {
            Some(run.generator.late_ms.p99)
        }),
        row("Problems", Better::Lower, whole, |run| Some(problems(run).len() as f64)),
    ]
}

fn calls(run: &RunResult) -> f64 {
    crate::html::calls(run) as f64
}

fn whole(value: f64) -> String {
    format::count(value.max(0.0) as u64)
}

/// Returns a run's operations by name, those of bots among them.
fn named_operations(run: &RunResult) -> BTreeMap<String, &OperationResult> {
    let people = run.operations.iter().map(|(name, one)| (format::words(name), one));
    let bots = run.bot_operations.iter();
    people.chain(bots.map(|(name, one)| (of_bots(name), one))).collect()
}

fn of_bots(name: &str) -> String {
    format!("{} (bots)", format::words(name))
}

/// Returns the operations of both runs with their percentiles.
fn operations(first: &RunResult, second: &RunResult) -> Vec<(String, Vec<Row>)> {
    type Percentile = (&'static str, fn(&Latency) -> f64);
    const PERCENTILES: [Percentile; 5] = [
        ("p50", |latency| latency.p50),
        ("p90", |latency| latency.p90),
        ("p99", |latency| latency.p99),
        ("p99.9", |latency| latency.p999),
        ("Max", |latency| latency.max),
    ];
    let (first, second) = (named_operations(first), named_operations(second));
    let names: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let rows = |name: &String| {
        let rows = PERCENTILES.map(|(title, value)| Row {
            name: title.to_owned(),
            first: first.get(name).map(|one| value(&one.latency_ms)),
            second: second.get(name).map(|one| value(&one.latency_ms)),
            better: Better::Lower,
            show: format::milliseconds,
        });
        (name.clone(), rows.to_vec())
    };
    names.into_iter().map(rows).collect()
}

/// Returns the responses of both runs by operation, status and code.
fn outcomes(first: &RunResult, second: &RunResult) -> Vec<Row> {
    let counts = |run: &RunResult| -> BTreeMap<String, u64> {
        let operations = named_operations(run).into_iter();
        let outcomes = operations.flat_map(|(name, one)| {
            one.outcomes.iter().map(move |(outcome, calls)| (format!("{name}: {outcome}"), *calls))
        });
        outcomes.collect()
    };
    both(&counts(first), &counts(second))
}

/// Returns the buyers of both runs by what became of them.
fn fates(first: &RunResult, second: &RunResult) -> Vec<Row> {
    let counts = |run: &RunResult| -> BTreeMap<String, u64> {
        let people = run.fates.iter().map(|(fate, buyers)| (format::words(fate), *buyers));
        let bots = run.bot_fates.iter().map(|(fate, buyers)| (of_bots(fate), *buyers));
        people.chain(bots).collect()
    };
    both(&counts(first), &counts(second))
}

/// Returns a row a name. A name that a run does not have counts as zero.
fn both(first: &BTreeMap<String, u64>, second: &BTreeMap<String, u64>) -> Vec<Row> {
    let names: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let row = |name: &String| Row {
        name: name.clone(),
        first: Some(*first.get(name).unwrap_or(&0) as f64),
        second: Some(*second.get(name).unwrap_or(&0) as f64),
        better: Better::Neither,
        show: whole,
    };
    names.into_iter().map(row).collect()
}

/// Returns how each run was checked.
fn checks(first: &RunResult, second: &RunResult) -> Vec<[String; 3]> {
    let clean = |is_clean: Option<bool>| match is_clean {
        Some(true) => "clean".to_owned(),
        Some(false) => "not clean".to_owned(),
        None => "not made".to_owned(),
    };
    let of = |report: &Option<serde_json::Value>| {
        report
            .as_ref()
            .map(|report| report.get("clean").and_then(|one| one.as_bool()) == Some(true))
    };
    let row = |name: &str, value: &dyn Fn(&RunResult) -> Option<bool>| {
        [name.to_owned(), clean(value(first)), clean(value(second))]
    };
    vec![
        row("Whole run", &|run| Some(run.clean)),
        row("History", &|run| Some(run.checked.problems.is_empty())),
        row("verify", &|run| of(&run.checked.verify)),
        row("reconcile", &|run| of(&run.checked.reconcile)),
    ]
}
