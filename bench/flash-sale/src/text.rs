//! Prints the result of a run for people: tables.

use std::collections::BTreeMap;
use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};
use holdfast_bench_report::result::{
    ArchiveLag, Checked, Generator, Latency, OperationResult, RunResult, Settled,
};
use serde_json::Value;

use crate::history::Operation;
use crate::outcome::is_clean;

/// Most contradictions that are listed; the rest is only counted.
const PROBLEMS_SHOWN_MAX: usize = 50;
/// Error codes and statuses by which the server limits callers and refuses programs.
const LIMITS: [&str; 2] = ["429 ", "403 automated_access"];

type Operations = BTreeMap<String, OperationResult>;

/// Returns the whole result as text.
pub fn of_run(result: &RunResult) -> String {
    let mut blocks = vec![headline(result), fates("buyers", &result.fates)];
    if result.bots > 0 {
        blocks.push(fates("bots", &result.bot_fates));
        blocks.push(bots(result));
    }
    blocks.push(latencies("latency, ms", &result.operations));
    blocks.push(generator(&result.generator));
    for event in result.events.iter().filter(|event| !event.operations.is_empty()) {
        let title = format!("event {} ({}), ms", event.id, event.name);
        blocks.push(latencies(&title, &event.operations));
    }
    blocks.push(outcomes(&result.operations));
    blocks.push(after(&result.settled));
    blocks.extend(incidents(result));
    blocks.push(of_checks(&result.checked));
    blocks.join("\n\n")
}

fn headline(result: &RunResult) -> String {
    let all = result.operations.values().chain(result.bot_operations.values());
    let calls: u64 = all.map(|one| one.calls).sum();
    let ids: Vec<String> = result.events.iter().map(|event| event.id.to_string()).collect();
    let events = if ids.len() == 1 { "event" } else { "events" };
    let ids = ids.join(" and ");
    format!("{} ({events} {ids})\n{calls} calls in {:.1} s", result.title, result.seconds)
}

fn fates(who: &str, fates: &BTreeMap<String, u64>) -> String {
    let all: u64 = fates.values().sum();
    let rows = fates
        .iter()
        .map(|(fate, count)| vec![fate.clone(), count.to_string(), percent(*count, all)]);
    table(&[who, "", "share"], 1, rows.collect())
}

/// What bots got, beside what people got.
fn bots(result: &RunResult) -> String {
    let limited = |operations: &Operations| -> (u64, u64) {
        let (mut limited, mut all) = (0, 0);
        for (outcome, count) in operations.values().flat_map(|one| &one.outcomes) {
            all += count;
            if LIMITS.iter().any(|limit| outcome.starts_with(limit)) {
                limited += count;
            }
        }
        (limited, all)
    };
    let (bots_limited, bot_calls) = limited(&result.bot_operations);
    let (people_limited, people_calls) = limited(&result.operations);
    let bought = |fates: &BTreeMap<String, u64>| fates.get("bought").copied().unwrap_or(0);
    let mut text = format!(
        "bots made {} of all calls; the server's limits refused {} of these, and {} of people's; {} \
         of the bots and {} of the people got seats",
        percent(bot_calls, bot_calls + people_calls),
        percent(bots_limited, bot_calls),
        percent(people_limited, people_calls),
        percent(bought(&result.bot_fates), result.bots),
        percent(bought(&result.fates), result.buyers - result.bots),
    );
    if bots_limited == 0 {
        text += "\nNo bot was limited: the server probably only observes (HOLDFAST_LIMITS=observe)";
    }
    text
}

fn latencies(title: &str, operations: &Operations) -> String {
    let rows = in_order(operations).map(|(operation, one)| {
        let Latency { p50, p90, p99, p999, max } = one.latency_ms;
        let mut row = vec![operation.to_owned(), one.calls.to_string()];
        row.extend([p50, p90, p99, p999, max].map(|ms| format!("{ms:.1}")));
        row
    });
    table(&[title, "calls", "p50", "p90", "p99", "p99.9", "max"], 1, rows.collect())
}

fn generator(generator: &Generator) -> String {
    let Generator { late_ms, in_flight_max, waited_calls, waited_ms_max } = generator;
    let waits = match waited_calls {
        0 => format!("never more than {in_flight_max} were under way"),
        calls => format!(
            "{calls} waited for one of {in_flight_max} connections, {waited_ms_max:.0} ms at most"
        ),
    };
    format!(
        "from when a call was due; {:.1} ms (p99) of it, {:.1} ms at most, the load generator's own \
         delay; {waits}",
        late_ms.p99, late_ms.max
    )
}

fn outcomes(operations: &Operations) -> String {
    let rows = in_order(operations).flat_map(|(operation, one)| {
        one.outcomes.iter().map(move |(outcome, count)| {
            let share = percent(*count, one.calls);
            vec![operation.to_owned(), outcome.clone(), count.to_string(), share]
        })
    });
    table(&["operation", "response", "calls", "share"], 2, rows.collect())
}

fn in_order(operations: &Operations) -> impl Iterator<Item = (&'static str, &OperationResult)> {
    let names = Operation::ALL.into_iter().map(Operation::as_str);
    names.filter_map(|name| Some((name, operations.get(name)?)))
}

