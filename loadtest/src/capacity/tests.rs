use super::*;
use crate::sample::{Failure, Outcome};
use crate::stats::Stats;
use crate::stats::tests::{plan, report, sample};

fn search() -> Search {
    Search {
        slo: "errors<1%".parse().expect("an objective"),
        from: 50.0,
        to: 10_000.0,
        factor: 2.0,
        precision: 0.05,
        repeat: 3,
        each: Duration::from_secs(10),
        hold: Duration::from_secs(20),
    }
}

/// What a server reports that bears `bears` requests per second, asked by a generator that keeps up or does not.
fn asked(rate: f64, bears: f64, valid: bool) -> Report {
    let plan = plan();
    let mut stats = Stats::new(plan.load.warm_up(), plan.load.whole());
    let outcome = if rate <= bears {
        Outcome::Succeeded
    } else {
        Outcome::Failed(Failure::Timeout)
    };
    stats.record(&sample(300, 0, 1, outcome));
    let mut report = report(&stats);
    report.generator.valid = valid;
    report
}

async fn found(search: &Search, bears: f64) -> (Round, Vec<(u64, u64)>) {
    let mut asked_for = Vec::new();
    let round = search
        .round(
            async |rate, duration| {
                asked_for.push((rate as u64, duration.as_secs()));
                Some(asked(rate, bears, true))
            },
            |_| {},
        )
        .await;
    (round, asked_for)
}

#[tokio::test]
async fn the_rate_doubles_until_the_objective_breaks_and_then_the_gap_is_halved() {
    let (round, asked_for) = found(&search(), 1_000.0).await;
    let rates: Vec<u64> = asked_for.iter().map(|(rate, _)| *rate).collect();
    assert_eq!(
        rates,
        [
            50, 100, 200, 400, 800, 1_600, 1_200, 1_000, 1_100, 1_050, 800
        ]
    );
    assert_eq!(
        (round.rate_per_second, round.ended),
        (Some(1_000.0), Ended::Found)
    );
    // The last one is 80 %, for longer.
    assert_eq!(asked_for.last(), Some(&(800, 20)));
}

#[tokio::test]
async fn the_ends_of_the_range_are_told_apart_from_a_capacity() {
    let (round, _) = found(&search(), 10.0).await;
    assert_eq!(
        (round.rate_per_second, round.ended),
        (None, Ended::BelowFrom)
    );
    let (round, asked_for) = found(&search(), f64::INFINITY).await;
    assert_eq!(
        (round.rate_per_second, round.ended),
        (Some(10_000.0), Ended::AboveTo)
    );
    assert_eq!(asked_for.last(), Some(&(10_000, 10)));
}

#[tokio::test]
async fn a_generator_that_cannot_send_more_ends_the_search_instead_of_blaming_the_server() {
    let round = search()
        .round(
            async |rate, _| Some(asked(rate, 300.0, rate < 300.0)),
            |_| {},
        )
        .await;
    assert_eq!(
        (round.rate_per_second, round.ended),
        (Some(200.0), Ended::Generator)
    );
}

#[tokio::test]
async fn a_server_that_bears_a_rate_for_a_moment_only_is_said_not_to_hold_it() {
    let round = search()
        .round(
            async |rate, duration| {
                let bears = if duration > Duration::from_secs(10) {
                    100.0
                } else {
                    1_000.0
                };
                Some(asked(rate, bears, true))
            },
            |_| {},
        )
        .await;
    assert_eq!(round.ended, Ended::NotHeld);
}

#[tokio::test]
async fn rounds_are_summed_up_by_their_median_and_spread() {
    let mut rounds = Vec::new();
    for bears in [1_000.0, 1_200.0, 900.0] {
        rounds.push(found(&search(), bears).await.0);
    }
    let capacity = Capacity::new(
        "http://127.0.0.1/".to_owned(),
        "url".to_owned(),
        &search().slo,
        rounds,
    );
    assert_eq!(
        (capacity.min, capacity.median, capacity.max),
        (Some(900.0), Some(1_000.0), Some(1_200.0))
    );
    insta::assert_snapshot!(capacity.text());
    let none = Capacity::new(String::new(), String::new(), &search().slo, Vec::new());
    assert!(none.text().contains("not found"));
}

#[tokio::test]
async fn what_is_no_capacity_is_not_summed_up_as_one() {
    let mut rounds = vec![
        found(&search(), 1_000.0).await.0,
        found(&search(), f64::INFINITY).await.0,
    ];
    rounds.push(Round {
        ended: Ended::Generator,
        ..found(&search(), 700.0).await.0
    });
    let capacity = Capacity::new(String::new(), String::new(), &search().slo, rounds);
    assert_eq!((capacity.min, capacity.max), (Some(1_000.0), Some(1_000.0)));
}

#[tokio::test]
async fn users_that_are_all_busy_are_told_apart_from_a_server_that_is() {
    let mut search = search();
    search.slo = "p99<200ms".parse().expect("an objective");
    let round = search
        .round(
            async |rate, _| {
                let plan = plan();
                let mut stats = Stats::new(plan.load.warm_up(), plan.load.whole());
                let waited = if rate > 600.0 { 500 } else { 0 };
                stats.record(&sample(300, waited, 150, Outcome::Succeeded));
                Some(report(&stats))
            },
            |_| {},
        )
        .await;
    assert_eq!(
        (round.rate_per_second, round.ended),
        (Some(400.0), Ended::Users)
    );
}
