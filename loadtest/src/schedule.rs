//! When each request is meant to start: pure arithmetic, in whole nanoseconds so that no rounding adds up.

use std::time::Duration;

const NANOS_PER_SEC: u128 = 1_000_000_000;

/// Longer is a typing error. It also keeps all that is computed from a schedule far from overflowing.
pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A constant rate, first without and then with measuring. The requests are numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// At least 1.
    pub rate_per_second: u32,
    /// At most [`LONGEST`].
    pub warm_up: Duration,
    /// At most [`LONGEST`].
    pub duration: Duration,
}

impl Schedule {
    /// How many requests start before the end.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.starts_before(self.warm_up + self.duration)
    }

    /// How many of them are measured.
    #[must_use]
    pub fn measured(&self) -> u64 {
        self.requests() - self.starts_before(self.warm_up)
    }

    /// When a request is meant to start, from the beginning of the run.
    #[must_use]
    pub fn intended_start(&self, request: u64) -> Duration {
        let nanos = u128::from(request) * NANOS_PER_SEC / u128::from(self.rate_per_second);
        Duration::from_nanos(
            u64::try_from(nanos).expect("two days are far less than the 584 years that fit"),
        )
    }

    /// Whether a request that was meant to start then is measured.
    #[must_use]
    pub fn is_measured(&self, intended_start: Duration) -> bool {
        intended_start >= self.warm_up
    }

    /// How many requests have an intended start before `end`: the smallest number whose own start is not.
    fn starts_before(&self, end: Duration) -> u64 {
        let exact = end.as_nanos() * u128::from(self.rate_per_second);
        // Intended starts are rounded down, so a request can start before `end` that exactly computed would not.
        let mut count = u64::try_from(exact.div_ceil(NANOS_PER_SEC))
            .expect("a run has fewer than 2^64 requests");
        while self.intended_start(count) < end {
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(rate_per_second: u32, warm_up_ms: u64, duration_ms: u64) -> Schedule {
        Schedule {
            rate_per_second,
            warm_up: Duration::from_millis(warm_up_ms),
            duration: Duration::from_millis(duration_ms),
        }
    }

    #[test]
    fn requests_are_evenly_spaced_and_rounding_does_not_add_up() {
        let thirds = schedule(3, 0, 10_000);
        assert_eq!(thirds.intended_start(0), Duration::ZERO);
        assert_eq!(thirds.intended_start(1), Duration::from_nanos(333_333_333));
        assert_eq!(thirds.intended_start(3), Duration::from_secs(1));
        assert_eq!(
            thirds.intended_start(3_000_000),
            Duration::from_secs(1_000_000)
        );
    }

    #[test]
    fn a_run_has_rate_times_duration_requests() {
        assert_eq!(schedule(200, 0, 10_000).requests(), 2_000);
        assert_eq!(schedule(200, 2_000, 10_000).requests(), 2_400);
        assert_eq!(schedule(200, 2_000, 10_000).measured(), 2_000);
        assert_eq!(schedule(1, 0, 500).requests(), 1);
        assert_eq!(schedule(1, 500, 300).measured(), 0);
    }

    #[test]
    fn counting_agrees_with_the_intended_starts() {
        for rate in [1, 3, 7, 200, 999, 99_991] {
            for end_ms in [0, 1, 333, 1_000, 1_001, 2_500] {
                let schedule = schedule(rate, end_ms, 0);
                let count = schedule.requests();
                assert!(
                    count == 0 || schedule.intended_start(count - 1) < schedule.warm_up,
                    "{rate} {end_ms}"
                );
                assert!(
                    schedule.intended_start(count) >= schedule.warm_up,
                    "{rate} {end_ms}"
                );
            }
        }
    }

    #[test]
    fn what_starts_in_the_warm_up_is_not_measured() {
        let schedule = schedule(10, 1_000, 1_000);
        assert!(!schedule.is_measured(schedule.intended_start(9)));
        assert!(schedule.is_measured(schedule.intended_start(10)));
    }
}
