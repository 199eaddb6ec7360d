//! The rules of a life, without a clock.

use proptest::prelude::*;

use super::*;

const HEALTHY: Option<News> = Some(News::Became(State::Healthy));
const UNHEALTHY: Option<News> = Some(News::Became(State::Unhealthy));
const DRAINING: Option<News> = Some(News::Became(State::Draining));
const EJECTED: Option<News> = Some(News::Became(State::Ejected));
const SEC: Duration = Duration::from_secs(1);

fn checks(rise: usize, fall: usize) -> Checks {
    Checks {
        rise,
        fall,
        ..Checks::default()
    }
}

fn ejection(failures: usize) -> Ejection {
    Ejection {
        failures,
        ..Ejection::default()
    }
}

fn healthy(now: Instant) -> Life {
    let mut life = Life::new(false);
    life.probe(now, Probe::Ready, &checks(1, 2));
    life
}

fn probes(rules: &Checks, probes: &[Probe]) -> Vec<Option<News>> {
    let mut life = Life::new(false);
    let now = Instant::now();
    let observed = probes.iter().map(|probe| life.probe(now, *probe, rules));
    observed.collect()
}

#[test]
fn one_failure_is_forgiven_and_two_are_not() {
    use Probe::{Failed, Ready};
    let run = [Ready, Failed, Ready, Failed, Failed, Failed];
    let news = [HEALTHY, None, None, None, UNHEALTHY, None];
    assert_eq!(probes(&checks(1, 2), &run), news);
}

#[test]
fn a_refused_connection_takes_a_backend_out_at_once() {
    let run = [Probe::Ready, Probe::Refused, Probe::Refused, Probe::Ready];
    let news = [HEALTHY, UNHEALTHY, None, HEALTHY];
    assert_eq!(probes(&checks(1, 9), &run), news);
}

#[test]
fn rise_counts_successes_in_a_row() {
    let run = [Probe::Ready, Probe::Failed, Probe::Ready, Probe::Ready];
    let news = [None, Some(News::NeverReady), None, HEALTHY];
    assert_eq!(probes(&checks(2, 1), &run), news);
}

#[test]
fn a_backend_that_never_becomes_ready_is_news_once() {
    use Probe::{Draining, Failed, Ready, Refused};
    let never = Some(News::NeverReady);
    let run = [Failed, Draining, Refused, Failed];
    assert_eq!(probes(&checks(1, 2), &run), [None, never, None, None]);
    let run = [Failed, Draining, Ready, Failed, Draining];
    assert_eq!(probes(&checks(2, 2), &run), [None, never, None, None, None]);
}

#[test]
fn a_drain_ends_in_silence_and_not_in_a_failure() {
    use Probe::{Draining, Failed, Ready, Refused};
    let run = [Ready, Draining, Draining, Refused, Failed, Failed, Ready];
    let news = [HEALTHY, DRAINING, None, None, None, None, HEALTHY];
    assert_eq!(probes(&checks(1, 1), &run), news);
}

#[test]
fn a_closed_connection_and_a_failing_check_are_a_drain() {
    for probe in [Probe::Failed, Probe::Refused] {
        let now = Instant::now();
        let mut life = healthy(now);
        life.closing(now);
        assert_eq!(life.state(), State::Healthy);
        assert_eq!(life.failed(now, &ejection(1), true), None);
        assert_eq!(life.probe(now + SEC, probe, &checks(1, 9)), DRAINING);
        assert!(!life.is_last_resort());
    }
    let now = Instant::now();
    let mut life = healthy(now);
    life.closing(now);
    let late = now + CLOSE_HINT;
    assert_eq!(life.probe(late, Probe::Refused, &checks(1, 9)), UNHEALTHY);
}

#[test]
fn a_run_of_failed_requests_ejects_and_the_back_off_grows() {
    let rules = ejection(3);
    let mut now = Instant::now();
    let mut life = healthy(now);
    assert_eq!(life.failed(now, &rules, true), None);
    assert_eq!(life.failed(now, &rules, true), None);
    life.succeeded(now);
    for _ in 0..2 {
        assert_eq!(life.failed(now, &rules, true), None);
    }
    for (back_off, failures) in [(5, 1), (10, 1), (15, 1)] {
        for _ in 0..failures {
            assert_eq!(life.failed(now, &rules, true), EJECTED);
        }
        now += SEC * back_off;
        assert_eq!(life.tick(now - SEC / 1000), None);
        assert_eq!((life.tick(now), life.ramp_from()), (HEALTHY, Some(now)));
    }
    life.succeeded(now);
    assert_eq!(life.failed(now, &rules, true), None);
    now += FORGIVEN;
    life.succeeded(now);
    for _ in 0..2 {
        assert_eq!(life.failed(now, &rules, true), None);
    }
    assert_eq!(life.failed(now, &rules, true), EJECTED);
    assert_eq!(life.tick(now + SEC * 5), HEALTHY);
}

#[test]
fn no_back_off_is_longer_than_the_longest() {
    let rules = ejection(1);
    let mut now = Instant::now();
    let mut life = healthy(now);
    for _ in 0..100 {
        assert_eq!(life.failed(now, &rules, true), EJECTED);
        now += rules.max;
        assert_eq!(life.tick(now), HEALTHY);
    }
}

#[test]
fn without_room_nobody_is_ejected() {
    let now = Instant::now();
    let mut life = healthy(now);
    for _ in 0..10 {
        assert_eq!(life.failed(now, &ejection(1), false), None);
    }
    assert_eq!(life.failed(now, &ejection(1), true), EJECTED);
}

