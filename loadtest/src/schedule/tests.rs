use super::*;

fn secs(secs: f64) -> Duration {
    Duration::from_secs_f64(secs)
}

fn schedule(shape: &str, warm_up: f64, duration: f64) -> Schedule {
    Schedule {
        shape: shape.parse().expect("a shape"),
        arrivals: Arrivals::Even,
        warm_up: secs(warm_up),
        duration: secs(duration),
        seed: 7,
    }
}

fn starts_in(schedule: &Schedule, from: f64, to: f64) -> usize {
    schedule
        .starts()
        .filter(|start| *start >= secs(from) && *start < secs(to))
        .count()
}

#[test]
fn requests_are_evenly_spaced_and_rounding_does_not_add_up() {
    let starts: Vec<Duration> = schedule("constant:3", 0.0, 10.0).starts().collect();
    assert_eq!(starts.len(), 30);
    assert_eq!(starts[0], Duration::ZERO);
    assert_eq!(starts[1], Duration::from_nanos(333_333_333));
    assert_eq!(starts[3], Duration::from_secs(1));
    let long = schedule("constant:3", 0.0, 86_400.0);
    assert_eq!(
        long.starts().nth(150_000),
        Some(Duration::from_secs(50_000))
    );
}

#[test]
fn what_starts_in_the_warm_up_is_not_measured() {
    let schedule = schedule("constant:10", 1.0, 1.0);
    let measured: Vec<bool> = schedule
        .starts()
        .map(|start| schedule.is_measured(start))
        .collect();
    assert_eq!(measured.len(), 20);
    assert!(measured[..10].iter().all(|measured| !measured));
    assert!(measured[10..].iter().all(|measured| *measured));
}

#[test]
fn each_shape_sends_what_its_rate_adds_up_to_in_each_part() {
    let ramp = schedule("ramp:10..30", 1.0, 10.0);
    // Ten in the warm-up; 10 to 20 a second in the first half, 20 to 30 in the second.
    assert_eq!(starts_in(&ramp, 0.0, 1.0), 10);
    assert_eq!(starts_in(&ramp, 1.0, 6.0), 75);
    assert_eq!(starts_in(&ramp, 6.0, 11.0), 125);
    let step = schedule("step:10,40,20", 0.0, 3.0);
    let by_second: Vec<usize> = (0..3)
        .map(|second| starts_in(&step, f64::from(second), f64::from(second + 1)))
        .collect();
    assert_eq!(by_second, [10, 40, 20]);
    let spike = schedule("spike:10,100,at=2s,for=1s", 0.0, 5.0);
    assert_eq!(starts_in(&spike, 0.0, 2.0), 20);
    assert_eq!(starts_in(&spike, 2.0, 3.0), 100);
    assert_eq!(starts_in(&spike, 3.0, 5.0), 20);
    let sine = schedule("sine:100,50,period=2s", 0.0, 2.0);
    // The upper half of the wave: its mean is 50 x 2 / pi above the mean.
    assert!((131..=133).contains(&starts_in(&sine, 0.0, 1.0)));
    assert_eq!(sine.starts().count(), 200);
    assert!((sine.mean_rate() - 100.0).abs() < 1e-9);
}

#[test]
fn intended_starts_never_go_back() {
    for shape in [
        "constant:997",
        "ramp:1..900",
        "step:5,700,1",
        "spike:3,900,at=1s,for=1s",
        "sine:300,300,period=1s",
    ] {
        for arrivals in [Arrivals::Even, Arrivals::Poisson] {
            let mut schedule = schedule(shape, 0.5, 3.0);
            schedule.arrivals = arrivals;
            let starts: Vec<Duration> = schedule.starts().collect();
            assert!(starts.is_sorted(), "{shape} {arrivals:?}");
            assert!(starts.last() < Some(&schedule.whole()), "{shape}");
        }
    }
}

#[test]
fn poisson_gaps_are_exponential_and_the_same_for_the_same_seed() {
    let mut schedule = schedule("constant:1000", 0.0, 100.0);
    schedule.arrivals = Arrivals::Poisson;
    let starts: Vec<Duration> = schedule.starts().collect();
    // A Poisson count has the standard deviation of its square root, 316 here: six of them.
    assert!(starts.len().abs_diff(100_000) < 1_900, "{}", starts.len());
    let gaps: Vec<f64> = starts
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_secs_f64())
        .collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
    // The coefficient of variation of an exponential distribution is 1.
    assert!((variance.sqrt() / mean - 1.0).abs() < 0.03);
    assert_eq!(starts, schedule.starts().collect::<Vec<_>>());
    schedule.seed = 8;
    assert_ne!(starts[..10], schedule.starts().take(10).collect::<Vec<_>>());
}

#[test]
fn a_trace_is_followed_to_the_letter_after_a_warm_up_at_its_mean_rate() {
    let starts = read_trace("# recorded\n0\n0.25\n\n1.5\n1.5\n").expect("a trace");
    let schedule = Schedule {
        shape: Shape::Trace(starts.into()),
        ..Schedule::constant(1.0, secs(1.0), secs(2.0))
    };
    let starts: Vec<f64> = schedule.starts().map(|start| start.as_secs_f64()).collect();
    assert_eq!(starts, [0.0, 0.5, 1.0, 1.25, 2.5, 2.5]);
    assert_eq!(schedule.mean_rate(), 2.0);
}

#[test]
fn a_bad_trace_is_refused_with_its_line() {
    for (bad, words) in [
        ("", "no request"),
        ("0\nsoon\n", "line 2"),
        ("-1\n", "line 1"),
        ("2\n1\n", "earlier than the one before"),
        ("86400\n", "less than a day"),
        ("nan\n", "line 1"),
    ] {
        let error = read_trace(bad).expect_err(bad).to_string();
        assert!(error.contains(words), "{bad:?}: {error}");
    }
}

#[test]
fn a_shape_that_cannot_be_read_is_answered_with_how_to_write_it() {
    for (bad, words) in [
        ("flat", "constant:200"),
        ("square:1", "constant:200"),
        ("ramp:10", "ramp:10..500"),
        ("constant:0", "above 0"),
        ("constant:-1", "above 0"),
        ("constant:inf", "above 0"),
        ("step:1,,2", "above 0"),
        ("spike:1,2,at=1s", "spike:100,1000"),
        ("spike:1,2,at=1,for=1s", "end with a unit"),
        ("sine:10,20,period=1s", "cannot fall below 0"),
        ("sine:10,5,period=0s", "not 0"),
    ] {
        let error = bad.parse::<Shape>().expect_err(bad).to_string();
        assert!(error.contains(words), "{bad:?}: {error}");
    }
}
