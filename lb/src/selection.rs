//! Whose turn it is: four ways to choose among candidates. Pure: time, randomness and candidates are passed in.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU16, Ordering},
    },
    time::Instant,
};

use clap::ValueEnum;
use rand::{Rng, RngExt};
use serde::Deserialize;

/// Drawing again is cheaper than counting first, as long as most candidates are usable.
const DRAWS: usize = 8;

/// So many buckets `hash` has, as a power of two. Of 3000 candidates each gets 87, with a tenth more or less as a rule; of a
/// few hundred, far more evenly. Their number never changes: with another one all keys would move.
const BUCKET_BITS: u32 = 18;

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
    /// By the client or a header: weighted rendezvous hashing (Thaler and Ravishankar 1998) of buckets of keys.
    Hash,
}

/// Whoever may be chosen.
pub trait Candidate {
    /// Its share in comparison with the others: above 0, and not above `whole_weight`.
    fn weight(&self, now: Instant) -> f64;
    /// The same once it has been at work for a while.
    fn whole_weight(&self) -> f64;
    /// Requests in flight and the one to come, times the time each takes: above 0.
    fn load(&self, now: Instant) -> f64;
    /// A number of its own that survives restarts.
    fn id(&self) -> u64;
}

/// How far `round_robin` has come: a credit for each candidate.
#[derive(Debug, Default)]
pub struct Turn(Vec<f64>);

/// The winners of so many buckets at a time: who has few clients needs little memory.
const PAGE: usize = 512;

/// By bucket, the number of its winner, counted from 1; 0 while nobody has asked.
type Page = Box<[AtomicU16; PAGE]>;

/// What `random` and `hash` find out once for the same candidates.
#[derive(Debug, Default)]
pub struct Memo {
    sums: OnceLock<Vec<f64>>,
    winners: OnceLock<Box<[OnceLock<Page>]>>,
}

/// What a choice depends on, beside the candidates.
#[derive(Debug)]
pub struct Choice<'a> {
    /// How to choose.
    pub algorithm: Algorithm,
    /// What `hash` looks at.
    pub key: u64,
    /// A second choice for the same request takes no turn: with two candidates of which one is dead, every request
    /// would meet the dead one first.
    pub again: bool,
    /// The time.
    pub now: Instant,
    /// Of these candidates, and no others.
    pub memo: &'a Memo,
}

impl Choice<'_> {
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

    /// A point in the sum of weights. Who is not usable, or has not all of his weight yet, is drawn again.
    fn at_random<C: Candidate>(
        &self,
        candidates: &[C],
        usable: impl Fn(&C) -> bool,
        random: &mut impl Rng,
    ) -> Option<usize> {
        let sums = self.memo.sums(candidates);
        for _ in 0..DRAWS {
            let point = random.random::<f64>() * sums.last()?;
            let index = sums.partition_point(|sum| *sum <= point);
            let candidate = candidates.get(index)?;
            let share = candidate.weight(self.now) / candidate.whole_weight();
            if usable(candidate) && (share >= 1.0 || random.random::<f64>() < share) {
                return Some(index);
            }
        }
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

    /// Keys are put in buckets. For each, everyone draws a number from it and its own, and the highest wins: when one
    /// leaves, only its buckets move. Who wins a bucket is remembered; he still does if he is usable and has all of his
    /// weight, because the others have no more than they had.
    fn by_hash<C: Candidate>(
        &self,
        candidates: &[C],
        usable: impl Fn(&C) -> bool,
    ) -> Option<usize> {
        let bucket = mix(self.key) >> (u64::BITS - BUCKET_BITS);
        let whole = || rendezvous(bucket, candidates, |_| true, Candidate::whole_weight);
        let winner = self.memo.winner(bucket, whole)?;
        let candidate = candidates.get(winner)?;
        if usable(candidate) && candidate.weight(self.now) >= candidate.whole_weight() {
            return Some(winner);
        }
        rendezvous(bucket, candidates, usable, |c| c.weight(self.now))
    }
}

/// The one that draws the highest number for this bucket, among those that are usable.
fn rendezvous<C>(
    bucket: u64,
    candidates: &[C],
    usable: impl Fn(&C) -> bool,
    weight: impl Fn(&C) -> f64,
) -> Option<usize>
where
    C: Candidate,
{
    let usable = candidates.iter().enumerate().filter(|(_, c)| usable(c));
    let scores = usable.map(|(index, candidate)| {
        // 53 bits make a fraction; a half more keeps it above 0 and below 1.
        let mixed = mix(mix(bucket) ^ candidate.id()) >> 11;
        let fraction = (mixed as f64 + 0.5) / (1_u64 << 53) as f64;
        (index, weight(candidate) / -fraction.ln())
    });
    scores
        .max_by(|(_, one), (_, other)| one.total_cmp(other))
        .map(|(index, _)| index)
}

impl Memo {
    /// The sums of weights up to each candidate, itself included.
    fn sums<C: Candidate>(&self, candidates: &[C]) -> &[f64] {
        self.sums.get_or_init(|| {
            let mut sum = 0.0;
            let add = |candidate: &C| {
                sum += candidate.whole_weight();
                sum
            };
            candidates.iter().map(add).collect()
        })
    }

    /// Who has won this bucket. With more candidates than the numbers can tell apart, nothing is remembered.
    fn winner(&self, bucket: u64, find: impl FnOnce() -> Option<usize>) -> Option<usize> {
        let bucket = usize::try_from(bucket).ok()?;
        let pages = self.winners.get_or_init(|| {
            let pages = (1 << BUCKET_BITS) / PAGE;
            (0..pages).map(|_| OnceLock::new()).collect()
        });
        let page = pages.get(bucket / PAGE)?;
        let page = page.get_or_init(|| Box::new([const { AtomicU16::new(0) }; PAGE]));
        let place = page.get(bucket % PAGE)?;
        match place.load(Ordering::Relaxed) {
            0 => {
                let winner = find()?;
                if let Ok(number) = u16::try_from(winner + 1) {
                    place.store(number, Ordering::Relaxed);
                }
                Some(winner)
            }
            number => Some(usize::from(number) - 1),
        }
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
