//! Legends: the look of each series beside its name.

use maud::{Markup, html};

use super::{Kind, Plot, Series, Tone};

/// Renders the legend of a plot.
pub fn of_plot(plot: &Plot) -> Markup {
    let series = order(plot);
    html! {
        @if series.len() > 1 {
            ul.legend { @for one in series { li { (swatch(one.tone, plot.kind)) (one.name) } } }
        }
    }
}

/// Returns the series that have values: areas from the upper one to the lower one.
pub fn order(plot: &Plot) -> Vec<&Series> {
    let mut series: Vec<_> = plot.series.iter().filter(|one| !one.is_empty()).collect();
    if plot.kind == Kind::Stack {
        series.reverse();
    }
    series
}

fn swatch(tone: Tone, kind: Kind) -> Markup {
    let width = if kind == Kind::Lines { "24" } else { "12" };
    html! {
        svg.swatch width=(width) height="12" aria-hidden="true" { (sample(tone, kind)) }
    }
}

/// Renders a piece of a line, 24 wide, or of an area, 12 wide; both are 12 high.
pub fn sample(tone: Tone, kind: Kind) -> Markup {
    let line = format!("stroke t-{}", tone.name());
    html! {
        @match kind {
            Kind::Lines => path class=(line) d="M0 6H24" stroke-dasharray=[tone.dashes()] {},
            Kind::Stack => rect width="12" height="12" rx="2" fill=(tone.paint()) {},
        }
    }
}
