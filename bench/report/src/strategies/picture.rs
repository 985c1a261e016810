//! The picture of a comparison, for READMEs.

use super::charts;
use super::document::Comparison;
use crate::format;
use crate::plot::standalone;

pub(super) fn render(comparison: &Comparison) -> String {
    let machine = &comparison.machine;
    let note = match machine.processors {
        0 => "One run on one machine".to_owned(),
        number => format!(
            "One run on one machine, {} for load, programs, Redis and MongoDB. Striped: sold more \
             seats than there were.",
            format::counted(u64::from(number), "processor", "processors")
        ),
    };
    standalone::bars(
        "Holdfast beside what people would otherwise build",
        &note,
        &charts::all(comparison),
    )
}
