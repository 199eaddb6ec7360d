//! What the two formats print for samples that are known, and which samples count for what.

use hyper::header::HeaderValue;

use super::*;
use crate::sample::{Failure, Outcome, Reply, Sample};
use crate::schedule::Schedule;
use crate::target::Target;

fn plan() -> Plan {
    Plan {
        target: Target {
            url: "http://127.0.0.1:8080/".to_owned(),
            addresses: vec!["127.0.0.1:8080".parse().expect("an address")],
            host: HeaderValue::from_static("127.0.0.1:8080"),
            path: "/".parse().expect("a path"),
        },
        schedule: Schedule {
            rate_per_second: 10,
            warm_up: Duration::from_millis(200),
            duration: Duration::from_secs(1),
        },
        connections: 2,
        timeout: Duration::from_millis(500),
    }
}

/// Request number `request`, started `late_ms` late and ended `service_ms` later.
fn sample(request: u64, late_ms: u64, service_ms: u64, outcome: Outcome) -> Sample {
    let intended_start = plan().schedule.intended_start(request);
    let started = intended_start + Duration::from_millis(late_ms);
    Sample {
        intended_start,
        started,
        finished: started + Duration::from_millis(service_ms),
        outcome,
    }
}

fn reply(status: u16, served_by: &str) -> Outcome {
    Outcome::Reply(Reply {
        status,
        served_by: Some(served_by.to_owned()),
        body_bytes: 100,
    })
}

fn report(samples: &[Sample]) -> Report {
    let mut stats = Stats::new(plan().schedule);
    for sample in samples {
        stats.record(sample);
    }
    Report::new(&plan(), &stats)
}

/// Two requests of the warm-up, then one of each kind.
fn one_of_each() -> Report {
    report(&[
        sample(0, 0, 900, reply(500, "a")),
        sample(1, 0, 900, reply(200, "a")),
        sample(2, 0, 4, reply(200, "127.0.0.1:3001")),
        sample(3, 20, 5, reply(200, "127.0.0.1:3002")),
        sample(4, 0, 1, reply(302, "127.0.0.1:3001")),
        sample(5, 0, 1, reply(404, "127.0.0.1:3001")),
        sample(6, 0, 1, reply(503, "127.0.0.1:3001")),
        sample(7, 0, 0, Outcome::Failed(Failure::Connect)),
        sample(8, 10, 500, Outcome::Failed(Failure::Timeout)),
        sample(9, 0, 1, Outcome::Failed(Failure::NoReply)),
        sample(10, 0, 1, Outcome::Failed(Failure::Body)),
        sample(11, 600, 0, Outcome::Dropped),
    ])
}

#[test]
fn the_json_report_keeps_its_schema() {
    insta::assert_snapshot!(json::render(&one_of_each()));
}

#[test]
fn the_text_report_says_it_all() {
    insta::assert_snapshot!(text::render(&one_of_each()));
}

#[test]
fn a_run_without_a_single_answer_has_latency_and_no_service_time() {
    let report = report(&[sample(2, 0, 7, Outcome::Failed(Failure::Connect))]);
    assert_eq!(report.service_us, None);
    assert!(text::render(&report).contains("(none)"));
    assert!(json::render(&report).contains("\"service_us\": null"));
    let latency = report.latency_us.expect("the failure ended");
    assert_eq!((latency.count, latency.max / 1_000), (1, 7));
}

#[test]
fn a_slow_504_counts_for_latency() {
    let report = report(&[
        sample(2, 0, 1, reply(200, "a")),
        sample(3, 0, 400, reply(504, "a")),
    ]);
    let latency = report.latency_us.expect("both ended");
    assert_eq!(latency.count, 2);
    assert!(latency.max >= 400_000, "{latency:?}");
    assert_eq!(report.service_us.expect("one succeeded").count, 1);
}

#[test]
fn every_measured_request_counts_for_latency_however_it_ended() {
    for failure in [
        Failure::Connect,
        Failure::Timeout,
        Failure::NoReply,
        Failure::Body,
    ] {
        let report = report(&[sample(2, 20, 400, Outcome::Failed(failure))]);
        let latency = report.latency_us.expect("it ended");
        assert!(latency.max >= 420_000, "{failure:?}: {latency:?}");
    }
    let report = one_of_each();
    let latency = report.latency_us.expect("they ended");
    assert_eq!(latency.count, report.requests.planned);
    // The drop, after 600 ms.
    assert!(latency.max >= 600_000);
    let service = report.service_us.expect("there were answers");
    assert_eq!(service.count, 4);
    assert!(service.max < 510_000);
}

#[test]
fn the_progress_line_counts_what_has_ended() {
    let mut stats = Stats::new(plan().schedule);
    stats.record(&sample(0, 0, 1, reply(200, "a")));
    stats.record(&sample(2, 0, 4, reply(200, "a")));
    stats.record(&sample(3, 0, 1, reply(500, "a")));
    insta::assert_snapshot!(
        progress_line(&stats, Duration::from_millis(1_700)),
        @"   1s  3 done, 1 in the warm-up  errors 1  dropped 0  late 0  p50 1.00 ms p99 4.00 ms"
    );
}
