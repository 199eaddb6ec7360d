//! Whose turn it is: four ways to choose among candidates. Pure: time, randomness and candidates are passed in.

use std::time::Instant;

use clap::ValueEnum;
use rand::{Rng, RngExt};
use serde::Deserialize;

/// Drawing again is cheaper than counting first, as long as most candidates are usable.
const DRAWS: usize = 8;

/// A way to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Algorithm {
    /// In turn, by weight and without bursts: nginx's smooth weighted round robin.
    RoundRobin,
    /// The better of two at random, by requests in flight and latency: power of two choices (Mitzenmacher 2001) over
    /// peak EWMA (Finagle).
    LeastLoad,
    /// At random, by weight.
    Random,
    /// By the client or a header: weighted rendezvous hashing (Thaler and Ravishankar 1998).
    Hash,
}

/// Whoever may be chosen.
pub trait Candidate {
    /// Its share in comparison with the others: above 0.
    fn weight(&self, now: Instant) -> f64;
    /// Requests in flight and the one to come, times the time each takes: above 0.
    fn load(&self, now: Instant) -> f64;
    /// A number of its own that survives restarts.
    fn id(&self) -> u64;
}

/// How far `round_robin` has come: a credit for each candidate.
#[derive(Debug, Default)]
pub struct Turn(Vec<f64>);

/// What a choice depends on, beside the candidates.
#[derive(Debug)]
pub struct Choice {
    /// How to choose.
    pub algorithm: Algorithm,
    /// What `hash` looks at.
    pub key: u64,
    /// A second choice for the same request takes no turn: with two candidates of which one is dead, every request
    /// would meet the dead one first.
    pub again: bool,
    /// The time.
    pub now: Instant,
}

impl Choice {
    /// The index of the one chosen; nothing if none is usable.
    pub fn among<C: Candidate>(
        &self,
        candidates: &[C],
        usable: impl Fn(&C) -> bool,
        turn: &mut Turn,
        random: &mut impl Rng,
    ) -> Option<usize> {
        match self.algorithm {
            Algorithm::RoundRobin => self.in_turn(candidates, usable, turn),
            Algorithm::LeastLoad => self.less_loaded(candidates, usable, random),
            Algorithm::Random => self.at_random(candidates, usable, random),
            Algorithm::Hash => self.by_hash(candidates, usable),
        }
    }

    /// Everyone gains its weight, the richest is chosen and pays what all have gained. In any round of as many turns
    /// as the sum of weights, each is chosen as often as it weighs.
    fn in_turn<C: Candidate>(
        &self,
        candidates: &[C],
        usable: impl Fn(&C) -> bool,
        Turn(credits): &mut Turn,
    ) -> Option<usize> {
        credits.resize(candidates.len(), 0.0);
        let mut total = 0.0;
        let mut best: Option<(usize, f64)> = None;
        for (index, candidate) in candidates.iter().enumerate() {
            if !usable(candidate) {
                continue;
            }
            let weight = candidate.weight(self.now);
            let credit = credits[index] + weight;
            if !self.again {
                credits[index] = credit;
                total += weight;
            }
            if best.is_none_or(|(_, most)| credit > most) {
                best = Some((index, credit));
            }
        }
        let (index, _) = best?;
        credits[index] -= total;
        Some(index)
    }

    fn less_loaded<C: Candidate>(
        &self,
        candidates: &[C],
        usable: impl Fn(&C) -> bool,
        random: &mut impl Rng,
    ) -> Option<usize> {
        let (one, other) = two(candidates, usable, random)?;
        let cost = |index: usize| {
            let candidate: &C = &candidates[index];
            candidate.load(self.now) / candidate.weight(self.now)
        };
        Some(if cost(other) < cost(one) { other } else { one })
    }

    fn at_random<C: Candidate>(
        &self,
        candidates: &[C],
        usable: impl Fn(&C) -> bool,
        random: &mut impl Rng,
    ) -> Option<usize> {
        let weights = || {
            let usable = candidates.iter().enumerate().filter(|(_, c)| usable(c));
            usable.map(|(index, candidate)| (index, candidate.weight(self.now)))
        };
        let mut point = random.random::<f64>() * weights().map(|(_, weight)| weight).sum::<f64>();
        let mut last = None;
        for (index, weight) in weights() {
            last = Some(index);
            point -= weight;
            if point < 0.0 {
                break;
            }
        }
        last
    }

    /// Everyone draws a number from the key and its own, the highest wins: when one leaves, only its keys move.
    fn by_hash<C: Candidate>(
        &self,
        candidates: &[C],
        usable: impl Fn(&C) -> bool,
    ) -> Option<usize> {
        let usable = candidates.iter().enumerate().filter(|(_, c)| usable(c));
        let scores = usable.map(|(index, candidate)| {
            // 53 bits make a fraction; a half more keeps it above 0 and below 1.
            let mixed = mix(self.key ^ candidate.id()) >> 11;
            let fraction = (mixed as f64 + 0.5) / (1_u64 << 53) as f64;
            (index, candidate.weight(self.now) / -fraction.ln())
        });
        scores
            .max_by(|(_, one), (_, other)| one.total_cmp(other))
            .map(|(index, _)| index)
    }
}

/// Two usable ones at random, different if there are two.
fn two<C>(
    candidates: &[C],
    usable: impl Fn(&C) -> bool,
    random: &mut impl Rng,
) -> Option<(usize, usize)> {
    if candidates.len() > 2 {
        for _ in 0..DRAWS {
            let one = random.random_range(0..candidates.len());
            let step = random.random_range(1..candidates.len());
            let other = (one + step) % candidates.len();
            if usable(&candidates[one]) && usable(&candidates[other]) {
                return Some((one, other));
            }
        }
    }
    let left: Vec<_> = (0..candidates.len())
        .filter(|&index| usable(&candidates[index]))
        .collect();
    if left.is_empty() {
        return None;
    }
    let one = random.random_range(0..left.len());
    let step = random.random_range(0..left.len().max(2) - 1);
    let other = (one + 1 + step) % left.len();
    Some((left[one], left[other]))
}

/// A number for whatever is hashed, the same in every process: FNV-1a, mixed once more because its high bits are weak.
pub fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(fnv)
}

/// The finaliser of `SplitMix64`.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
