//! The series of a report, in no more columns than a screen can show.

use crate::report::Report;

/// Columns of one or more intervals each. On a plot 700 pixels wide one is three pixels, and the page of a run of a
/// day is no larger than that of a run of four minutes.
const MOST_COLUMNS: usize = 240;

pub(super) struct Timeline {
    pub(super) columns: Vec<Column>,
    /// Of the columns and of the events, from the beginning of the run.
    pub(super) end_secs: f64,
    /// Length of a column; the last one may be shorter.
    pub(super) width_secs: f64,
}

/// Requests per second, and the worst latency of the intervals within.
pub(super) struct Column {
    pub(super) from_secs: f64,
    pub(super) to_secs: f64,
    pub(super) planned: f64,
    pub(super) completed: f64,
    pub(super) failed: f64,
    pub(super) dropped: f64,
    pub(super) p50: Option<u64>,
    pub(super) p90: Option<u64>,
    pub(super) p99: Option<u64>,
    pub(super) max: Option<u64>,
}

impl Timeline {
    /// Without columns when the report has no series, or one without a length.
    pub(super) fn new(report: &Report) -> Self {
        let interval = report.series.interval_secs;
        let points = if interval.is_normal() && interval > 0.0 {
            report.series.points.as_slice()
        } else {
            &[]
        };
        let together = points.len().div_ceil(MOST_COLUMNS).max(1);
        let columns: Vec<Column> = points
            .chunks(together)
            .map(|points| {
                let from_secs = points.first().map_or(0.0, |point| point.at_secs);
                let length = interval * points.len() as f64;
                let rate = |part: fn(&crate::report::Point) -> u64| {
                    points.iter().map(|point| part(point) as f64).sum::<f64>() / length
                };
                let worst = |part: fn(&crate::report::Point) -> Option<u64>| {
                    points.iter().filter_map(part).max()
                };
                Column {
                    from_secs,
                    to_secs: from_secs + length,
                    planned: rate(|point| point.planned),
                    completed: rate(|point| point.completed),
                    failed: rate(|point| point.failed),
                    dropped: rate(|point| point.dropped),
                    p50: worst(|point| point.p50_us),
                    p90: worst(|point| point.p90_us),
                    p99: worst(|point| point.p99_us),
                    max: worst(|point| point.max_us),
                }
            })
            .collect();
        let end_secs = columns
            .iter()
            .map(|column| column.to_secs)
            .chain(report.events.iter().map(|event| event.at_secs))
            .filter(|secs| secs.is_finite())
            .fold(0.0, f64::max);
        Self {
            columns,
            end_secs,
            width_secs: interval * together as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_long_run_has_as_many_columns_as_a_screen_can_show() {
        let mut report = samples::quiet();
        let point = report.series.points[0].clone();
        report.series.points = (0_u32..3_601)
            .map(|second| crate::report::Point {
                at_secs: f64::from(second),
                planned: 100,
                max_us: Some(second.into()),
                ..point.clone()
            })
            .collect();
        let timeline = Timeline::new(&report);
        assert_eq!(timeline.columns.len(), 226);
        assert_eq!(timeline.width_secs, 16.0);
        assert_eq!(timeline.columns[0].planned, 100.0);
        assert_eq!(timeline.columns[0].max, Some(15));
        // The last column is of one interval.
        assert_eq!(timeline.columns[225].planned, 100.0);
        assert_eq!(timeline.end_secs, 3_601.0);
    }
}
