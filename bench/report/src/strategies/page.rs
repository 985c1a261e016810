//! The page of a comparison.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::charts;
use super::document::{Case, Comparison, Strategy};
use crate::format;
use crate::page::{self, Section, Table};
use crate::plot::bars;

pub(super) fn render(comparison: &Comparison) -> String {
    let plots = html! {
        (verdicts(comparison))
        @for chart in charts::all(comparison) { (bars::figure(&chart)) }
        p.note {
            "All programs answered the same requests over HTTP, on the same Redis and MongoDB, in \
             turns of one run. Holdfast is blue. A striped bar sold more seats than there were."
        }
    };
    let sections = [
        Section { id: "plots", title: "Side by side", content: plots },
        Section { id: "cost", title: "Cost and limits", content: costs(comparison) },
        Section { id: "sales", title: "Sales", content: sales(comparison) },
        Section { id: "strategies", title: "The strategies", content: characters(comparison) },
    ];
    let foot = html! {
        p {
            "Commands and operations are the servers' own counts at the equal load; commands \
             inside of scripts count. A program breaks at the rate from which p99 is above a \
             second, more than 1 % of the requests fail, or a tenth is not served in time."
        }
    };
    page::render(
        "Strategies compared · Holdfast",
        "Strategies compared",
        banner(comparison),
        &sections,
        foot,
    )
}

fn banner(comparison: &Comparison) -> Markup {
    let machine = &comparison.machine;
    let how = &comparison.how;
    let parts = [
        machine.processor.clone(),
        match machine.processors {
            0 => String::new(),
            number => format::counted(
                u64::from(number),
                "processor for everything",
                "processors for everything",
            ),
        },
        match machine.memory_bytes {
            0 => String::new(),
            number => format!("{} of memory", format::bytes(number)),
        },
        machine.system.clone(),
        machine.redis.clone(),
        match machine.mongodb.starts_with("speaks for ") {
            true => format!("a MongoDB that {}", machine.mongodb),
            false => machine.mongodb.clone(),
        },
        match machine.build.as_str() {
            "" => String::new(),
            build => format!("{build} build"),
        },
    ];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    html! {
        div.headline { h1 { "Strategies compared" } }
        p.lead {
            "Holdfast beside what people would otherwise build, each doing what it does best."
        }
        dl.facts {
            @if !parts.is_empty() { dt { "Machine" } dd { (parts.join(", ")) } }
            @if let (Some(rounds), Some(round_ms)) = (how.rounds, how.round_ms) {
                dt { "Medians of" }
                dd {
                    (format::counted(rounds, "round", "rounds")) " of "
                    (format::milliseconds(round_ms as f64))
                    @if let Some(number) = how.connections {
                        ", " (format::counted(number, "connection", "connections"))
                    }
                }
            }
            @if !comparison.command.is_empty() {
                dt { "Command" }
                dd { code { (comparison.command.join(" ")) } }
            }
        }
        @if !comparison.skipped.is_empty() {
            div.problems.is-warn {
                h2 { "Not measured" }
                ul {
                    @for (name, reason) in &comparison.skipped { li { (name) ": " (reason) } }
                }
            }
        }
    }
}

fn verdicts(comparison: &Comparison) -> Markup {
    html! {
        @if !comparison.verdicts.is_empty() {
            div.card {
                ul.checks aria-label="What the figures show" {
                    @for one in &comparison.verdicts {
                        li {
                            (page::verdict(one.holds, "Yes", "No"))
                            span.says {
                                (format::words(&one.statement))
                                @if !one.against.is_empty() { ": " (one.against.join("; ")) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn costs(comparison: &Comparison) -> Markup {
    let rows = comparison.strategies.iter().map(|one| {
        vec![
            one.title().to_owned(),
            figure(one.redis_commands_per_request),
            figure(one.database_operations_per_request),
            latency(one.equal_load.p50_ms),
            latency(one.equal_load.p99_ms),
            figure(one.last_good_per_second),
            breaks(one),
            one.oversold.map_or(format::ABSENT.to_owned(), format::count),
        ]
    });
    page::table(&Table {
        caption: "For each request of the equal load, and where it breaks",
        heads: &[
            "Strategy",
            "Redis commands",
            "MongoDB operations",
            "p50",
            "p99",
            "Last good, /s",
            "Breaks at, /s",
            "Oversold seats",
        ],
        numbers: 1,
        rows: rows.collect(),
    })
}

fn breaks(one: &Strategy) -> String {
    match (one.breaks_at_per_second, one.breaks_by.is_empty()) {
        (Some(rate), false) => format!("{} ({})", format::figure(rate), one.breaks_by),
        (rate, _) => figure(rate),
    }
}

fn sales(comparison: &Comparison) -> Markup {
    let keys: BTreeSet<&String> =
        comparison.strategies.iter().flat_map(|one| one.cases.keys()).collect();
    html! {
        @for key in keys { (sale(comparison, key)) }
    }
}

fn sale(comparison: &Comparison, key: &str) -> Markup {
    let cases = || comparison.strategies.iter().filter_map(|one| Some((one, one.cases.get(key)?)));
    let label = cases().map(|(_, case)| case.label.as_str()).find(|label| !label.is_empty());
    let row = |(one, case): (&Strategy, &Case)| {
        vec![
            one.title().to_owned(),
            whole(case.granted),
            whole(case.refused),
            whole(case.failed),
            case.oversold.map_or(format::ABSENT.to_owned(), format::count),
            latency(case.p50_ms),
            latency(case.p99_ms),
            case.seconds.map_or(format::ABSENT.to_owned(), format::seconds),
        ]
    };
    page::table(&Table {
        caption: &format!(
            "{}, all at once",
            label.map_or_else(|| format::words(key), format::words)
        ),
        heads: &["Strategy", "Granted", "Refused", "Failed", "Oversold", "p50", "p99", "Took"],
        numbers: 1,
        rows: cases().map(row).collect(),
    })
}

fn characters(comparison: &Comparison) -> Markup {
    let row =
        |one: &Strategy| vec![one.title().to_owned(), one.best_at.clone(), one.gives_up.clone()];
    page::table(&Table {
        caption: "What each is best at, and what it gives up",
        heads: &["Strategy", "Best at", "Gives up"],
        numbers: 3,
        rows: comparison.strategies.iter().map(row).collect(),
    })
}

fn whole(value: Option<f64>) -> String {
    let value = value.filter(|value| value.is_finite() && *value >= 0.0);
    value.map_or(format::ABSENT.to_owned(), |value| format::count(value.round() as u64))
}

fn figure(value: Option<f64>) -> String {
    value.map_or(format::ABSENT.to_owned(), format::figure)
}

fn latency(value: Option<f64>) -> String {
    value.map_or(format::ABSENT.to_owned(), format::milliseconds)
}
