use quick_xml::events::Event as Xml;
use scraper::{Html, Selector};

use super::*;
use crate::report::{Point, Share, samples};

fn all<'a>(page: &'a Html, selector: &str) -> Vec<scraper::ElementRef<'a>> {
    let selector = Selector::parse(selector).expect("a selector");
    page.select(&selector).collect()
}

fn text(page: &Html, selector: &str) -> String {
    all(page, selector)
        .iter()
        .flat_map(|element| element.text())
        .collect()
}

fn page(report: &Report, baseline: Option<&Report>) -> Html {
    Html::parse_document(&render(report, baseline))
}

/// Every report there is, with and without a baseline.
fn pages() -> Vec<String> {
    let reports = [
        samples::quiet(),
        samples::eventful(),
        samples::empty(),
        samples::hostile(),
    ];
    let alone = reports.iter().map(|report| render(report, None));
    let compared = reports.iter().flat_map(|report| {
        reports
            .iter()
            .map(|baseline| render(report, Some(baseline)))
    });
    alone.chain(compared).collect()
}

#[test]
fn every_section_is_there() {
    let page = page(&samples::eventful(), Some(&samples::quiet()));
    let ids: Vec<_> = all(&page, "main > section")
        .iter()
        .filter_map(|section| section.attr("id"))
        .collect();
    assert_eq!(
        ids,
        [
            "verdict",
            "figures",
            "asked",
            "over-time",
            "times",
            "errors",
            "steps",
            "backends",
            "comparison",
            "generator",
            "reading"
        ]
    );
    for chart in [
        "rate",
        "latency-over-time",
        "errors-over-time",
        "percentiles",
    ] {
        assert_eq!(
            all(&page, &format!("figure#{chart} .plot > svg")).len(),
            1,
            "{chart}"
        );
    }
    assert!(text(&page, "footer").contains(env!("CARGO_PKG_VERSION")));
    assert!(text(&page, "footer").contains("schema 2"));
}

#[test]
fn the_links_lead_somewhere() {
    let page = page(&samples::eventful(), Some(&samples::quiet()));
    for link in all(&page, "a") {
        let target = link.attr("href").expect("a link");
        assert_eq!(all(&page, target).len(), 1, "{target}");
    }
}

#[test]
fn the_verdict_comes_first() {
    let page = page(&samples::eventful(), Some(&samples::quiet()));
    let verdict = text(&page, "#verdict");
    for words in [
        "Valid run",
        "Objective broken: 2 of 3",
        "✓ met p50<10ms",
        "✗ broken p99<200ms",
        "Worse than the baseline",
    ] {
        assert!(verdict.contains(words), "{words}: {verdict}");
    }
}

#[test]
fn an_invalid_run_is_called_so_with_its_reasons() {
    let mut report = samples::quiet();
    report.generator.valid = false;
    report.generator.reasons = vec!["one thread was busy all the time: use --threads 4".to_owned()];
    let page = page(&report, None);
    let verdict = text(&page, "#verdict .bad");
    assert!(
        verdict.contains("Invalid run") && verdict.contains("use --threads 4"),
        "{verdict}"
    );
}

#[test]
fn events_are_marked_in_every_chart_over_time_and_listed() {
    let page = page(&samples::eventful(), None);
    for chart in ["rate", "latency-over-time", "errors-over-time"] {
        assert_eq!(
            all(&page, &format!("#{chart} line.event")).len(),
            4,
            "{chart}"
        );
        let names = text(&page, &format!("#{chart} .event-name text"));
        assert!(names.contains("kill quiz-2"), "{names}");
    }
    let table = text(&page, "#over-time table");
    for words in [
        "kill db-1",
        "after 12 s",
        "✗ never",
        "nothing was noticed",
        "no container <storage-3>",
    ] {
        assert!(table.contains(words), "{words}: {table}");
    }
}

#[test]
fn the_baseline_has_its_own_curves() {
    let (report, baseline) = (samples::eventful(), samples::quiet());
    let alone = page(&report, None);
    let compared = page(&report, Some(&baseline));
    assert_eq!(all(&alone, "#percentiles path.line").len(), 2);
    assert_eq!(all(&compared, "#percentiles path.line").len(), 4);
    assert!(text(&compared, "#comparison").contains("latency p99"));
    assert!(all(&alone, "#comparison").is_empty());
}

#[test]
fn text_from_outside_is_text() {
    let (report, attack) = (samples::hostile(), "<script>alert('x')</script>");
    let page = page(&report, Some(&report));
    assert!(all(&page, "script, img, [onerror], [onload]").is_empty());
    for place in [
        "title",
        "h1",
        "#asked",
        "#verdict",
        "#over-time table",
        "#steps",
        "#backends",
    ] {
        assert!(text(&page, place).contains(attack), "{place}");
    }
}