#[test]
fn who_was_there_before_us_has_no_slow_start_and_who_comes_later_has_one() {
    let now = Instant::now();
    let rules = checks(2, 2);
    let mut seasoned = Life::new(true);
    let mut late = Life::new(true);
    let mut new = Life::new(false);
    seasoned.probe(now, Probe::Failed, &rules);
    late.probe(now, Probe::Refused, &rules);
    for life in [&mut seasoned, &mut late, &mut new] {
        life.probe(now, Probe::Ready, &rules);
        life.probe(now, Probe::Ready, &rules);
    }
    let ramps = [&seasoned, &late, &new].map(Life::ramp_from);
    assert_eq!(ramps, [None, Some(now), Some(now)]);
    // Its second start is one of a new process.
    seasoned.probe(now, Probe::Refused, &rules);
    for _ in 0..2 {
        seasoned.probe(now + SEC, Probe::Ready, &rules);
    }
    assert_eq!(seasoned.ramp_from(), Some(now + SEC));
}

#[test]
fn a_share_grows_from_a_tenth_to_the_whole() {
    let ten = SEC * 10;
    assert_eq!(share(Duration::ZERO, ten), 0.1);
    assert!((share(SEC * 5, ten) - 0.55).abs() < 1e-9);
    assert_eq!([share(ten, ten), share(SEC, Duration::ZERO)], [1.0, 1.0]);
    assert_eq!(share(Duration::ZERO, Duration::ZERO), 1.0);
}

#[test]
fn a_disabled_backend_stays_out_whatever_its_checks_say() {
    let now = Instant::now();
    let mut life = healthy(now);
    let disabled = Some(News::Became(State::Disabled));
    assert_eq!(life.set_switch(now, Switch::Off), disabled);
    assert_eq!(life.set_switch(now, Switch::Off), None);
    assert_eq!(life.probe(now, Probe::Refused, &checks(1, 1)), None);
    assert_eq!(life.probe(now, Probe::Ready, &checks(1, 1)), None);
    assert!(!life.is_last_resort());
    assert_eq!(life.set_switch(now, Switch::On), HEALTHY);
}

#[test]
fn the_last_resort_are_those_that_accepted_connections_when_last_heard_of() {
    let now = Instant::now();
    let rules = checks(1, 1);
    let after = |probe| {
        let mut life = healthy(now);
        life.probe(now, probe, &rules);
        life.is_last_resort()
    };
    assert!(after(Probe::Failed));
    assert!(!after(Probe::Refused) && !after(Probe::Draining) && !after(Probe::Ready));
    assert!(!Life::new(true).is_last_resort());
    let mut asking = healthy(now);
    asking.probe(now, Probe::Failed, &rules);
    assert_eq!(asking.probe(now, Probe::Draining, &rules), DRAINING);
    assert!(!asking.is_last_resort());
    let mut ejected = healthy(now);
    ejected.failed(now, &ejection(1), true);
    assert!(ejected.is_last_resort());
}

#[derive(Clone, Debug)]
enum Event {
    Probe(Probe),
    Succeeded,
    Failed(bool),
    Closing,
    Disabled(bool),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let probe = prop_oneof![
        Just(Probe::Ready),
        Just(Probe::Draining),
        Just(Probe::Failed),
        Just(Probe::Refused)
    ];
    prop_oneof![
        4 => probe.prop_map(Event::Probe),
        2 => Just(Event::Succeeded),
        4 => any::<bool>().prop_map(Event::Failed),
        1 => Just(Event::Closing),
        1 => any::<bool>().prop_map(Event::Disabled),
        2 => (1..20_u64).prop_map(Event::Wait),
    ]
}

proptest! {
    /// Whatever happens: nobody is healthy before it was ready, or after it drained, refused or was disabled; news is
    /// told exactly when the state changes; an ejection ends by itself.
    #[test]
    fn whatever_happens_the_promises_hold(events in prop::collection::vec(event(), 0..60)) {
        let (rules, ejection) = (checks(1, 2), ejection(2));
        let mut now = Instant::now();
        let mut life = Life::new(true);
        let mut ready = false;
        let mut disabled = false;
        for event in events {
            let before = life.state();
            let news = match event {
                Event::Probe(probe) => {
                    ready = match probe {
                        Probe::Ready => true,
                        Probe::Draining | Probe::Refused => false,
                        Probe::Failed => ready,
                    };
                    life.probe(now, probe, &rules)
                }
                Event::Succeeded => { life.succeeded(now); None }
                Event::Failed(room) => life.failed(now, &ejection, room),
                Event::Closing => { life.closing(now); None }
                Event::Disabled(is) => { disabled = is; life.set_switch(now, if is { Switch::Off } else { Switch::On }) }
                Event::Wait(secs) => { now += SEC * u32::try_from(secs).unwrap(); life.tick(now) }
            };
            let state = life.state();
            match news {
                Some(News::Became(told)) => prop_assert!(told == state && state != before),
                Some(News::NeverReady) => prop_assert_eq!(before, State::Warming),
                None => prop_assert_eq!(state, before),
            }
            if state == State::Healthy {
                prop_assert!(ready && !disabled);
            }
            prop_assert_eq!(disabled, state == State::Disabled);
        }
        life.tick(now + ejection.max);
        prop_assert_ne!(life.state(), State::Ejected);
    }
}
