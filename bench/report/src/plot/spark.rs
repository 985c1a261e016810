//! Sparklines: the shape of one series, for tiles.

use maud::{Markup, html};

use super::{Keep, Scale, Tone, scale::Axis, thin};

/// Points of a sparkline, at most.
const POINTS_MAX: usize = 80;

/// Renders values as a line with the area below it. Absent values count as zero.
pub fn sparkline(values: &[Option<f64>], keep: Keep, tone: Tone) -> Markup {
    let values = thin::values(values, &thin::buckets(values.len(), POINTS_MAX), keep);
    let most = values.iter().flatten().copied().fold(0.0, f64::max);
    if values.len() < 2 || most <= 0.0 {
        return html! { span.spark aria-hidden="true" {} };
    }
    let axis = Axis::of_values(Scale::Linear, most, most);
    let last = (values.len() - 1) as f64;
    let points: Vec<String> = values
        .iter()
        .enumerate()
        .map(|(index, value)| {
            let y = 96.0 - 90.0 * axis.at(value.unwrap_or(0.0));
            format!("{:.1} {y:.1}", 400.0 * index as f64 / last)
        })
        .collect();
    let line = format!("M{}", points.join("L"));
    html! {
        svg class={"spark t-" (tone.name())} viewBox="0 0 400 100" preserveAspectRatio="none"
            aria-hidden="true" {
            path.shade d={(line) "V100H0Z"} {}
            path.stroke d=(line) {}
        }
    }
}
