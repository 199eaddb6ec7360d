use super::*;
use crate::report::samples;

fn refused(reports: &[Report]) -> String {
    merge(reports).expect_err("it cannot be merged").to_string()
}

#[test]
fn one_report_stays_as_it_is_but_for_the_verdicts() {
    let report = samples::eventful();
    let merged = merge(std::slice::from_ref(&report)).expect("one report");
    let expected = Report {
        slo: Vec::new(),
        ..report
    };
    assert_eq!(merged, expected);
}

#[test]
fn counts_and_rates_add_up() {
    let report = samples::eventful();
    let merged = merge(&[report.clone(), report.clone(), report.clone()]).expect("one run");
    assert_eq!(merged.requests.planned, 3 * report.requests.planned);
    assert_eq!(merged.requests.dropped, 3 * report.requests.dropped);
    assert_eq!(merged.errors.status_5xx, 3 * report.errors.status_5xx);
    assert_eq!(merged.steps["home"].failed, 3 * report.steps["home"].failed);
    assert_eq!(merged.achieved.elapsed_secs, report.achieved.elapsed_secs);
    assert_eq!(
        merged.achieved.rate_per_second,
        3.0 * report.achieved.rate_per_second
    );
    assert_eq!(merged.offered.rate_per_second, Some(600.0));
    assert_eq!(merged.offered.load, "3 times constant 200/s, even");
    assert_eq!((merged.offered.users, merged.offered.generators), (300, 3));
    assert_eq!(merged.events.len(), 12);
    let shares: f64 = merged.served_by.values().map(|share| share.share).sum();
    assert!((shares - 1.0).abs() < 1e-9);
}

#[test]
fn percentiles_are_those_of_all_requests_together() {
    let (quiet, eventful) = (samples::quiet(), samples::eventful());
    let merged = merge(&[
        quiet.clone(),
        Report {
            started_at_ms: quiet.started_at_ms,
            ..eventful.clone()
        },
    ])
    .expect("one run");
    let times = |report: &Report| report.latency_us.clone().expect("it was measured");
    let (low, high, both) = (times(&quiet), times(&eventful), times(&merged));
    assert_eq!(both.count, low.count + high.count);
    assert_eq!(both.max, high.max);
    assert!(both.p99 > low.p99 && both.p99 < high.p99, "{both:?}");
    let decoded = histogram::decode(&merged.histograms.latency).expect("a histogram");
    assert_eq!(histogram::percentiles(&decoded), merged.latency_us);
    // The worst, as steps have no histogram.
    assert_eq!(
        merged.steps["home"]
            .latency_us
            .as_ref()
            .map(|times| times.p99),
        eventful.steps["home"]
            .latency_us
            .as_ref()
            .map(|times| times.p99)
    );
}

#[test]
fn a_generator_that_began_later_is_moved_to_its_place() {
    let early = samples::eventful();
    let mut late = early.clone();
    late.started_at_ms += 2_000;
    let merged = merge(&[late, early.clone()]).expect("one run");
    assert_eq!(merged.started_at_ms, early.started_at_ms);
    let points = &merged.series.points;
    assert_eq!(points.len(), early.series.points.len() + 2);
    assert_eq!(
        (points[1].planned, points[2].planned, points[66].planned),
        (200, 400, 200)
    );
    assert_eq!(points[2].at_secs, 2.0);
    assert_eq!(
        points[2].max_us,
        early.series.points[2]
            .max_us
            .max(early.series.points[0].max_us)
    );
    let times: Vec<f64> = merged.events.iter().map(|event| event.at_secs).collect();
    assert_eq!(times, [25.0, 27.0, 36.0, 38.0, 44.0, 46.0, 46.0, 48.0]);
}

#[test]
fn one_invalid_part_makes_the_run_invalid() {
    let (one, mut other) = (samples::quiet(), samples::quiet());
    other.generator.valid = false;
    other.generator.reasons = vec!["a thread was busy all the time".to_owned()];
    let generator = merge(&[one, other]).expect("one run").generator;
    assert!(!generator.valid);
    assert_eq!(
        generator.reasons,
        ["generator 2: a thread was busy all the time"]
    );
}

#[test]
fn a_closed_loop_offers_no_rate_after_merging_either() {
    let (one, mut other) = (samples::quiet(), samples::quiet());
    other.offered.rate_per_second = None;
    other.offered.load = "closed, 50 users".to_owned();
    let offered = merge(&[one, other]).expect("one run").offered;
    assert_eq!(offered.rate_per_second, None);
    assert_eq!(offered.load, "constant 200/s, even and closed, 50 users");
}

#[test]
fn reports_that_measured_nothing_merge_into_one_that_did_not() {
    let merged = merge(&[samples::empty(), samples::empty()]).expect("one run");
    assert_eq!((merged.latency_us, merged.service_us), (None, None));
}

#[test]
fn what_is_not_one_run_is_refused_with_words_that_help() {
    let report = samples::quiet();
    assert!(refused(&[]).contains("name at least one report"));
    type Change = fn(&mut Report);
    let changes: [(&str, Change); 8] = [
        ("report 2 has another URL", |report| report.url.push('x')),
        ("report 2 has another scenario", |report| {
            report.scenario = "api".to_owned()
        }),
        ("report 2 has another interval", |report| {
            report.series.interval_secs = 5.0
        }),
        ("report 2 has another duration", |report| {
            report.offered.duration_secs = 5.0
        }),
        ("report 2 is of version 3", |report| report.version = 3),
        ("report 2 began 100 s", |report| {
            report.started_at_ms += 100_000
        }),
        ("the latency histogram of report 2", |report| {
            report.histograms.latency = "?".to_owned()
        }),
        ("the service histogram of report 2", |report| {
            report.histograms.service.clear()
        }),
    ];
    for (words, change) in changes {
        let mut other = report.clone();
        change(&mut other);
        let refused = refused(&[report.clone(), other]);
        assert!(refused.contains(words), "{words}: {refused}");
    }
}

#[test]
fn numbers_beyond_reason_do_not_overflow() {
    let mut report = samples::hostile();
    report.histograms = samples::quiet().histograms;
    let merged = merge(&[report.clone(), report]).expect("one run");
    assert_eq!(merged.requests.planned, u64::MAX);
}
