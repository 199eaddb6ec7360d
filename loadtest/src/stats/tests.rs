//! Which samples count for what.

use std::sync::Arc;

use hyper::header::HeaderValue;

use super::*;
use crate::connection::Call;
use crate::content::Wanted;
use crate::generator;
use crate::report::Report;
use crate::scenario::Scenario;
use crate::schedule::Schedule;
use crate::target::Target;
use crate::{Load, Plan};

const WARM_UP: Duration = Duration::from_millis(200);
const MEASURED: Duration = Duration::from_secs(1);

/// A request that was meant to start then, started late and ended `service_ms` after its start.
pub(crate) fn sample(intended_ms: u64, late_ms: u64, service_ms: u64, outcome: Outcome) -> Sample {
    let intended_start = Duration::from_millis(intended_ms);
    let started = intended_start + Duration::from_millis(late_ms);
    Sample {
        step: "url",
        intended_start,
        started,
        finished: started + Duration::from_millis(service_ms),
        outcome,
        served_by: Some("127.0.0.1:3001".to_owned()),
        body_bytes: 100,
    }
}

fn failed(failure: Failure) -> Outcome {
    Outcome::Failed(failure)
}

/// Two requests of the warm-up, then ten: three that succeed, one of each failure but one, and a drop.
pub(crate) fn one_of_each() -> Stats {
    let mut stats = Stats::new(WARM_UP, WARM_UP + MEASURED);
    for sample in [
        sample(
            0,
            0,
            900,
            failed(Failure::Status5xx("status 500".to_owned())),
        ),
        sample(100, 0, 900, Outcome::Succeeded),
        sample(200, 0, 4, Outcome::Succeeded),
        sample(300, 20, 5, Outcome::Succeeded),
        sample(400, 0, 1, Outcome::Succeeded),
        sample(
            500,
            0,
            1,
            failed(Failure::Status4xx("status 404".to_owned())),
        ),
        sample(
            600,
            0,
            1,
            failed(Failure::Status5xx("status 503".to_owned())),
        ),
        sample(700, 0, 0, failed(Failure::Connect)),
        sample(800, 10, 500, failed(Failure::Timeout)),
        sample(900, 0, 1, failed(Failure::NoReply)),
        sample(1_000, 0, 1, failed(Failure::Check("no marker".to_owned()))),
        sample(1_100, 600, 0, Outcome::Dropped),
    ] {
        stats.record(&sample);
    }
    stats
}

pub(crate) fn plan() -> Plan {
    Plan {
        target: Arc::new(Target {
            url: "http://127.0.0.1:8080/".to_owned(),
            addresses: vec!["127.0.0.1:8080".parse().expect("an address")],
            host: HeaderValue::from_static("127.0.0.1:8080"),
            path: "/".parse().expect("a path"),
        }),
        scenario: Arc::new(Scenario::url()),
        call: Arc::new(Call::get("/".parse().expect("a path"))),
        load: Load::Open(Schedule::constant(10.0, WARM_UP, MEASURED)),
        users: 2,
        threads: 1,
        timeout: Duration::from_millis(500),
        wanted: Wanted {
            accounts: 1,
            quizzes: 1,
            existing: None,
        },
        seed: 1,
    }
}

pub(crate) fn report(stats: &Stats) -> Report {
    let plan = plan();
    let elapsed = plan.load.whole();
    let generator = generator::judge(stats, &[], &plan.load, elapsed, false);
    Report::of(&plan, stats, elapsed, generator)
}

#[test]
fn what_is_reported_adds_up() {
    let report = report(&one_of_each());
    let requests = &report.requests;
    assert_eq!(
        (
            requests.planned,
            requests.succeeded,
            requests.failed,
            requests.dropped
        ),
        (10, 3, 6, 1)
    );
    assert_eq!((requests.warm_up, requests.late_starts), (2, 1));
    assert_eq!(report.errors.total(), 6);
    assert_eq!(
        report.steps["url"].first_failure.as_deref(),
        Some("status 404")
    );
    assert_eq!(
        (report.steps["url"].succeeded, report.steps["url"].failed),
        (3, 7)
    );
    assert!(
        (report.achieved.elapsed_secs - 1.0).abs() < 1e-9,
        "{report:?}"
    );
    // Three, and the one of the warm-up that ended in the measured second.
    assert!(
        (report.achieved.rate_per_second - 4.0).abs() < 1e-9,
        "{report:?}"
    );
}

