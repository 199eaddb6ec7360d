//! How slow a backend is: a moving average that believes bad news at once and good news slowly.
//!
//! Peak EWMA, as in Finagle (`com.twitter.finagle.loadbalancer.p2c.PeakEwma`) and Linkerd (`tower::load::PeakEwma`): a
//! sample above the average replaces it, one below is weighed by the time that has passed. Pure: time is passed in.

use std::time::{Duration, Instant};

/// Time in which a backend that answers nothing is forgiven all but 1/e of its average, as in Linkerd.
const FORGET: Duration = Duration::from_secs(10);

/// Time in which better samples leave an old one all but 1/e of its weight. Linkerd has ten seconds here as well; on a machine
/// that stalls now and then, every backend then looks for so long as slow as its last stall, and one that is slow all the
/// time hardly differs. A thousand requests a second are a hundred samples in this time; of few, the last counts most.
const IMPROVE: Duration = Duration::from_millis(100);

/// What a backend without any sample is believed to take. A page costs less, so that nobody is flooded for being new.
const BEGINNING: Duration = Duration::from_millis(10);

/// What a backend that does nothing but fail is believed to take: a hundred times a page.
const FAILING: Duration = Duration::from_secs(1);

/// Differences below this are noise; the requests in flight tell more.
const FLOOR_SECS: f64 = 0.000_2;

/// The moving average of one backend.
#[derive(Clone, Copy, Debug)]
pub struct PeakEwma {
    secs: f64,
    at: Instant,
    // Whether it has answered anything: what is believed without an answer weighs nothing beside the first.
    answered: bool,
}

impl PeakEwma {
    /// Of a backend that has answered nothing yet.
    pub fn new(now: Instant) -> Self {
        Self {
            secs: BEGINNING.as_secs_f64(),
            at: now,
            answered: false,
        }
    }

    /// Takes one answer into account.
    pub fn observe(&mut self, now: Instant, took: Duration) {
        let new = took.as_secs_f64();
        self.secs = if new >= self.decayed(now) || !self.answered {
            new
        } else {
            let kept = self.kept(now, IMPROVE);
            self.secs * kept + new * (1.0 - kept)
        };
        self.at = self.at.max(now);
        self.answered = true;
    }

    /// Takes one failure into account, as twice the time of before: a backend that fails at once would otherwise be the
    /// quickest of all, and get what the others are spared.
    pub fn failed(&mut self, now: Instant, took: Duration) {
        self.secs = (2.0 * self.secs(now))
            .min(FAILING.as_secs_f64())
            .max(took.as_secs_f64());
        self.at = self.at.max(now);
        self.answered = true;
    }

    /// Seconds; without new samples it sinks, or a backend that was slow once would never be asked again.
    pub fn secs(&self, now: Instant) -> f64 {
        self.decayed(now).max(FLOOR_SECS)
    }

    fn decayed(&self, now: Instant) -> f64 {
        self.secs * self.kept(now, FORGET)
    }

    fn kept(&self, now: Instant, time: Duration) -> f64 {
        let age = now.saturating_duration_since(self.at);
        (-age.as_secs_f64() / time.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_slow_answer_counts_at_once_and_a_quick_one_slowly() {
        let start = Instant::now();
        let mut latency = PeakEwma::new(start);
        latency.observe(start, 500 * MS);
        assert_eq!(latency.secs(start), 0.5);
        latency.observe(start + MS, MS);
        assert!(latency.secs(start + MS) > 0.49);
        for second in 1..=60 {
            latency.observe(start + 1000 * second * MS, MS);
        }
        assert!(latency.secs(start + 60_000 * MS) < 0.01);
    }

    #[test]
    fn the_first_answer_counts_for_more_than_what_was_believed_without_one() {
        let start = Instant::now();
        let mut latency = PeakEwma::new(start);
        assert_eq!(latency.secs(start), 0.01);
        latency.observe(start + MS, MS);
        assert_eq!(latency.secs(start + MS), 0.001);
    }

    #[test]
    fn a_stall_is_forgotten_after_a_second_and_one_who_is_not_asked_after_half_a_minute() {
        let start = Instant::now();
        let (mut asked, mut spared) = (PeakEwma::new(start), PeakEwma::new(start));
        asked.observe(start, 100 * MS);
        spared.observe(start, 100 * MS);
        for n in 1..=1500 {
            asked.observe(start + n * MS, MS);
        }
        let now = start + 1500 * MS;
        assert!(asked.secs(now) < 0.002, "{asked:?}");
        assert!(spared.secs(now) > 0.08, "{spared:?}");
    }

    #[test]
    fn whoever_is_not_asked_is_forgiven() {
        let start = Instant::now();
        let mut latency = PeakEwma::new(start);
        latency.observe(start, 1000 * MS);
        assert!(latency.secs(start + 30_000 * MS) < 0.06);
        assert_eq!(latency.secs(start + 3_600_000 * MS), FLOOR_SECS);
    }

    #[test]
    fn whoever_fails_at_once_is_not_the_quickest() {
        let start = Instant::now();
        let mut latency = PeakEwma::new(start);
        latency.observe(start, 5 * MS);
        latency.failed(start, MS);
        assert_eq!(latency.secs(start), 0.01);
        latency.failed(start, 3000 * MS);
        assert_eq!(latency.secs(start), 3.0);
        for _ in 0..10 {
            latency.failed(start, MS);
        }
        assert_eq!(latency.secs(start), 1.0);
    }

    #[test]
    fn samples_of_threads_that_disagree_about_the_time_do_no_harm() {
        let start = Instant::now();
        let mut latency = PeakEwma::new(start + 5 * MS);
        latency.observe(start, 20 * MS);
        assert_eq!(latency.secs(start), 0.02);
    }
}
