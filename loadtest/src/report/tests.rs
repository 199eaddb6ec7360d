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
fn a_run_without_a_single_answer_has_no_percentiles() {
    let report = report(&[sample(2, 0, 0, Outcome::Failed(Failure::Connect))]);
    assert_eq!(
        (report.latency_us.clone(), report.service_us.clone()),
        (None, None)
    );
    assert!(text::render(&report).contains("(none)"));
    assert!(json::render(&report).contains("\"latency_us\": null"));
}

#[test]
fn timeouts_and_drops_count_for_latency_so_that_a_hanging_server_does_not_look_fast() {
    let report = one_of_each();
    let latency = report.latency_us.expect("there were answers");
    // Three successes, the timeout after 510 ms and the drop after 600 ms.
    assert_eq!(latency.count, 5);
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
        @"   1s  3 done, 1 in the warm-up  errors 1  dropped 0  late 0  p50 4.00 ms p99 4.00 ms"
    );
}
