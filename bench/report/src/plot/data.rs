//! The data of a plot as a table, for everybody who cannot or will not read a picture.

use maud::{Markup, html};

use super::{Keep, Plot};
use crate::format;

/// Rows of a table, at most. A table fits on a printed page with its plot.
pub const ROWS_MAX: usize = 40;

/// Renders the data below a plot.
pub fn table(plot: &Plot) -> Markup {
    let steps = plot.seconds.len();
    let thinned = plot.thinned(ROWS_MAX);
    let series: Vec<_> = thinned.series.iter().filter(|one| !one.is_empty()).collect();
    let caption = match steps > ROWS_MAX {
        true => Some(format!(
            "{} steps in {ROWS_MAX} rows: {}.",
            format::count(steps as u64),
            kept(plot)
        )),
        false => None,
    };
    let ends = decimal_ends(&thinned.seconds);
    html! {
        details.data {
            summary { "Data" span.hidden { " of the plot " (plot.title) } }
            div.scroll.is-narrow[series.len() <= 3] tabindex="0" role="region"
                aria-label={"Data: " (plot.title)} {
                table {
                    caption { (plot.title) @if let Some(caption) = caption { ". " (caption) } }
                    thead {
                        tr {
                            th scope="col" { "Until, s" }
                            @for one in &series { th.number scope="col" { (one.name) } }
                        }
                    }
                    tbody {
                        @for (row, end) in ends.iter().enumerate() {
                            tr {
                                th scope="row" { (end) }
                                @for one in &series {
                                    td.number { (cell(plot, one.values[row])) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn cell(plot: &Plot, value: Option<f64>) -> String {
    value.map_or_else(|| format::ABSENT.to_owned(), |value| plot.unit.text(value))
}

/// Returns what stands for several steps, in words.
fn kept(plot: &Plot) -> &'static str {
    let keeps = |keep| plot.series.iter().any(|one| one.keep == keep);
    match (keeps(Keep::Max), keeps(Keep::Mean), keeps(Keep::Last)) {
        (true, false, false) => "each the highest value of its steps",
        (false, true, false) => "each the mean of its steps",
        (false, false, true) => "each the state at the end of its steps",
        _ => "each the highest, mean or last value of its steps",
    }
}

/// Returns moments with as many decimals as tell them apart.
fn decimal_ends(seconds: &[f64]) -> Vec<String> {
    let is_whole = seconds.iter().all(|second| (second - second.round()).abs() < 0.005);
    let decimals = if is_whole { 0 } else { 2 };
    let text = |second: &f64| match second.is_finite() {
        true => format!("{second:.decimals$}"),
        false => format::ABSENT.to_owned(),
    };
    seconds.iter().map(text).collect()
}