#[test]
fn a_run_that_was_stopped_has_its_rate_by_the_time_that_it_ran() {
    let (stats, plan) = (one_of_each(), plan());
    let elapsed = WARM_UP + MEASURED / 2;
    let generator = generator::judge(&stats, &[], &plan.load, elapsed, true);
    let report = Report::of(&plan, &stats, elapsed, generator);
    assert!(
        (report.achieved.rate_per_second - 8.0).abs() < 1e-9,
        "{report:?}"
    );
    assert!(!report.generator.valid);
}

#[test]
fn every_measured_request_counts_for_latency_however_it_ended() {
    for failure in [
        Failure::Connect,
        Failure::Timeout,
        Failure::NoReply,
        Failure::Body,
        Failure::Status5xx("504".to_owned()),
        Failure::Check("no marker".to_owned()),
    ] {
        let mut stats = Stats::new(WARM_UP, WARM_UP + MEASURED);
        stats.record(&sample(200, 20, 400, failed(failure.clone())));
        assert!(stats.latency.max() >= 420_000, "{failure:?}");
    }
    let stats = one_of_each();
    assert_eq!(stats.latency.len(), stats.planned());
    // The drop, after 600 ms.
    assert!(stats.latency.max() >= 600_000);
    // Successes and the timeout.
    assert_eq!(stats.service.len(), 4);
    assert!(stats.service.max() < 510_000);
}

#[test]
fn a_run_without_a_single_answer_has_latency_and_no_service_time() {
    let mut stats = Stats::new(WARM_UP, WARM_UP + MEASURED);
    stats.record(&sample(200, 0, 7, failed(Failure::Connect)));
    let report = report(&stats);
    assert_eq!(report.service_us, None);
    assert_eq!(report.latency_us.map(|latency| latency.count), Some(1));
}

#[test]
fn an_interval_counts_what_was_meant_to_start_in_it_and_what_ended_well_in_it() {
    let series = one_of_each().series.report();
    assert!((series.interval_secs - 0.1).abs() < 1e-9);
    let planned: Vec<u64> = series.points.iter().map(|point| point.planned).collect();
    assert_eq!(planned[..12], [1; 12]);
    assert_eq!((series.points[5].failed, series.points[11].dropped), (1, 1));
    // The success of the warm-up ended at 1000 ms, those after it soon.
    let completed: Vec<u64> = series.points.iter().map(|point| point.completed).collect();
    assert_eq!(completed[..11], [0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 1]);
    // A slow request is seen where it was meant to start.
    assert!(series.points[8].p99_us.is_some_and(|p99| p99 >= 500_000));
    assert!(series.points[7].p99_us.is_some_and(|p99| p99 < 10_000));
}

#[test]
fn two_threads_together_know_what_one_would() {
    let (mut one, mut other) = (
        Stats::new(WARM_UP, WARM_UP + MEASURED),
        Stats::new(WARM_UP, WARM_UP + MEASURED),
    );
    let mut all = one.clone();
    for number in 0..40 {
        let outcome = if number % 7 == 0 {
            failed(Failure::Connect)
        } else {
            Outcome::Succeeded
        };
        let sample = sample(number * 30, number % 3 * 10, number, outcome);
        if number % 2 == 0 {
            one.record(&sample)
        } else {
            other.record(&sample)
        }
        all.record(&sample);
    }
    one.add(&other);
    assert_eq!(report(&one), report(&all));
}

#[test]
fn the_length_of_an_interval_suits_that_of_the_run() {
    for (secs, length_ms) in [
        (1, 100),
        (40, 100),
        (41, 200),
        (60, 200),
        (600, 2_000),
        (86_400, 300_000),
    ] {
        let stats = Stats::new(Duration::ZERO, Duration::from_secs(secs));
        assert_eq!(
            stats.series.length,
            Duration::from_millis(length_ms),
            "{secs} s"
        );
    }
}
