//! The upper part of the page: the verdict, what was asked, and the figures that most readers come for.

use super::escape::Escaped;
use super::micros;
use crate::report::compare::{Comparison, Judgement};
use crate::report::{Report, words};

/// Is the run valid, does it keep its objective, and is it worse than the baseline?
pub(super) fn verdict(
    report: &Report,
    baseline: Option<&Report>,
    comparison: Option<&Comparison>,
) -> String {
    let compared = baseline
        .zip(comparison)
        .map_or_else(String::new, |(baseline, comparison)| {
            against(baseline, comparison)
        });
    format!(
        "<section id=\"verdict\" aria-label=\"Verdict\" class=\"verdicts\">\n{}{}{compared}</section>\n",
        validity(report),
        objective(report)
    )
}

fn validity(report: &Report) -> String {
    if !report.generator.valid {
        let reasons = list(
            "reasons",
            report
                .generator
                .reasons
                .iter()
                .map(|reason| Escaped(reason).to_string()),
        );
        return card(
            "bad",
            "✗",
            "Invalid run",
            &format!("<p>These are not the figures of the server.</p>{reasons}"),
        );
    }
    if report.requests.planned == 0 {
        let body = "<p>The run ended before the first request that would have counted.</p>";
        return card("neutral", "–", "Nothing was measured", body);
    }
    if report.requests.succeeded == 0 {
        let body = "<p>The load tester kept up with its own schedule; <a href=\"#errors\">see the errors</a>.</p>";
        return card("bad", "✗", "No request succeeded", body);
    }
    card(
        "good",
        "✓",
        "Valid run",
        "<p>The load tester kept up with its own schedule: the figures are those of the server.</p>",
    )
}

fn objective(report: &Report) -> String {
    if report.slo.is_empty() {
        return card(
            "neutral",
            "–",
            "No objective",
            "<p>None was given to judge the run by.</p>",
        );
    }
    let broken = report.slo.iter().filter(|verdict| !verdict.met).count();
    let terms = list("terms", report.slo.iter().map(|verdict| {
        let (class, sign, word) = if verdict.met {
            ("good", "✓", "met")
        } else {
            ("bad", "✗", "broken")
        };
        format!(
            "<span class=\"{class}\">{sign} {word}</span> <code>{}</code> <span class=\"measured\">measured {}</span>",
            Escaped(&verdict.term),
            Escaped(&verdict.measured)
        )
    }));
    if broken == 0 {
        card("good", "✓", "Objective met", &terms)
    } else {
        let title = format!("Objective broken: {broken} of {}", report.slo.len());
        card("bad", "✗", &title, &terms)
    }
}

fn against(baseline: &Report, comparison: &Comparison) -> String {
    let (class, sign, title) = match comparison.verdict() {
        Judgement::Worse => ("bad", "▼", "Worse than the baseline"),
        Judgement::Better => ("good", "▲", "Better than the baseline"),
        Judgement::Same => ("good", "=", "As the baseline"),
        Judgement::Unknown => ("neutral", "–", "Not comparable"),
    };
    let counts = [Judgement::Worse, Judgement::Better, Judgement::Same]
        .map(|judgement| format!("{} {}", comparison.count(judgement), judgement.word()))
        .join(", ");
    let mind = if comparison.caveats.is_empty() {
        String::new()
    } else {
        let caveats = list(
            "reasons",
            comparison
                .caveats
                .iter()
                .map(|caveat| Escaped(caveat).to_string()),
        );
        format!("<p><strong>Mind:</strong></p>{caveats}")
    };
    card(
        class,
        sign,
        title,
        &format!(
            "<p>{counts}. The baseline is of {}. <a href=\"#comparison\">Figure by figure</a></p>{mind}",
            words::moment(baseline.started_at_ms / 1_000)
        ),
    )
}

fn card(class: &str, sign: &str, title: &str, body: &str) -> String {
    format!(
        "<div class=\"verdict {class}\"><h2><span class=\"sign\" aria-hidden=\"true\">{sign}</span>{title}</h2>{body}</div>\n"
    )
}

fn list(class: &str, items: impl Iterator<Item = String>) -> String {
    let items: String = items.map(|item| format!("<li>{item}</li>")).collect();
    format!("<ul class=\"{class}\">{items}</ul>")
}

