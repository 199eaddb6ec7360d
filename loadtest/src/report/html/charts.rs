//! The charts of the page, each made of a report.

use hdrhistogram::Histogram;

use super::axis::{Axis, nines};
use super::marks::Mark;
use super::micros;
use super::plot::{Bars, Hover, Line, Marker, Plot};
use super::timeline::{Column, Timeline};
use crate::report::{Report, histogram, words};

/// What was planned and what came of it. Empty without a series, as every chart over time.
pub(super) fn rate(report: &Report, timeline: &Timeline) -> String {
    let highest = highest(timeline, |column| {
        column
            .planned
            .max(column.completed)
            .max(column.failed)
            .max(column.dropped)
    });
    let y = Axis::linear(highest, plain_number);
    let x = Axis::time(timeline.end_secs);
    let line = |name, class, marker, filled, value: fn(&Column) -> f64| Line {
        class,
        marker,
        name,
        points: points(timeline, &x, |column| Some(y.position(value(column)))),
        filled,
    };
    let mut lines = vec![
        line("completed", "completed", Marker::Circle, true, |column| {
            column.completed
        }),
        line("planned", "planned", Marker::Square, false, |column| {
            column.planned
        }),
    ];
    // A line along the bottom tells nothing and hides the axis.
    if timeline.columns.iter().any(|column| column.failed > 0.0) {
        lines.push(line(
            "failed",
            "failed",
            Marker::Triangle,
            false,
            |column| column.failed,
        ));
    }
    if timeline.columns.iter().any(|column| column.dropped > 0.0) {
        lines.push(line(
            "dropped",
            "dropped",
            Marker::Diamond,
            false,
            |column| column.dropped,
        ));
    }
    let description = format!(
        "Requests per second over {}: up to {} planned and up to {} completed.",
        words::seconds(timeline.end_secs),
        words::rate(self::highest(timeline, |column| column.planned)),
        words::rate(self::highest(timeline, |column| column.completed)),
    );
    over_time(
        report,
        timeline,
        OverTime {
            id: "rate",
            title: "Requests over time",
            description,
            y_name: "requests per second",
            y,
            lines,
            bars: Vec::new(),
        },
    )
}

/// Latency percentiles over time.
pub(super) fn latency(report: &Report, timeline: &Timeline) -> String {
    let times = || {
        timeline
            .columns
            .iter()
            .flat_map(|column| [column.p50, column.p90, column.p99, column.max])
            .flatten()
    };
    let (Some(lowest), Some(highest)) = (times().min(), times().max()) else {
        return String::new();
    };
    let y = Axis::log(lowest as f64, highest as f64, tick_time);
    let x = Axis::time(timeline.end_secs);
    let line = |name, class, marker, value: fn(&Column) -> Option<u64>| Line {
        class,
        marker,
        name,
        points: points(timeline, &x, |column| {
            value(column).map(|time| y.position(time as f64))
        }),
        filled: false,
    };
    let lines = vec![
        line("max", "max", Marker::Triangle, |column| column.max),
        line("p99", "p99", Marker::Diamond, |column| column.p99),
        line("p90", "p90", Marker::Square, |column| column.p90),
        line("p50", "p50", Marker::Circle, |column| column.p50),
    ];
    let description = format!(
        "Percentiles of the latency in each interval, between {} and {}, on a logarithmic axis.",
        micros(lowest),
        micros(highest)
    );
    over_time(
        report,
        timeline,
        OverTime {
            id: "latency-over-time",
            title: "Latency over time",
            description,
            y_name: "latency, logarithmic",
            y,
            lines,
            bars: Vec::new(),
        },
    )
}

/// Failed and dropped requests over time. Empty when there were none.
pub(super) fn errors(report: &Report, timeline: &Timeline) -> String {
    let highest = highest(timeline, |column| column.failed + column.dropped);
    if highest <= 0.0 {
        return String::new();
    }
    let y = Axis::linear(highest, plain_number);
    let x = Axis::time(timeline.end_secs);
    let bars = |class, name, hatched, ends: fn(&Column) -> (f64, f64)| Bars {
        class,
        name,
        hatched,
        bars: timeline
            .columns
            .iter()
            .map(|column| {
                let (bottom, top) = ends(column);
                let (from, to) = (x.position(column.from_secs), x.position(column.to_secs));
                // A tenth of each is the gap to the next.
                [
                    from,
                    from + (to - from) * 0.9,
                    y.position(bottom),
                    y.position(top),
                ]
            })
            .collect(),
    };
    let bars = vec![
        bars("failed", "failed", false, |column| (0.0, column.failed)),
        bars("dropped", "dropped, never sent", true, |column| {
            (column.failed, column.failed + column.dropped)
        }),
    ];
    let description = format!(
        "Failed and dropped requests per second, {} at the most.",
        words::rate(highest)
    );
    over_time(
        report,
        timeline,
        OverTime {
            id: "errors-over-time",
            title: "Errors over time",
            description,
            y_name: "requests per second",
            y,
            lines: Vec::new(),
            bars,
        },
    )
}

