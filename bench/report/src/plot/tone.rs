//! The looks of series. Colours carry meanings, as everywhere in the product; a dash or a pattern
//! tells series apart without colours.

use maud::{Markup, html};

/// The look of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    P50,
    P90,
    P99,
    Granted,
    Refused,
    Limited,
    Unavailable,
    Failed,
    Other,
    Free,
    Held,
    Sold,
    Waiting,
    Inside,
    Lag,
    First,
    Second,
}

/// How an area is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    Plain,
    Rising,
    Falling,
    Level,
    Dots,
}

impl Tone {
    /// All of them.
    pub const ALL: [Tone; 17] = [
        Tone::P50,
        Tone::P90,
        Tone::P99,
        Tone::Granted,
        Tone::Refused,
        Tone::Limited,
        Tone::Unavailable,
        Tone::Failed,
        Tone::Other,
        Tone::Free,
        Tone::Held,
        Tone::Sold,
        Tone::Waiting,
        Tone::Inside,
        Tone::Lag,
        Tone::First,
        Tone::Second,
    ];

    /// Returns the name in style sheets.
    pub fn name(self) -> &'static str {
        match self {
            Tone::P50 => "p50",
            Tone::P90 => "p90",
            Tone::P99 => "p99",
            Tone::Granted => "granted",
            Tone::Refused => "refused",
            Tone::Limited => "limited",
            Tone::Unavailable => "unavailable",
            Tone::Failed => "failed",
            Tone::Other => "other",
            Tone::Free => "free",
            Tone::Held => "held",
            Tone::Sold => "sold",
            Tone::Waiting => "waiting",
            Tone::Inside => "inside",
            Tone::Lag => "lag",
            Tone::First => "first",
            Tone::Second => "second",
        }
    }

    /// Returns the dashes of its line; `None`: a solid one.
    pub fn dashes(self) -> Option<&'static str> {
        match self {
            Tone::P50 => Some("2 3"),
            Tone::P90 | Tone::Second | Tone::Inside => Some("7 4"),
            _ => None,
        }
    }

    /// Returns how its area is filled.
    pub fn pattern(self) -> Pattern {
        match self {
            Tone::Limited | Tone::Held => Pattern::Rising,
            Tone::Unavailable => Pattern::Falling,
            Tone::Other => Pattern::Dots,
            Tone::Sold => Pattern::Level,
            _ => Pattern::Plain,
        }
    }

    /// Returns the paint of its area: a reference to one of [`patterns`].
    pub fn paint(self) -> String {
        format!("url(#paint-{})", self.name())
    }
}

/// Defines the paints of all areas, once a page.
pub fn patterns() -> Markup {
    html! { svg.defs aria-hidden="true" width="0" height="0" { (definitions()) } }
}

/// Defines the paints of all areas inside of an SVG file.
pub fn definitions() -> Markup {
    html! { defs { @for tone in Tone::ALL { (pattern(tone)) } } }
}

fn pattern(tone: Tone) -> Markup {
    let strokes = match tone.pattern() {
        Pattern::Plain => None,
        Pattern::Rising => Some("M-2 2L2 -2M-1 9L9 -1M6 10L10 6"),
        Pattern::Falling => Some("M-2 6L2 10M-1 -1L9 9M6 -2L10 2"),
        Pattern::Level => Some("M0 2H8M0 6H8"),
        Pattern::Dots => Some("M2 2h.01M6 6h.01"),
    };
    html! {
        pattern class={"t-" (tone.name())} id={"paint-" (tone.name())}
            patternUnits="userSpaceOnUse" width="8" height="8" {
            rect.paint.is-ground[strokes.is_some()] width="8" height="8" {}
            @if let Some(strokes) = strokes { path.strokes d=(strokes) {} }
        }
    }
}
