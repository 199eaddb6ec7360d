//! The simulation beside what theory says.
//!
//! All seeds are fixed, so a test passes always or never. Tolerances are still argued for, so that one that passes says
//! something: they are four standard errors or more of the estimate, with the correlation of queueing times counted in. For
//! the mean wait of n requests in an M/M/1 queue with service rate 1 that is the square root of
//! rho (2 + 5 rho - 4 rho^2 + rho^3) / (1 - rho)^4 / n (Daley 1968; Whitt, Planning Queueing Simulations, 1989): at rho = 0.7 and
//! n = 400,000, 0.029 service times, or 0.9 % of the mean sojourn of 3.33.

use super::*;

const MS: Duration = Duration::from_millis(1);
/// Mean service time of all models here: 10 ms, so that nanoseconds and the three digits of the histogram are of no concern.
const SERVICE: Duration = Duration::from_millis(10);
/// Requests per second that one place can answer.
const MU: f64 = 100.0;

/// So many equal backends at this utilisation.
fn model(backends: usize, workers: usize, utilisation: f64, service: Service) -> Model {
    let backend = Backend {
        workers,
        slowness: 1.0,
    };
    let model = Model {
        rate: 1.0,
        backends: vec![backend; backends],
        service,
        overhead: Duration::ZERO,
        warm_up: 20_000,
        requests: 400_000,
        seed: 1,
    };
    let rate = utilisation * model.capacity();
    Model { rate, ..model }
}

fn exponential() -> Service {
    Service::Exponential { mean: SERVICE }
}

#[track_caller]
fn assert_near(what: &str, simulated: f64, theory: f64, tolerance: f64) {
    let off = simulated / theory - 1.0;
    assert!(
        off.abs() <= tolerance,
        "{what}: {simulated} simulated, {theory} in theory, {:+.2} % off",
        off * 100.0
    );
}

