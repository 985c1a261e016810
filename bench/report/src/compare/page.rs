//! The comparison as a page.

use maud::{Markup, html};

use super::{Change, Row, checks, fates, operations, outcomes, totals, warnings};
use crate::format;
use crate::html::over_time;
use crate::page::{self, Section};
use crate::plot::{Keep, Kind, Notes, Plot, Scale, Series, Tone, Unit, lines, thin};
use crate::result::RunResult;

/// Steps of a plot, at most.
const STEPS_MAX: f64 = 4_000.0;

/// Compares two runs on one page that loads nothing.
pub fn html(first: &RunResult, second: &RunResult) -> String {
    let percentiles = html! {
        div.grid2 {
            @for (name, rows) in operations(first, second) { (table(&name, &rows)) }
        }
    };
    let sections = [
        Section {
            id: "summary",
            title: "Summary",
            content: table("Whole run", &totals(first, second)),
        },
        Section { id: "time", title: "Over time", content: plots(first, second) },
        Section { id: "operations", title: "Latencies", content: percentiles },
        Section {
            id: "responses",
            title: "Responses and buyers",
            content: html! {
                div.grid2 {
                    (table("Responses, by status and code", &outcomes(first, second)))
                    (table("Buyers", &fates(first, second)))
                }
            },
        },
        Section { id: "checks", title: "Checks", content: check_table(first, second) },
    ];
    let foot = html! {
        p {
            "Ratios are those of B to A. Changes below 5 % are called the same: two runs of the \
             same program differ by as much, and one pair of runs is no proof of a smaller change."
        }
    };
    let title = format!("{} and {} · Holdfast", first.scenario, second.scenario);
    page::render(&title, "Two runs compared", banner(first, second), &sections, foot)
}

fn banner(first: &RunResult, second: &RunResult) -> Markup {
    let warnings = warnings(first, second);
    let is_same = first.scenario == second.scenario;
    html! {
        div.headline {
            h1 {
                (first.scenario)
                @if is_same { ", twice" } @else { " and " (second.scenario) }
            }
        }
        dl.facts {
            @for (name, run) in [("A", first), ("B", second)] {
                dt { (name) }
                dd {
                    (format::date(&run.began)) ", " (run.machine.version) ", on "
                    (run.machine.processor) ": " code { (run.command.join(" ")) }
                }
            }
        }
        @if !warnings.is_empty() {
            div.problems.is-warn {
                h2 { "Read with care" }
                ul { @for warning in &warnings { li { (warning) } } }
            }
        }
    }
}

fn table(caption: &str, rows: &[Row]) -> Markup {
    html! {
        div.card.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { (caption) }
                thead {
                    tr {
                        th scope="col" { span.hidden { "Figure" } }
                        th.number scope="col" { "A" }
                        th.number scope="col" { "B" }
                        th.number scope="col" { "B / A" }
                        th scope="col" { span.hidden { "Change" } }
                    }
                }
                tbody { @for row in rows { (table_row(row)) } }
            }
        }
    }
}

fn table_row(row: &Row) -> Markup {
    let change = row.change();
    html! {
        tr {
            th scope="row" { (row.name) }
            td.number { (row.cell(row.first)) }
            td.number { (row.cell(row.second)) }
            td.number.strong { (row.ratio_text()) }
            td.better[change == Change::Better].worse[change == Change::Worse] { (change.word()) }
        }
    }
}

fn check_table(first: &RunResult, second: &RunResult) -> Markup {
    let rows = checks(first, second).into_iter().map(Vec::from).collect();
    page::table(&page::Table {
        caption: "What was checked",
        heads: &["Check", "A", "B"],
        numbers: 3,
        rows,
    })
}

fn plots(first: &RunResult, second: &RunResult) -> Markup {
    let runs = [first, second];
    let p99 = |run: &RunResult| over_time::of_operation(run, "hold", |step| step.p99_ms);
    let latencies = overlay(runs, p99, Keep::Max);
    let rates = overlay(runs, over_time::calls_per_second, Keep::Mean);
    let plot = |id: &str, (seconds, series): (Vec<f64>, Vec<Series>)| Plot {
        id: id.to_owned(),
        title: "Latency of hold, p99".to_owned(),
        about: "from when the call was due, logarithmic".to_owned(),
        unit: Unit::Milliseconds,
        scale: Scale::Log,
        kind: Kind::Lines,
        seconds,
        series,
        notes: Notes::default(),
    };
    let rates = Plot {
        title: "Calls".to_owned(),
        about: "answered a second".to_owned(),
        unit: Unit::PerSecond,
        scale: Scale::Linear,
        ..plot("calls", rates)
    };
    html! {
        div.grid2.plots { (lines::figure(&plot("hold", latencies))) (lines::figure(&rates)) }
    }
}

/// Puts both runs on the same steps of time: as long as the longer step of both, or longer if there
/// were too many. A run has no value where it has no step.
fn overlay(
    runs: [&RunResult; 2],
    values: impl Fn(&RunResult) -> Vec<Option<f64>>,
    keep: Keep,
) -> (Vec<f64>, Vec<Series>) {
    let ends = runs.map(|run| over_time::seconds(&run.series.points));
    let last = ends.iter().filter_map(|ends| ends.last().copied()).fold(0.0, f64::max);
    let interval = runs.map(|run| run.series.interval_ms as f64 / 1_000.0);
    let step = interval[0].max(interval[1]).max(last / STEPS_MAX);
    if step <= 0.0 {
        return (Vec::new(), Vec::new());
    }
    // The margin keeps a step that ends where another begins out of that one.
    let steps = (last / step - 1e-6).ceil().max(0.0) as usize;
    let tones = [("A", Tone::First), ("B", Tone::Second)];
    let series = runs.iter().zip(&ends).zip(tones).map(|((run, ends), (name, tone))| {
        let mut within = vec![Vec::new(); steps];
        for (end, value) in ends.iter().zip(values(run)) {
            let index = (end / step - 1e-6).floor().max(0.0) as usize;
            if let Some(within) = within.get_mut(index) {
                within.push(value);
            }
        }
        let kept = within.iter().map(|values| thin::value(values, keep)).collect();
        Series::new(name, tone, keep, kept)
    });
    let series = series.collect();
    ((1..=steps).map(|index| index as f64 * step).collect(), series)
}
