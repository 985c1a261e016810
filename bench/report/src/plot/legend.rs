//! Legends: the look of each series beside its name.

use maud::{Markup, html};

use super::{Kind, Plot, Tone};

/// Renders the legend of a plot, in the order in which a reader meets the series from above.
pub fn of_plot(plot: &Plot) -> Markup {
    let mut series: Vec<_> = plot.series.iter().filter(|one| !one.is_empty()).collect();
    if plot.kind == Kind::Stack {
        series.reverse();
    }
    html! {
        @if series.len() > 1 {
            ul.legend {
                @for one in series { li { (swatch(one.tone, plot.kind)) (one.name) } }
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
                Kind::Lines => path.stroke d="M0 6H24" stroke-dasharray=[tone.dashes()] {}
                Kind::Stack => rect width="12" height="12" rx="2" fill=(tone.paint()) {}
            }
        }
    }
}
