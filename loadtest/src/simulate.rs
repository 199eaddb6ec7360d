//! What the queues behind the balancer would do: a discrete-event simulation, pure, seeded and fast.
//!
//! The life of one simulated request:
//! 1. It arrives at a time that depends on nothing else: an open loop, Poisson in [`run`], recorded in [`replay`]. How much
//!    work it is, its *demand*, is drawn with it ([`service`]), so that every policy gets the very same requests.
//! 2. A [`policy`] chooses its backend. `least_load` is the rule of the balancer, with its peak EWMA ([`latency`]).
//! 3. It waits there in one line, first come, first served, for one of the places of the backend, and is worked on
//!    for its demand times the slowness of the backend.
//! 4. When it leaves, the policy hears how long it took, and [`outcome`] counts it.
//!
//! [`cli`] makes runs of a command line, and [`report`] tables or JSON of what came of them.
//!
//! What it leaves out: failures, retries, checks, ejection, limits of requests in flight, patience of visitors, and that
//! backends share a database, a disk or the cores of one machine. So it says how long requests wait for one another,
//! not how fast a page is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::Exp1;

pub mod cli;
pub mod latency;
pub mod outcome;
pub mod policy;
pub mod report;
pub mod service;

pub use outcome::Outcome;
pub use policy::Policy;
pub use service::Service;

use outcome::Tally;
use policy::Chooser;

/// Instants and spans of simulated time: whole nanoseconds from the beginning, so that events have one order and nothing is
/// rounded twice. They last 584 years.
type Nanos = u64;

const NANOS_PER_SEC: f64 = 1e9;

/// The random numbers of a policy must not be those of the requests: with the same seed they would be.
const OF_THE_POLICY: u64 = 0x9e37_79b9_7f4a_7c15;

/// One backend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backend {
    /// Requests it works on at a time, at least 1: its cores, or the workers of its pool. More wait.
    pub workers: usize,
    /// How many times as long as on a usual backend anything takes, above 0: 4 is a quarter of the speed.
    pub slowness: f64,
}

/// What arrives where, and how much of it.
#[derive(Debug, Clone)]
pub struct Model {
    /// Requests per second on average, above 0.
    pub rate: f64,
    /// At least one.
    pub backends: Vec<Backend>,
    /// How much work a request is.
    pub service: Service,
    /// What network and balancer add to each latency. Policies do not see it, and it occupies nobody.
    pub overhead: Duration,
    /// Requests that arrive before any is measured, while the queues are shorter than they will be.
    pub warm_up: u64,
    /// Requests that are measured, at least 1.
    pub requests: u64,
    /// Another seed is another run of the same model.
    pub seed: u64,
}

impl Model {
    /// Work that arrives over work that can be done, in the long run: 1 and more is a queue that grows without end.
    #[must_use]
    pub fn utilisation(&self) -> f64 {
        self.rate / self.capacity()
    }

    /// Requests per second that all backends together can answer, if each is always busy.
    #[must_use]
    pub fn capacity(&self) -> f64 {
        let speeds = self.backends.iter();
        let speed: f64 = speeds.map(|b| b.workers as f64 / b.slowness).sum();
        speed / self.service.mean().as_secs_f64()
    }

    /// Whether some queue grows without end under this policy. Those that look at the queues are given the benefit of the
    /// doubt: they keep all in bounds as long as the whole can be done.
    #[must_use]
    pub fn overloads(&self, policy: Policy) -> bool {
        let each = self.rate / self.backends.len() as f64 * self.service.mean().as_secs_f64();
        let mut backends = self.backends.iter();
        match policy {
            Policy::RoundRobin | Policy::Random => {
                backends.any(|b| each * b.slowness >= b.workers as f64)
            }
            Policy::LeastLoad | Policy::TwoChoices | Policy::Shortest => self.utilisation() >= 1.0,
        }
    }
}

/// A request that did arrive, or will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// From the beginning of the run; not before that of the request before it.
    pub arrives: Duration,
    /// How long a usual backend works on it.
    pub demand: Duration,
}

