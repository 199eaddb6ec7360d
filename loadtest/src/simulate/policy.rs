//! Whose turn it is: two rules of the balancer, and three to compare them with.

use clap::ValueEnum;
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde::Serialize;

use super::Nanos;
use super::latency::PeakEwma;

/// A way to choose a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Policy {
    /// The balancer's `round_robin` with equal weights: in turn
    RoundRobin,
    /// The balancer's `least_load`: the better of two at random by (requests in flight + 1) x peak-EWMA latency
    LeastLoad,
    /// At random
    Random,
    /// The better of two at random by requests in flight alone (Mitzenmacher 2001)
    TwoChoices,
    /// The fewest requests in flight of all: hard to beat while all backends are equal (Winston 1977)
    Shortest,
}

impl Policy {
    /// As it is written on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastLoad => "least_load",
            Self::Random => "random",
            Self::TwoChoices => "two_choices",
            Self::Shortest => "shortest",
        }
    }
}

/// A policy with what it has seen of the backends.
#[derive(Debug)]
pub(super) struct Chooser {
    policy: Policy,
    turn: usize,
    seen: Vec<Seen>,
}

/// What the balancer knows of a backend.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    in_flight: usize,
    latency: PeakEwma,
}

impl Chooser {
    pub(super) fn new(policy: Policy, backends: usize) -> Self {
        Self {
            policy,
            turn: 0,
            seen: vec![Seen::default(); backends],
        }
    }

    /// The backend for a request that arrives now.
    pub(super) fn choose(&mut self, now: Nanos, random: &mut StdRng) -> usize {
        match self.policy {
            Policy::RoundRobin => {
                let chosen = self.turn;
                self.turn = (chosen + 1) % self.seen.len();
                chosen
            }
            Policy::Random => random.random_range(0..self.seen.len()),
            Policy::LeastLoad => self.better_of_two(random, |seen| {
                (seen.in_flight + 1) as f64 * seen.latency.secs(now)
            }),
            Policy::TwoChoices => self.better_of_two(random, |seen| seen.in_flight),
            Policy::Shortest => self.shortest(random),
        }
    }

    /// A request is on its way to this backend.
    pub(super) fn sent(&mut self, backend: usize) {
        self.seen[backend].in_flight += 1;
    }

    /// This backend has answered a request after so long.
    pub(super) fn done(&mut self, backend: usize, now: Nanos, took: Nanos) {
        let seen = &mut self.seen[backend];
        seen.in_flight -= 1;
        if self.policy == Policy::LeastLoad {
            seen.latency.observe(now, took);
        }
    }

    /// Two different ones at random, unless there is but one; the first of them when neither is better.
    fn better_of_two<C: PartialOrd>(
        &self,
        random: &mut StdRng,
        cost: impl Fn(&Seen) -> C,
    ) -> usize {
        let backends = self.seen.len();
        if backends == 1 {
            return 0;
        }
        let one = random.random_range(0..backends);
        let other = (one + random.random_range(1..backends)) % backends;
        if cost(&self.seen[other]) < cost(&self.seen[one]) {
            other
        } else {
            one
        }
    }

    /// Equals are drawn among, or the first backend would get all that arrives while nobody works.
    fn shortest(&self, random: &mut StdRng) -> usize {
        let (mut best, mut fewest, mut equals) = (0, usize::MAX, 0);
        for (backend, seen) in self.seen.iter().enumerate() {
            if seen.in_flight > fewest {
                continue;
            }
            equals = if seen.in_flight < fewest {
                1
            } else {
                equals + 1
            };
            fewest = seen.in_flight;
            if random.random_range(0..equals) == 0 {
                best = backend;
            }
        }
        best
    }
}
