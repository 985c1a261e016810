//! What happened meanwhile: shaded in every plot over time.

/// A stretch of time in which something was the case.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    /// The letter that stands for it in plots.
    pub key: String,
    pub from: f64,
    /// `None`: its end was not seen.
    pub to: Option<f64>,
    pub what: String,
}

/// A moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    pub at: f64,
    pub what: String,
}

/// Everything that is noted in plots.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notes {
    pub bands: Vec<Band>,
    pub marks: Vec<Mark>,
    /// Stretches in which calls failed.
    pub failures: Vec<(f64, f64)>,
}

impl Notes {
    /// Returns the last moment that has a place.
    pub fn last_second(&self) -> f64 {
        let bands = self.bands.iter().map(|band| band.to.unwrap_or(band.from));
        let marks = self.marks.iter().map(|mark| mark.at);
        bands.chain(marks).filter(|second| second.is_finite()).fold(0.0, f64::max)
    }
}
