//! Ballots order the rounds of every register: (microseconds, node), never used twice.
//!
//! The microseconds follow the wall clock and every ballot seen, so a lagging clock costs a retry and never safety.
//! Uniqueness across crashes comes from a reserve on disk: a node hands out no ballot above what it has reserved, and
//! starts above its reserve.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How far ahead one reservation reaches, in microseconds: one extra commit per ten seconds of writing, and at most
/// ten seconds of ballots ahead of the clock after a restart.
const RESERVE_MICROS: u64 = 10_000_000;

/// The number of one round. Compared by time first, then by node.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub(crate) struct Ballot {
    /// Hybrid logical clock, microseconds since 1970.
    pub(crate) micros: u64,
    /// The node that runs the round.
    pub(crate) node: u8,
}

impl Ballot {
    /// Below every ballot of a round: nothing accepted, nothing promised.
    pub(crate) const ZERO: Self = Self { micros: 0, node: 0 };
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.micros, self.node)
    }
}

/// What [`Counter::next`] wants its caller to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Use this ballot.
    Ready(Ballot),
    /// Make this reserve durable, tell [`Counter::granted`], and ask again.
    Reserve(u64),
}

/// Hands out this node's ballots. Pure: the clock and the disk belong to the caller.
#[derive(Debug)]
pub(crate) struct Counter {
    node: u8,
    last: u64,
    reserved: u64,
}

impl Counter {
    /// Starts above `reserved`, the last reserve found on disk: all below may have been used before a crash.
    pub(crate) fn new(node: u8, reserved: u64) -> Self {
        Self {
            node,
            last: reserved,
            reserved,
        }
    }

    /// The next ballot, above `seen` and above every one before.
    pub(crate) fn next(&mut self, wall_micros: u64, seen: Ballot) -> Next {
        let micros = self.last.max(wall_micros).max(seen.micros) + 1;
        if micros > self.reserved {
            return Next::Reserve(micros + RESERVE_MICROS);
        }
        self.last = micros;
        Next::Ready(Ballot {
            micros,
            node: self.node,
        })
    }

    /// The reserve is on disk.
    pub(crate) fn granted(&mut self, reserved: u64) {
        self.reserved = self.reserved.max(reserved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(counter: &mut Counter, wall: u64, seen: Ballot) -> (Ballot, Option<u64>) {
        match counter.next(wall, seen) {
            Next::Ready(ballot) => (ballot, None),
            Next::Reserve(upto) => {
                counter.granted(upto);
                let Next::Ready(ballot) = counter.next(wall, seen) else {
                    panic!("a granted reserve is enough for the ballot it was asked for");
                };
                (ballot, Some(upto))
            }
        }
    }

    #[test]
    fn a_ballot_is_above_the_clock_and_all_that_was_seen() {
        let mut counter = Counter::new(2, 0);
        let seen = Ballot {
            micros: 900,
            node: 3,
        };
        let (first, _) = take(&mut counter, 500, seen);
        assert!(first > seen);
        let (second, _) = take(&mut counter, 100, Ballot::ZERO);
        assert!(second > first, "a clock that goes back changes nothing");
    }

    #[test]
    fn a_restarted_node_never_repeats_a_ballot() {
        let mut before = Counter::new(1, 0);
        let (mut used, reserve) = take(&mut before, 1_000, Ballot::ZERO);
        let reserve = reserve.expect("the first ballot needs a reserve");
        for _ in 0..1_000 {
            used = take(&mut before, 1_000, Ballot::ZERO).0;
        }
        let mut after = Counter::new(1, reserve);
        let (first, _) = take(&mut after, 1_000, Ballot::ZERO);
        assert!(first > used);
    }

    #[test]
    fn no_ballot_is_handed_out_above_the_reserve() {
        let mut counter = Counter::new(1, 50);
        assert_eq!(
            counter.next(60, Ballot::ZERO),
            Next::Reserve(61 + RESERVE_MICROS)
        );
    }
}
