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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    /// Of an eventful run, shortened where it repeats itself.
    fn shortened() -> Report {
        let mut report = samples::eventful();
        report.series.points.truncate(2);
        report.events.truncate(1);
        report.histograms.latency.truncate(8);
        report.histograms.service.truncate(8);
        report
    }

    #[test]
    fn the_report_keeps_its_schema() {
        insta::assert_snapshot!(render(&shortened()));
    }

    #[test]
    fn what_was_written_is_read_again_as_it_was() {
        let report = samples::eventful();
        assert_eq!(
            serde_json::from_str::<Report>(&render(&report)).ok(),
            Some(report)
        );
    }
}
