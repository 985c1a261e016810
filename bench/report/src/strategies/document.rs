//! The document of a comparison. Figures that are not there stay absent; unknown fields are
//! ignored.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::read::Malformed;

/// The name of the strategy that all others are compared with.
const OURS: &str = "holdfast";
/// Version of the document that is read here (`bench/src/strategies/report.rs`).
const FORMAT: u32 = 1;

/// A comparison.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Comparison {
    pub strategies: Vec<Strategy>,
    /// Unix ms.
    #[serde(deserialize_with = "lenient")]
    pub ended_ms: Option<u64>,
    #[serde(deserialize_with = "lenient")]
    pub command: Vec<String>,
    #[serde(deserialize_with = "lenient")]
    pub machine: Machine,
    #[serde(deserialize_with = "lenient")]
    pub how: How,
    /// What the figures are to show, and whether they do.
    #[serde(deserialize_with = "lenient")]
    pub verdicts: Vec<Verdict>,
    /// Why strategies did not run, by name.
    #[serde(deserialize_with = "lenient")]
    pub skipped: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Machine {
    pub processor: String,
    pub processors: u32,
    pub memory_bytes: u64,
    pub system: String,
    pub redis: String,
    pub mongodb: String,
    pub build: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Verdict {
    pub statement: String,
    pub holds: bool,
    /// What speaks against it.
    pub against: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct How {
    pub rounds: Option<u64>,
    pub round_ms: Option<u64>,
    pub connections: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Strategy {
    pub name: String,
    pub label: String,
    #[serde(deserialize_with = "lenient")]
    pub best_at: String,
    #[serde(deserialize_with = "lenient")]
    pub gives_up: String,
    #[serde(deserialize_with = "lenient")]
    pub cases: BTreeMap<String, Case>,
    #[serde(deserialize_with = "lenient")]
    pub grants_per_second: Option<f64>,
    #[serde(deserialize_with = "lenient")]
    pub refusals_per_second: Option<f64>,
    #[serde(deserialize_with = "lenient")]
    pub equal_load: EqualLoad,
    #[serde(deserialize_with = "lenient")]
    pub redis_commands_per_request: Option<f64>,
    #[serde(deserialize_with = "lenient")]
    pub database_operations_per_request: Option<f64>,
    #[serde(deserialize_with = "lenient")]
    pub oversold: Option<u64>,
    #[serde(deserialize_with = "lenient")]
    pub last_good_per_second: Option<f64>,
    #[serde(deserialize_with = "lenient")]
    pub breaks_at_per_second: Option<f64>,
    #[serde(deserialize_with = "lenient")]
    pub breaks_by: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct EqualLoad {
    pub rate: Option<f64>,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

/// A sale of one size.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Case {
    pub label: String,
    pub granted: Option<f64>,
    pub refused: Option<f64>,
    pub failed: Option<f64>,
    pub oversold: Option<u64>,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub seconds: Option<f64>,
}

/// Reads a value; one of another shape counts as absent.
fn lenient<'de, D: Deserializer<'de>, T: Default + for<'a> Deserialize<'a>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

impl Comparison {
    pub(super) fn read(document: &Value) -> Result<Self, Malformed> {
        if let Some(format) = document.get("format").filter(|format| **format != json!(FORMAT)) {
            return Err(Malformed(format!("format {format} is not known here, only {FORMAT}")));
        }
        let comparison: Comparison = Comparison::deserialize(document)
            .map_err(|error| Malformed(format!("this is no comparison of strategies: {error}")))?;
        match comparison.strategies.is_empty() {
            true => Err(Malformed("the document has no strategies".to_owned())),
            false => Ok(comparison),
        }
    }

    /// Returns the rate of the equal load, requests a second.
    pub(super) fn equal_rate(&self) -> Option<f64> {
        self.strategies.iter().find_map(|one| one.equal_load.rate)
    }
}

impl Strategy {
    /// Returns whether this is Holdfast.
    pub(super) fn is_ours(&self) -> bool {
        self.name.eq_ignore_ascii_case(OURS)
    }

    /// Returns the name for people.
    pub(super) fn title(&self) -> &str {
        if self.label.is_empty() { &self.name } else { &self.label }
    }
}