/// Simulates the model under one policy. The same model gives the same outcome, and its requests are the same for every
/// policy.
#[must_use]
pub fn run(model: &Model, policy: Policy) -> Outcome {
    let mut random = StdRng::seed_from_u64(model.seed);
    let mut now = 0.0;
    let arrivals = (0..model.warm_up.saturating_add(model.requests)).map(|_| {
        // The gaps of a Poisson process are exponential.
        now += random.sample::<f64, _>(Exp1) / model.rate;
        (
            (now * NANOS_PER_SEC) as Nanos,
            model.service.draw(&mut random),
        )
    });
    let simulation = Simulation::new(&model.backends, policy, model.seed);
    simulation.run(arrivals, model.warm_up, model.overhead)
}

/// Simulates requests that are known one by one, as those of a real run are. The first `warm_up` of them are not measured.
#[must_use]
pub fn replay(
    backends: &[Backend],
    policy: Policy,
    requests: impl IntoIterator<Item = Request>,
    warm_up: u64,
    seed: u64,
) -> Outcome {
    let arrivals = requests
        .into_iter()
        .map(|request| (nanos(request.arrives), nanos(request.demand)));
    Simulation::new(backends, policy, seed).run(arrivals, warm_up, Duration::ZERO)
}

/// Everything at one instant.
struct Simulation {
    stations: Vec<Station>,
    chooser: Chooser,
    random: StdRng,
    // Who leaves next, first.
    departures: BinaryHeap<Reverse<Departure>>,
}

/// A request on its backend, by the time it will leave.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Departure {
    at: Nanos,
    station: usize,
    arrived: Nanos,
}

/// A backend and its line.
struct Station {
    slowness: f64,
    // When each place is free, as far as is known.
    free_at: Vec<Nanos>,
}

impl Simulation {
    fn new(backends: &[Backend], policy: Policy, seed: u64) -> Self {
        let station = |backend: &Backend| Station {
            slowness: backend.slowness,
            free_at: vec![0; backend.workers],
        };
        Self {
            stations: backends.iter().map(station).collect(),
            chooser: Chooser::new(policy, backends.len()),
            random: StdRng::seed_from_u64(seed ^ OF_THE_POLICY),
            departures: BinaryHeap::new(),
        }
    }

    fn run(
        mut self,
        arrivals: impl Iterator<Item = (Nanos, Nanos)>,
        warm_up: u64,
        overhead: Duration,
    ) -> Outcome {
        let workers = self.stations.iter().map(|station| station.free_at.len());
        let mut tally = Tally::new(workers, nanos(overhead));
        for (index, (now, demand)) in (0_u64..).zip(arrivals) {
            self.depart_until(now, &mut tally);
            if index == warm_up {
                tally.begin(now);
            }
            tally.advance(now);
            let station = self.chooser.choose(now, &mut self.random);
            let (begins, ends) = self.stations[station].admit(now, demand);
            self.chooser.sent(station);
            tally.arrived(station, now, begins, ends);
            self.departures.push(Reverse(Departure {
                at: ends,
                station,
                arrived: now,
            }));
        }
        // Those who are still there have been counted with the time at which they will leave.
        tally.outcome()
    }

    /// Everybody leaves who is done by now.
    fn depart_until(&mut self, now: Nanos, tally: &mut Tally) {
        while let Some(Reverse(next)) = self.departures.peek() {
            if next.at > now {
                break;
            }
            let Departure {
                at,
                station,
                arrived,
            } = *next;
            self.departures.pop();
            tally.advance(at);
            tally.departed(station);
            self.chooser.done(station, at, at - arrived);
        }
    }
}

impl Station {
    /// Puts a request at the end of the line; says when its work begins and ends. In a line that nobody jumps this is known
    /// at once: work begins as soon as the first place is free (Kiefer and Wolfowitz 1955).
    fn admit(&mut self, now: Nanos, demand: Nanos) -> (Nanos, Nanos) {
        let place = self.free_at.iter_mut().min();
        let place = place.expect("a backend has at least one place");
        let begins = now.max(*place);
        let ends = begins.saturating_add((demand as f64 * self.slowness).round() as Nanos);
        *place = ends;
        (begins, ends)
    }
}

fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

#[cfg(test)]
mod tests;
