//! The report as one page: no script, and nothing that is loaded from elsewhere, so that it can be mailed, kept as an
//! artifact and opened years later.
//!
//! `summary` is the upper part, `charts` says what each drawing shows, `plot` draws it over `axis` and under
//! `marks`; `tables` holds what is better read than seen. All text from outside goes through `escape`.

use super::compare::{self, Comparison};
use super::{Report, words};

mod axis;
mod charts;
mod escape;
mod marks;
mod plot;
mod summary;
mod tables;
mod timeline;

use escape::Escaped;
use timeline::Timeline;

const STYLE: &str = include_str!("html/page.css");

const HOW_TO_READ: &str = "<p><strong>Latency</strong> counts from the moment a request was <em>meant</em> to start \
    until it ended, however it ended. When the server stalls, the requests that could not be sent meanwhile are \
    charged to it, as their visitors would have waited: leaving them out is called coordinated omission and hides \
    exactly the worst moments. <strong>Service time</strong> counts from the moment a request was really sent, of \
    successes and timeouts; where it is far below the latency, requests had to queue.</p>\
    <p><strong>p99</strong> is the time that 99 of 100 requests did not exceed. In the charts over time a request \
    belongs to the interval it was meant to start in; only <em>completed</em> counts when requests ended.</p>";

/// A whole HTML document.
#[must_use]
pub fn render(report: &Report, baseline: Option<&Report>) -> String {
    let comparison = baseline.map(|baseline| compare::compare(baseline, report));
    let sections = [
        summary::verdict(report, baseline, comparison.as_ref()),
        section(
            "figures",
            "Key figures",
            &format!("<div class=\"tiles\">{}</div>", summary::figures(report)),
        ),
        section("asked", "What was asked", &summary::asked(report)),
        over_time(report),
        section(
            "times",
            "Latency of the whole run",
            &(charts::percentiles(report, baseline) + &tables::percentiles(report)),
        ),
        section(
            "errors",
            "Errors",
            &or_note(tables::errors(report), "No request failed or was dropped."),
        ),
        section(
            "steps",
            "Steps",
            &or_note(tables::steps(report), "No step was measured."),
        ),
        section(
            "backends",
            "Backends",
            &or_note(
                tables::served_by(report),
                "No reply named the backend it came from (X-Served-By).",
            ),
        ),
        comparison.as_ref().map_or_else(String::new, compared),
        section(
            "generator",
            "The load tester itself",
            &summary::generator(report),
        ),
        section("reading", "How to read it", HOW_TO_READ),
    ];
    page(report, baseline.is_some(), &sections.concat())
}

fn over_time(report: &Report) -> String {
    let timeline = Timeline::new(report);
    let charts = [
        charts::rate(report, &timeline),
        charts::latency(report, &timeline),
        charts::errors(report, &timeline),
    ]
    .concat();
    let figures = tables::timeline(&timeline);
    let details = if figures.is_empty() {
        String::new()
    } else {
        format!("<details><summary>The figures behind these charts</summary>{figures}</details>\n")
    };
    let charts = or_note(charts, "This report has no series over time.");
    section(
        "over-time",
        "Over time",
        &[charts, tables::events(report), details].concat(),
    )
}

fn compared(comparison: &Comparison) -> String {
    let body = format!(
        "{}<p class=\"note\">{}</p>",
        tables::comparison(comparison),
        Escaped(&compare::tolerances())
    );
    section("comparison", "Compared with the baseline", &body)
}

fn page(report: &Report, is_compared: bool, sections: &str) -> String {
    let links = [
        ("figures", "Figures"),
        ("over-time", "Over time"),
        ("times", "Latency"),
        ("errors", "Errors"),
        ("steps", "Steps"),
        ("backends", "Backends"),
        ("comparison", "Comparison"),
        ("generator", "Load tester"),
        ("reading", "How to read it"),
    ];
    let links: String = links
        .iter()
        .filter(|(id, _)| is_compared || *id != "comparison")
        .map(|(id, name)| format!("<a href=\"#{id}\">{name}</a>\n"))
        .collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Load test of {url}, {moment}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<p class=\"product\">quiz-loadtest</p>\n<h1>Load test of <span>{url}</span></h1>\n\
         <p class=\"soft\">{scenario} · {moment}</p>\n<nav aria-label=\"Sections\">{links}</nav>\n</header>\n\
         <main>\n{sections}</main>\n\
         <footer><p>Written by quiz-loadtest {version}, report schema {schema}.</p></footer>\n</body>\n</html>\n",
        url = Escaped(&report.url),
        scenario = Escaped(&report.scenario),
        moment = words::moment(report.started_at_ms / 1_000),
        version = env!("CARGO_PKG_VERSION"),
        schema = report.version,
    )
}

fn section(id: &str, title: &str, body: &str) -> String {
    format!(
        "<section id=\"{id}\" aria-labelledby=\"{id}-head\">\n<h2 id=\"{id}-head\">{title}</h2>\n{body}</section>\n"
    )
}

fn or_note(body: String, note: &str) -> String {
    if body.is_empty() {
        format!("<p class=\"note\">{note}</p>")
    } else {
        body
    }
}

/// Microseconds in the unit that suits them, with a proper micro sign.
fn micros(micros: u64) -> String {
    words::time(micros).replace(" us", " µs")
}

#[cfg(test)]
mod tests;