fn after(settled: &Settled) -> String {
    let Settled { held_seats, seconds, archive } = settled;
    let mut text = format!("settled after {seconds:.1} s, {held_seats} seats still held");
    if let Some(ArchiveLag { behind_entries_max, looks_failed, caught_up_seconds }) = archive {
        let caught_up = match caught_up_seconds {
            Some(seconds) => format!("was complete {seconds:.1} s after the last response"),
            None => "did not catch up in time".to_owned(),
        };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "; the archive was behind by {behind_entries_max} log entries at most and {caught_up}"
        );
        if *looks_failed > 0 {
            let _ = write!(text, " ({looks_failed} measurements of it failed)");
        }
    }
    text
}

fn incidents(result: &RunResult) -> Option<String> {
    let line = |one: &holdfast_bench_report::result::Incident| match one.ended_seconds {
        Some(end) => format!("from {:.0} s to {end:.0} s: {}", one.seconds, one.what),
        None => format!("from {:.0} s on: {}", one.seconds, one.what),
    };
    let lines: Vec<String> = result.incidents.iter().map(line).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Returns the result of the checks as text.
pub fn of_checks(checked: &Checked) -> String {
    let mut problems = checked.problems.clone();
    problems.extend(checked.verify.as_ref().map(problems_of).unwrap_or_default());
    let differences =
        checked.reconcile.as_ref().and_then(|report| report["differences"].as_array());
    problems.extend(differences.into_iter().flatten().map(|one| {
        let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
        format!("payment of booking {}: {}", text("booking"), text("problem"))
    }));
    let mut text = String::new();
    for problem in problems.iter().take(PROBLEMS_SHOWN_MAX) {
        let _ = writeln!(text, "{problem}");
    }
    if problems.len() > PROBLEMS_SHOWN_MAX {
        let _ = writeln!(text, "… and {} more", problems.len() - PROBLEMS_SHOWN_MAX);
    }
    let Checked { history, calls, bookings, confirmed, verify, reconcile, .. } = checked;
    let verdict = if is_clean(checked) { "Clean" } else { "NOT CLEAN" };
    let against = match (verify, reconcile) {
        (Some(_), Some(_)) => {
            "against itself, Redis, the booking log, the archive and the payments"
        }
        (Some(_), None) => "against itself, Redis, the booking log and the archive",
        (None, _) => "against itself alone",
    };
    let _ = write!(
        text,
        "{verdict}: {calls} calls, {bookings} bookings, {confirmed} of them CONFIRMED, checked \
         {against}: {} problems.",
        problems.len(),
    );
    if let Some(history) = history {
        let _ = write!(text, "\nEvery call is in {history}");
    }
    text
}

/// Returns the problems of a report of `verify`.
fn problems_of(report: &Value) -> Vec<String> {
    let parts = ["partitions", "events"].map(|name| report[name].as_array());
    let parts = parts.into_iter().flatten().flatten().map(|part| &part["problems"]);
    let lists = std::iter::once(&report["problems"]).chain(parts).filter_map(Value::as_array);
    lists.flatten().filter_map(|problem| problem.as_str().map(str::to_owned)).collect()
}

fn percent(part: u64, all: u64) -> String {
    // 0 of 0 is none.
    format!("{:.1} %", 100.0 * part as f64 / all.max(1) as f64)
}

/// Formats a table without lines. Columns from `numbers` on are right-aligned.
fn table(heads: &[&str], numbers: usize, rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(heads.to_vec());
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index >= numbers {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_problem_is_named() {
        let checked = Checked {
            problems: vec!["one".to_owned()],
            verify: Some(json!({
                "clean": false,
                "problems": ["two"],
                "partitions": [{ "problems": ["three"] }],
                "events": [{ "problems": ["four"] }],
            })),
            reconcile: Some(json!({
                "clean": false,
                "differences": [{ "booking": "b", "problem": "five" }],
            })),
            ..Checked::default()
        };
        let text = of_checks(&checked);
        for word in ["one", "two", "three", "four", "booking b: five", "NOT CLEAN", "5 problems"] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }

    #[test]
    fn bots_and_people_are_told_apart() {
        let operation = |outcomes: &[(&str, u64)]| OperationResult {
            calls: outcomes.iter().map(|(_, count)| count).sum(),
            outcomes: outcomes.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            ..OperationResult::default()
        };
        let of_bots = operation(&[("403 automated_access", 80), ("201", 10)]);
        let mut result = RunResult {
            buyers: 12,
            bots: 2,
            fates: BTreeMap::from([("bought".to_owned(), 5)]),
            bot_fates: BTreeMap::from([("bought".to_owned(), 1)]),
            operations: BTreeMap::from([("hold".to_owned(), operation(&[("201", 10)]))]),
            bot_operations: BTreeMap::from([("map".to_owned(), of_bots)]),
            ..RunResult::default()
        };
        let text = bots(&result);
        for words in ["made 90.0 %", "refused 88.9 %", "0.0 % of people's", "50.0 % of the bots"] {
            assert!(text.contains(words), "{words}: {text}");
        }
        result.bot_operations.clear();
        assert!(bots(&result).contains("only observes"));
    }
}
