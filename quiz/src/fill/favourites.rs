//! Who likes what: a few users have many favourites and a few quizzes many friends, and none is named twice.

use super::Sizes;
use super::chance::{Chance, Purpose, Spread, Zipf};

/// How even the numbers of favourites of the keenest users are.
const USERS_FLAT: f64 = 20.0;

/// Most favourites of one user, as a part of the quizzes: to find yet another one that is no favourite must not take long.
const MOST: u64 = 4;

/// The favourites of each user. Four bytes for each user.
pub(super) struct Favourites {
    sizes: Sizes,
    /// By number of the user.
    counts: Vec<u32>,
    popular: Spread,
}

impl Favourites {
    /// How many there may be.
    pub(super) fn most(sizes: Sizes) -> u64 {
        sizes.users.saturating_mul(most_of_one(sizes.quizzes))
    }

    /// At most as many as [`Self::most`] says.
    pub(super) fn new(sizes: Sizes) -> Self {
        Self {
            counts: counts(sizes),
            popular: Spread::new(sizes.quizzes),
            sizes,
        }
    }

    /// The numbers of the quizzes that user number `user` likes, in rising order.
    pub(super) fn of(&self, user: u64) -> Vec<u64> {
        let count = self.counts[user as usize] as usize;
        let mut chance = Chance::new(self.sizes.seed, Purpose::Favourites, user);
        let mut chosen = Vec::with_capacity(count);
        while chosen.len() < count {
            let missing = count - chosen.len();
            chosen.extend((0..missing).map(|_| self.popular.row(self.rank(&mut chance))));
            chosen.sort_unstable();
            chosen.dedup();
        }
        chosen
    }

    /// How many like each quiz, by number. Four bytes for each.
    pub(super) fn likes(&self) -> Vec<u32> {
        let mut likes = vec![0; self.sizes.quizzes as usize];
        for user in 0..self.sizes.users {
            for quiz in self.of(user) {
                likes[quiz as usize] += 1;
            }
        }
        likes
    }

    /// The rank of a quiz: the first thousandth gets a tenth of the draws, the last half a fifth.
    fn rank(&self, chance: &mut Chance) -> u64 {
        let unit = chance.unit();
        let rank = (unit * unit * unit * self.sizes.quizzes as f64) as u64;
        rank.min(self.sizes.quizzes - 1)
    }
}

fn most_of_one(quizzes: u64) -> u64 {
    (quizzes / MOST).max(1)
}

/// How many each user has: by the law of Zipf, and exactly as many together as are wanted.
fn counts(sizes: Sizes) -> Vec<u32> {
    let zipf = Zipf::new(sizes.users, USERS_FLAT);
    let keen = Spread::new(sizes.users);
    let most = most_of_one(sizes.quizzes);
    let mut counts = vec![0; sizes.users as usize];
    let mut missing = sizes.favourites;
    for rank in 0..sizes.users {
        let share = (sizes.favourites as f64 * zipf.share(rank, USERS_FLAT)) as u64;
        let count = share.min(most).min(missing);
        counts[keen.row(rank) as usize] = count as u32;
        missing -= count;
    }
    // What rounding and the limit of each have left.
    while missing > 0 {
        for count in counts.iter_mut().filter(|count| u64::from(**count) < most) {
            if missing > 0 {
                *count += 1;
                missing -= 1;
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(quizzes: u64, users: u64, favourites: u64) -> Sizes {
        Sizes {
            quizzes,
            users,
            favourites,
            seed: 1,
        }
    }

    #[test]
    fn there_are_as_many_as_wanted_and_no_two_alike() {
        for sizes in [
            sizes(300, 50, 900),
            sizes(300, 50, 3750),
            sizes(1, 3, 3),
            sizes(2, 1, 0),
        ] {
            assert!(sizes.favourites <= Favourites::most(sizes));
            let favourites = Favourites::new(sizes);
            let mut all = 0;
            for user in 0..sizes.users {
                let chosen = favourites.of(user);
                assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
                assert!(chosen.iter().all(|quiz| *quiz < sizes.quizzes));
                all += chosen.len() as u64;
            }
            assert_eq!(all, sizes.favourites);
            let likes: u64 = favourites.likes().into_iter().map(u64::from).sum();
            assert_eq!(likes, sizes.favourites);
        }
    }

    #[test]
    fn some_are_liked_much_more_than_others() {
        let mut likes = Favourites::new(sizes(10_000, 1000, 50_000)).likes();
        likes.sort_unstable();
        assert!(
            likes[9999] > 100 && likes[2000] <= 3,
            "{:?}",
            &likes[9990..]
        );
    }
}
