use super::*;
use crate::report::{Errors, samples};

fn judged(unit: Unit, before: f64, now: f64) -> Judgement {
    row("figure", unit, Some(before), Some(now)).judgement
}

fn find<'a>(comparison: &'a Comparison, name: &str) -> &'a Row {
    comparison
        .rows
        .iter()
        .find(|row| row.name == name)
        .unwrap_or_else(|| panic!("{name} in {comparison:#?}"))
}

#[test]
fn a_report_is_the_same_as_itself() {
    for report in [samples::quiet(), samples::eventful(), samples::empty()] {
        let comparison = compare(&report, &report);
        assert!(!comparison.regressed());
        assert_eq!(comparison.count(Judgement::Better), 0);
        assert_eq!(comparison.caveats, [""; 0]);
    }
}

#[test]
fn a_run_with_failures_is_worse_than_one_without_and_the_other_way_round() {
    let worse = compare(&samples::quiet(), &samples::eventful());
    assert!(worse.regressed());
    assert_eq!(worse.verdict(), Judgement::Worse);
    let better = compare(&samples::eventful(), &samples::quiet());
    assert!(!better.regressed());
    assert_eq!(better.verdict(), Judgement::Better);
}

#[test]
fn times_within_ten_percent_or_a_millisecond_are_the_same() {
    assert_eq!(judged(Unit::Micros, 100_000.0, 110_000.0), Judgement::Same);
    assert_eq!(judged(Unit::Micros, 100_000.0, 110_100.0), Judgement::Worse);
    assert_eq!(judged(Unit::Micros, 100_000.0, 89_900.0), Judgement::Better);
    assert_eq!(judged(Unit::Micros, 300.0, 1_300.0), Judgement::Same);
    assert_eq!(judged(Unit::Micros, 300.0, 1_400.0), Judgement::Worse);
}

#[test]
fn a_higher_rate_is_better_and_a_higher_share_of_errors_worse() {
    assert_eq!(judged(Unit::PerSecond, 100.0, 95.0), Judgement::Same);
    assert_eq!(judged(Unit::PerSecond, 100.0, 94.9), Judgement::Worse);
    assert_eq!(judged(Unit::PerSecond, 100.0, 106.0), Judgement::Better);
    assert_eq!(judged(Unit::PerSecond, 0.0, 1.0), Judgement::Better);
    assert_eq!(judged(Unit::Share, 0.0, 0.001), Judgement::Same);
    assert_eq!(judged(Unit::Share, 0.0, 0.002), Judgement::Worse);
    assert_eq!(judged(Unit::Share, 0.5, 0.54), Judgement::Same);
    assert_eq!(judged(Unit::Share, 0.5, 0.4), Judgement::Better);
}

#[test]
fn what_is_no_number_is_no_regression() {
    for before in [f64::NAN, f64::INFINITY, 0.0] {
        assert_eq!(judged(Unit::Micros, before, f64::NAN), Judgement::Same);
    }
}

#[test]
fn a_percentile_of_few_requests_is_not_judged() {
    let (before, mut now) = (samples::quiet(), samples::quiet());
    let times = now.latency_us.as_mut().expect("it was measured");
    times.count = 999;
    for time in [
        &mut times.p50,
        &mut times.p90,
        &mut times.p99,
        &mut times.p99_9,
        &mut times.max,
    ] {
        *time *= 2;
    }
    let comparison = compare(&before, &now);
    let judgements = ["p50", "p90", "p99", "p99.9", "max"]
        .map(|name| find(&comparison, &format!("latency {name}")).judgement);
    let (worse, unknown) = (Judgement::Worse, Judgement::Unknown);
    assert_eq!(judgements, [worse, worse, unknown, unknown, unknown]);
}

#[test]
fn a_step_that_became_slow_is_found() {
    let (before, mut now) = (samples::quiet(), samples::quiet());
    let step = now.steps.get_mut("quiz").expect("a step");
    step.latency_us.as_mut().expect("it was measured").p99 *= 3;
    let comparison = compare(&before, &now);
    let worse: Vec<_> = comparison
        .rows
        .iter()
        .filter(|row| row.judgement == Judgement::Worse)
        .collect();
    assert_eq!(worse.len(), 1);
    assert_eq!(worse[0].name, "step quiz: p99");
    assert_eq!(worse[0].change(), "+200.0 %");
}

#[test]
fn a_run_without_an_answer_is_worse_though_it_has_no_times() {
    let (before, mut now) = (samples::quiet(), samples::quiet());
    now.requests.failed = now.requests.planned;
    now.requests.succeeded = 0;
    now.achieved.rate_per_second = 0.0;
    now.errors = Errors {
        connect: now.requests.planned,
        ..Errors::default()
    };
    now.service_us = None;
    let comparison = compare(&before, &now);
    assert!(comparison.regressed());
    let service = find(&comparison, "service p99");
    assert_eq!(
        (service.judgement, service.ratio()),
        (Judgement::Unknown, None)
    );
}

#[test]
fn what_makes_two_runs_hard_to_compare_is_said() {
    let (before, mut now) = (samples::quiet(), samples::quiet());
    now.url = "http://other/".to_owned();
    now.offered.users = 7;
    now.generator.valid = false;
    now.steps.remove("home");
    let caveats = compare(&before, &now).caveats.join("\n");
    for words in [
        "this run is invalid",
        "another target",
        "7 users",
        "step home is in the baseline only",
    ] {
        assert!(caveats.contains(words), "{words}: {caveats}");
    }
}

#[test]
fn changes_are_put_into_words() {
    let change = |unit, before, now| row("figure", unit, before, now).change();
    assert_eq!(change(Unit::Micros, Some(100.0), Some(150.0)), "+50.0 %");
    assert_eq!(change(Unit::Micros, Some(100.0), Some(2_000.0)), "x 20.0");
    assert_eq!(change(Unit::Share, Some(0.0), Some(0.05)), "+5.00 points");
    assert_eq!(change(Unit::PerSecond, Some(0.0), Some(5.0)), "");
    assert_eq!(change(Unit::PerSecond, None, Some(5.0)), "");
}
