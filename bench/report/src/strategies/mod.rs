//! The comparison of strategies, as `holdfast-bench strategies --json` writes it: a page and a
//! picture.

mod charts;
mod document;
mod page;
mod picture;

use serde_json::Value;

use crate::read::Malformed;
use document::Comparison;

/// Renders a comparison as one page that loads nothing.
///
/// # Errors
/// If the document has no strategies.
pub fn html(document: &Value) -> Result<String, Malformed> {
    Ok(page::render(&Comparison::read(document)?))
}

/// Renders a comparison's plots as one complete SVG file.
///
/// # Errors
/// If the document has no strategies.
pub fn svg(document: &Value) -> Result<String, Malformed> {
    Ok(picture::render(&Comparison::read(document)?))
}
