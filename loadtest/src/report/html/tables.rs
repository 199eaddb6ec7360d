//! The tables of the page. Each is empty when there is nothing to put into it.

use super::escape::Escaped;
use super::micros;
use super::timeline::Timeline;
use crate::report::compare::{Comparison, Judgement, Row, Unit};
use crate::report::{Event, Percentiles, Report, Step, words};

const NONE: &str = "<td class=\"number\">–</td>";

/// The percentiles of the whole run.
pub(super) fn percentiles(report: &Report) -> String {
    let rows = [
        ("latency", &report.latency_us),
        ("service time", &report.service_us),
    ];
    let rows: String = rows
        .into_iter()
        .map(|(name, times)| {
            let cells = times.as_ref().map_or_else(
                || NONE.repeat(6),
                |times| number(&words::count(times.count)) + &five(times),
            );
            format!("<tr><th scope=\"row\">{name}</th>{cells}</tr>\n")
        })
        .collect();
    table(
        "Percentiles of the whole run, without the warm-up",
        &["", "#requests", "#p50", "#p90", "#p99", "#p99.9", "#max"],
        &rows,
    )
}

/// Each kind of error with a bar; and what was never sent.
pub(super) fn errors(report: &Report) -> String {
    let mut kinds = words::kinds(&report.errors).to_vec();
    kinds.push(("dropped, never sent", report.requests.dropped));
    kinds.retain(|(_, count)| *count > 0);
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let most = kinds.first().map_or(1, |(_, count)| *count);
    let planned = report.requests.planned;
    let rows: String = kinds
        .iter()
        .map(|(name, count)| {
            let share = if planned == 0 {
                NONE.to_owned()
            } else {
                number(&words::percent(*count as f64 / planned as f64))
            };
            format!(
                "<tr><th scope=\"row\">{name}</th>{}{share}{}</tr>\n",
                number(&words::count(*count)),
                bar("failed", *count as f64 / most as f64)
            )
        })
        .collect();
    table(
        "Errors by kind, in all measured requests",
        &["kind", "#requests", "#share", ""],
        &rows,
    )
}

/// What each backend answered, with a bar.
pub(super) fn served_by(report: &Report) -> String {
    let rows: String = report
        .served_by
        .iter()
        .map(|(backend, share)| {
            format!(
                "<tr><th scope=\"row\"><code>{}</code></th>{}{}{}</tr>\n",
                Escaped(backend),
                number(&words::count(share.replies)),
                number(&words::percent(share.share)),
                bar("completed", share.share)
            )
        })
        .collect();
    table(
        "Replies per backend, with any status",
        &["backend", "#replies", "#share", ""],
        &rows,
    )
}

/// The steps of a journey.
pub(super) fn steps(report: &Report) -> String {
    let rows: String = report
        .steps
        .iter()
        .map(|(name, step)| self::step(name, step))
        .collect();
    table(
        "Latency and failures of each step",
        &[
            "step",
            "#succeeded",
            "#failed",
            "#p50",
            "#p90",
            "#p99",
            "#max",
            "first failure",
        ],
        &rows,
    )
}

fn step(name: &str, step: &Step) -> String {
    let times = step.latency_us.as_ref().map_or_else(
        || NONE.repeat(4),
        |times| times_cells(&[times.p50, times.p90, times.p99, times.max]),
    );
    let failure = step.first_failure.as_ref().map_or_else(
        || "<td></td>".to_owned(),
        |failure| format!("<td class=\"words\">{}</td>", Escaped(failure)),
    );
    let failed = if step.failed > 0 { " bad" } else { "" };
    format!(
        "<tr><th scope=\"row\">{}</th>{}<td class=\"number{failed}\">{}</td>{times}{failure}</tr>\n",
        Escaped(name),
        number(&words::count(step.succeeded)),
        words::count(step.failed)
    )
}

/// What was done to the server, and how it took it.
pub(super) fn events(report: &Report) -> String {
    let rows: String = (1..)
        .zip(&report.events)
        .map(|(number, event)| self::event(number, event))
        .collect();
    table(
        "What was done to the server, as numbered in the charts",
        &[
            "",
            "#at",
            "action",
            "#took",
            "#failed or dropped after it",
            "well again",
        ],
        &rows,
    )
}

