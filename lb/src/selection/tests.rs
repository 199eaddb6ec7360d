//! What each way of choosing promises, for any weights and loads.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

use super::*;
use crate::latency::PeakEwma;

#[derive(Clone, Debug)]
struct Plain {
    weight: f64,
    whole: f64,
    load: f64,
    id: u64,
}

impl Candidate for Plain {
    fn weight(&self, _now: Instant) -> f64 {
        self.weight
    }

    fn whole_weight(&self) -> f64 {
        self.whole
    }

    fn load(&self, _now: Instant) -> f64 {
        self.load
    }

    fn id(&self) -> u64 {
        self.id
    }
}

fn candidates(weights: &[u32]) -> Vec<Plain> {
    let one = |(index, weight): (usize, &u32)| Plain {
        weight: f64::from(*weight),
        whole: f64::from(*weight),
        load: 1.0,
        id: hash(&index.to_le_bytes()),
    };
    weights.iter().enumerate().map(one).collect()
}

/// Each with candidates of its own.
struct Chooser {
    algorithm: Algorithm,
    key: u64,
    again: bool,
    now: Instant,
    memo: Memo,
    turn: Turn,
    random: StdRng,
}

impl Chooser {
    fn new(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            key: 0,
            again: false,
            now: Instant::now(),
            memo: Memo::default(),
            turn: Turn::default(),
            random: StdRng::seed_from_u64(7),
        }
    }

    fn next<C: Candidate>(
        &mut self,
        candidates: &[C],
        usable: impl Fn(&C) -> bool,
    ) -> Option<usize> {
        let choice = Choice {
            algorithm: self.algorithm,
            key: self.key,
            again: self.again,
            now: self.now,
            memo: &self.memo,
        };
        choice.among(candidates, usable, &mut self.turn, &mut self.random)
    }

    fn shares(&mut self, candidates: &[Plain], choices: usize) -> Vec<usize> {
        let mut shares = vec![0; candidates.len()];
        for _ in 0..choices {
            shares[self.next(candidates, |_| true).unwrap()] += 1;
        }
        shares
    }
}

const ALL: [Algorithm; 4] = [
    Algorithm::RoundRobin,
    Algorithm::LeastLoad,
    Algorithm::Random,
    Algorithm::Hash,
];