#[test]
fn the_page_loads_nothing_and_runs_nothing() {
    for html in pages() {
        let page = Html::parse_document(&html);
        let policy = all(&page, "meta[http-equiv='Content-Security-Policy']");
        assert_eq!(
            policy[0].attr("content"),
            Some("default-src 'none'; style-src 'unsafe-inline'")
        );
        assert!(
            all(
                &page,
                "script, link, img, iframe, object, embed, form, [src], [srcset]"
            )
            .is_empty()
        );
        for element in all(&page, "*") {
            for (name, value) in element.value().attrs() {
                assert!(!name.starts_with("on"), "{name}={value}");
                assert!(name != "href" || value.starts_with('#'), "{name}={value}");
            }
        }
        let style = text(&page, "style");
        assert!(!style.contains("url(") && !style.contains("@import"));
    }
}

#[test]
fn every_drawing_is_well_formed_and_without_impossible_numbers() {
    for html in pages() {
        // The outer drawings begin with their namespace, the ones inside do not.
        for (begin, _) in html.match_indices("<svg xmlns=") {
            let mut reader = quick_xml::Reader::from_str(&html[begin..]);
            let mut depth = 0;
            loop {
                match reader.read_event().expect("well-formed") {
                    Xml::Start(tag) => {
                        depth += 1;
                        check_numbers(&tag);
                    }
                    Xml::Empty(tag) => check_numbers(&tag),
                    Xml::End(_) if depth == 1 => break,
                    Xml::End(_) => depth -= 1,
                    Xml::Eof => panic!("a drawing without an end"),
                    _ => {}
                }
            }
        }
    }
}

fn check_numbers(tag: &quick_xml::events::BytesStart<'_>) {
    for attribute in tag.attributes() {
        let attribute = attribute.expect("well-formed");
        let value = String::from_utf8_lossy(&attribute.value).into_owned();
        assert!(!value.contains("NaN") && !value.contains("inf"), "{value}");
    }
}

#[test]
fn those_who_cannot_see_are_told_what_the_drawings_show() {
    let page = page(&samples::eventful(), Some(&samples::quiet()));
    for drawing in all(&page, ".plot > svg") {
        let names = drawing.attr("aria-labelledby").expect("a name");
        assert_eq!(drawing.attr("role"), Some("img"));
        for id in names.split(' ') {
            assert!(!text(&page, &format!("#{id}")).is_empty(), "{id}");
        }
    }
    for table in all(&page, "table") {
        let captions = Selector::parse("caption").expect("a selector");
        assert_eq!(table.select(&captions).count(), 1);
    }
    for head in all(&page, "th") {
        assert!(matches!(head.attr("scope"), Some("col" | "row")));
    }
}

#[test]
fn a_run_that_measured_nothing_says_so() {
    let page = page(&samples::empty(), None);
    assert!(all(&page, "figure").is_empty());
    for (section, words) in [
        ("#verdict", "Nothing was measured"),
        ("#over-time", "no series"),
        ("#errors", "No request failed"),
        ("#steps", "No step"),
        ("#backends", "No reply named"),
    ] {
        assert!(text(&page, section).contains(words), "{section}");
    }
}

#[test]
fn a_single_point_is_drawn_as_a_marker() {
    let mut report = samples::quiet();
    report.series.points.truncate(1);
    let page = page(&report, None);
    assert!(all(&page, "#latency-over-time path.line").is_empty());
    assert_eq!(all(&page, "#latency-over-time .plot path.marker").len(), 4);
}

#[test]
fn intervals_without_a_request_leave_a_gap() {
    let mut report = samples::quiet();
    let at_secs = report.series.points[30].at_secs;
    report.series.points[30] = Point {
        at_secs,
        ..Point::default()
    };
    let page = page(&report, None);
    // Two pieces of each of four lines.
    assert_eq!(all(&page, "#latency-over-time .plot path.line").len(), 8);
}

#[test]
fn a_run_of_nothing_but_errors_is_drawn() {
    let mut report = samples::eventful();
    for point in &mut report.series.points {
        point.failed = point.planned;
        point.completed = 0;
    }
    report.requests.failed = report.requests.planned;
    report.requests.succeeded = 0;
    report.served_by.clear();
    let page = page(&report, None);
    assert!(text(&page, "#verdict").contains("No request succeeded"));
    assert_eq!(
        all(&page, "#errors-over-time g.bar.failed > rect").len(),
        65 + 1
    );
}

#[test]
fn a_day_of_seconds_makes_no_larger_a_page_than_ten_minutes() {
    let mut report = samples::quiet();
    let point = report.series.points[0].clone();
    let mut lasting = |seconds: u32| {
        let second = |second| Point {
            at_secs: f64::from(second),
            ..point.clone()
        };
        report.series.points = (0..seconds).map(second).collect();
        render(&report, None).len()
    };
    let (short, long) = (lasting(600), lasting(86_400));
    assert!(long < short * 2, "{short} {long}");
}

#[test]
fn a_share_beyond_all_fills_its_bar_and_no_more() {
    let mut report = samples::quiet();
    let share = Share {
        replies: 1,
        share: 7.0,
    };
    report.served_by = [("a".to_owned(), share)].into();
    let page = page(&report, None);
    assert_eq!(
        all(&page, "#backends rect.bar")[0].attr("width"),
        Some("100.00%")
    );
}
