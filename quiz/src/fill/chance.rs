//! Numbers by chance that are the same for the same seed, in every release: content that is measured today must be there again
//! after an update of a crate. Each row has a stream of its own, so that rows can be made in any order, and twice.

/// What a stream decides, so that no two decisions about the same row are one.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Quiz,
    User,
    Favourites,
}

/// `SplitMix64`, by Sebastiano Vigna: 64 bits of state. Nothing that must not be guessed may come from it.
/// <https://prng.di.unimi.it/splitmix64.c>
pub(super) struct Chance(u64);

impl Chance {
    /// The stream of row `index`.
    pub(super) fn new(seed: u64, purpose: Purpose, index: u64) -> Self {
        Self(mix(mix(seed.wrapping_add(purpose as u64 + 1)) ^ index))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// Less than `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        (wide >> 64) as u64
    }

    /// From 0 to 1, without 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// Ranks by the law of Zipf and Mandelbrot: rank `r`, from 0, has the weight 1 / (r + `flat`). Eight bytes for each rank.
pub(super) struct Zipf {
    cumulative: Vec<f64>,
}

impl Zipf {
    /// Of at least one rank.
    pub(super) fn new(ranks: u64, flat: f64) -> Self {
        let mut sum = 0.0;
        let cumulative = (0..ranks).map(|rank| {
            sum += weight(rank, flat);
            sum
        });
        Self {
            cumulative: cumulative.collect(),
        }
    }

    pub(super) fn draw(&self, chance: &mut Chance) -> u64 {
        let point = chance.unit() * self.cumulative.last().copied().unwrap_or_default();
        self.cumulative.partition_point(|sum| *sum <= point) as u64
    }

    /// The weight of a rank, of 1 altogether.
    pub(super) fn share(&self, rank: u64, flat: f64) -> f64 {
        weight(rank, flat) / self.cumulative.last().copied().unwrap_or(1.0)
    }
}

fn weight(rank: u64, flat: f64) -> f64 {
    1.0 / (rank as f64 + flat)
}

/// Which row has a rank: each has one, and neighbours in rank are far from each other.
pub(super) struct Spread {
    rows: u64,
    step: u64,
}

impl Spread {
    /// Over at least one row.
    pub(super) fn new(rows: u64) -> Self {
        // The golden section puts each next one into the largest gap.
        let near = (rows as f64 * 0.618_033_988_749_894_9) as u64;
        let step = (near.max(1)..).find(|step| greatest_common_divisor(*step, rows) == 1);
        Self {
            rows,
            step: step.unwrap_or(1),
        }
    }

    pub(super) fn row(&self, rank: u64) -> u64 {
        (u128::from(rank) * u128::from(self.step) % u128::from(self.rows)) as u64
    }
}

fn greatest_common_divisor(mut one: u64, mut other: u64) -> u64 {
    while other > 0 {
        (one, other) = (other, one % other);
    }
    one
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_first_numbers_are_those_of_the_reference() {
        // Of splitmix64.c with the state 1234567.
        let mut chance = Chance(1_234_567);
        let first = [chance.next(), chance.next(), chance.next()];
        assert_eq!(
            first,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn every_row_has_exactly_one_rank() {
        for rows in [1, 2, 3, 10, 300, 1024] {
            let spread = Spread::new(rows);
            let found: HashSet<u64> = (0..rows).map(|rank| spread.row(rank)).collect();
            assert_eq!(found.len() as u64, rows);
            assert!(found.iter().all(|row| *row < rows));
        }
    }

    #[test]
    fn the_first_rank_comes_up_as_often_as_its_share() {
        let zipf = Zipf::new(1000, 2.7);
        let mut chance = Chance::new(1, Purpose::Quiz, 0);
        let hits = (0..100_000).filter(|_| zipf.draw(&mut chance) == 0).count();
        let expected = 100_000.0 * zipf.share(0, 2.7);
        assert!((hits as f64 - expected).abs() < expected * 0.1, "{hits}");
    }
}
