//! The report for people.

use std::fmt::Write as _;

use super::{Percentiles, Report};

const EXPECT: &str = "a String takes all that is written to it";

/// Several lines, the last one ended.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    let (offered, achieved, requests) = (&report.offered, &report.achieved, &report.requests);
    let lines = [
        ("target", report.url.clone()),
        (
            "offered",
            format!(
                "{} requests/s for {} s after {} s of warm-up, {} connections, timeout {} s",
                offered.rate_per_second,
                offered.duration_secs,
                offered.warm_up_secs,
                offered.connections,
                offered.timeout_secs
            ),
        ),
        (
            "achieved",
            format!(
                "{:.1} requests/s over {:.2} s, {} bytes of replies",
                achieved.rate_per_second, achieved.elapsed_secs, achieved.body_bytes
            ),
        ),
        (
            "requests",
            format!(
                "{} planned: {} succeeded, {} failed, {} dropped; {} started more than {} ms late",
                requests.planned,
                requests.succeeded,
                requests.failed,
                requests.dropped,
                requests.late_starts,
                requests.late_after_ms
            ),
        ),
    ];
    for (name, value) in lines {
        writeln!(text, "{name:<10}{value}").expect(EXPECT);
    }
    write_times(&mut text, report);
    write_errors(&mut text, report);
    write_shares(&mut text, report);
    text
}

fn write_times(text: &mut String, report: &Report) {
    writeln!(
        text,
        "\n{:<10}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "", "p50", "p90", "p99", "p99.9", "max"
    )
    .expect(EXPECT);
    for (name, percentiles) in [
        ("latency", &report.latency_us),
        ("service", &report.service_us),
    ] {
        let columns = percentiles
            .as_ref()
            .map_or_else(|| "     (none)".to_owned(), columns);
        writeln!(text, "{name:<10}{columns}").expect(EXPECT);
    }
    text.push_str(
        "latency runs from the intended start of a request until it ended, failed or not;\n\
         service runs from the actual start, of successes and timeouts\n",
    );
}

fn columns(times: &Percentiles) -> String {
    let times = [times.p50, times.p90, times.p99, times.p99_9, times.max];
    times.map(|micros| format!("{:>10}", time(micros))).concat()
}

fn write_errors(text: &mut String, report: &Report) {
    let kinds = report.errors.by_kind();
    let kinds: Vec<String> = kinds
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if !kinds.is_empty() {
        writeln!(text, "\n{:<10}{}", "errors", kinds.join(", ")).expect(EXPECT);
    }
}

fn write_shares(text: &mut String, report: &Report) {
    if report.served_by.is_empty() {
        return;
    }
    text.push_str("\nserved by\n");
    for (backend, share) in &report.served_by {
        writeln!(
            text,
            "  {backend:<30}{:>10}{:>8.2} %",
            share.replies,
            share.share * 100.0
        )
        .expect(EXPECT);
    }
}

/// Microseconds in the unit that suits them.
pub(super) fn time(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..1_000_000 => format!("{:.2} ms", micros as f64 / 1e3),
        _ => format!("{:.2} s", micros as f64 / 1e6),
    }
}
