//! Peak EWMA, as the balancer has it in `lb/src/latency.rs`: bad news is believed at once, good news slowly.
//!
//! The rule is that of Finagle (`com.twitter.finagle.loadbalancer.p2c.PeakEwma`), the figures are those of the balancer.
//! They are written down again because the load tester depends on no sibling; the test of a real run in
//! `lab/tests/simulate.rs` notices when the two part.

use super::{NANOS_PER_SEC, Nanos};

/// Seconds in which a backend that answers nothing is forgiven all but 1/e of its average.
const FORGET_SECS: f64 = 10.0;
/// Seconds in which better samples leave an old one all but 1/e of its weight.
const IMPROVE_SECS: f64 = 0.1;
/// What a backend without any sample is believed to take, in seconds.
const BEGINNING_SECS: f64 = 0.01;
/// Differences below this are noise, in seconds.
const FLOOR_SECS: f64 = 0.000_2;

/// The moving average of one backend.
#[derive(Debug, Clone, Copy)]
pub struct PeakEwma {
    secs: f64,
    at: Nanos,
    answered: bool,
}

impl PeakEwma {
    /// Of a backend that has answered nothing, at the beginning.
    #[must_use]
    pub fn new() -> Self {
        Self {
            secs: BEGINNING_SECS,
            at: 0,
            answered: false,
        }
    }

    /// Takes an answer into account that came now and took so long, in nanoseconds.
    pub fn observe(&mut self, now: Nanos, took: Nanos) {
        let new = took as f64 / NANOS_PER_SEC;
        self.secs = if new >= self.decayed(now) || !self.answered {
            new
        } else {
            let kept = self.kept(now, IMPROVE_SECS);
            self.secs * kept + new * (1.0 - kept)
        };
        self.at = self.at.max(now);
        self.answered = true;
    }

    /// Seconds; without new samples it sinks.
    #[must_use]
    pub fn secs(&self, now: Nanos) -> f64 {
        self.decayed(now).max(FLOOR_SECS)
    }

    fn decayed(&self, now: Nanos) -> f64 {
        self.secs * self.kept(now, FORGET_SECS)
    }

    fn kept(&self, now: Nanos, secs: f64) -> f64 {
        let age = now.saturating_sub(self.at) as f64 / NANOS_PER_SEC;
        (-age / secs).exp()
    }
}

impl Default for PeakEwma {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;

    // The same figures as in the tests of `lb/src/latency.rs`.
    #[test]
    fn a_slow_answer_counts_at_once_and_a_quick_one_slowly() {
        let mut latency = PeakEwma::new();
        latency.observe(0, 500 * MS);
        assert_eq!(latency.secs(0), 0.5);
        latency.observe(MS, MS);
        assert!(latency.secs(MS) > 0.49);
        for second in 1..=60 {
            latency.observe(1000 * second * MS, MS);
        }
        assert!(latency.secs(60_000 * MS) < 0.01);
    }

    #[test]
    fn the_first_answer_counts_for_more_than_what_was_believed_without_one() {
        let mut latency = PeakEwma::new();
        assert_eq!(latency.secs(0), 0.01);
        latency.observe(MS, MS);
        assert_eq!(latency.secs(MS), 0.001);
    }

    #[test]
    fn whoever_is_not_asked_is_forgiven() {
        let mut latency = PeakEwma::new();
        latency.observe(0, 1000 * MS);
        assert!(latency.secs(30_000 * MS) < 0.06);
        assert_eq!(latency.secs(3_600_000 * MS), FLOOR_SECS);
    }
}