fn event(index: usize, event: &Event) -> String {
    let error = event.error.as_ref().map_or_else(String::new, |error| {
        format!(
            "<br><strong class=\"bad\">the command failed:</strong> {}",
            Escaped(error)
        )
    });
    let recovery = match event.recovery_secs {
        None => "<strong class=\"bad\">✗ never</strong>".to_owned(),
        Some(secs) if secs <= 0.0 => "<span class=\"good\">✓ nothing was noticed</span>".to_owned(),
        Some(secs) => format!(
            "<span class=\"good\">✓</span> after {}",
            words::seconds(secs)
        ),
    };
    format!(
        "<tr><th scope=\"row\"><span class=\"badge\">{index}</span></th>{}\
         <td class=\"words\"><code>{}</code>{error}</td>{}{}<td>{recovery}</td></tr>\n",
        number(&words::seconds(event.at_secs)),
        Escaped(&event.action),
        number(&words::seconds(event.took_secs)),
        number(&words::count(event.failed)),
    )
}

/// Each figure before and now.
pub(super) fn comparison(comparison: &Comparison) -> String {
    let rows: String = comparison.rows.iter().map(compared).collect();
    table(
        "This run beside the baseline",
        &["figure", "#before", "#now", "#change", "judgement"],
        &rows,
    )
}

fn compared(row: &Row) -> String {
    let figure = |figure: Option<f64>| match (row.unit, figure) {
        (Unit::Micros, Some(time)) => number(&micros(time as u64)),
        (_, Some(_)) => number(&row.unit.words(figure)),
        (_, None) => NONE.to_owned(),
    };
    let (class, sign) = match row.judgement {
        Judgement::Better => ("good", "▲ "),
        Judgement::Worse => ("bad", "▼ "),
        Judgement::Same => ("", "= "),
        Judgement::Unknown => ("soft", ""),
    };
    format!(
        "<tr><th scope=\"row\">{}</th>{}{}{}<td class=\"{class}\">{sign}{}</td></tr>\n",
        Escaped(&row.name),
        figure(row.before),
        figure(row.now),
        number(&row.change()),
        row.judgement.word()
    )
}

/// The figures behind the charts over time, for those who would rather read them.
pub(super) fn timeline(timeline: &Timeline) -> String {
    let rows: String = timeline
        .columns
        .iter()
        .map(|column| {
            let rates = [
                column.planned,
                column.completed,
                column.failed,
                column.dropped,
            ];
            let times = [column.p50, column.p90, column.p99, column.max];
            let cells: String =
                rates
                    .into_iter()
                    .map(|rate| number(&words::rate(rate)))
                    .chain(times.into_iter().map(|time| {
                        time.map_or_else(|| NONE.to_owned(), |time| number(&micros(time)))
                    }))
                    .collect();
            format!(
                "<tr><th scope=\"row\" class=\"number\">{}</th>{cells}</tr>\n",
                words::seconds(column.from_secs)
            )
        })
        .collect();
    let caption = format!("Figures of each {}", words::seconds(timeline.width_secs));
    table(
        &caption,
        &[
            "#from",
            "#planned",
            "#completed",
            "#failed",
            "#dropped",
            "#p50",
            "#p90",
            "#p99",
            "#max",
        ],
        &rows,
    )
}

/// A table that can be moved sideways when it is wider than the screen. A `#` marks the columns of numbers.
fn table(caption: &str, columns: &[&str], rows: &str) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let heads: String = columns
        .iter()
        .map(|column| match column.strip_prefix('#') {
            Some(name) => format!("<th scope=\"col\" class=\"number\">{name}</th>"),
            None if column.is_empty() => "<td></td>".to_owned(),
            None => format!("<th scope=\"col\">{column}</th>"),
        })
        .collect();
    format!(
        "<div class=\"table\" role=\"region\" aria-label=\"{caption}\" tabindex=\"0\"><table>\n\
         <caption>{caption}</caption>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

fn number(figure: &str) -> String {
    format!("<td class=\"number\">{}</td>", Escaped(figure))
}

fn five(times: &Percentiles) -> String {
    times_cells(&[times.p50, times.p90, times.p99, times.p99_9, times.max])
}

fn times_cells(times: &[u64]) -> String {
    times.iter().map(|time| number(&micros(*time))).collect()
}

/// A bar that repeats the number beside it.
fn bar(class: &str, part: f64) -> String {
    let width = if part.is_finite() {
        part.clamp(0.0, 1.0) * 100.0
    } else {
        0.0
    };
    format!(
        "<td class=\"bar-cell\"><svg xmlns=\"http://www.w3.org/2000/svg\" width=\"100%\" height=\"14\" aria-hidden=\"true\">\
         <rect class=\"track\" width=\"100%\" height=\"14\" rx=\"3\"/>\
         <rect class=\"bar {class}\" width=\"{width:.2}%\" height=\"14\" rx=\"3\"/></svg></td>"
    )
}
