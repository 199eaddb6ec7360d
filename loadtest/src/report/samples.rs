//! Made-up reports for the tests: a quiet run, one in which much happened, one in which nothing did, and one of
//! numbers that no run would bring about.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::*;

/// 60 seconds at 200 requests per second, without a failure. The baseline of [`eventful`].
pub(crate) fn quiet() -> Report {
    run(|_| Second {
        failed: 0,
        dropped: 0,
        slower: 1,
    })
}

/// The same run, but two backends were killed, and one of them came back.
pub(crate) fn eventful() -> Report {
    let mut report = run(|second| match second {
        25..28 => Second {
            failed: 22,
            dropped: 0,
            slower: 9,
        },
        44..47 => Second {
            failed: 150,
            dropped: 40,
            slower: 90,
        },
        47..56 => Second {
            failed: 6,
            dropped: 0,
            slower: 4,
        },
        _ => Second {
            failed: 0,
            dropped: 0,
            slower: 1,
        },
    });
    report.started_at_ms += 86_400_000;
    report.errors = Errors {
        status_5xx: 391,
        connect: 120,
        timeout: 42,
        check: 17,
        ..Errors::default()
    };
    report.events = vec![
        event(25.0, "kill quiz-2", 66, Some(3.0), None),
        event(36.0, "start quiz-2", 0, Some(0.0), None),
        event(44.0, "kill db-1", 500, Some(12.0), None),
        event(
            46.0,
            "pause storage-3",
            54,
            None,
            Some("no container <storage-3>"),
        ),
    ];
    report.slo = vec![
        verdict("p50<10ms", "4.10 ms", true),
        verdict("p99<200ms", "1204.22 ms", false),
        verdict("errors<0.5%", "4.75 %", false),
    ];
    report
}

/// A run that ended before it measured anything.
pub(super) fn empty() -> Report {
    let nothing = Histogram::new(3).expect("three digits");
    let mut report = quiet();
    report.achieved = Achieved {
        rate_per_second: 0.0,
        elapsed_secs: 0.0,
        body_bytes: 0,
    };
    report.requests = Requests {
        planned: 0,
        succeeded: 0,
        failed: 0,
        dropped: 0,
        late_starts: 0,
        late_after_ms: 10,
        warm_up: 0,
    };
    report.latency_us = None;
    report.service_us = None;
    report.steps.clear();
    report.served_by.clear();
    report.series = Series::default();
    report.histograms = Histograms {
        latency: histogram::encode(&nothing),
        service: String::new(),
    };
    report
}

/// Every number as large as it gets, and every text an attack on the page.
pub(super) fn hostile() -> Report {
    let attack = "\"><script>alert('x')</script><img src=http://evil.example/x>\u{1b}[31m&\0";
    let mut report = eventful();
    report.url = attack.to_owned();
    report.scenario = attack.to_owned();
    report.started_at_ms = u64::MAX;
    report.offered.load = attack.to_owned();
    report.offered.rate_per_second = Some(f64::MAX);
    report.offered.duration_secs = f64::INFINITY;
    report.offered.users = usize::MAX;
    report.achieved.rate_per_second = f64::NAN;
    report.requests.planned = u64::MAX;
    report.requests.failed = u64::MAX;
    report.requests.dropped = u64::MAX;
    for point in &mut report.series.points {
        point.failed = u64::MAX;
        point.max_us = Some(u64::MAX);
        point.p50_us = Some(0);
    }
    for event in &mut report.events {
        event.action = attack.to_owned();
        event.error = Some(attack.to_owned());
        event.took_secs = f64::NEG_INFINITY;
    }
    report.events[0].at_secs = f64::NAN;
    report.events[1].at_secs = 1e300;
    let step = Step {
        first_failure: Some(attack.to_owned()),
        ..report.steps["home"].clone()
    };
    report.steps.insert(attack.to_owned(), step);
    let share = Share {
        replies: u64::MAX,
        share: f64::NAN,
    };
    report.served_by.insert(attack.to_owned(), share);
    report.generator.valid = false;
    report.generator.reasons = vec![attack.to_owned()];
    report.slo = vec![verdict(attack, attack, false)];
    report.histograms.service = attack.to_owned();
    report
}

struct Second {
    failed: u64,
    dropped: u64,
    /// How many times as slow as a quiet second.
    slower: u64,
}