fn secs(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

#[test]
fn one_queue_with_one_place_has_the_sojourn_times_of_m_m_1() {
    let model = model(1, 1, 0.7, exponential());
    let outcome = run(&model, Policy::RoundRobin);
    // The sojourn is exponential with rate mu - lambda.
    let rate = MU - model.rate;
    assert_near("mean", secs(outcome.mean_latency), 1.0 / rate, 0.036);
    for quantile in [0.5, 0.9, 0.99] {
        let theory = -(1.0_f64 - quantile).ln() / rate;
        // Long sojourns come in few busy periods: the 99th percentile of as many requests is twice as uncertain as the mean.
        let tolerance = if quantile > 0.95 { 0.08 } else { 0.04 };
        let simulated = secs(outcome.quantile(quantile));
        assert_near(
            &format!("p{}", quantile * 100.0),
            simulated,
            theory,
            tolerance,
        );
    }
    // PASTA: who arrives finds the place busy as often as it is busy.
    assert_near(
        "waited",
        outcome.waited as f64 / outcome.requests as f64,
        0.7,
        0.01,
    );
    assert_near("utilisation", outcome.backends[0].utilisation, 0.7, 0.01);
    assert_near("throughput", outcome.throughput(), model.rate, 0.007);
}

/// Erlang C: how often all of `places` are busy, at this many Erlang.
fn erlang_c(places: u32, erlangs: f64) -> f64 {
    // Erlang B by its recursion, which has no factorials to overflow.
    let b = (1..=places).fold(1.0, |b, k| erlangs * b / (f64::from(k) + erlangs * b));
    let rho = erlangs / f64::from(places);
    b / (1.0 - rho * (1.0 - b))
}

// M/M/c at 80 %: the wait of those who wait is exponential with rate c mu - lambda, as in an M/M/1 queue that is c times as
// fast. Its mean is less certain than at 70 %: 0.8 (2 + 4 - 2.56 + 0.51) / 0.2^4 / n makes 1.1 % of the sojourn time there.
#[test]
fn one_queue_with_several_places_waits_as_often_and_as_long_as_erlang_says() {
    assert!((erlang_c(2, 1.0) - 1.0 / 3.0).abs() < 1e-12);
    for places in [2, 8] {
        let model = model(1, places as usize, 0.8, exponential());
        let outcome = run(&model, Policy::RoundRobin);
        let waits = erlang_c(places, 0.8 * f64::from(places));
        let waited = outcome.waited as f64 / outcome.requests as f64;
        assert_near("waiting probability", waited, waits, 0.03);
        let mean = waits / (f64::from(places) * MU - model.rate);
        assert_near("mean wait", secs(outcome.mean_wait), mean, 0.06);
    }
}

// Pollaczek and Khinchine: the mean wait is rho / (1 - rho) x service time x (1 + c^2) / 2, where c is the coefficient of
// variation. Waits vary less than those of M/M/1 when the service does, and more when it varies more; for a lognormal one with
// c^2 = 1.7 the fourth moment is large, and the tolerance with it.
#[test]
fn the_mean_wait_depends_on_how_much_service_times_vary() {
    let lognormal = Service::Lognormal {
        median: SERVICE.mul_f64((-0.5_f64).exp()),
        sigma: 1.0,
    };
    let variation = 1.0_f64.exp() - 1.0;
    let half = Service::from_times(&[MS, 19 * MS]).unwrap();
    for (service, c2, tolerance) in [
        (Service::Fixed(SERVICE), 0.0, 0.04),
        (exponential(), 1.0, 0.05),
        (half, 0.81, 0.05),
        (lognormal, variation, 0.1),
    ] {
        let what = format!("{service:?}");
        let outcome = run(&model(1, 1, 0.7, service), Policy::RoundRobin);
        let theory = 0.7 / 0.3 * secs(SERVICE) * (1.0 + c2) / 2.0;
        assert_near(&what, secs(outcome.mean_wait), theory, tolerance);
    }
}

// Both sides are of the same run and counted in different ways: one by request, one by the time between events. They differ by
// the requests that are there when the measured part begins and ends, some ten of 50,000.
#[test]
fn requests_there_are_the_rate_times_their_stay() {
    for policy in [Policy::RoundRobin, Policy::LeastLoad, Policy::Shortest] {
        let mut model = model(4, 2, 0.8, exponential());
        model.requests = 50_000;
        let outcome = run(&model, policy);
        let there: f64 = outcome.backends.iter().map(|b| b.mean_in_flight).sum();
        let little = outcome.throughput() * secs(outcome.mean_latency);
        assert_near("in flight", there, little, 0.001);
        let waiting = outcome.throughput() * secs(outcome.mean_wait);
        assert_near("waiting", outcome.mean_queue(), waiting, 0.001);
    }
}

/// The mean sojourn time of `E_n/M/1`, in seconds: every nth request of a Poisson stream of rate n lambda. The chance sigma to
/// find the place busy is the root of sigma = A(mu - mu sigma), with A the transform of the gaps (Kleinrock 1975, 6.3).
fn sojourn_of_every_nth(n: u32, lambda: f64) -> f64 {
    let rate = f64::from(n) * lambda;
    let transform = |s: f64| (rate / (rate + s)).powi(n.try_into().unwrap());
    let sigma = (0..1000).fold(0.5, |sigma, _| transform(MU - MU * sigma));
    1.0 / (MU * (1.0 - sigma))
}

// At random, each backend has an M/M/1 queue; in turn, each gets every fourth request, whose gaps vary half as much.
#[test]
fn in_turn_is_better_than_at_random_by_as_much_as_theory_says() {
    let model = model(4, 1, 0.8, exponential());
    let lambda = 0.8 * MU;
    let random = secs(run(&model, Policy::Random).mean_latency);
    // Four queues at 80 % with 100,000 requests each: 1.2 % of standard error.
    assert_near("random", random, 1.0 / (MU - lambda), 0.05);
    let in_turn = secs(run(&model, Policy::RoundRobin).mean_latency);
    assert_near("in turn", in_turn, sojourn_of_every_nth(4, lambda), 0.05);
    assert!(in_turn < 0.75 * random);
    assert!((sojourn_of_every_nth(1, lambda) - 1.0 / (MU - lambda)).abs() < 1e-9);
}

// With many queues and two choices, the mean sojourn is the sum of lambda^(2^i - 2), in service times (Mitzenmacher 2001, for
// infinitely many queues). At random it is 1 / (1 - lambda): the one grows like the logarithm of the other. With a hundred
// queues two choices take 1.2 and 2.3 % longer than that at these loads, with 400 0.2 and 0.4 %, with 1000 less than 0.1 %
// (means of three runs of two million requests). In a run as short as this one, arrivals and work are each off by 0.16 % as a
// rule, the load by 0.22 %, and the sum by 3.6 and 6.6 times that: the tolerance is five times what comes of it.
#[test]
fn two_choices_are_exponentially_better_than_one() {
    for (load, tolerance) in [(0.9_f64, 0.04), (0.95, 0.073)] {
        let mut model = model(400, 1, load, exponential());
        model.warm_up = 120_000;
        let two = secs(run(&model, Policy::TwoChoices).mean_latency) * MU;
        let theory: f64 = (1..20).map(|i| load.powf(2.0_f64.powi(i) - 2.0)).sum();
        assert_near("two choices", two, theory, tolerance);
        let random = secs(run(&model, Policy::Random).mean_latency) * MU;
        // A thousand requests for each queue do not show the longest ones yet: there should be 10 and 20.
        assert!(
            two < 0.4 * random,
            "{two} with two choices, {random} with one"
        );
    }
}

#[test]
fn least_load_keeps_queues_shorter_than_chance_and_longer_than_the_shortest() {
    let mut model = model(10, 1, 0.9, exponential());
    model.requests = 200_000;
    let mean = |policy| secs(run(&model, policy).mean_latency);
    let (random, least) = (mean(Policy::Random), mean(Policy::LeastLoad));
    assert!(least < 0.7 * random, "{least} by load, {random} at random");
    // Latencies of the past say little about equal backends whose service times are chance: counting alone does better.
    let (two, shortest) = (mean(Policy::TwoChoices), mean(Policy::Shortest));
    assert!(shortest < two && two < least, "{shortest}, {two}, {least}");
}

// The whole is 50 % busy, but a quarter of the requests is 163 % of what the slow backend can do.
#[test]
fn a_slow_backend_is_spared_by_least_load_and_drowned_by_round_robin() {
    let mut model = model(4, 2, 0.5, exponential());
    model.backends[0].slowness = 4.0;
    model.rate = 0.5 * model.capacity();
    model.requests = 100_000;
    let round_robin = run(&model, Policy::RoundRobin);
    assert!((round_robin.backends[0].share - 0.25).abs() < 1e-4);
    assert!(round_robin.backends[0].utilisation > 0.99);
    assert!(model.overloads(Policy::RoundRobin) && !model.overloads(Policy::LeastLoad));
    let least_load = run(&model, Policy::LeastLoad);
    assert!(least_load.backends[0].share < 0.12, "{least_load:?}");
    assert!(least_load.quantile(0.9) < round_robin.quantile(0.9));
    let others = &least_load.backends[1..];
    assert!(
        others.iter().all(|other| (other.share - 0.3).abs() < 0.03),
        "{others:?}"
    );
}

#[test]
fn the_same_seed_gives_the_same_run_and_all_policies_get_the_same_requests() {
    let mut model = model(3, 1, 0.6, exponential());
    model.requests = 5_000;
    let figures = |outcome: &Outcome| (outcome.mean_latency, outcome.waited, outcome.span);
    let first = run(&model, Policy::LeastLoad);
    let again = run(&model, Policy::LeastLoad);
    assert_eq!(figures(&first), figures(&again));
    assert_eq!(first.backends, again.backends);
    assert_eq!(first.span, run(&model, Policy::Random).span);
    model.seed = 2;
    assert_ne!(figures(&run(&model, Policy::LeastLoad)), figures(&first));
}

#[test]
fn requests_that_are_known_one_by_one_wait_in_line() {
    let backend = Backend {
        workers: 1,
        slowness: 2.0,
    };
    let request = |arrives: u32, demand: u32| Request {
        arrives: arrives * MS,
        demand: demand * MS,
    };
    // The first is the warm-up; the second waits for it, the third for both, and the last for nobody.
    let requests = [
        request(0, 10),
        request(5, 10),
        request(10, 1),
        request(100, 10),
    ];
    let outcome = replay(&[backend], Policy::RoundRobin, requests, 1, 1);
    assert_eq!((outcome.requests, outcome.waited), (3, 2));
    assert_eq!(outcome.mean_latency, (35 + 32 + 20) * MS / 3);
    assert_eq!(outcome.mean_wait, (15 + 30) * MS / 3);
    assert_eq!(outcome.span, 95 * MS);
    // Busy from 5 to 42 of 5 to 100 ms, and one waits from 5 to 20, one from 10 to 40 ms.
    let share = outcome.backends[0];
    assert!((share.utilisation - 37.0 / 95.0).abs() < 1e-9, "{share:?}");
    assert!((share.mean_queue - 45.0 / 95.0).abs() < 1e-9, "{share:?}");
}

#[test]
fn overhead_is_added_to_each_latency_and_changes_nothing_else() {
    let mut model = model(3, 1, 0.6, exponential());
    model.requests = 5_000;
    let without = run(&model, Policy::LeastLoad);
    model.overhead = 3 * MS;
    let with = run(&model, Policy::LeastLoad);
    assert_eq!(with.mean_latency, without.mean_latency + 3 * MS);
    assert_eq!(with.backends, without.backends);
}

#[test]
fn nothing_that_arrives_is_an_outcome_without_requests() {
    let backend = Backend {
        workers: 1,
        slowness: 1.0,
    };
    let outcome = replay(&[backend], Policy::LeastLoad, [], 0, 1);
    assert_eq!(
        (outcome.requests, outcome.mean_latency),
        (0, Duration::ZERO)
    );
}
