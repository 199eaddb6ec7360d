//! The report for people at a terminal.

use super::compare::{self, Comparison, Judgement};
use super::{Event, Percentiles, Report, Step, words};

/// Several lines, the last one ended. An invalid run says so before anything else.
#[must_use]
pub fn render(report: &Report, baseline: Option<&Report>) -> String {
    [
        invalid(report),
        head(report),
        times(report),
        errors(report),
        steps(report),
        served_by(report),
        events(report),
        objective(report),
        generator(report),
        baseline.map_or_else(String::new, |baseline| {
            against(baseline, &compare::compare(baseline, report))
        }),
    ]
    .concat()
}

fn invalid(report: &Report) -> String {
    if report.generator.valid {
        return String::new();
    }
    let reasons: String = report
        .generator
        .reasons
        .iter()
        .map(|reason| format!("  {}\n", words::plain(reason)))
        .collect();
    format!("INVALID RUN: these are not the figures of the server.\n{reasons}\n")
}

fn head(report: &Report) -> String {
    let (offered, achieved, requests) = (&report.offered, &report.achieved, &report.requests);
    let rate = offered
        .rate_per_second
        .map_or_else(String::new, |rate| format!("{rate:.1} requests/s: "));
    let generators = match offered.generators {
        0 | 1 => String::new(),
        several => format!(" of {several} generators"),
    };
    let lines = [
        ("target", words::plain(&report.url)),
        ("scenario", words::plain(&report.scenario)),
        ("started", words::moment(report.started_at_ms / 1_000)),
        (
            "offered",
            format!(
                "{rate}{}, {}{generators}",
                words::offered(report),
                words::several(offered.threads as u64, "thread")
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
    lines
        .map(|(name, value)| format!("{name:<10}{value}\n"))
        .concat()
}

fn times(report: &Report) -> String {
    let rows = [
        ("latency", &report.latency_us),
        ("service", &report.service_us),
    ];
    let rows = rows.map(|(name, times)| {
        let columns = times
            .as_ref()
            .map_or_else(|| "     (none)".to_owned(), columns);
        format!("{name:<10}{columns}\n")
    });
    format!(
        "\n{:<10}{:>10}{:>10}{:>10}{:>10}{:>10}\n{}\
         latency runs from the intended start of a request until it ended, failed or not;\n\
         service runs from the actual start, of successes and timeouts\n",
        "",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        rows.concat()
    )
}

fn columns(times: &Percentiles) -> String {
    let times = [times.p50, times.p90, times.p99, times.p99_9, times.max];
    times
        .map(|micros| format!("{:>10}", words::time(micros)))
        .concat()
}

fn errors(report: &Report) -> String {
    let kinds = words::kinds(&report.errors);
    let kinds: Vec<String> = kinds
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if kinds.is_empty() {
        return String::new();
    }
    format!("\n{:<10}{}\n", "errors", kinds.join(", "))
}

fn steps(report: &Report) -> String {
    // The one step of a single URL says nothing that is not said above, unless it failed in words.
    let says_more = |step: &Step| step.first_failure.is_some();
    if report.steps.len() < 2 && !report.steps.values().any(says_more) {
        return String::new();
    }
    let rows: String = report
        .steps
        .iter()
        .map(|(name, step)| row(name, step))
        .collect();
    format!(
        "\n{:<16}{:>10}{:>8}{:>11}{:>11}{:>11}{:>11}\n{rows}",
        "steps", "succeeded", "failed", "p50", "p90", "p99", "max"
    )
}

fn row(name: &str, step: &Step) -> String {
    let times = step.latency_us.as_ref().map_or_else(String::new, |times| {
        [times.p50, times.p90, times.p99, times.max]
            .map(|micros| format!("{:>11}", words::time(micros)))
            .concat()
    });
    let failure = step
        .first_failure
        .as_ref()
        .map_or_else(String::new, |failure| {
            format!("    first failure: {}\n", words::plain(failure))
        });
    format!(
        "  {:<14}{:>10}{:>8}{times}\n{failure}",
        words::plain(name),
        step.succeeded,
        step.failed
    )
}

fn served_by(report: &Report) -> String {
    if report.served_by.is_empty() {
        return String::new();
    }
    let rows: String = report
        .served_by
        .iter()
        .map(|(backend, share)| {
            format!(
                "  {:<30}{:>10}{:>10}\n",
                words::plain(backend),
                share.replies,
                words::percent(share.share)
            )
        })
        .collect();
    format!("\nserved by\n{rows}")
}

fn events(report: &Report) -> String {
    if report.events.is_empty() {
        return String::new();
    }
    let rows: String = report.events.iter().map(event).collect();
    format!("\nevents\n{rows}")
}

fn event(event: &Event) -> String {
    let error = event.error.as_ref().map_or_else(String::new, |error| {
        format!("    the command failed: {}\n", words::plain(error))
    });
    format!(
        "  {:>8}  {:<30}{:>8} failed or dropped, {}\n{error}",
        words::seconds(event.at_secs),
        words::plain(&event.action),
        event.failed,
        recovery(event)
    )
}

/// How an event ended, in words.
fn recovery(event: &Event) -> String {
    match event.recovery_secs {
        None => "never well again".to_owned(),
        Some(secs) if secs <= 0.0 => "not noticed".to_owned(),
        Some(secs) => format!("well again after {}", words::seconds(secs)),
    }
}

fn objective(report: &Report) -> String {
    if report.slo.is_empty() {
        return String::new();
    }
    let rows: String = report
        .slo
        .iter()
        .map(|verdict| {
            format!(
                "  {:<8}{:<20}measured {}\n",
                if verdict.met { "met" } else { "BROKEN" },
                words::plain(&verdict.term),
                words::plain(&verdict.measured)
            )
        })
        .collect();
    format!("\nobjective\n{rows}")
}

fn generator(report: &Report) -> String {
    let generator = &report.generator;
    format!(
        "\n{:<10}{:.2} cores used, busiest thread {}, hand-out lag p99 {}\n",
        "generator",
        generator.cores_used,
        words::percent(generator.busiest_thread),
        words::time(generator.lag_p99_us)
    )
}

fn against(baseline: &Report, comparison: &Comparison) -> String {
    let of = words::moment(baseline.started_at_ms / 1_000);
    let caveats: String = comparison
        .caveats
        .iter()
        .map(|caveat| format!("  mind: {}\n", words::plain(caveat)))
        .collect();
    let rows: String = comparison
        .rows
        .iter()
        .map(|row| {
            format!(
                "  {:<26}{:>12}{:>12}{:>14}  {}\n",
                words::plain(&row.name),
                row.unit.words(row.before),
                row.unit.words(row.now),
                row.change(),
                row.judgement.word()
            )
        })
        .collect();
    let verdict = match comparison.verdict() {
        Judgement::Worse => "WORSE than",
        Judgement::Better => "better than",
        Judgement::Same => "the same as",
        Judgement::Unknown => "not to be judged by",
    };
    format!(
        "\n{verdict} the baseline of {of}\n{caveats}  {:<26}{:>12}{:>12}{:>14}\n{rows}{}\n",
        "",
        "before",
        "now",
        "change",
        compare::tolerances()
    )
}

#[cfg(test)]
mod tests;