/// Every percentile of the whole run, and of the baseline. Empty when there is no histogram that can be read.
pub(super) fn percentiles(report: &Report, baseline: Option<&Report>) -> String {
    let read = |text: &str| {
        histogram::decode(text)
            .ok()
            .filter(|histogram| !histogram.is_empty())
    };
    let old = baseline.map(|baseline| &baseline.histograms);
    let curves = [
        (
            "latency",
            "latency",
            Marker::Circle,
            read(&report.histograms.latency),
        ),
        (
            "service time",
            "service",
            Marker::Square,
            read(&report.histograms.service),
        ),
        (
            "latency of the baseline",
            "old-latency",
            Marker::Triangle,
            old.and_then(|old| read(&old.latency)),
        ),
        (
            "service time of the baseline",
            "old-service",
            Marker::Diamond,
            old.and_then(|old| read(&old.service)),
        ),
    ];
    let all = || {
        curves
            .iter()
            .filter_map(|(.., histogram)| histogram.as_ref())
    };
    let Some(count) = all().map(Histogram::len).max() else {
        return String::new();
    };
    let lowest = all().map(Histogram::min).min().unwrap_or(0);
    let highest = all().map(Histogram::max).max().unwrap_or(0);
    let x = Axis::nines(count);
    let y = Axis::log(lowest as f64, highest as f64, tick_time);
    let lines = curves
        .iter()
        .filter_map(|(name, class, marker, histogram)| {
            Some(Line {
                class,
                marker: *marker,
                name,
                points: curve(histogram.as_ref()?, &x, &y),
                filled: false,
            })
        })
        .collect();
    Plot {
        id: "percentiles",
        title: "Latency by percentile",
        description: format!(
            "How long the fastest part of all requests took, from {} to {}; the right end is the slowest request.",
            micros(lowest),
            micros(highest)
        ),
        y_name: "time, logarithmic",
        x_name: "part of the requests that took no longer",
        x,
        y,
        lines,
        bars: Vec::new(),
        hovers: Vec::new(),
        marks: Vec::new(),
        warm_up: None,
    }
    .render()
}

fn curve(histogram: &Histogram<u64>, x: &Axis, y: &Axis) -> Vec<Option<(f64, f64)>> {
    // Eight points each time the rest of the requests is halved: smooth, and some hundred in all.
    histogram
        .iter_quantiles(8)
        .map(|step| {
            let at = x.position(nines(step.quantile_iterated_to()));
            Some((at, y.position(step.value_iterated_to() as f64)))
        })
        .collect()
}

/// What one chart over time does not share with the others.
struct OverTime {
    id: &'static str,
    title: &'static str,
    description: String,
    y_name: &'static str,
    y: Axis,
    lines: Vec<Line>,
    bars: Vec<Bars>,
}

fn over_time(report: &Report, timeline: &Timeline, chart: OverTime) -> String {
    if timeline.columns.is_empty() {
        return String::new();
    }
    let x = Axis::time(timeline.end_secs);
    let hovers = timeline.columns.iter().map(|column| Hover {
        from: x.position(column.from_secs),
        to: x.position(column.to_secs),
        words: words_of(column),
    });
    let marks = report.events.iter().map(|event| Mark {
        at: x.position(event.at_secs),
        label: &event.action,
        failed: event.error.is_some(),
    });
    Plot {
        id: chart.id,
        title: chart.title,
        description: chart.description,
        y_name: chart.y_name,
        x_name: "time since the beginning of the run",
        hovers: hovers.collect(),
        marks: marks.collect(),
        warm_up: Some(x.position(report.offered.warm_up_secs)),
        x,
        y: chart.y,
        lines: chart.lines,
        bars: chart.bars,
    }
    .render()
}

fn words_of(column: &Column) -> String {
    let mut words = format!(
        "{} to {}\nplanned {}, completed {}\nfailed {}, dropped {}",
        words::seconds(column.from_secs),
        words::seconds(column.to_secs),
        words::rate(column.planned),
        words::rate(column.completed),
        words::rate(column.failed),
        words::rate(column.dropped),
    );
    for (name, time) in [
        ("p50", column.p50),
        ("p90", column.p90),
        ("p99", column.p99),
        ("max", column.max),
    ] {
        if let Some(time) = time {
            words.push_str(&format!("\n{name} {}", micros(time)));
        }
    }
    words
}

fn points(
    timeline: &Timeline,
    x: &Axis,
    y: impl Fn(&Column) -> Option<f64>,
) -> Vec<Option<(f64, f64)>> {
    timeline
        .columns
        .iter()
        .map(|column| {
            let middle = column.from_secs.midpoint(column.to_secs);
            y(column).map(|y| (x.position(middle), y))
        })
        .collect()
}

fn highest(timeline: &Timeline, value: impl Fn(&Column) -> f64) -> f64 {
    timeline.columns.iter().map(value).fold(0.0, f64::max)
}

/// A round number of an axis, short enough to stand beside it and without the dust of binary fractions.
fn plain_number(value: f64) -> String {
    let (value, unit) = match value {
        ..1e4 => (value, ""),
        ..1e6 => (value / 1e3, "k"),
        ..1e9 => (value / 1e6, "M"),
        _ => return format!("{value:.1e}"),
    };
    let digits = format!("{value:.3}");
    format!(
        "{}{unit}",
        digits.trim_end_matches('0').trim_end_matches('.')
    )
}

fn tick_time(micros: f64) -> String {
    let (value, unit) = match micros {
        ..1e3 => (micros, "µs"),
        ..1e6 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    format!("{} {unit}", plain_number(value))
}