/// What was asked for.
pub(super) fn asked(report: &Report) -> String {
    let offered = &report.offered;
    let rate = offered.rate_per_second.map_or_else(
        || "as much as is answered (closed loop)".to_owned(),
        |rate| format!("{} on average", words::rate(rate)),
    );
    let rows = [
        ("target", format!("<code>{}</code>", Escaped(&report.url))),
        ("scenario", Escaped(&report.scenario).to_string()),
        ("load", Escaped(&offered.load).to_string()),
        ("offered rate", rate),
        ("warm-up", words::seconds(offered.warm_up_secs)),
        ("duration", words::seconds(offered.duration_secs)),
        ("virtual users", words::count(offered.users as u64)),
        ("timeout", words::seconds(offered.timeout_secs)),
        ("threads", words::count(offered.threads as u64)),
        ("generators", words::count(offered.generators as u64)),
    ];
    definitions(&rows)
}

/// The generator's own state.
pub(super) fn generator(report: &Report) -> String {
    let generator = &report.generator;
    let requests = &report.requests;
    let state = if generator.valid {
        "<span class=\"good\">✓ it kept up</span>"
    } else {
        "<strong class=\"bad\">✗ it did not keep up</strong>"
    };
    definitions(&[
        ("state", state.to_owned()),
        (
            "processors used",
            format!("{:.2} cores", generator.cores_used),
        ),
        (
            "busiest thread",
            format!("{} of its time", words::percent(generator.busiest_thread)),
        ),
        ("hand-out lag, p99", micros(generator.lag_p99_us)),
        (
            "late starts",
            format!(
                "{} started more than {} ms late",
                words::several(requests.late_starts, "request"),
                requests.late_after_ms
            ),
        ),
        (
            "warm-up",
            format!(
                "{}, in no other figure",
                words::several(requests.warm_up, "request")
            ),
        ),
    ])
}

fn definitions(rows: &[(&str, String)]) -> String {
    let rows: String = rows
        .iter()
        .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n"))
        .collect();
    format!("<dl>\n{rows}</dl>\n")
}

/// The figures that most readers come for, as tiles.
pub(super) fn figures(report: &Report) -> String {
    let (achieved, requests) = (&report.achieved, &report.requests);
    let part = |count: u64| {
        if requests.planned == 0 {
            return "none was planned".to_owned();
        }
        format!(
            "{} of {} planned",
            words::percent(count as f64 / requests.planned as f64),
            words::count(requests.planned)
        )
    };
    let offered = report.offered.rate_per_second.map_or_else(
        || "successes, closed loop".to_owned(),
        |rate| format!("successes, of {} offered", words::rate(rate)),
    );
    let time = |time: Option<u64>| time.map_or_else(|| "–".to_owned(), micros);
    let latency = report.latency_us.as_ref();
    let service = report.service_us.as_ref();
    let beside = |service: Option<u64>| format!("service time {}", time(service));
    let alarm = |count: u64| if count > 0 { "bad" } else { "" };
    [
        tile("", "rate", &words::rate(achieved.rate_per_second), &offered),
        tile(
            "",
            "succeeded",
            &words::count(requests.succeeded),
            &part(requests.succeeded),
        ),
        tile(
            alarm(requests.failed),
            "failed",
            &words::count(requests.failed),
            &part(requests.failed),
        ),
        tile(
            alarm(requests.dropped),
            "dropped",
            &words::count(requests.dropped),
            "never sent: no user was free in time",
        ),
        tile(
            "",
            "latency p50",
            &time(latency.map(|times| times.p50)),
            &beside(service.map(|times| times.p50)),
        ),
        tile(
            "",
            "latency p99",
            &time(latency.map(|times| times.p99)),
            &beside(service.map(|times| times.p99)),
        ),
        tile(
            "",
            "latency max",
            &time(latency.map(|times| times.max)),
            &beside(service.map(|times| times.max)),
        ),
        tile(
            "",
            "replies",
            &words::bytes(achieved.body_bytes),
            &format!("in {}", words::seconds(achieved.elapsed_secs)),
        ),
    ]
    .concat()
}

fn tile(class: &str, name: &str, figure: &str, note: &str) -> String {
    format!(
        "<div class=\"tile {class}\"><p class=\"tile-name\">{name}</p><p class=\"figure\">{}</p><p class=\"note\">{}</p></div>\n",
        Escaped(figure),
        Escaped(note)
    )
}