proptest! {
    #[test]
    fn in_every_round_each_is_chosen_as_often_as_it_weighs(
        weights in prop::collection::vec(1..20_u32, 1..12), rounds in 1..4_usize,
    ) {
        let round: u32 = weights.iter().sum();
        let mut chooser = Chooser::new(Algorithm::RoundRobin);
        for _ in 0..rounds {
            let shares = chooser.shares(&candidates(&weights), round as usize);
            prop_assert!(shares.iter().zip(&weights).all(|(s, w)| *s == *w as usize), "{shares:?}");
        }
    }

    #[test]
    fn round_robin_does_not_bunch(weights in prop::collection::vec(1..20_u32, 2..8)) {
        let all = candidates(&weights);
        let total: u32 = weights.iter().sum();
        let mut chooser = Chooser::new(Algorithm::RoundRobin);
        let mut counts = vec![0.0; all.len()];
        for turns in 1..=2 * total {
            counts[chooser.next(&all, |_| true).unwrap()] += 1.0;
            for (count, weight) in counts.iter().zip(&weights) {
                let due = f64::from(turns * weight) / f64::from(total);
                // As long as there are candidates, nobody is further from his due than by one for each other.
                prop_assert!((count - due).abs() <= all.len() as f64, "{counts:?}");
            }
        }
    }

    #[test]
    fn whoever_is_chosen_is_usable_and_somebody_is_if_there_is_one(
        usable in prop::collection::vec(any::<bool>(), 0..12), key: u64, again: bool,
    ) {
        let all = candidates(&vec![1; usable.len()]);
        let ids: Vec<_> = all.iter().zip(&usable).filter(|(_, u)| **u).map(|(c, _)| c.id).collect();
        for algorithm in ALL {
            let mut chooser = Chooser::new(algorithm);
            chooser.key = key;
            chooser.again = again;
            let chosen = chooser.next(&all, |candidate| ids.contains(&candidate.id));
            prop_assert_eq!(chosen.is_some(), usable.contains(&true));
            prop_assert!(chosen.is_none_or(|index| usable[index]));
        }
    }

    #[test]
    fn when_one_leaves_only_its_keys_move(
        weights in prop::collection::vec(1..5_u32, 2..10), key: u64, leaver: prop::sample::Index,
    ) {
        let all = candidates(&weights);
        let leaver = all[leaver.index(all.len())].id;
        let mut chooser = Chooser::new(Algorithm::Hash);
        chooser.key = key;
        let before = all[chooser.next(&all, |_| true).unwrap()].id;
        let after = all[chooser.next(&all, |candidate| candidate.id != leaver).unwrap()].id;
        prop_assert!(before == leaver || before == after);
        prop_assert_eq!(all[chooser.next(&all, |_| true).unwrap()].id, before);
    }

    #[test]
    fn when_the_list_changes_only_keys_of_who_left_or_came_move(
        weights in prop::collection::vec(1..5_u32, 2..10), keys in prop::collection::vec(any::<u64>(), 50),
    ) {
        let all = candidates(&weights);
        let fewer = &all[1..];
        let (mut of_all, mut of_fewer) = (Chooser::new(Algorithm::Hash), Chooser::new(Algorithm::Hash));
        for key in keys {
            (of_all.key, of_fewer.key) = (key, key);
            let one = &all[of_all.next(&all, |_| true).unwrap()];
            let other = &fewer[of_fewer.next(fewer, |_| true).unwrap()];
            prop_assert!(one.id == all[0].id || one.id == other.id);
        }
    }

    #[test]
    fn what_is_remembered_is_what_would_be_found(
        weights in prop::collection::vec(1..5_u32, 2..10), share in 0.01..1.0_f64,
        warming: prop::sample::Index, busy: prop::sample::Index, keys in prop::collection::vec(any::<u64>(), 20),
    ) {
        let mut all = candidates(&weights);
        let mut remembers = Chooser::new(Algorithm::Hash);
        let settled = all.clone();
        for key in &keys {
            remembers.key = *key;
            remembers.next(&settled, |_| true);
        }
        let (warming, busy) = (warming.index(all.len()), all[busy.index(all.len())].id);
        all[warming].weight *= share;
        for key in keys {
            let mut forgets = Chooser::new(Algorithm::Hash);
            (remembers.key, forgets.key) = (key, key);
            let mut of_now = all.clone();
            of_now[warming].whole = of_now[warming].weight;
            let usable = |candidate: &Plain| candidate.id != busy;
            prop_assert_eq!(remembers.next(&all, usable), forgets.next(&of_now, usable));
        }
    }

    #[test]
    fn of_two_the_less_loaded_is_chosen(
        one in 0.001..10.0_f64, other in 0.001..10.0_f64, weights in (1..9_u32, 1..9_u32),
    ) {
        let mut both = candidates(&[weights.0, weights.1]);
        (both[0].load, both[1].load) = (one, other);
        let cost = [one / f64::from(weights.0), other / f64::from(weights.1)];
        let chosen = Chooser::new(Algorithm::LeastLoad).next(&both, |_| true).unwrap();
        prop_assert!(cost[chosen] <= cost[1 - chosen]);
    }
}

#[test]
fn a_second_choice_takes_no_turn() {
    let all = candidates(&[1, 1]);
    let mut chooser = Chooser::new(Algorithm::RoundRobin);
    let mut first = Vec::new();
    for _ in 0..4 {
        chooser.again = false;
        let index = chooser.next(&all, |_| true).unwrap();
        first.push(index);
        chooser.again = true;
        let tried = all[index].id;
        let second = chooser.next(&all, |candidate| candidate.id != tried);
        assert_eq!(second, Some(1 - index));
    }
    assert_eq!(first, [0, 1, 0, 1]);
}

#[test]
fn random_and_hash_follow_the_weights() {
    let all = candidates(&[1, 2, 7]);
    let near = |shares: &[usize]| {
        let wrong = [1000, 2000, 7000]
            .iter()
            .zip(shares)
            .any(|(due, share)| share.abs_diff(*due) > 250);
        assert!(!wrong, "{shares:?}");
    };
    near(&Chooser::new(Algorithm::Random).shares(&all, 10_000));
    // In the middle of its slow start.
    let mut ramping = candidates(&[1, 2, 70]);
    ramping[2].weight = 7.0;
    near(&Chooser::new(Algorithm::Random).shares(&ramping, 10_000));
    let mut chooser = Chooser::new(Algorithm::Hash);
    let mut shares = [0; 3];
    for key in 0..10_000_u64 {
        chooser.key = hash(&key.to_le_bytes());
        shares[chooser.next(&all, |_| true).unwrap()] += 1;
    }
    near(&shares);
}

