//! The report for programs.

use super::Report;

/// One JSON object, indented.
///
/// # Panics
/// Never: the report holds nothing that JSON cannot.
#[must_use]
pub fn render(report: &Report) -> String {
    serde_json::to_string_pretty(report)
        .expect("numbers, text and maps with text for keys are all JSON")
}
