//! The report of one run.

mod checks;
mod head;
pub(crate) mod over_time;
mod tables;

pub(crate) use head::{calls, problems, total_seats};

use maud::html;

use crate::format;
use crate::page::{self, Section};
use crate::plot::standalone;
use crate::result::RunResult;

/// Renders the latency of hold, the outcomes of calls and the seats of a run as one SVG file, for
/// READMEs.
pub fn picture(result: &RunResult) -> String {
    let note = format!(
        "{}, {}, {} shared by all programs.",
        format::counted(result.buyers, "buyer", "buyers"),
        format::counted(total_seats(result), "seat", "seats"),
        format::counted(u64::from(result.machine.processors), "processor", "processors"),
    );
    standalone::lines(&result.scenario, &note, &over_time::main_plots(result))
}

/// Renders the report of a run as one page that loads nothing.
pub fn report(result: &RunResult) -> String {
    let sections = [
        Section { id: "summary", title: "Summary", content: head::tiles(result) },
        Section { id: "time", title: "Over time", content: over_time::plots(result) },
        Section { id: "buyers", title: "Buyers", content: tables::buyers(result) },
        Section { id: "operations", title: "Operations", content: tables::operations(result) },
        Section { id: "generator", title: "Load generator", content: tables::generator(result) },
        Section { id: "checks", title: "Checks", content: checks::all(result) },
        Section { id: "machine", title: "Machine", content: tables::machine(result) },
    ];
    let foot = html! {
        p {
            "Latencies count from the moment a call was due, so a server that answers late cannot \
             hide behind a load generator that waits for it. Percentiles of a step are those of \
             the calls that were answered in it."
        }
    };
    let title = format!("{} · Holdfast load test", result.scenario);
    page::render(&title, "Load test", head::banner(result), &sections, foot)
}
