//! Reads documents.

use std::fmt;

use crate::result::{FORMAT, RunResult};

/// Why a document cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

/// Reads the result of a run. Other versions of the document are refused.
pub fn run(json: &str) -> Result<RunResult, Malformed> {
    let result: RunResult = serde_json::from_str(json)
        .map_err(|error| Malformed(format!("this is no result of a run: {error}")))?;
    match result.format {
        FORMAT => Ok(result),
        format => {
            Err(Malformed(format!("the result has format {format}, this program reads {FORMAT}")))
        }
    }
}
