//! What a choice costs among 3, 30 and 3000 backends: `cargo bench -p quiz-lb --bench selection`.

use std::{
    hint::black_box,
    sync::Mutex,
    time::{Duration, Instant},
};

use quiz_lb::{
    latency::PeakEwma,
    selection::{Algorithm, Candidate, Choice, Memo, Turn, hash},
};

/// As a seat of the pool: the latency is behind a lock.
struct Seat {
    id: u64,
    latency: Mutex<PeakEwma>,
}

impl Candidate for Seat {
    fn weight(&self, _now: Instant) -> f64 {
        1.0
    }

    fn whole_weight(&self) -> f64 {
        1.0
    }

    fn load(&self, now: Instant) -> f64 {
        self.latency.lock().map_or(1.0, |latency| latency.secs(now))
    }

    fn id(&self) -> u64 {
        self.id
    }
}

/// So many keys `hash` sees.
const CLIENTS: u64 = 1000;

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let brief = !std::env::args().any(|argument| argument == "--bench");
    let rounds = if brief { 1 } else { 7 };
    let time = Duration::from_millis(if brief { 1 } else { 200 });
    println!("{:>12} {:>9} {:>12}", "algorithm", "backends", "ns/choice");
    for algorithm in [
        Algorithm::RoundRobin,
        Algorithm::LeastLoad,
        Algorithm::Random,
        Algorithm::Hash,
    ] {
        for backends in [3_u64, 30, 3000] {
            let mut costs: Vec<_> = (0..rounds)
                .map(|_| nanos_per_choice(algorithm, backends, time))
                .collect();
            costs.sort_by(f64::total_cmp);
            let median = costs[costs.len() / 2];
            println!(
                "{:>12} {backends:>9} {median:>12.0}",
                format!("{algorithm:?}")
            );
        }
    }
}

fn nanos_per_choice(algorithm: Algorithm, backends: u64, time: Duration) -> f64 {
    let start = Instant::now();
    let seats: Vec<_> = (0..backends)
        .map(|index| Seat {
            id: hash(&index.to_le_bytes()),
            latency: Mutex::new(PeakEwma::new(start)),
        })
        .collect();
    let (mut turn, mut random, memo) = (Turn::default(), rand::rng(), Memo::default());
    let mut choose = |key: u64| {
        let choice = Choice {
            algorithm,
            key,
            again: false,
            now: start,
            memo: &memo,
        };
        black_box(choice.among(&seats, |_| true, &mut turn, &mut random));
    };
    // `hash` remembers: what is measured is a client that was here before.
    (0..CLIENTS).for_each(&mut choose);
    let (start, mut choices) = (Instant::now(), 0_u64);
    while start.elapsed() < time {
        for _ in 0..16 {
            choose(choices % CLIENTS);
            choices += 1;
        }
    }
    start.elapsed().as_secs_f64() * 1e9 / choices as f64
}
