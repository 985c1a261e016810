//! Legends: the look of each series beside its name.

use maud::{Markup, html};

use super::{Kind, Plot, Tone};

/// Renders the legend of a plot, in the order in which a reader meets the series from above.
pub fn of_plot(plot: &Plot) -> Markup {
    let mut series: Vec<_> = plot.series.iter().filter(|one| !one.is_empty()).collect();
    series.reverse();
    let fails = !plot.notes.failures.is_empty();
    html! {
        @if series.len() > 1 || fails {
            ul.legend {
                @for one in series { li { (swatch(one.tone, plot.kind)) (one.name) } }
                @if fails {
                    li {
                        svg.swatch width="16" height="10" aria-hidden="true" {
                            rect.fails width="16" height="4" y="6" {}
                        }
                        "Calls failed"
                    }
                }
            }
        }
    }
}

fn swatch(tone: Tone, kind: Kind) -> Markup {
    let class = format!("swatch t-{}", tone.name());
    html! {
        svg class=(class) width=(match kind { Kind::Lines => "24", Kind::Stack => "12" })
            height="12" aria-hidden="true" {
            @match kind {
                Kind::Lines => line.stroke x1="0" y1="6" x2="24" y2="6" stroke-dasharray=[tone.dashes()] {}
                Kind::Stack => rect width="12" height="12" rx="2" fill=(tone.paint()) {}
            }
        }
    }
}