fn run(what_happens: impl Fn(u64) -> Second) -> Report {
    let (mut latency, mut service) = (histogram(), histogram());
    let mut points = Vec::new();
    let (mut failed, mut dropped) = (0, 0);
    for second in 0..65 {
        let happens = what_happens(second);
        let mut times = histogram();
        for request in 0..200 {
            let quiet = quiet_micros(second, request);
            // A third of the requests waits where a backend is gone.
            let slower = if request % 3 == 0 { happens.slower } else { 1 };
            times.saturating_record(quiet * slower);
            // Five seconds of warm-up.
            if second >= 5 {
                latency.saturating_record(quiet * slower);
                service.saturating_record(quiet * slower.min(12));
            }
        }
        failed += happens.failed;
        dropped += happens.dropped;
        points.push(Point {
            at_secs: second as f64,
            planned: 200,
            failed: happens.failed,
            dropped: happens.dropped,
            completed: 200 - happens.failed - happens.dropped - second % 3,
            p50_us: Some(times.value_at_quantile(0.5)),
            p90_us: Some(times.value_at_quantile(0.9)),
            p99_us: Some(times.value_at_quantile(0.99)),
            max_us: Some(times.max()),
        });
    }
    let succeeded = 12_000 - failed - dropped;
    let latency_us = histogram::percentiles(&latency);
    Report {
        version: VERSION,
        started_at_ms: 1_767_225_600_000,
        url: "http://127.0.0.1:8080/".to_owned(),
        scenario: "visitor:8,player:2".to_owned(),
        offered: Offered {
            load: "constant 200/s, even".to_owned(),
            rate_per_second: Some(200.0),
            warm_up_secs: 5.0,
            duration_secs: 60.0,
            users: 100,
            timeout_secs: 10.0,
            threads: 2,
            generators: 1,
        },
        achieved: Achieved {
            rate_per_second: succeeded as f64 / 60.01,
            elapsed_secs: 60.01,
            body_bytes: succeeded * 8_211,
        },
        requests: Requests {
            planned: 12_000,
            succeeded,
            failed,
            dropped,
            late_starts: dropped,
            late_after_ms: 10,
            warm_up: 1_000,
        },
        errors: Errors::default(),
        steps: steps(latency_us.as_ref(), succeeded, failed),
        latency_us,
        service_us: histogram::percentiles(&service),
        served_by: served_by(succeeded),
        series: Series {
            interval_secs: 1.0,
            points,
        },
        events: Vec::new(),
        generator: Generator {
            cores_used: 0.42,
            busiest_thread: 0.31,
            lag_p99_us: 180,
            valid: true,
            reasons: Vec::new(),
        },
        slo: Vec::new(),
        histograms: Histograms {
            latency: histogram::encode(&latency),
            service: histogram::encode(&service),
        },
    }
}

/// From two milliseconds upwards, with a long tail, and never the same twice in a row.
fn quiet_micros(second: u64, request: u64) -> u64 {
    let luck = (second * 7_919 + request * 104_729) % 1_000;
    2_000 + luck * 4 + 200_000 / (1_002 - luck)
}

fn steps(times: Option<&Percentiles>, succeeded: u64, failed: u64) -> BTreeMap<String, Step> {
    let step = |part: u64, failed: u64, failure: Option<&str>| Step {
        succeeded: succeeded / part,
        failed,
        latency_us: times.map(|times| Percentiles {
            count: succeeded / part + failed,
            p50: times.p50 / part,
            p90: times.p90 / part,
            p99: times.p99 / part,
            p99_9: times.p99_9 / part,
            max: times.max / part,
        }),
        first_failure: failure.filter(|_| failed > 0).map(str::to_owned),
    };
    BTreeMap::from([
        ("home".to_owned(), step(2, failed / 2, None)),
        (
            "quiz".to_owned(),
            step(3, failed / 3, Some("quiz: expected 200, got 503")),
        ),
        (
            "check".to_owned(),
            step(
                6,
                failed / 6,
                Some("check: no marker <p class=\"right\"> in the reply"),
            ),
        ),
    ])
}

fn served_by(replies: u64) -> BTreeMap<String, Share> {
    let (first, second) = (replies * 42 / 100, replies * 17 / 100);
    let share = |part: u64| Share {
        replies: part,
        share: part as f64 / replies as f64,
    };
    BTreeMap::from([
        ("10.0.0.11:3000".to_owned(), share(first)),
        ("10.0.0.12:3000".to_owned(), share(second)),
        ("10.0.0.13:3000".to_owned(), share(replies - first - second)),
    ])
}

fn event(
    at_secs: f64,
    action: &str,
    failed: u64,
    recovery_secs: Option<f64>,
    error: Option<&str>,
) -> Event {
    Event {
        at_secs,
        action: action.to_owned(),
        took_secs: 0.34,
        error: error.map(str::to_owned),
        failed,
        recovery_secs,
    }
}

fn verdict(term: &str, measured: &str, met: bool) -> Verdict {
    Verdict {
        term: term.to_owned(),
        measured: measured.to_owned(),
        met,
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("bounds that fit")
}