#[test]
fn of_equals_least_load_prefers_nobody() {
    let shares = Chooser::new(Algorithm::LeastLoad).shares(&candidates(&[1; 5]), 10_000);
    let even = shares.iter().all(|share| share.abs_diff(2000) < 250);
    assert!(even, "{shares:?}");
}

#[test]
fn one_ten_times_slower_gets_less_than_a_tenth() {
    let mut all = candidates(&[1; 3]);
    all[1].load = 10.0;
    let shares = Chooser::new(Algorithm::LeastLoad).shares(&all, 10_000);
    assert!(shares[1] < 1000, "{shares:?}");
}

/// A backend that answers after a fixed time, known as `pool.rs` knows one. At the beginning of each second it may stall.
struct Paced {
    page: Duration,
    stall: Duration,
    latency: PeakEwma,
    in_flight: usize,
}

impl Candidate for Paced {
    fn weight(&self, _now: Instant) -> f64 {
        1.0
    }

    fn whole_weight(&self) -> f64 {
        1.0
    }

    fn load(&self, now: Instant) -> f64 {
        (self.in_flight + 1) as f64 * self.latency.secs(now)
    }

    fn id(&self) -> u64 {
        0
    }
}

/// Ten seconds of 2,000 requests each second, which come when they like: how many went to the last of these backends, and
/// what 99 of a hundred took at most. The first two stall so long.
fn simulate(algorithm: Algorithm, pages: [Duration; 3], stall: Duration) -> (usize, Duration) {
    let start = Instant::now();
    let mut now = start;
    let stalls = [stall, stall, Duration::ZERO];
    let mut backends = [0, 1, 2].map(|index| Paced {
        page: pages[index],
        stall: stalls[index],
        latency: PeakEwma::new(now),
        in_flight: 0,
    });
    let mut chooser = Chooser::new(algorithm);
    let mut replies = BinaryHeap::<Reverse<(Instant, usize, Duration)>>::new();
    let mut times = Vec::new();
    let mut counts = [0; 3];
    for _ in 0..20_000 {
        let unlikely: f64 = chooser.random.random();
        now += Duration::from_micros(500).mul_f64(-(1.0 - unlikely).ln());
        while replies.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            let Some(Reverse((at, index, took))) = replies.pop() else {
                break;
            };
            let backend = &mut backends[index];
            backend.in_flight -= 1;
            backend.latency.observe(at, took);
        }
        chooser.now = now;
        let index = chooser.next(&backends, |_| true).unwrap();
        let backend = &mut backends[index];
        backend.in_flight += 1;
        counts[index] += 1;
        let of_second = Duration::from_nanos((now - start).subsec_nanos().into());
        let took = backend.page + backend.stall.saturating_sub(of_second);
        times.push(took);
        replies.push(Reverse((now + took, index, took)));
    }
    times.sort_unstable();
    (counts[2], times[times.len() * 99 / 100])
}

#[test]
fn under_load_least_load_spares_one_ten_times_slower_and_round_robin_does_not() {
    let millis = Duration::from_millis;
    let healthy = [millis(2); 3];
    let one_slow = [millis(2), millis(2), millis(20)];
    let none = Duration::ZERO;
    let (share, p99) = simulate(Algorithm::RoundRobin, one_slow, none);
    assert_eq!((share, p99), (6666, millis(20)));
    let (share, _) = simulate(Algorithm::LeastLoad, healthy, none);
    assert!(share.abs_diff(6666) < 700, "{share}");
    let (share, p99) = simulate(Algorithm::LeastLoad, one_slow, none);
    assert!(share < 200 && p99 <= millis(3), "{share}, {p99:?}");
    // As long as on a busy machine: less than one in a hundred waits for the slow one, the others only for a stall.
    for stall in [millis(5), millis(10)] {
        let (share, p99) = simulate(Algorithm::LeastLoad, one_slow, stall);
        assert!(
            share < 200 && p99 < millis(20),
            "{stall:?}: {share}, {p99:?}"
        );
    }
}
